"""Pictures of a sweep, from its table of trials alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from vsweep.results.select import default_metric, rank_cells
from vsweep.results.store import higher_is_better


class Plots:
    """The pictures of one sweep; each gives a matplotlib figure."""

    def __init__(self, trials: pd.DataFrame) -> None:
        """trials: as `Sweep.trials`."""
        self._trials = trials

    def heatmap(self, x: str, y: str, metric: str | None = None, path: str | Path | None = None) -> Figure:
        """The best mean over seeds of a metric, over all other axes, for each pair of values.

        x, y: axes, by their dotted paths. metric: by default the one that ranks. path: where to write
        the picture. Where every cell of a pair has a diverged seed, its tile says so.

        Raises `KeyError` for an axis that the sweep does not have.
        """
        metric = metric or default_metric(self._trials)
        cells = rank_cells(self._trials, metric)
        for axis in (x, y):
            if axis not in cells:
                raise KeyError(f"no axis {axis!r}: there are {', '.join(cells.columns[1:-4])}")
        best = cells.dropna(subset=[x, y]).drop_duplicates([x, y])
        mean = best.pivot(index=y, columns=x, values="mean")
        diverged = best.pivot(index=y, columns=x, values="diverged").reindex_like(mean)
        size = 2.4 + 0.62 * mean.shape[1], 1.4 + 0.5 * mean.shape[0]
        figure = Figure(figsize=size, layout="constrained")
        _draw(figure, mean, diverged, metric)
        if path is not None:
            figure.savefig(path, dpi=120)
        return figure


def _draw(figure: Figure, mean: pd.DataFrame, diverged: pd.DataFrame, metric: str) -> None:
    axes = figure.subplots()
    values: Any = mean.to_numpy(float)
    # Viridis runs from dark to light for every kind of sight; the better end is the lighter.
    colours = colormaps["viridis" if higher_is_better(metric) else "viridis_r"].with_extremes(bad="0.85")
    image = axes.imshow(values, cmap=colours, origin="lower", aspect="auto")
    axes.set_xticks(range(mean.shape[1]), [_tick(v) for v in mean.columns])
    axes.set_yticks(range(mean.shape[0]), [_tick(v) for v in mean.index])
    axes.set_xlabel(str(mean.columns.name))
    axes.set_ylabel(str(mean.index.name))
    low, high = np.nanmin(values, initial=np.inf), np.nanmax(values, initial=-np.inf)
    for (row, column), value in np.ndenumerate(values):
        text = "–" if np.isnan(value) else f"{value:.3f}" if abs(value) < 10 else f"{value:.3g}"
        if diverged.to_numpy()[row, column] > 0:
            text += "\ndiverges"
        bright = np.isnan(value) or (value - low) / max(high - low, 1e-12) > 0.5
        bright = bright if higher_is_better(metric) or np.isnan(value) else not bright
        axes.text(
            column, row, text, ha="center", va="center", color="black" if bright else "white", fontsize=8
        )
    if not np.isnan(values).all():
        figure.colorbar(image, label="mean over seeds")
    axes.set_title(f"{metric} at the last step, best over all other axes", fontsize=10)


def _tick(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
