"""A sweep's directory: opened for the trials of a plan, read back, and kept when a command fails."""

import os
import platform
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from functools import cached_property, partial
from importlib.metadata import version
from itertools import count, starmap
from pathlib import Path
from secrets import token_hex
from typing import Any

import numpy as np
import pandas as pd

from vsweep.config.choices import qualified_name
from vsweep.config.overrides import Override, spell
from vsweep.config.schema import PERMISSIONS, parse_field
from vsweep.config.spec import SweepSpec, spec_from_record, user_functions
from vsweep.config.sweep_file import sweep_overrides
from vsweep.config.to_overrides import cell_overrides
from vsweep.config.trust import READ_ONLY, Trust, of_record
from vsweep.config.user_input import as_overrides
from vsweep.config.validate import values_before
from vsweep.config.values import is_final, select
from vsweep.config.wandb.translate import is_about_file
from vsweep.engine.executor import out_of_memory
from vsweep.engine.git import commit
from vsweep.engine.plan import Plan, plan_sweep
from vsweep.engine.plan_record import (
    as_record,
    column_names,
    final_names,
    metric_names,
    part_names,
    ranking_metric,
)
from vsweep.engine.predictor import Predictor
from vsweep.engine.trial_id import identities
from vsweep.engine.tuning.timings import TimingCache, load_timings
from vsweep.errors import (
    ConfigError,
    Interrupted,
    StoreError,
    StuckError,
    short_repr,
    show_message,
)
from vsweep.results import Sweep
from vsweep.store.cell_overrides import CellOverrides
from vsweep.store.files import STUCK
from vsweep.store.lock import check_inside
from vsweep.store.trial_table import Table
from vsweep.store.writer import FORMAT, Store, check_format, read_config, read_plan, write_stacks
from vsweep.trackers.wandb.options import DEFAULT_PROJECT, tracker_options
from vsweep.training.program import NUMERICS

# The fields of one command, which a record has but does not give to the next.
_OF_ONE_COMMAND = ("dir", *PERMISSIONS)
# A message names this many data files at most.
_MOST_FILES = 3


def open_store(spec: SweepSpec, plan: Plan, directory: Path | None) -> Store:
    """Open a sweep's directory, or make a new one.

    Raises:
        ConfigError: If the directory cannot hold this sweep; nothing was changed.
        StoreError: If the directory cannot be written.
        Interrupted: On Ctrl-C or SIGTERM.
    """
    place = directory or _new_directory(spec.name)
    own = {group: {**spec.raw[group], "_target_": qualified_name(part)} for group, part in spec.own.items()}
    with explained_failures(place, lambda: f"everything in {place} is kept"):
        return Store(
            place,
            trial_table(plan),
            {**spec.raw, **own},
            _record(spec, plan),
            keep=parse_field("keep.params", spec.raw["keep"]["params"]),
            numerics=NUMERICS,
            at_steps=partial(identities, plan),
        )


def trial_table(plan: Plan) -> Table:
    """Return the trials of a plan, and their layout in a directory's files."""
    grid = plan.grid
    number, row, seed = grid.trials()
    columns: dict[str, Any] = {"trial": number, "cell": grid.cells[row]}
    values = {axis.path: _column(grid.column(i))[row] for i, axis in enumerate(grid.axes)}
    # Columns behind the seed are axes, so the fields that follow axes come before it.
    followers = [grid.axes[i].path for i in grid.followers]
    splits = {"split": grid.split_of_trial()} if grid.splits > 1 else {}
    columns |= {path: values.pop(path) for path in followers} | splits | {"seed": seed} | values
    names = metric_names(plan), final_names(plan), column_names(plan)
    widest = str(np.result_type(*(program.inputs.stored_dtype for program in plan.programs)))
    return Table(
        pd.DataFrame(columns), identities(plan), *names, widest, ranking_metric(plan), part_names(plan)
    )


def _column(values: np.ndarray) -> Any:
    """Return a column of the trial table: None is missing, and values that are not scalars are text."""
    kinds = {type(v) for v in values if v is not None}
    if kinds == {bool}:
        return pd.array(values, "boolean")
    if kinds == {int}:
        return pd.array(values, "Int64" if any(v is None for v in values) else "int64")
    if kinds and kinds <= {int, float}:
        return pd.array([np.nan if v is None else float(v) for v in values], "float64")
    return pd.array([v if v is None else str(v) for v in values], "str")


