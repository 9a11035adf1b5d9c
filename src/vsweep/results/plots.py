"""Pictures of a sweep, from its tables alone."""

from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from vsweep.results.select import axes_of, default_metric, higher_is_better, rank_cells

_DPI = 120
# A legend of more values names some of them.
_MOST_NAMED = 12


class Picture(Figure):
    """A figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> bytes:
        png = BytesIO()
        self.savefig(png, dpi=_DPI)
        return png.getvalue()


class Plots:
    """The pictures of one sweep; each gives a matplotlib figure."""

    def __init__(self, trials: pd.DataFrame, curves: Callable[[], pd.DataFrame]) -> None:
        """trials: as `Sweep.trials`. curves: gives what `Sweep.curves` is."""
        self._trials, self._curves = trials, curves

    def heatmap(self, x: str, y: str, metric: str | None = None, path: str | Path | None = None) -> Figure:
        """The best mean over seeds of a metric, over all other axes, for each pair of values.

        x, y: axes, by their dotted paths. metric: by default the one that ranks. path: where to write
        the picture. Where every cell of a pair has a diverged seed, its tile says so.

        Raises `KeyError` for an axis that the sweep does not have.
        """
        metric = metric or default_metric(self._trials)
        best = self._best(metric, x, y)
        mean = best.pivot(index=y, columns=x, values="mean")
        diverged = best.pivot(index=y, columns=x, values="diverged").reindex_like(mean)
        size = 2.4 + 0.62 * mean.shape[1], 1.4 + 0.5 * mean.shape[0]
        figure = Picture(figsize=size, layout="constrained")
        _draw(figure, mean, diverged, metric)
        return _written(figure, path)

    def curves(self, by: str, metric: str | None = None, path: str | Path | None = None) -> Figure:
        """A curve for each value of an axis, of its best cell over all other axes.

        by: an axis, by its dotted path. metric: by default the one that ranks; it chooses the best cells
        too. path: where to write the picture. A line is the median over the seeds that did not diverge,
        and its band reaches from their lowest to their highest. Losses and norms are on a log scale.

        Raises `KeyError` for an axis that the sweep does not have.
        """
        metric = metric or default_metric(self._trials)
        best = self._best(metric, by).sort_values(by, kind="stable")
        ok = self._trials.loc[self._trials["status"] == "ok", ["trial", "cell"]]
        kept = ok[ok["cell"].isin(best["cell"])].merge(self._curves()[["trial", "step", metric]], on="trial")
        over_seeds = kept.astype({metric: float}).groupby(["cell", "step"])[metric]
        lines = over_seeds.agg(["median", "min", "max"]).dropna()
        figure = Picture(figsize=(7.2, 4.2), layout="constrained")
        _draw_lines(figure, best, lines, by, metric)
        return _written(figure, path)

    def _best(self, metric: str, *axes: str) -> pd.DataFrame:
        """The best cell for each combination of values of the axes."""
        cells = rank_cells(self._trials, metric)
        for axis in axes:
            if axis not in axes_of(self._trials):
                raise KeyError(f"no axis {axis!r}: there are {', '.join(axes_of(self._trials))}")
        return cells.dropna(subset=list(axes)).drop_duplicates(list(axes))


def _written(figure: Figure, path: str | Path | None) -> Figure:
    if path is not None:
        figure.savefig(path, dpi=_DPI)
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


def _draw_lines(figure: Figure, best: pd.DataFrame, lines: pd.DataFrame, by: str, metric: str) -> None:
    axes = figure.subplots()
    values = best[by].tolist()
    named = set(np.linspace(0, len(values) - 1, min(len(values), _MOST_NAMED)).round().astype(int))
    cells = best[["cell", "diverged", "seeds"]].to_numpy(int)
    for i, (colour, (cell, diverged, seeds)) in enumerate(zip(_colours(values), cells, strict=True)):
        line = lines[lines.index.get_level_values("cell") == cell].droplevel("cell")
        name = _tick(values[i]) + (f" ({diverged}/{seeds} diverge)" if diverged else "")
        axes.fill_between(line.index, line["min"], line["max"], color=colour, alpha=0.2, linewidth=0)
        axes.plot(line.index, line["median"], color=colour, label=name if i in named else "_")
    if not higher_is_better(metric) and len(lines) and lines["min"].min() > 0:
        axes.set_yscale("log")
    axes.set_xlabel("step")
    axes.set_ylabel(metric)
    axes.margins(x=0.01)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(f"{metric}: median and range over seeds, best over all other axes", fontsize=10)
    figure.legend(title=by, loc="outside right upper", frameon=False, fontsize=8, title_fontsize=8)


def _colours(values: Sequence[object]) -> Any:
    """A colour per value: of numbers from dark to light, of names such as differ."""
    if len(values) <= 10 and all(isinstance(value, str) for value in values):
        return colormaps["tab10"](range(len(values)))
    return colormaps["viridis"](np.linspace(0.0, 0.92, len(values)))


def _tick(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
