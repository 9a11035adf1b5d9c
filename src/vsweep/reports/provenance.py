"""What happened? The origin of a sweep's numbers, in rows of a name and a text."""

from collections.abc import Mapping
from typing import Any

import yaml

from vsweep.store.reader import StoredSweep
from vsweep.store.verification import describe_verification


def sweep_facts(sweep: StoredSweep) -> list[tuple[str, str]]:
    """A row for each: the command, time, devices, versions, data, and what was verified."""
    plan = sweep.plan
    rows = [
        ("command", str(plan.get("command", ""))),
        ("started", str(plan.get("started", ""))),
        ("trials", _trials(sweep)),
        *_time(plan),
        ("devices", _devices(plan)),
        ("versions", ", ".join(f"{name} {of}" for name, of in (plan.get("versions") or {}).items())),
        ("Python", str(plan.get("python", ""))),
        # Directories of before it was noted say nothing of it.
        ("commit", str(plan["commit"] or "not in a git repository") if "commit" in plan else ""),
        *(("data", _data(name, record)) for name, record in (plan.get("data") or {}).items()),
        ("verified", _verified(sweep)),
    ]
    return [(name, text) for name, text in rows if text]


def warnings(sweep: StoredSweep) -> list[str]:
    """Return warnings that a reader should know before they believe a number."""
    plan, trials = sweep.plan, sweep.trials
    found = [
        f"{name}: {record['note']}" for name, record in (plan.get("data") or {}).items() if record.get("note")
    ]
    missing = int(plan.get("trials", len(trials))) - len(trials)
    if missing > 0 and not sweep.only:
        found.append(
            f"{missing:,} of {plan['trials']:,} trials are not finished: this is of the others alone"
        )
    lost = int((trials["status"] == "diverged").sum())
    if lost:
        found.append(f"{lost:,} of {len(trials):,} trials diverged")
    verified = sweep.verified or {}
    if any(verified.get(key) for key in ("failed", "changed", "chaotic")):
        found.append(describe_verification(verified))
    return found


def config_text(sweep: StoredSweep) -> str:
    """The resolved config, as YAML."""
    return yaml.safe_dump(sweep.config, sort_keys=False)


def _trials(sweep: StoredSweep) -> str:
    cells, seeds = sweep.trials["cell"].nunique(), sweep.trials["seed"].nunique()
    return (
        f"{len(sweep.trials):,} finished of {sweep.plan.get('trials', 0):,}: {cells:,} cells, {seeds:,} seeds"
    )


def _time(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    record = plan.get("happened")
    if not record:
        return []
    took, predicted = record["seconds"], record["predicted"]
    parts = [
        f"{what} {seconds:.1f} s" + (f" (predicted {predicted[what]:.1f} s)" if what in predicted else "")
        for what, seconds in took.items()
    ]
    rows = [("time", ", ".join(parts) + "; some of it beside each other")]
    if record.get("trials") and took.get("total"):
        speed = record["trials"] / took["total"]
        rows.append(("speed", f"{speed:,.3g} trials a second: {record['trials']:,} in {took['total']:.1f} s"))
    used, predicted_bytes = (record[name] / 2**20 for name in ("device_bytes", "predicted_device_bytes"))
    memory = f"{used:.1f} MiB a device (predicted {predicted_bytes:.1f})"
    return [*rows, ("memory", memory)]


def _devices(plan: Mapping[str, Any]) -> str:
    devices = plan.get("devices") or {}
    programs = plan.get("programs")
    text = f"{devices.get('devices', '?')} × {devices.get('kind', '?')} ({devices.get('platform', '?')})"
    return text + (f", {len(programs)} compiled programs" if isinstance(programs, list) else "")


def _data(name: str, record: Mapping[str, Any]) -> str:
    parts = [
        f"{record[f'{part}_rows']:,} {part}"
        for part in ("train", "val", "test")
        if record.get(f"{part}_rows")
    ]
    parts += [f"{len(record[what])} {what}" for what in ("features", "classes") if record.get(what)]
    return f"{name}: {', '.join(parts)}" if parts else name


def _verified(sweep: StoredSweep) -> str:
    return "not yet: vsweep verify" if sweep.verified is None else describe_verification(sweep.verified)
