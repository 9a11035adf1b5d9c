"""Train the missing trials of a sweep in its directory, or extend the sweep."""

from collections.abc import Iterable, Sequence
from itertools import starmap
from pathlib import Path
from typing import Any

from vsweep.commands.directory import announce_data, recorded_overrides, recorded_spec
from vsweep.commands.train import finished, show_finished, train_sweep
from vsweep.config.overrides import Override, from_value
from vsweep.config.spec import make_spec, user_functions
from vsweep.config.trust import of_record
from vsweep.config.user_input import ConfigInput, UserConfig, as_overrides
from vsweep.errors import ConfigError
from vsweep.results import Sweep
from vsweep.store.lock import check_inside
from vsweep.store.writer import check_format, read_plan
from vsweep.training.program import NUMERICS


def resume(
    directory: str | Path,
    config: ConfigInput = (),
    *,
    allow_targets: Sequence[str] = (),
    allow_urls: Sequence[str] = (),
    quiet: bool = False,
    **own: Any,
) -> Sweep:
    """Train the missing trials of the sweep in a directory, and no others.

    Args:
        directory: The sweep's directory.
        config: Changes to the sweep's config: more seeds, splits, values or steps.
        allow_targets: Modules whose functions the sweep's config may name.
        allow_urls: URLs that the sweep's config may name as `data.path`.
        quiet: Show nothing while the sweep trains.
        **own: Your own `model`, `loss` and `data`, as they were given to `vsweep.sweep`.

    Raises:
        ConfigError: If there is no sweep, or it cannot be run; nothing was written.
        StoreError: As in `vsweep.sweep`.
        StuckError: As in `vsweep.sweep`.
        Interrupted: As in `vsweep.sweep`.
    """
    directory = Path(directory)
    record = read_plan(directory)
    if not record:
        raise ConfigError("dir", f"no sweep in {str(directory)!r}", "it takes a sweep's directory")
    check_format(directory, record, NUMERICS)
    own = user_functions(**own)
    words, notes, _ = as_overrides(config)
    permissions: dict[str, Any] = {"allow_targets": allow_targets, "allow_urls": allow_urls}
    permissions |= {word.key: word.value for word in words if word.key in permissions}
    changes = [word for word in words if word.key not in permissions]
    if changes:
        _refuse_other_directory(directory, changes)
        check_inside(directory)
        changed = {(c.kind, c.key) for c in changes}
        recorded = recorded_overrides(directory, record)
        # An axis replaces the fixed value of its field, which is then no part of the command.
        axes = {key.partition(".")[2] for _, key in changed if key.startswith(("grid.", "draws."))}
        changed |= {(kind, path.removesuffix(".name")) for path in axes for kind in ("assign", "choose")}
        unchanged = [override for override in recorded if (override.kind, override.key) not in changed]
        given = {field: value for field, value in permissions.items() if value}
        overrides = [*changes, *starmap(from_value, {"dir": str(directory), **given}.items())]
        spec = make_spec(UserConfig(overrides, notes, unchanged), own)
        announce_data(spec, directory, quiet=quiet)
        return train_sweep(spec, quiet=quiet)
    trust = of_record(**permissions)
    if sweep := finished(directory, record, own, trust):
        return show_finished(sweep, quiet=quiet)
    spec = recorded_spec(directory, own, trust)
    announce_data(spec, directory, quiet=quiet)
    return train_sweep(spec, directory, quiet=quiet)


def _refuse_other_directory(directory: Path, changes: Iterable[Override]) -> None:
    """Raise `ConfigError` for a change that names another directory, which is not where trials are added."""
    for change in changes:
        if change.key == "dir" and Path(str(change.value)).resolve() != directory.resolve():
            got = f"got {change.word}, and the sweep is in {str(directory)!r}"
            takes = "leave it out; to keep the sweep as it is, copy its directory and resume the copy"
            raise ConfigError("dir", got, takes)
