"""Generate the configuration reference and the list of the Python API for the documentation.

All imports of vsweep's internals that the documentation needs are in this file.
"""

import inspect
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import yaml

import vsweep
from vsweep.config.choices import DataChoice, GroupChoice, ModelChoice
from vsweep.config.schema import CHOICE_FIELDS, EVERY_DATASET, FIELDS, GROUPS, LIMITS, OF_SPLITS, SWEEP_FIELDS
from vsweep.figures import Plots
from vsweep.results import Tables

CONF = Path(__file__).parents[1] / "conf"
# Fields whose values are checked elsewhere than in the schema.
_ELSEWHERE = {
    "seeds": "a count of at least 1, or a list of distinct integers",
    "grid": "fields and their values",
    "draws": "fields and lists of equal length",
}
_TARGET = "the dotted path of a function"
# The public names in the order of the reference.
_SECTIONS = {
    "Train": ("sweep", "plan", "resume"),
    "Load and report": ("load", "report", "overrides"),
    "Check": ("verify", "confirm", "reproduce", "check"),
    "Weights & Biases": ("sync", "dashboard"),
    "Sweep": ("Sweep",),
    "Models and data": ("Model", "Dataset"),
    "Devices": ("devices",),
    "Errors": ("ConfigError",),
}


def configuration() -> str:
    """Return the tables of all fields, as MyST Markdown."""
    top = _entries(CONF / "config.yaml")
    training = [entry for entry in top if entry[0] in FIELDS or entry[0] in ("grid", "draws", "seeds")]
    sweep = [entry for entry in top if entry[0] in SWEEP_FIELDS]
    parts = ["## Training", _table("", training), "## Sweep", _table("", sweep, axes=False)]
    for group in GROUPS:
        parts += [f"## {group.capitalize()}", *_choices(group)]
    tracker = [entry for entry in _entries(CONF / "tracker" / "wandb.yaml") if entry[0] != "name"]
    parts += ["## Tracker", "`tracker=wandb` (the default) and `tracker=none` have the same fields."]
    parts += [_table("tracker.", tracker, axes=False)]
    return "\n\n".join(parts) + "\n"


def api() -> str:
    """Return autodoc directives for the public names, as MyST Markdown.

    Raises:
        LookupError: If a public name has no section.
    """
    listed = [name for names in _SECTIONS.values() for name in names]
    if sorted(listed) != sorted(vsweep.__all__):
        raise LookupError(f"_SECTIONS lists {sorted(listed)}, and vsweep.__all__ is {sorted(vsweep.__all__)}")
    parts = []
    for title, names in _SECTIONS.items():
        parts.append(f"## {title}")
        for name in names:
            member = getattr(vsweep, name)
            parts.append(_directive(f"vsweep.{name}", member))
        if title == "Sweep":
            for heading, cls in (("Pictures: `Sweep.plot`", Plots), ("Tables: `Sweep.tables`", Tables)):
                parts += [f"### {heading}", _directive(f"{cls.__module__}.{cls.__qualname__}", cls)]
    return "\n\n".join(parts) + "\n"


def _directive(path: str, member: Any) -> str:
    if inspect.isclass(member):
        # The docstring of a NamedTuple or an exception describes its fields.
        members = "" if issubclass(member, tuple | Exception) else "   :members:\n   :inherited-members:\n"
        return f"```{{eval-rst}}\n.. autoclass:: {path}\n{members}```"
    return f"```{{eval-rst}}\n.. autofunction:: {path}\n```"


def _choices(group: str) -> Iterator[str]:
    """Yield the fields that all choices of a group share, then each choice with its own."""
    files = {file.stem: _entries(file) for file in sorted((CONF / group).glob("*.yaml"))}
    order = [name for name in (*GROUPS[group], *files) if name in files]
    shared = [
        entry
        for entry in files[order[0]]
        if entry[0] != "name"
        and all(entry[0] in {field for field, *_ in entries} for entries in files.values())
    ]
    if shared:
        yield f"Every choice of `{group}` has these fields:"
        yield _table(f"{group}.", shared)
    defaults = {field: default for field, default, _ in shared}
    for name in dict.fromkeys(order):
        yield f"### {group}={name}"
        about = _about(group, name, CONF / group / f"{name}.yaml")
        if about:
            yield about
        # A shared field is listed again if its default differs here.
        own = [
            entry for entry in files[name] if entry[1] != defaults.get(entry[0], ...) and entry[0] != "name"
        ]
        if own:
            yield _table(f"{group}.", own, choice=name)


