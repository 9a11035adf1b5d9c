"""Train what is missing of a sweep in a directory, or more of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vsweep.commands.directory import loaded, recorded, recorded_words
from vsweep.commands.train import run_study
from vsweep.config.overrides import literal
from vsweep.config.spec import key_of, make_study, own_of
from vsweep.config.user_input import Words, as_words
from vsweep.errors import ConfigError
from vsweep.results import Sweep
from vsweep.store.lock import refuse_within
from vsweep.store.writer import read_plan, refuse_foreign, whole
from vsweep.trackers.console import ConsoleTracker
from vsweep.trackers.wandb.tracker import lacking
from vsweep.training.vectorize import NUMERICS


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