def _record(spec: SweepSpec, plan: Plan) -> dict[str, Any]:
    """Return the content of `plan.json`: the origin of the sweep, and its programs."""
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
    """Make `outputs/NAME/TIME` at once, so that sweeps that start together get different directories."""
    parent = Path("outputs") / name
    time = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    directory = parent / time
    for number in count(2):
        try:
            directory.mkdir(parents=True)
        except FileExistsError:
            directory = parent / f"{time}_{number}"
        except OSError as error:
            reason = f"cannot make a directory in {str(parent)!r} ({error.strerror})"
            raise ConfigError("dir", reason, "give dir=… with a directory that can be written") from error
        else:
            break
    return directory


class RecordedSweep(Sweep):
    """A sweep that rebuilds its models and its cells' overrides from its recorded config."""

    def __init__(self, directory: str | Path, own: Mapping[str, Any], trust: Trust) -> None:
        """Open a directory; own, trust: as in `recorded_spec`. Raises `ConfigError`."""
        super().__init__(directory)
        self._own, self._trust = own, replace(trust, trains=False)

    @cached_property
    def _spec(self) -> SweepSpec:
        return recorded_spec(self.directory, self._own, self._trust)

    @cached_property
    def cell_overrides(self) -> CellOverrides:
        """The overrides of all cells. Raises `ConfigError`."""
        return cell_overrides(self._spec)

    def _make_predictor(
        self, cell: int, split: int, params: dict[str, np.ndarray] | None
    ) -> Callable[[Any], np.ndarray]:
        return Predictor(self._spec.cell(cell).of_split(split), self.plan, params)


def load(directory: str | Path, *, allow_targets: Sequence[str] = (), **own: Any) -> Sweep:
    """Load the sweep in a directory.

    Args:
        directory: The sweep's directory.
        allow_targets: Modules whose functions the sweep's config may name; only `Sweep.predictor` imports
            them.
        **own: Your own `model`, `loss` and `data`, as in `vsweep.sweep`; only `Sweep.predictor`
            needs them.

    Raises:
        ConfigError: If there is no sweep.
    """
    return RecordedSweep(directory, user_functions(**own), of_record(allow_targets))


def open_untrusted(directory: str | Path) -> Sweep:
    """Load a sweep from a directory that may come from someone else. Raises `ConfigError`."""
    sweep = Sweep(directory)
    sweep.files.refuse_links()
    check_inside(sweep.directory)
    return sweep


def plan_again(
    spec: SweepSpec, sweep: Sweep, only: int | None = None, *, quiet: bool
) -> tuple[Plan, Any, TimingCache]:
    """Plan a sweep that was trained.

    Args:
        spec: The config of the sweep, or of one of its trials.
        sweep: The sweep.
        only: The number of the one trial in the config; None for all trials.
        quiet: Do not announce data files.

    Returns:
        The plan, the mesh of the devices, and the measurements of earlier sweeps.

    Raises:
        ConfigError: If the plan's trials are not those that the sweep trained.
    """
    timings = load_timings()
    announce_data(spec, sweep.directory, quiet=quiet)
    plan, mesh = plan_sweep(spec, timings, sweep.plan if only is None else {})
    numbers = plan.grid.trials()[0] if only is None else [only]
    planned, recorded = pd.Series(identities(plan), numbers), sweep.trials.set_index("trial")["identity"]
    if only is not None:
        recorded = recorded[recorded.index == only]
    if not (planned.reindex(recorded.index) == recorded).all():
        got = f"the data, or your own functions, are not those that {str(sweep.directory)!r} was trained on"
        raise ConfigError("dir", got, "restore the old ones, or run the sweep in a new directory")
    return plan, mesh, timings


def announce_data(spec: SweepSpec, directory: Path, *, quiet: bool) -> None:
    """Announce the data files and URLs that a directory names, before they are read."""
    files = spec.recorded_files
    if files and not quiet:
        what = "the data file" if len(files) == 1 else "the data files"
        more = f" and {len(files) - _MOST_FILES:,} more" if len(files) > _MOST_FILES else ""
        names = ", ".join(map(short_repr, files[:_MOST_FILES]))
        show_message(f"note: reading {what} {names}{more}, named by {short_repr(str(directory))}")


