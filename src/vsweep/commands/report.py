"""Load a sweep from its directory, and write its report."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from vsweep.commands.directory import load_sweep
from vsweep.commands.failures import os_error_text
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
    """Write a report of a sweep: one HTML file, which any browser opens without a network.

    Args:
        directory: The sweep's directory.
        path: The file; by default `report.html` in the sweep's directory.
        metric: The metric that ranks the cells; by default the validation metric.
        model: Your own model, as in `load`. Without your functions the report lacks what they learnt.
        loss: Your own loss, as in `load`.
        data: Your own data, as in `load`.
        allow_targets: As in `load`.

    Returns:
        The file's path.

    Raises:
        ConfigError: There is no sweep, or no such metric.
        StoreError: The file cannot be written.
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
    """Load the sweep in a directory.

    Args:
        directory: The sweep's directory.
        model: Your own model, as it was given to `vsweep.sweep`; only `Sweep.predictor` needs your functions.
        loss: Your own loss, as it was given to `vsweep.sweep`.
        data: Your own data, as they were given to `vsweep.sweep`.
        allow_targets: Modules whose functions the sweep's config may name.

    Raises:
        ConfigError: There is no sweep.
    """
    return load_sweep(directory, user_functions(model=model, loss=loss, data=data), allow_targets)
