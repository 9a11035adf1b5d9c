"""The result of `verify`, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

# At most so many trials are named.
_MOST_NAMES = 5


def describe_verification(found: Mapping[str, Any]) -> str:
    """Return the content of `verify.json` in a sentence or two."""
    if "failed" in found:
        return f"verification failed ({found['failed']}); run `vsweep verify DIR`"
    if not found["checked"]:
        return (
            "verification skipped: retraining one trial would take more than 5 % of the run time;"
            " run `vsweep verify DIR`"
        )
    steady = [each for each in found["trials"] if not each["chaotic"]]
    line = f"verified: {found['checked']} of {found['of']:,} trials retrained alone"
    if steady:
        apart, twin = (max(each[key] for each in steady) for key in ("difference", "twin"))
        line += f"; their curves differ by at most {apart:.0e}, and their twins' by {twin:.0e}"
    changed = found["changed"]
    line += f"; {_names(changed)} changed its verdict" if changed else "; no verdict changed"
    if found["chaotic"]:
        line += f"; chaotic, so that rounding decides the curve: {_names(found['chaotic'])}"
    return line


def _names(trials: Sequence[int]) -> str:
    names = ", ".join(map(str, trials[:_MOST_NAMES])) + (", …" if len(trials) > _MOST_NAMES else "")
    return f"trial{'' if len(trials) == 1 else 's'} {names}"
