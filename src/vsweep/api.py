"""A sweep from words to results; the command line is a thin shell over it."""

import platform
import re
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from vsweep.compose import CHOICES
from vsweep.config import as_dict, name_of
from vsweep.errors import ConfigError, Interrupted
from vsweep.execution import describe
from vsweep.execution.costs import Hardware
from vsweep.execution.devices import prepare, shortcoming, trial_mesh
from vsweep.execution.known import Known
from vsweep.execution.known import known as measurements
from vsweep.execution.measure import measured, remember
from vsweep.execution.plan import Plan, make_plan
from vsweep.execution.run import Spent, metric_names, train
from vsweep.results.store import Store
from vsweep.results.sweep import Sweep
from vsweep.schema import parse_field
from vsweep.study import Study, make_study
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
    begun = time.perf_counter()
    known = measurements()
    made, plan, mesh = _prepare(config, known, model, loss, data)
    store = _open_store(made, plan)
    try:
        plan = measured(plan, mesh, known)
        store.note(**describe.as_record(plan))
        with closing(Trackers(_trackers(made, quiet=quiet))) as trackers:
            trackers.begin(made.name, len(plan.grid), describe.as_text(made.name, plan))
            _train(plan, mesh, known, store, trackers, time.perf_counter() - begun)
            trained = Sweep(store.directory)
            trackers.end(trained)
    except KeyboardInterrupt:
        kept = f"{store.finished:,} of {len(plan.grid):,} trials are kept in {store.directory}"
        raise Interrupted(f"stopped; {kept}") from None
    return trained


def _train(plan: Plan, mesh: Any, known: Known, store: Store, trackers: Trackers, planning_s: float) -> None:
    """Train a plan into a store, and note where the time went, whatever ends it."""
    begun, writing, spent = time.perf_counter(), 0.0, Spent()
    try:
        for finished in train(plan, mesh, spent):
            stored = time.perf_counter()
            store.add(finished)
            writing += time.perf_counter() - stored
            trackers.trained(len(finished.rows))
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
    made, planned, _ = _prepare(config, measurements(), None, None, None)
    return made, planned


def check(config: Words) -> None:
    """Raise `ConfigError` for a sweep that cannot be run; start no device."""
    made = make_study(_words(config))
    make_plan(made.grid, made.variants, made.group_axes, Hardware("cpu", 1))


def load(directory: str | Path) -> Sweep:
    """The sweep in a directory. Raises `ConfigError` where there is none."""
    return Sweep(directory)


def _prepare(config: Words, known: Known, model: Any, loss: Any, data: Any) -> tuple[Study, Plan, Any]:
    given = {"model": model, "loss": loss, "data": data}
    own = {group: function for group, function in given.items() if function is not None}
    made = make_study(_words(config), own)
    mesh = trial_mesh()
    device = mesh.devices.flat[0]
    hardware = Hardware(device.platform, mesh.devices.size, device.device_kind, prepare())
    block = parse_field("block", made.raw.get("block"))
    planned = make_plan(made.grid, made.variants, made.group_axes, hardware, block, known)
    return made, replace(planned, note=shortcoming(mesh)), mesh


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
            words.insert(0, f"{path.removesuffix('.name')}={value}")
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


def _open_store(made: Study, planned: Plan) -> Store:
    grid = planned.grid
    number, row, seed = grid.trials()
    columns: dict[str, Any] = {"trial": number, "cell": grid.cells[row], "seed": seed}
    for i, axis in enumerate(grid.axes):
        columns[axis.path] = _column(grid.column(i))[row]
    config = dict(made.raw)
    for group, function in made.own.items():
        config[group] = {**config[group], "_target_": name_of(function)}
    record = {
        "name": made.name,
        "command": shlex.join(["vsweep", "run", *(word.removeprefix("++") for word in made.words)]),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in ("vsweep", "jax", "jaxlib", "optax", "numpy")},
        "python": platform.python_version(),
        **describe.as_record(planned),
    }
    directory = Path(config["dir"]) if config["dir"] else _new_directory(made.name)
    return Store(directory, config, record, pd.DataFrame(columns), metric_names(planned))


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
