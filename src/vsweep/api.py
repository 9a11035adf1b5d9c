"""A sweep from words to results; the command line is a thin shell over it."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vsweep.directory import loaded, recorded, recorded_words, why
from vsweep.errors import ConfigError, StoreError
from vsweep.execution.costs import Hardware
from vsweep.execution.known import known as measurements
from vsweep.execution.plan import Plan, make_plan
from vsweep.metrics import default_metric, final_values
from vsweep.results import Sweep
from vsweep.runner import planned, run_study
from vsweep.spelling import Words, as_words
from vsweep.store.lock import refuse_within
from vsweep.store.writer import read_plan, refuse_foreign, whole
from vsweep.study import Study, key_of, make_study, own_of
from vsweep.trackers.console import ConsoleTracker
from vsweep.trackers.wandb.tracker import lacking
from vsweep.training.vectorize import NUMERICS
from vsweep.words import literal


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
        of fields (`{"data": "iris", "grid": {"optimizer": {"lr": [0.1, 1.0]}}}`). `wandb_sweep=path.yaml` is
        what a W&B sweep file says.
    model: your own: a function of any fields that gives a `Model`.
    loss: your own: a function of `(outputs, targets)` and any fields, that gives a loss per example.
    data: your own: `(x, y)`, x `(examples, features)`, y `(examples,)` (integers are classes, floats
        are numbers), or a function of any fields that gives them.
    quiet: show nothing while it trains.

    Raises `ConfigError`, before anything is written, for what cannot be run, and `Interrupted` (a
    `KeyboardInterrupt`) on Ctrl-C, with what is finished kept.
    """
    own = own_of(model=model, loss=loss, data=data)
    words, notes = as_words(config)
    return run_study(make_study(words, own, notes), quiet=quiet)


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
    refuse_foreign(directory, record, NUMERICS)
    own = own_of(model=model, loss=loss, data=data)
    changes, notes = as_words(config)
    if changes:
        refuse_within(directory)
        # What a directory says may be imported counts for nothing: it may come from others.
        changed = {key_of(word) for word in changes} | {"dir", "allow_targets"}
        words = recorded_words(directory, record)
        kept = [word for word in words if key_of(word) not in changed | set(own)]
        made = make_study([*kept, *changes, f"dir={literal(str(directory))}"], own, notes)
        return run_study(made, quiet=quiet)
    if whole(directory, record):
        sweep = loaded(directory, own)
        if sweep.lacks_pictures:
            return run_study(recorded(directory, own), directory, quiet=quiet)
        if not quiet:
            line = f"all {record['trials']:,} trials are in {directory} already"
            ConsoleTracker().show(sweep, line, lacking(sweep))
        return sweep
    return run_study(recorded(directory, own), directory, quiet=quiet)


def plan(config: Words = ()) -> tuple[Study, Plan]:
    """What a sweep would train, and train nothing. Raises `ConfigError`."""
    words, notes = as_words(config)
    made = make_study(words, notes=notes)
    before = read_plan(Path(made.raw["dir"])) if made.raw["dir"] else {}
    return made, planned(made, measurements(), before)[0]


def try_plan(config: Words) -> None:
    """Raise `ConfigError` for a sweep that cannot be run; start no device."""
    made = make_study(as_words(config).words)
    make_plan(made.grid, made.variants, made.group_axes, Hardware("cpu", 1))


def report(
    directory: str | Path,
    path: str | Path | None = None,
    *,
    metric: str | None = None,
    model: Callable[..., Any] | None = None,
    loss: Callable[..., Any] | None = None,
    data: Any = None,
    allow_targets: Sequence[str] = (),
) -> Path:
    """Write a report of a sweep that opens in a browser: one file, which needs no network.

    path: by default `report.html` in the sweep's directory. metric: that ranks. model, loss, data,
    allow_targets: as of `load`; without them what a sweep of your own functions learnt cannot be drawn.

    Returns its path. Raises `ConfigError` where there is no sweep, or no such metric, and `StoreError` where
    it cannot be written.
    """
    sweep = load(directory, model=model, loss=loss, data=data, allow_targets=allow_targets)
    try:
        final_values(sweep.trials, metric or default_metric(sweep.trials))
    except KeyError as error:
        raise ConfigError("metric", str(error.args[0]), "") from error
    try:
        return sweep.report(path, metric)
    except OSError as error:
        raise StoreError(f"cannot write {path or sweep.directory} ({why(error)})") from error


def load(
    directory: str | Path,
    *,
    model: Callable[..., Any] | None = None,
    loss: Callable[..., Any] | None = None,
    data: Any = None,
    allow_targets: Sequence[str] = (),
) -> Sweep:
    """The sweep in a directory.

    model, loss, data: your own, as they were given to `sweep`. allow_targets: modules whose functions the
    sweep's config may name. Only `Sweep.predictor` asks for these.

    Raises `ConfigError` where there is none.
    """
    return loaded(directory, own_of(model=model, loss=loss, data=data), allow_targets)
