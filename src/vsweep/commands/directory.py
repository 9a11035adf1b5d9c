"""A sweep's directory: opened for the trials of a plan, and read back as a sweep."""

import platform
import shlex
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np
import pandas as pd
import yaml

from vsweep.commands.failures import explained_failures
from vsweep.config.choices import qualified_name
from vsweep.config.schema import parse_field
from vsweep.config.spec import SweepSpec, spec_from_record
from vsweep.config.to_overrides import cell_overrides
from vsweep.engine.git import commit
from vsweep.engine.plan import Plan
from vsweep.engine.plan_record import as_record, column_names, metric_names, test_names
from vsweep.engine.predictor import predictor
from vsweep.engine.trial_id import identities
from vsweep.errors import ConfigError
from vsweep.results import Sweep
from vsweep.store.atomic import read_yaml
from vsweep.store.lock import check_inside, check_no_links
from vsweep.store.reader import StoredSweep
from vsweep.store.trial_table import Table
from vsweep.store.writer import Store, check_format, read_plan
from vsweep.trackers.wandb.options import tracker_options
from vsweep.training.vectorize import NUMERICS


def open_store(spec: SweepSpec, plan: Plan, directory: Path | None) -> Store:
    """Open a sweep's directory, or make a new one.

    Raises:
        ConfigError: The directory cannot hold this sweep; nothing was changed.
        StoreError: The directory cannot be written.
        Interrupted: Ctrl-C or SIGTERM.
    """
    keep = parse_field("keep.params", spec.raw["keep"]["params"])
    place = directory or _new_directory(spec.name)
    with explained_failures(place, lambda: f"everything in {place} is kept"):
        return Store(
            place,
            _table(plan),
            keep=keep,
            numerics=NUMERICS,
            at_steps=partial(identities, plan),
            description=(config_of(spec), record_of(spec, plan)),
        )


def _table(plan: Plan) -> Table:
    grid = plan.grid
    number, row, seed = grid.trials()
    columns: dict[str, Any] = {"trial": number, "cell": grid.cells[row], "seed": seed}
    columns |= {axis.path: _column(grid.column(i))[row] for i, axis in enumerate(grid.axes)}
    return Table(
        pd.DataFrame(columns), identities(plan), metric_names(plan), test_names(plan), column_names(plan)
    )


def _column(values: np.ndarray) -> Any:
    """Return a column of the trial table: None is missing, and values that are not scalars are text."""
    kinds = {type(v) for v in values if v is not None}
    missing = any(v is None for v in values)
    if kinds == {bool}:
        return pd.array(values, "boolean")
    if kinds == {int}:
        return pd.array(values, "Int64" if missing else "int64")
    if kinds and kinds <= {int, float}:
        return pd.array([np.nan if v is None else float(v) for v in values], "float64")
    return pd.array([v if v is None else str(v) for v in values], "str")


def config_of(spec: SweepSpec) -> dict[str, Any]:
    """Return the resolved config, with the user's own functions by name."""
    own = {group: {**spec.raw[group], "_target_": qualified_name(part)} for group, part in spec.own.items()}
    return {**spec.raw, **own}


def record_of(spec: SweepSpec, plan: Plan) -> dict[str, Any]:
    """Return the content of `plan.json`: where the sweep comes from, and its programs."""
    return {
        "id": token_hex(4),
        "name": spec.name,
        "command": shlex.join(["vsweep", "run", *spec.words]),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in ("vsweep", "jax", "jaxlib", "optax", "numpy")},
        "python": platform.python_version(),
        "commit": commit(),
        "study": spec.record(),
        "pictures": {},
        **as_record(plan),
    }


def _new_directory(name: str) -> Path:
    """Make `outputs/NAME/TIME` at once, so that sweeps which start together get directories of their own."""
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


def load_sweep(
    directory: str | Path, own: Mapping[str, Any] | None = None, allow_targets: Sequence[str] = ()
) -> Sweep:
    """Load the sweep in a directory.

    Args:
        directory: The sweep's directory.
        own: The user's own functions, which the sweep's predictors need; see `recorded_spec`.
        allow_targets: As in `recorded_spec`.

    Raises:
        ConfigError: There is no sweep.
    """

    def spec(sweep: StoredSweep) -> SweepSpec:
        return recorded_spec(sweep.directory, own, allow_targets)

    def make_predictor(sweep: StoredSweep, cell: int, params: dict[str, np.ndarray] | None) -> Any:
        return predictor(spec(sweep).cell(cell), sweep.plan, params)

    return Sweep(directory, make_predictor, lambda sweep: cell_overrides(spec(sweep)))


def open_untrusted(directory: str | Path) -> Sweep:
    """Load a sweep from a directory that may come from others. Raises `ConfigError`."""
    sweep = Sweep(directory)
    check_no_links(sweep.directory)
    check_inside(sweep.directory)
    return sweep


def check_same_trials(plan: Plan, sweep: Sweep, only: int | None = None) -> None:
    """Raise `ConfigError` where a plan's trials are not those that the sweep trained.

    Args:
        plan: The plan of the sweep's trials, or of one of them.
        sweep: The sweep.
        only: The number of the one trial in the plan; None for all trials.
    """
    recorded = sweep.trials.set_index("trial")["identity"]
    if only is None:
        planned = pd.Series(identities(plan), plan.grid.trials()[0])
        same = bool((planned.reindex(recorded.index) == recorded).all())
    else:
        same = only not in recorded or recorded[only] in identities(plan)
    if not same:
        got = f"the data, or your own functions, are not those that {str(sweep.directory)!r} was trained on"
        raise ConfigError("dir", got, "restore the old ones, or run the sweep in a new directory")


def recorded_spec(
    directory: Path, own: Mapping[str, Any] | None = None, allow_targets: Sequence[str] = ()
) -> SweepSpec:
    """Return the config that a directory's sweep was trained with.

    Args:
        directory: The sweep's directory.
        own: The user's own functions by group: `model`, `loss`, `data`.
        allow_targets: Modules that the user trusts. The directory may come from others, so the modules that
            its config names count for nothing.

    Raises:
        ConfigError: There is no sweep, or it cannot be read.
    """
    record = read_plan(directory)
    check_format(directory, record, NUMERICS)
    check_inside(directory)
    try:
        raw = read_yaml(directory / "config.yaml")
        raw["tracker"] = {"wandb": tracker_options(raw)}
        # Directories of an earlier version have no such field.
        raw.setdefault("report", False)
        return spec_from_record({**raw, "allow_targets": list(allow_targets)}, record["study"], own)
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        raise _unreadable(directory, f"{type(error).__name__}: {error}") from error


def recorded_overrides(directory: Path, record: Mapping[str, Any]) -> list[str]:
    """Return the overrides that a directory's sweep was composed from. Raises `ConfigError`."""
    try:
        return list(map(str, record["study"]["words"]))
    except (KeyError, TypeError) as error:
        raise _unreadable(directory, "its plan.json has no words") from error


def _unreadable(directory: Path, reason: str) -> ConfigError:
    got = f"cannot read the sweep in {str(directory)!r} ({' '.join(reason.split())})"
    return ConfigError("dir", got, "it takes a sweep's directory")
