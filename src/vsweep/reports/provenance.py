"""The report's last question: what happened, as rows of a name and a text."""

from collections.abc import Mapping
from typing import Any

from vsweep.store.reader import StoredSweep
from vsweep.store.verification import describe_verification


def sweep_facts(sweep: StoredSweep) -> list[tuple[str, str]]:
    """Return a row for each fact: the command, time, devices, versions, data, and the verification."""
    plan, trials = sweep.plan, sweep.trials
    cells, seeds = trials["cell"].nunique(), trials["seed"].nunique()
    finished = f"{len(trials):,} finished of {plan.get('trials', 0):,}: {cells:,} cells, {seeds:,} seeds"
    rows = [
        ("command", str(plan.get("command", ""))),
        ("started", str(plan.get("started", ""))),
        ("trials", finished),
        *_performance(plan),
        ("devices", _devices(plan)),
        ("versions", ", ".join(f"{name} {number}" for name, number in (plan.get("versions") or {}).items())),
        ("Python", str(plan.get("python", ""))),
        # Directories of earlier versions do not record the commit.
        ("commit", str(plan["commit"] or "not in a git repository") if "commit" in plan else ""),
        *(("data", _data(name, record)) for name, record in (plan.get("data") or {}).items()),
        ("verified", describe_verification(sweep.verified) if sweep.verified else "not yet: vsweep verify"),
    ]
    return [(name, text) for name, text in rows if text]


def warnings(sweep: StoredSweep) -> list[str]:
    """Return the warnings that a reader should know before they believe a number."""
    plan, trials = sweep.plan, sweep.trials
    data = (plan.get("data") or {}).items()
    texts = [f"{name}: {record['note']}" for name, record in data if record.get("note")]
    missing = int(plan.get("trials", len(trials))) - len(trials)
    if missing > 0 and not sweep.only:
        texts.append(f"{missing:,} of {plan['trials']:,} trials are not finished; the report leaves them out")
    lost = int((trials["status"] == "diverged").sum())
    if lost:
        texts.append(f"{lost:,} of {len(trials):,} trials diverged")
    verified = sweep.verified or {}
    if any(verified.get(key) for key in ("failed", "changed", "chaotic")):
        texts.append(describe_verification(verified))
    return texts


def _performance(plan: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the rows on time, speed and memory; none for a sweep that is not finished."""
    record = plan.get("happened")
    if not record:
        return []
    seconds, predicted = record["seconds"], record["predicted"]
    parts = [
        f"{name} {spent:.1f} s" + (f" (predicted {predicted[name]:.1f} s)" if name in predicted else "")
        for name, spent in seconds.items()
    ]
    rows = [("time", ", ".join(parts) + "; these overlap in part")]
    if record.get("trials") and seconds.get("total"):
        speed = record["trials"] / seconds["total"]
        text = f"{speed:,.3g} trials per second: {record['trials']:,} in {seconds['total']:.1f} s"
        rows.append(("speed", text))
    used, predicted_bytes = (record[name] / 2**20 for name in ("device_bytes", "predicted_device_bytes"))
    return [*rows, ("memory", f"{used:.1f} MiB per device (predicted {predicted_bytes:.1f})")]


def _devices(plan: Mapping[str, Any]) -> str:
    devices = plan.get("devices") or {}
    programs = plan.get("programs")
    text = f"{devices.get('devices', '?')} × {devices.get('kind', '?')} ({devices.get('platform', '?')})"
    return text + (f", {len(programs)} compiled programs" if isinstance(programs, list) else "")


def _data(name: str, record: Mapping[str, Any]) -> str:
    rows = {part: record.get(f"{part}_rows") for part in ("train", "val", "test")}
    parts = [f"{count:,} {part}" for part, count in rows.items() if count]
    parts += [f"{len(record[key])} {key}" for key in ("features", "classes") if record.get(key)]
    return f"{name}: {', '.join(parts)}" if parts else name
