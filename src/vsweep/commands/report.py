"""Load a sweep from its directory, and write its report."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vsweep.commands.directory import load_sweep, os_error_text
from vsweep.config.spec import user_functions
from vsweep.errors import ConfigError, StoreError
from vsweep.metrics import default_metric, final_values
from vsweep.results import Sweep


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
        raise StoreError(f"cannot write {path or sweep.directory} ({os_error_text(error)})") from error


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
    return load_sweep(directory, user_functions(model=model, loss=loss, data=data), allow_targets)
