"""The pictures that a config asks for, made in the sweep's directory when it is trained."""

import inspect
import re
from collections.abc import Mapping, Sequence
from typing import Any

from vsweep.analysis.ranking import restrict
from vsweep.errors import ConfigError, suggest
from vsweep.plots.style import tick
from vsweep.reports.sweep_plots import Plots
from vsweep.store.reader import PICTURES, StoredSweep

# The argument of every picture that says which cells it is of.
_WHERE = "where"
# Arguments that are axes.
_AXES = ("x", "y", "by")


def asked(given: Sequence[Mapping[str, Any]], axes: Sequence[str]) -> list[tuple[str, dict[str, Any]]]:
    """The pictures that a config asks for, each with its arguments.

    axes: those of the sweep. Beside its own arguments, any picture takes `where`, as `Sweep.where` does.

    Raises `ConfigError`.
    """
    known = {name: f for name, f in vars(Plots).items() if not name.startswith("_")}
    found = []
    for entry in given:
        for name, arguments in entry.items():
            if name not in known:
                raise ConfigError("pictures", f"no picture {name!r}", suggest(name, known))
            parameters = dict(inspect.signature(known[name]).parameters)
            takes = [key for key in parameters if key not in ("self", "path")]
            for key in arguments:
                if key not in (*takes, _WHERE):
                    got = f"{name} has no argument {key!r}"
                    raise ConfigError("pictures", got, f"it takes {', '.join((*takes, _WHERE))}")
            if not isinstance(arguments.get(_WHERE, {}), Mapping):
                got = f"{name} has {_WHERE}: {arguments[_WHERE]!r}"
                raise ConfigError("pictures", got, "it takes values by axis, as {model.depth: 1}")
            for key in takes:
                if parameters[key].default is inspect.Parameter.empty and key not in arguments:
                    raise ConfigError("pictures", f"{name} lacks {key!r}", f"give {{{name}: {{{key}: …}}}}")
            named = [arguments[key] for key in _AXES if arguments.get(key) is not None]
            for axis in [*named, *arguments.get(_WHERE, {})]:
                if axis not in axes:
                    raise ConfigError("pictures", f"{name} names {axis!r}, no axis", suggest(str(axis), axes))
            found.append((name, dict(arguments)))
    return found


def make(sweep: StoredSweep, wanted: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, str]:
    """Make pictures in the sweep's directory: of each file's name, why it could not be made, or nothing."""
    made: dict[str, str] = {}
    for name, arguments in wanted:
        own, only = dict(arguments), arguments.get(_WHERE, {})
        own.pop(_WHERE, None)
        named = [f"{axis}={'null' if value is None else tick(value)}" for axis, value in only.items()]
        parts = [
            re.sub(r"[^\w.=+-]+", "_", part).strip("_") for part in (name, *map(tick, own.values()), *named)
        ]
        file = "-".join(parts).replace("=_", "=")[:120] + ".png"
        try:
            plots = Plots(restrict(sweep, only) if only else sweep)
            getattr(plots, name)(**own, path=sweep.directory / PICTURES / file)
            made[file] = ""
        except OSError:
            raise
        except Exception as error:
            # What was trained is there, whatever comes of its pictures.
            told = isinstance(error, KeyError) and error.args
            made[file] = " ".join(str(error.args[0] if told else f"{type(error).__name__}: {error}").split())
    return made
