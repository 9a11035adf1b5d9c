"""The config groups and their choices on disk: the shipped configs, and the sweep files."""

from pathlib import Path
from typing import Any

from vsweep.config.names import suggest_choice
from vsweep.config.schema import GROUPS
from vsweep.errors import ConfigError, short_repr

_PACKAGE = Path(__file__).parents[1]
# The configs are beside the package in an installed wheel, and at the top in a checkout.
_ROOT = _PACKAGE if (_PACKAGE / "conf").is_dir() else _PACKAGE.parents[1]
CONF = _ROOT / "conf"
CHOICES = [*GROUPS, "tracker", "sweep"]


def options(group: str) -> list[str]:
    """Return the choices of a config group."""
    if group == "sweep":
        return list(sweep_files())
    return sorted(file.stem for file in (CONF / group).glob("*.yaml"))


def sweep_files() -> dict[str, Path]:
    """Return the sweep files by name; a file in `./sweeps` replaces a shipped one of its name."""
    files = [*(_ROOT / "sweeps").glob("*.yaml"), *Path("sweeps").glob("*.yaml")]
    return {file.stem: file for file in sorted(files, key=lambda file: file.stem) if file.stem.strip(".")}


def check_choice(group: str, choice: Any, *, field: str | None = None, text: str | None = None) -> None:
    """Raise `ConfigError` if a group has no such choice.

    Args:
        group: The group.
        choice: The choice as the user gave it.
        field: The name of the field in the message; by default the group.
        text: The choice as text, for the message about a choice that is not a string.
    """
    known = options(group)
    if choice not in known:
        shown = choice if isinstance(choice, str) or text is None else text
        raise ConfigError(field or group, f"no such choice {short_repr(shown)}", suggest_choice(shown, known))
