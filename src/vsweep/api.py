"""A sweep from words to results; the command line is a thin shell over it."""

import platform
import re
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from vsweep.compose import CHOICES
from vsweep.config import as_dict, name_of
from vsweep.descent.program import NUMERICS
from vsweep.errors import ConfigError, Interrupted, StoreError
from vsweep.execution import describe
from vsweep.execution.costs import Hardware
from vsweep.execution.devices import prepare, shortcoming, trial_mesh
from vsweep.execution.identity import identities
from vsweep.execution.known import Known
from vsweep.execution.known import known as measurements
from vsweep.execution.measure import measured, remember
from vsweep.execution.pins import Asked
from vsweep.execution.plan import Plan, make_plan
from vsweep.execution.run import Spent, metric_names, test_names, train
from vsweep.results.finished import Underway
from vsweep.results.store import Store, read_plan, refuse_foreign
from vsweep.results.sweep import Sweep
from vsweep.results.table import Table
from vsweep.schema import parse_field
from vsweep.study import Study, key_of, make_study, recorded_study
from vsweep.trackers.console import ConsoleTracker
from vsweep.trackers.tracker import Tracker, Trackers

Words = Sequence[str] | Mapping[str, Any]


def sweep(
    config: Words = (),
    *,
    model: Callable[..., Any] | None = None,
    loss: Callable[..., Any] | None = None,
    data: Any = None,
    quiet: bool = False,
) -> Sweep:
    """Train a sweep, and give what came out.

    config: Hydra overrides as on the command line (`["sweep=digits", "seeds=8"]`), or nested mappings
        of fields (`{"data": "iris", "grid": {"optimizer": {"lr": [0.1, 1.0]}}}`).
    model: your own: a function of any fields that gives a `Model`.
    loss: your own: a function of `(outputs, targets)` and any fields, that gives a loss per example.
    data: your own: `(x, y)`, x `(examples, features)`, y `(examples,)` (integers are classes, floats
        are numbers), or a function of any fields that gives them.
    quiet: show nothing while it trains.

    Raises `ConfigError`, before anything is written, for what cannot be run, and `Interrupted` (a
    `KeyboardInterrupt`) on Ctrl-C, with what is finished kept.
    """
    given = {"model": model, "loss": loss, "data": data}
    own = {group: function for group, function in given.items() if function is not None}
    return _run(make_study(_words(config), own), quiet=quiet)


def resume(
    directory: str | Path,
    config: Words = (),
    *,
    model: Callable[..., Any] | None = None,
    loss: Callable[..., Any] | None = None,
    data: Any = None,
    quiet: bool = False,
) -> Sweep:
    """Train what is missing of the sweep in a directory, and nothing else.

    config: changes to its words: more seeds, values or steps. model, loss, data: your own, as they were
    given to `sweep`.

    Raises as `sweep` does, and `ConfigError` where there is no sweep.
    """
    directory = Path(directory)
    record = read_plan(directory)
    if not record:
        raise ConfigError("dir", f"no sweep in {str(directory)!r}", "it takes a sweep's directory")
    given = {"model": model, "loss": loss, "data": data}
    own = {group: function for group, function in given.items() if function is not None}
    changes = list(_words(config))
    if changes:
        changed = {key_of(word) for word in changes} | {"dir"}
        kept = [word for word in record["study"]["words"] if key_of(word) not in changed | set(own)]
        return _run(make_study([*kept, *changes, f"dir={_literal(str(directory))}"], own), quiet=quiet)
    return _run(recorded(directory, own), directory, quiet=quiet)


def recorded(directory: Path, own: Mapping[str, Any] | None = None) -> Study:
    """The sweep that a directory was made for. Raises `ConfigError`."""
    record = read_plan(directory)
    refuse_foreign(directory, record, NUMERICS)
    try:
        raw = yaml.safe_load((directory / "config.yaml").read_text(encoding="utf-8"))
        return recorded_study(raw, record["study"], own)
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        got = f"cannot read the sweep in {str(directory)!r} ({reason})"
        raise ConfigError("dir", got, "it takes a sweep's directory") from error


