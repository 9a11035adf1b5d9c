"""Write a sweep's report."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vsweep.commands.directory import load, os_error_text
from vsweep.errors import ConfigError, StoreError
from vsweep.metrics import final_values


def report(
    directory: str | Path,
    path: str | Path | None = None,
    *,
    metric: str | None = None,
    allow_targets: Sequence[str] = (),
    **own: Any,
) -> Path:
    """Write a report of a sweep: one HTML file, which any browser opens without a network.

    Args:
        directory: The sweep's directory.
        path: The file; by default `report.html` in the sweep's directory.
        metric: The metric that ranks the cells; by default the validation metric.
        allow_targets: As in `load`.
        **own: Your own `model`, `loss` and `data`, as in `load`. Without them, the report has no pictures of
            the learned function.

    Returns:
        The file's path.

    Raises:
        ConfigError: If there is no sweep, or no such metric.
        StoreError: If the file cannot be written.
    """
    sweep = load(directory, allow_targets=allow_targets, **own)
    try:
        final_values(sweep.trials, metric or sweep.metric)
    except KeyError as error:
        raise ConfigError("metric", str(error.args[0]), "") from error
    try:
        return sweep.report(path, metric)
    except StoreError:
        raise
    except OSError as error:
        raise StoreError(f"cannot write {path or sweep.directory} ({os_error_text(error)})") from error
