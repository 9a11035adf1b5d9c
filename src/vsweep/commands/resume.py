"""Train what is missing of a sweep in a directory, or more of it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from vsweep.commands.directory import load_sweep, recorded_overrides, recorded_spec
from vsweep.commands.train import train_sweep
from vsweep.config.overrides import to_hydra_literal
from vsweep.config.spec import make_spec, override_key, user_functions
from vsweep.config.user_input import ConfigInput, as_overrides
from vsweep.errors import ConfigError
from vsweep.results import Sweep
from vsweep.store.lock import check_inside
from vsweep.store.writer import check_format, is_complete, read_plan
from vsweep.trackers.console import ConsoleTracker
from vsweep.trackers.wandb.tracker import missing_runs_message
from vsweep.training.vectorize import NUMERICS


def resume(
    directory: str | Path,
    config: ConfigInput = (),
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
    check_format(directory, record, NUMERICS)
    own = user_functions(model=model, loss=loss, data=data)
    changes, notes = as_overrides(config)
    if changes:
        check_inside(directory)
        # What a directory says may be imported counts for nothing: it may come from others.
        changed = {override_key(word) for word in changes} | {"dir", "allow_targets"}
        words = recorded_overrides(directory, record)
        kept = [word for word in words if override_key(word) not in changed | set(own)]
        made = make_spec([*kept, *changes, f"dir={to_hydra_literal(str(directory))}"], own, notes)
        return train_sweep(made, quiet=quiet)
    if is_complete(directory, record):
        sweep = load_sweep(directory, own)
        if sweep.lacks_pictures:
            return train_sweep(recorded_spec(directory, own), directory, quiet=quiet)
        if not quiet:
            line = f"all {record['trials']:,} trials are in {directory} already"
            ConsoleTracker().show(sweep, line, missing_runs_message(sweep))
        return sweep
    return train_sweep(recorded_spec(directory, own), directory, quiet=quiet)
