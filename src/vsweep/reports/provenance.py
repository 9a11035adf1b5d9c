"""Answer the report's last question, "What happened?", in rows of a name and a text."""

from collections.abc import Mapping
from typing import Any

from vsweep.analysis.labels import format_count
from vsweep.store.reader import StoredSweep
from vsweep.store.verification import describe_verification


def sweep_facts(sweep: StoredSweep) -> list[tuple[str, str]]:
    """Return a row for each fact: the command, time, devices, versions, data, and the verification."""
    plan, trials = sweep.plan, sweep.trials
    cells, seeds = trials["cell"].nunique(), trials["seed"].nunique()
    devices = plan["devices"]
    device = f"{devices['devices']} × {devices['kind']} ({devices['platform']})"
    # Directories of earlier versions do not record the commit.
    commit = [("commit", plan["commit"] or "not in a git repository")] if "commit" in plan else []
    return [
        ("command", plan["command"]),
        ("started", plan["started"]),
        ("trials", f"{len(trials):,} finished of {plan['trials']:,}: {cells:,} cells, {seeds:,} seeds"),
        *_performance(plan),
        ("devices", f"{device}, {format_count(len(plan['programs']), 'compiled program')}"),
        ("versions", ", ".join(f"{name} {number}" for name, number in plan["versions"].items())),
        ("Python", plan["python"]),
        *commit,
        *(("data", _data(name, record)) for name, record in plan["data"].items()),
        ("verified", describe_verification(sweep.verified) if sweep.verified else "not yet: vsweep verify"),
    ]


def warnings(sweep: StoredSweep) -> list[str]:
    """Return the warnings that readers should know before they rely on a number."""
    plan, trials = sweep.plan, sweep.trials
    texts = [f"{name}: {record['note']}" for name, record in plan["data"].items() if record.get("note")]
    missing = plan["trials"] - len(trials)
    if missing > 0 and not sweep.only:
        texts.append(f"{missing:,} of {plan['trials']:,} trials are not finished; the report leaves them out")
    diverged = int((trials["status"] == "diverged").sum())
    if diverged:
        texts.append(f"{diverged:,} of {len(trials):,} trials diverged")
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
    speed, total = record["trials"] / seconds["total"], seconds["total"]
    used, predicted_bytes = (record[name] / 2**20 for name in ("device_bytes", "predicted_device_bytes"))
    return [
        ("time", ", ".join(parts) + "; these overlap in part"),
        ("speed", f"{speed:,.3g} trials per second: {record['trials']:,} in {total:.1f} s"),
        ("memory", f"{used:.1f} MiB per device (predicted {predicted_bytes:.1f})"),
    ]


def _data(name: str, record: Mapping[str, Any]) -> str:
    rows = {part: record.get(f"{part}_rows") for part in ("train", "val", "test")}
    parts = [f"{count:,} {part}" for part, count in rows.items() if count]
    parts += [f"{len(record[key])} {key}" for key in ("features", "classes") if record.get(key)]
    return f"{name}: {', '.join(parts)}".removesuffix(": ")