def _run(made: Study, directory: Path | None = None, *, quiet: bool) -> Sweep:
    """Train what is missing of a sweep, in the directory that its config says, or in this one."""
    begun = time.perf_counter()
    known = measurements()
    given = directory or (Path(made.raw["dir"]) if made.raw["dir"] else None)
    plan, mesh = _planned(made, known, read_plan(given) if given else {})
    store = _open_store(made, plan, given)
    try:
        plan = measured(plan, mesh, known) if not store.done.any() else plan
        store.describe(_config(made), _record(made, plan))
        with closing(Trackers(_trackers(made, quiet=quiet))) as trackers:
            text = describe.as_text(made.name, plan)
            trackers.begin(made.name, len(plan.grid), "\n".join([text, *_found(store)]))
            trackers.trained(store.finished)
            _train(plan, mesh, known, store, trackers, time.perf_counter() - begun)
            trained = Sweep(store.directory)
            trackers.end(trained)
    except KeyboardInterrupt as stop:
        raise Interrupted(f"stopped; {_kept(store)}", getattr(stop, "status", 130)) from None
    except OSError as error:
        reason = f"cannot write in {store.directory} ({error.strerror or error})"
        raise StoreError(f"{reason}; {_kept(store)}") from error
    finally:
        store.close()
    return trained


def _found(store: Store) -> list[str]:
    """What a directory held already, in words."""
    lines = [f"  {note}" for note in store.notes]
    if store.finished:
        lines.append(f"  {store.finished:,} of {len(store.done):,} trials are in {store.directory} already")
    return lines


def _kept(store: Store) -> str:
    left = len(store.done) - store.finished
    kept = f"{store.finished:,} of {len(store.done):,} trials are kept in {store.directory}"
    if not left:
        return kept
    again = f"vsweep resume {shlex.quote(str(store.directory))}"
    return f"{kept}, blocks under way are dropped; to go on: {again}"


def _train(plan: Plan, mesh: Any, known: Known, store: Store, trackers: Trackers, planning_s: float) -> None:
    """Train what a store lacks of a plan, and note where the time went, whatever ends it."""
    begun, writing, spent = time.perf_counter(), 0.0, Spent()
    try:
        for block in train(plan, mesh, spent, done=store.done.copy(), underway=store.underway()):
            stored = time.perf_counter()
            if isinstance(block, Underway):
                store.save(block)
            else:
                store.add(block)
                trackers.trained(len(block.rows))
            writing += time.perf_counter() - stored
    finally:
        store.write_trials()
        seconds = {
            "total": time.perf_counter() - begun,
            "planning": planning_s,
            "compiling": spent.compiling,
            "training": spent.training,
            "writing": writing,
        }
        store.note(happened=describe.happened(plan, seconds, spent.device_bytes))
        remember(plan, spent, known)


def plan(config: Words = ()) -> tuple[Study, Plan]:
    """What a sweep would train, and train nothing. Raises `ConfigError`."""
    made = make_study(_words(config))
    before = read_plan(Path(made.raw["dir"])) if made.raw["dir"] else {}
    return made, _planned(made, measurements(), before)[0]


def check(config: Words) -> None:
    """Raise `ConfigError` for a sweep that cannot be run; start no device."""
    made = make_study(_words(config))
    make_plan(made.grid, made.variants, made.group_axes, Hardware("cpu", 1))


def load(directory: str | Path) -> Sweep:
    """The sweep in a directory. Raises `ConfigError` where there is none."""
    return Sweep(directory)


def _planned(made: Study, known: Known, before: Mapping[str, Any]) -> tuple[Plan, Any]:
    mesh = trial_mesh()
    device = mesh.devices.flat[0]
    hardware = Hardware(device.platform, mesh.devices.size, device.device_kind, prepare())
    asked = Asked(
        parse_field("block", made.raw.get("block")),
        parse_field("segment", made.raw.get("segment")),
        parse_field("keep.state", made.raw["keep"]["state"]),
    )
    planned = make_plan(made.grid, made.variants, made.group_axes, hardware, asked, known, before)
    return replace(planned, note=shortcoming(mesh)), mesh


def _words(config: Words) -> list[str]:
    if isinstance(config, Mapping):
        return _as_words(config)
    return [config] if isinstance(config, str) else list(config)