def recorded_spec(
    directory: Path, own: Mapping[str, Any] | None = None, trust: Trust = READ_ONLY
) -> SweepSpec:
    """Return the config that a directory's sweep was trained with.

    Args:
        directory: The sweep's directory.
        own: The user's own functions by group: `model`, `loss`, `data`.
        trust: The permissions of the command; by default those to read the record. The directory may come
            from someone else, so its own config gives none.

    Raises:
        ConfigError: If there is no sweep, or it cannot be read.
    """
    record = read_plan(directory)
    check_format(directory, record, NUMERICS)
    if not record:
        raise ConfigError("dir", f"no sweep in {str(directory)!r}", "it takes a sweep's directory")
    if trust.trains:
        check_inside(directory)
    with _readable(directory):
        raw = read_config(directory)
        raw["tracker"] = {"wandb": tracker_options(raw)}
        # Directories of an earlier version have no such field.
        raw.setdefault("report", False)
        spec = spec_from_record(raw, record["study"], own, trust)
    if record["format"] == FORMAT:
        return spec
    # The record will be written in this version's format, which has all fields.
    return replace(spec, overrides=tuple(recorded_overrides(directory, record)))


def recorded_overrides(directory: Path, record: Mapping[str, Any]) -> list[Override]:
    """Return the overrides that a directory's sweep was composed from. Raises `ConfigError`.

    Fields that are newer than the directory keep the values that leave its trials as they are, and its
    bounds on what is read do not count.
    """
    with _readable(directory):
        words, config = list(record["study"]["words"]), read_config(directory)
        variants = record["study"]["variants"]
        if not any("followers" in variant for variant in variants):
            # An earlier version trained all cells with one value of an interpolation, which the config has.
            words += _as_trained(words, [config, *({**config, **part["config"]} for part in variants)])
        if (project := select(config, "tracker.wandb.project")) == DEFAULT_PROJECT:
            # An earlier version had this default, which the environment did not replace.
            words.append(spell("tracker.wandb.project", project))
        configs = [config, *({**config, **part["config"]} for part in variants)]
        values = {path: value for one in configs for path, value in values_before(one).items()}
        return _recorded([*words, *starmap(spell, values.items())])


def _as_trained(words: Sequence[str], configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return words with the values that interpolations of words, and of the sweep file, had in all cells."""
    overrides = _recorded(words)
    # Later overrides of a field replace earlier ones.
    values = {change.key: change.value for change in [*sweep_overrides(overrides), *overrides]}
    fixed = []
    for path, value in values.items():
        trained = [select(config, path) for config in configs]
        is_one_value = trained[0] is not None and all(other == trained[0] for other in trained)
        if not is_final(value) and not path.startswith(("grid", "draws")) and is_one_value:
            fixed.append(spell(path, trained[0]))
    return fixed


def _recorded(words: Sequence[str]) -> list[Override]:
    """Return recorded words as overrides, without the fields of one command. Raises `ConfigError`."""
    for word in filter(is_about_file, words):
        got = f"its record reads a file, by {short_repr(word)}"
        raise ConfigError("dir", got, "it takes a sweep's directory")
    return [override for override in as_overrides(words).overrides if override.key not in _OF_ONE_COMMAND]


@contextmanager
def _readable(directory: Path) -> Iterator[None]:
    """Turn the errors of missing or malformed fields of a directory's files into a `ConfigError`."""
    try:
        yield
    except StoreError:
        raise
    except (OSError, KeyError, TypeError, AttributeError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        got = f"cannot read the sweep in {str(directory)!r} ({reason})"
        raise ConfigError("dir", got, "it takes a sweep's directory") from error


def os_error_text(error: OSError) -> str:
    """Return the system's text of an error, without the number and the text that Arrow adds."""
    return os.strerror(error.errno) if error.errno else str(error)


@contextmanager
def explained_failures(directory: Path, kept: Callable[[], str]) -> Iterator[None]:
    """Turn errors and signals that end a command early into an error that names the results that are kept.

    Args:
        directory: The directory that the command writes.
        kept: A function that describes the results that are kept.

    Raises:
        Interrupted: In place of `KeyboardInterrupt`, with its exit status.
        StoreError: In place of `OSError`, or where one trial does not fit in memory.
        StuckError: Where a block has stopped for ever, after writing the stacks of all threads.
    """
    try:
        yield
    except StuckError as error:
        if isinstance(error.__cause__, StuckError):
            # The sweep in a folder of this directory has explained it, and wrote the stacks there.
            raise
        stacks = f"the stacks of all threads are in {directory / STUCK}"
        try:
            write_stacks(directory)
        except OSError as failure:
            stacks = f"{directory / STUCK} cannot be written ({os_error_text(failure)})"
        raise StuckError(f"{error}; {stacks}; {kept()}") from error
    except KeyboardInterrupt as stop:
        raise Interrupted(f"stopped; {kept()}", getattr(stop, "status", 130)) from None
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"cannot write in {directory} ({os_error_text(error)}); {kept()}") from error
    except Exception as error:
        if not out_of_memory(error):
            raise
        raise StoreError(f"a block of one trial per device does not fit in memory; {kept()}") from error
