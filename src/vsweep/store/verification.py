"""What `verify` found, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

# Names of trials that are said.
_NAMED = 5


def describe_verification(found: Mapping[str, Any]) -> str:
    """What `verify.json` says, in a sentence or two."""
    if "failed" in found:
        return f"not verified ({found['failed']}); vsweep verify tries again"
    if not found["checked"]:
        return "not verified: a twentieth of its time is too short to train a trial again; vsweep verify does"
    steady = [each for each in found["trials"] if not each["chaotic"]]
    line = f"verified: {found['checked']} of {found['of']:,} trials trained again, alone"
    if steady:
        apart, twin = (max(each[key] for each in steady) for key in ("difference", "twin"))
        line += f": their curves differ by {apart:.0e} at most, those of their twins by {twin:.0e}"
    changed = found["changed"]
    line += f"; {_names(changed)} changed its verdict" if changed else "; no verdict changed"
    if found["chaotic"]:
        line += f"; chaotic, each of whose curves is one of many: {_names(found['chaotic'])}"
    return line


def _names(trials: Sequence[int]) -> str:
    shown = ", ".join(map(str, trials[:_NAMED])) + (", …" if len(trials) > _NAMED else "")
    return f"trial{'' if len(trials) == 1 else 's'} {shown}"