def _as_words(config: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Nested mappings as Hydra overrides."""
    words = []
    for key, value in config.items():
        path = f"{prefix}{key}"
        if isinstance(value, Mapping) and not set(value) & {"logspace", "linspace", "range"}:
            words += _as_words(value, f"{path}.")
        elif path.endswith(".name") and path.count(".") == 1 and not path.startswith("grid."):
            words.insert(0, f"{prefix[:-1]}={value}")
        else:
            words.append(f"{path}={value if path in CHOICES else _literal(value)}")
    return words


def _literal(value: Any) -> str:
    """A value in the grammar of Hydra's overrides."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{k}:{_literal(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple | range | np.ndarray):
        return "[" + ",".join(_literal(v) for v in value) + "]"
    if isinstance(value, np.generic):
        return _literal(value.item())
    if isinstance(value, str):
        # Backslashes are themselves, but before a quote, before an interpolation, and at the end.
        return "'" + re.sub(r"(\\*)('|\$\{|$)", _escape, value) + "'"
    return str(value)


def _escape(found: re.Match[str]) -> str:
    slashes, what = found.groups()
    return slashes * 2 + (f"\\{what}" if what else "")


def _open_store(made: Study, planned: Plan, directory: Path | None) -> Store:
    table = _table(planned)
    keep = parse_field("keep.params", made.raw["keep"]["params"])
    at_steps = partial(identities, planned)
    place = directory or _new_directory(made.name)
    return Store(place, table, keep=keep, numerics=NUMERICS, at_steps=at_steps)


def _table(planned: Plan) -> Table:
    grid = planned.grid
    number, row, seed = grid.trials()
    columns: dict[str, Any] = {"trial": number, "cell": grid.cells[row], "seed": seed}
    for i, axis in enumerate(grid.axes):
        columns[axis.path] = _column(grid.column(i))[row]
    return Table(pd.DataFrame(columns), identities(planned), metric_names(planned), test_names(planned))


def _config(made: Study) -> dict[str, Any]:
    """The resolved config, with a person's own functions by name."""
    own = {group: {**made.raw[group], "_target_": name_of(part)} for group, part in made.own.items()}
    return {**made.raw, **own}


def _record(made: Study, planned: Plan) -> dict[str, Any]:
    return {
        "name": made.name,
        "command": shlex.join(["vsweep", "run", *(word.removeprefix("++") for word in made.words)]),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in ("vsweep", "jax", "jaxlib", "optax", "numpy")},
        "python": platform.python_version(),
        "study": made.record(),
        **describe.as_record(planned),
    }


def _column(values: np.ndarray) -> Any:
    """Values as the pandas array that holds them and what is missing; what is no scalar as text."""
    kinds = {type(v) for v in values if v is not None}
    missing = any(v is None for v in values)
    if kinds == {bool}:
        return pd.array(values, "boolean")
    if kinds == {int}:
        return pd.array(values, "Int64" if missing else "int64")
    if kinds and kinds <= {int, float}:
        return pd.array([np.nan if v is None else float(v) for v in values], "float64")
    return pd.array([v if v is None else str(v) for v in values], "str")


def _new_directory(name: str) -> Path:
    """`outputs/NAME/TIME`, made here, so that sweeps which start together do not meet."""
    parent = Path("outputs") / name
    time = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    for suffix in ("", *(f"_{i}" for i in range(2, 1000))):
        try:
            (parent / f"{time}{suffix}").mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            reason = f"cannot make a directory in {str(parent)!r} ({error.strerror})"
            raise ConfigError("dir", reason, "give dir=…, where it can be written") from error
        return parent / f"{time}{suffix}"
    raise ConfigError("dir", f"a thousand sweeps began in one second in {str(parent)!r}", "give dir=…")


def _trackers(made: Study, *, quiet: bool) -> list[Tracker]:
    trackers: list[Tracker] = [] if quiet else [ConsoleTracker()]
    options = made.raw["tracker"]["wandb"]
    if options["mode"] != "disabled":
        from vsweep.trackers.wandb import WandbTracker

        trackers.append(WandbTracker(lambda cell: as_dict(made.cell(cell)), quiet=quiet, **options))
    return trackers
