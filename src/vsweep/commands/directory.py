"""A sweep's directory: opened with what is to be trained, and read back as the sweep that it is of."""

import os
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

from vsweep.config.choices import qualified_name
from vsweep.config.schema import parse_field
from vsweep.config.spec import SweepSpec, spec_from_record
from vsweep.config.to_overrides import cell_overrides
from vsweep.engine.git import commit
from vsweep.engine.plan import Plan
from vsweep.engine.plan_record import as_record, column_names, metric_names, test_names
from vsweep.engine.predictor import predictor
from vsweep.engine.trial_id import identities
from vsweep.errors import ConfigError, Interrupted, StoreError
from vsweep.results import Sweep
from vsweep.store.cell_overrides import CellOverrides
from vsweep.store.lock import check_inside
from vsweep.store.reader import StoredSweep
from vsweep.store.trial_table import Table
from vsweep.store.writer import Store, check_format, read_plan
from vsweep.trackers.wandb.options import options
from vsweep.training.vectorize import NUMERICS


def os_error_text(error: OSError) -> str:
    """What the system says; Arrow gives its number, and words of its own."""
    return os.strerror(error.errno) if error.errno else str(error)


def open_store(made: SweepSpec, planned: Plan, directory: Path | None) -> Store:
    """Open a sweep's directory, a new one where none is given. Raises as `Store` does, and `StoreError`."""
    table = _table(planned)
    keep = parse_field("keep.params", made.raw["keep"]["params"])
    at_steps = partial(identities, planned)
    place = directory or _new_directory(made.name)
    try:
        described = config_of(made), record_of(made, planned)
        return Store(place, table, keep=keep, numerics=NUMERICS, at_steps=at_steps, described=described)
    except KeyboardInterrupt as stop:
        raise Interrupted(f"stopped; what {place} holds is kept", getattr(stop, "status", 130)) from None
    except OSError as error:
        raise StoreError(
            f"cannot write in {place} ({os_error_text(error)}); what is in it is kept"
        ) from error


def _table(planned: Plan) -> Table:
    grid = planned.grid
    number, row, seed = grid.trials()
    columns: dict[str, Any] = {"trial": number, "cell": grid.cells[row], "seed": seed}
    for i, axis in enumerate(grid.axes):
        columns[axis.path] = _column(grid.column(i))[row]
    names = metric_names(planned), test_names(planned), column_names(planned)
    return Table(pd.DataFrame(columns), identities(planned), *names)


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


def config_of(made: SweepSpec) -> dict[str, Any]:
    """The resolved config, with a person's own functions by name."""
    own = {group: {**made.raw[group], "_target_": qualified_name(part)} for group, part in made.own.items()}
    return {**made.raw, **own}


def record_of(made: SweepSpec, planned: Plan) -> dict[str, Any]:
    """What `plan.json` says: where it comes from, and what is to be trained."""
    return {
        "id": token_hex(4),
        "name": made.name,
        "command": shlex.join(["vsweep", "run", *(word.removeprefix("++") for word in made.words)]),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in ("vsweep", "jax", "jaxlib", "optax", "numpy")},
        "python": platform.python_version(),
        "commit": commit(),
        "study": made.record(),
        "pictures": {},
        **as_record(planned),
    }


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


def load_sweep(
    directory: str | Path, own: Mapping[str, Any] | None = None, allow_targets: Sequence[str] = ()
) -> Sweep:
    """The sweep in a directory.

    own, allow_targets: as in `recorded_spec`; its predictors need them. Raises `ConfigError` where there is
    none.
    """

    def make(sweep: StoredSweep, cell: int, params: dict[str, np.ndarray] | None) -> Any:
        made = recorded_spec(sweep.directory, own, allow_targets)
        return predictor(made.cell(cell), sweep.plan, params)

    def spell(sweep: StoredSweep) -> CellOverrides:
        return cell_overrides(recorded_spec(sweep.directory, own, allow_targets))

    return Sweep(directory, make, spell)


def recorded_spec(
    directory: Path, own: Mapping[str, Any] | None = None, allow_targets: Sequence[str] = ()
) -> SweepSpec:
    """The sweep that a directory was made for.

    own: a person's own functions by group. allow_targets: modules that they trust; what the directory itself
    says of it counts for nothing, since it may come from others. Raises `ConfigError`.
    """
    record = read_plan(directory)
    check_format(directory, record, NUMERICS)
    check_inside(directory)
    try:
        raw = yaml.safe_load((directory / "config.yaml").read_text(encoding="utf-8"))
        raw["tracker"] = {"wandb": options(raw)}
        # Directories of before there was one have no such field.
        raw.setdefault("report", False)
        return spec_from_record({**raw, "allow_targets": list(allow_targets)}, record["study"], own)
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        got = f"cannot read the sweep in {str(directory)!r} ({reason})"
        raise ConfigError("dir", got, "it takes a sweep's directory") from error


def recorded_overrides(directory: Path, record: Mapping[str, Any]) -> list[str]:
    """The words that a directory's sweep was composed from. Raises `ConfigError`."""
    try:
        return list(map(str, record["study"]["words"]))
    except (KeyError, TypeError) as error:
        got = f"cannot read the sweep in {str(directory)!r} (its plan.json has no words)"
        raise ConfigError("dir", got, "it takes a sweep's directory") from error
