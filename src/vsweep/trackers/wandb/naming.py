"""Names and notes of a length that W&B takes, and a person reads."""

import re

# W&B's own bound.
_LONGEST = 128
# Draws too long for a person to read.
_DRAWS = re.compile(r"(draws\.[\w.]+=\[)([^\[\]]{120,})\]")


def brief(command: str) -> str:
    """A command, of many draws the first alone: a run's notes stand in a table, and the overview has all."""

    def begins(found: re.Match[str]) -> str:
        return f"{found[1]}{','.join(found[2].split(',')[:3])},…]"

    return _DRAWS.sub(begins, command)


def cut(name: str, unique: str) -> str:
    """A name of a length that W&B takes, still its own."""
    if len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST - len(unique) - 4]}… [{unique}]"
