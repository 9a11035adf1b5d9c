"""Describe the result of `verify`."""

from collections.abc import Mapping, Sequence
from typing import Any

# At most this many trials are named.
_MOST_NAMES = 5


def describe_verification(record: Mapping[str, Any]) -> str:
    """Describe the content of `verify.json` in a sentence or two."""
    if "failed" in record:
        return f"verification failed ({record['failed']}); run `vsweep verify DIR`"
    if not record["checked"]:
        return (
            "verification skipped: retraining one trial would take more than 5 % of the run time;"
            " run `vsweep verify DIR`"
        )
    steady = [trial for trial in record["trials"] if not trial["chaotic"]]
    line = f"verified: {record['checked']} of {record['of']:,} trials retrained alone"
    if steady:
        difference, twin = (max(trial[key] for trial in steady) for key in ("difference", "twin"))
        line += f"; their curves differ by at most {difference:.0e}, and their twins' by {twin:.0e}"
    changed = record["changed"]
    line += f"; the verdict changed for {_names(changed)}" if changed else "; no verdict changed"
    if record["chaotic"]:
        line += f"; chaotic, so that rounding decides the curve: {_names(record['chaotic'])}"
    return line


def _names(trials: Sequence[int]) -> str:
    names = ", ".join(map(str, trials[:_MOST_NAMES])) + (", …" if len(trials) > _MOST_NAMES else "")
    return f"trial{'' if len(trials) == 1 else 's'} {names}"
