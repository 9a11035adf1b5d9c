"""Train the missing trials of a sweep in its directory, or extend the sweep."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vsweep.commands.directory import recorded_overrides, recorded_spec
from vsweep.commands.train import finished, show_finished, train_sweep
from vsweep.config.overrides import Override
from vsweep.config.spec import make_spec, user_functions
from vsweep.config.user_input import ConfigInput, UserConfig, as_overrides
from vsweep.errors import ConfigError
from vsweep.results import Sweep
from vsweep.store.lock import check_inside
from vsweep.store.writer import check_format, read_plan
from vsweep.training.vectorize import NUMERICS


def resume(directory: str | Path, config: ConfigInput = (), *, quiet: bool = False, **own: Any) -> Sweep:
    """Train the missing trials of the sweep in a directory, and no others.

    Args:
        directory: The sweep's directory.
        config: Changes to the sweep's config: more seeds, values or steps.
        quiet: Show nothing while the sweep trains.
        **own: Your own `model`, `loss` and `data`, as they were given to `vsweep.sweep`.

    Raises:
        ConfigError: If there is no sweep, or it cannot be run; nothing was written.
        StoreError: As in `vsweep.sweep`.
        Interrupted: As in `vsweep.sweep`.
    """
    directory = Path(directory)
    record = read_plan(directory)
    if not record:
        raise ConfigError("dir", f"no sweep in {str(directory)!r}", "it takes a sweep's directory")
    check_format(directory, record, NUMERICS)
    own = user_functions(**own)
    changes, notes, _ = as_overrides(config)
    if changes:
        _refuse_other_directory(directory, changes)
        check_inside(directory)
        # The directory may come from someone else, so the modules that it allows are ignored.
        changed = {(c.kind, c.key) for c in changes} | {("assign", "dir"), ("assign", "allow_targets")}
        recorded = as_overrides(recorded_overrides(directory, record)).overrides
        # An axis replaces the fixed value of its field, which is then no part of the command.
        axes = {key.partition(".")[2] for _, key in changed if key.startswith(("grid.", "draws."))}
        changed |= {(kind, path.removesuffix(".name")) for path in axes for kind in ("assign", "choose")}
        unchanged = [override for override in recorded if (override.kind, override.key) not in changed]
        overrides = [*changes, *as_overrides({"dir": str(directory)}).overrides]
        return train_sweep(make_spec(UserConfig(overrides, notes, unchanged), own), quiet=quiet)
    if sweep := finished(directory, record, own):
        return show_finished(sweep, quiet=quiet)
    return train_sweep(recorded_spec(directory, own), directory, quiet=quiet)


def _refuse_other_directory(directory: Path, changes: Iterable[Override]) -> None:
    """Raise `ConfigError` for a change that names another directory, which is not where trials are added."""
    for change in changes:
        if change.key == "dir" and Path(str(change.value)).resolve() != directory.resolve():
            got = f"got {change.word}, and the sweep is in {str(directory)!r}"
            takes = "leave it out; to keep the sweep as it is, copy its directory and resume the copy"
            raise ConfigError("dir", got, takes)