def _about(group: str, name: str, file: Path) -> str:
    """Return the first line of a choice's docstring, or of its file's leading comment."""
    entry = GROUPS[group].get(name)
    function = getattr(entry, "value", entry)
    lines = file.read_text(encoding="utf-8").splitlines()
    if lines[0].startswith("#"):
        # Overrides in a comment are set as code.
        text = re.sub(r"(\S+=\S+(?: \+?\S+=\S+)*[^\s,])", r"`\1`", lines[0].lstrip("# "))
    elif callable(function) and function.__doc__:
        text = inspect.getdoc(function).splitlines()[0]  # type: ignore[union-attr]
    else:
        return ""
    return text if text.endswith(".") else f"{text}."


def _entries(file: Path) -> list[tuple[str, Any, str]]:
    """Return the dotted path, the default and the comment of every field in a config file."""
    prefixes: list[str] = []
    entries = []
    for line in file.read_text(encoding="utf-8").splitlines():
        match = re.match(r"^( *)(\w+):\s*(.*?)\s*(?:#\s*(.*))?$", line)
        if not match or line.startswith("#"):
            continue
        indent, key, value, comment = match.groups()
        prefixes = [*prefixes[: len(indent) // 2], key]
        if value:
            entries.append((".".join(prefixes), yaml.safe_load(value), comment or ""))
    return entries


def _table(prefix: str, entries: list[tuple[str, Any, str]], *, choice: str = "", axes: bool = True) -> str:
    rows = ["| Field | Default | Accepted values | Description |", "|---|---|---|---|"]
    rows = rows if not axes else [row + end for row, end in zip(rows, (" Axis |", "---|"), strict=True)]
    for name, default, comment in entries:
        path = f"{prefix}{name}"
        row = [f"`{path}`", f"`{_yaml(default)}`", _accepted(path, choice), _sentence(comment)]
        cells = [*row, _kind(path)] if axes else row
        rows.append(f"| {' | '.join(map(_escaped, cells))} |")
    return "\n".join(rows)


def _kind(path: str) -> str:
    """Say how the values of an axis over a field are compiled."""
    if path not in FIELDS or path in (*LIMITS, *OF_SPLITS):
        return ""
    group, _, key = path.partition(".")
    if group == "data" and key in EVERY_DATASET:
        return "static"
    kinds: dict[str, type[GroupChoice]] = {"data": DataChoice, "model": ModelChoice}
    traced = (
        kinds.get(group, GroupChoice)("", None, {}).is_traced(key, (1.0, 2.0))
        if key
        else path == "diverge_above"
    )
    return "traced" if traced else "static"


def _accepted(path: str, choice: str) -> str:
    if path in _ELSEWHERE:
        return _ELSEWHERE[path]
    if path.endswith("._target_"):
        return _TARGET
    return (CHOICE_FIELDS.get((choice, path)) or FIELDS.get(path) or SWEEP_FIELDS[path]).text


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True).removesuffix("\n").removesuffix("\n...")


def _sentence(comment: str) -> str:
    text = re.sub(r"(\{name:[^`]*\}\})", r"`\1`", comment)
    return text[:1].upper() + text[1:]


def _escaped(cell: str) -> str:
    # Outside of code, brackets and underscores are Markdown.
    if cell.startswith("`"):
        return cell.replace("|", "\\|")
    parts = re.split(r"(`[^`]*`)", cell)
    return "".join(
        part if part.startswith("`") else re.sub(r"([|_\[\]<>*\\])", r"\\\1", part) for part in parts
    )


WRITERS: dict[str, Callable[[], str]] = {"configuration.md": configuration, "api.md": api}


def write(folder: Path) -> None:
    """Write all generated pages into a folder; leave those that have not changed untouched."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, generate in WRITERS.items():
        page, text = folder / name, generate()
        if not page.is_file() or page.read_text(encoding="utf-8") != text:
            page.write_text(text, encoding="utf-8")
