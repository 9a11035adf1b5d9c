"""Pictures of a sweep, from its tables alone."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from vsweep.analysis.labels import evenly_spaced_indices
from vsweep.analysis.ranking import check_axis, rank_cells
from vsweep.metrics import default_metric, higher_is_better
from vsweep.plots import boundaries, parameters, predictions
from vsweep.plots.basins import draw_basin
from vsweep.plots.style import colours, picture, plain, save_figure, tick
from vsweep.plots.trajectories import draw_loss_surface, draw_paths
from vsweep.reports.notebook import Interactive
from vsweep.store.reader import StoredSweep

# A legend of more values names some of them.
_MOST_NAMED = 12
# Tiles of more values on an axis have no numbers, and as many ticks as there is room for.
_MOST_TILES, _MOST_TICKS = 20, 12


class Plots(Interactive):
    """The pictures of one sweep: those here give matplotlib figures, the report's Plotly's."""

    def __init__(self, sweep: StoredSweep) -> None:
        """Nothing is read before a picture is asked for."""
        self._sweep = sweep

    @property
    def _trials(self) -> pd.DataFrame:
        return self._sweep.trials

    def heatmap(self, x: str, y: str, metric: str | None = None, path: str | Path | None = None) -> Figure:
        """The best mean over seeds of a metric, over all other axes, for each pair of values.

        x, y: axes, by their dotted paths. metric: by default the one that ranks. path: where to write
        the picture. Where every cell of a pair has a diverged seed, its tile says so. Tiles of more than 20
        values on an axis are colours alone.

        Raises `KeyError` for an axis that the sweep does not have.
        """
        metric = metric or default_metric(self._trials)
        if x == y:
            raise KeyError(f"it takes two axes, and was given {x!r} twice")
        best = self._best(metric, x, y)
        mean = best.pivot(index=y, columns=x, values="mean")
        diverged = best.pivot(index=y, columns=x, values="diverged").reindex_like(mean)
        rows, columns = (min(count, _MOST_TILES) for count in mean.shape)
        figure = picture(2.4 + 0.62 * columns, 1.4 + 0.5 * rows)
        _draw(figure, mean, diverged, metric)
        return self._written(figure, path)

    def curves(self, by: str, metric: str | None = None, path: str | Path | None = None) -> Figure:
        """A curve for each value of an axis, of its best cell over all other axes.

        by: an axis, by its dotted path. metric: by default the one that ranks; it chooses the best cells
        too. path: where to write the picture. A line is the median over the seeds that did not diverge,
        and its band their middle half: from the first to the third quartile. Losses and norms are on a log
        scale.

        Raises `KeyError` for an axis that the sweep does not have.
        """
        metric = metric or default_metric(self._trials)
        best = self._best(metric, by).sort_values(by, kind="stable")
        ok = self._trials.loc[self._trials["status"] == "ok", ["trial", "cell"]]
        kept = ok[ok["cell"].isin(best["cell"])].merge(
            self._sweep.curves[["trial", "step", metric]], on="trial"
        )
        over_seeds = kept.astype({metric: float}).groupby(["cell", "step"])[metric]
        lines = pd.DataFrame(
            {
                name: over_seeds.quantile(share)
                for name, share in (("low", 0.25), ("median", 0.5), ("high", 0.75))
            }
        ).dropna()
        figure = picture(7.2, 4.2)
        _draw_lines(figure, best, lines, by, metric)
        return self._written(figure, path)

    def basin(self, x: str | None = None, y: str | None = None, path: str | Path | None = None) -> Figure:
        """Where each descent of a function ends, over where it starts and how large its steps are.

        x, y: axes; by default the first coordinate's start, and the second's or the learning rate. A panel
        for each value of the others, or for six that are spread. Of several seeds, the first.

        Raises `KeyError` for what is no sweep of functions over two axes.
        """
        return self._written(draw_basin(self._sweep, x, y), path)

    def paths(self, path: str | Path | None = None) -> Figure:
        """Descents from some starts, drawn on the function: a curve in 1-D, contours in 2-D.

        A panel for each learning rate (or for six cells that are spread). Raises `KeyError` for what is no
        sweep of functions of one or two coordinates.
        """
        return self._written(draw_paths(self._sweep, on_surface=False), path)

    def surface(self, path: str | Path | None = None) -> Figure:
        """A function of two coordinates as a surface, with the descents that most often arrive on it.

        Raises `KeyError` for other sweeps.
        """
        return self._written(draw_paths(self._sweep, on_surface=True), path)

    def loss_surface(self, path: str | Path | None = None) -> Figure:
        """The squared error of a line over its intercept and slope, with the descents on it.

        Raises `KeyError` for what is no sweep of `model=linear` on one feature with `record_params=true`.
        """
        return self._written(draw_loss_surface(self._sweep), path)

    def fits(self, by: str | None = None, path: str | Path | None = None) -> Figure:
        """What models say along one feature: the examples, the truth where it is known, and the fits.

        by: an axis, by its dotted path: a panel for each of its values (of more than 12, for some), of the
        best cell over all other axes, and before them one of the cells that lack it; None: the best cell
        alone. path: where to write the picture. A thin line is the fit of a seed, the strong one their mean;
        seeds that diverged have none. Least squares are drawn where the trials know them.

        Raises `KeyError` for an axis that the sweep does not have, for data other than numbers over one
        feature, for several data sets, and where no parameters were kept of what is to be drawn.
        """
        return self._written(predictions.fits(self._sweep, by), path)

    def regions(self, by: str, path: str | Path | None = None) -> Figure:
        """Which class models see where, over two features, with the examples on top.

        by, path: as of `fits`. A panel's regions are those of its cell's best seed whose parameters were
        kept; its title says the mean over all seeds. What is held out is hollow.

        Raises `KeyError` for an axis that the sweep does not have, for data other than classes over two
        features, for several data sets, and where no parameters were kept of what is to be drawn.
        """
        return self._written(predictions.regions(self._sweep, by), path)

    def boundaries(self, path: str | Path | None = None) -> Figure:
        """Where the best and the last cell of logistic regression, of two classes, see even odds.

        path: where to write the picture. The last cell is that with the most diverged seeds, or else the
        worst. Faint lines are all its seeds'; the strong one, and the probability behind it, are of the mean
        logit over the seeds that did not diverge, or, where all did, of the first whose parameters are
        finite. Parameters are those that were kept, or were recorded last.

        Raises `KeyError` for data other than two classes over two features, for several data sets, where
        there is no logistic regression, and where no parameters are known.
        """
        return self._written(boundaries.boundaries(self._sweep), path)

    def first_steps(self, steps: int = 10, path: str | Path | None = None) -> Figure:
        """Where logistic regression of two classes sees even odds, after each of its first steps.

        steps: how many, beside step 0, which is before any. path: where to write the picture. A panel for
        each learning rate (of many, six), of the best seed of its best cell.

        Raises `KeyError` for data other than two classes over two features, for several data sets, where
        there is no logistic regression, and where the parameters of every step were not recorded.
        """
        return self._written(boundaries.first_steps(self._sweep, steps), path)

    def parameters(self, path: str | Path | None = None) -> Figure:
        """Each recorded parameter against the step, of all trials that did not diverge, and their mean.

        path: where to write the picture. Of more than 400 trials, as many are drawn, at random but ever the
        same; of more than 12 parameters, the first. Least squares are drawn where the trials know them.

        Raises `KeyError` where no parameters were recorded.
        """
        return self._written(parameters.parameters(self._sweep), path)

    def _written(self, figure: Figure, path: str | Path | None) -> Figure:
        """The figure, written to a path if one is given; what it is of, if that is not the whole sweep."""
        if self._sweep.only:
            only = f"of {self._sweep.only} alone"
            if figure.get_suptitle():
                figure.suptitle(f"{figure.get_suptitle()}\n{only}", fontsize=11)
            else:
                figure.axes[0].set_title(f"{figure.axes[0].get_title()}\n{only}", fontsize=10)
        return save_figure(figure, path)

    def _best(self, metric: str, *axes: str) -> pd.DataFrame:
        """The best cell for each combination of values of the axes."""
        cells = rank_cells(self._trials, metric)
        for axis in axes:
            check_axis(self._trials, axis)
        return cells.dropna(subset=list(axes)).drop_duplicates(list(axes))


def _draw(figure: Figure, mean: pd.DataFrame, diverged: pd.DataFrame, metric: str) -> None:
    axes = figure.subplots()
    values: Any = mean.to_numpy(float)
    # Viridis runs from dark to light for every kind of sight; the better end is the lighter.
    colours = colormaps["viridis" if higher_is_better(metric) else "viridis_r"].with_extremes(bad="0.85")
    image = axes.imshow(values, cmap=colours, origin="lower", aspect="auto")
    across, up = (
        evenly_spaced_indices(n, n if n <= _MOST_TILES else _MOST_TICKS) for n in reversed(mean.shape)
    )
    axes.set_xticks(across, [tick(v) for v in mean.columns[across]])
    axes.set_yticks(up, [tick(v) for v in mean.index[up]])
    axes.set_xlabel(str(mean.columns.name))
    axes.set_ylabel(str(mean.index.name))
    low, high = np.nanmin(values, initial=np.inf), np.nanmax(values, initial=-np.inf)
    for (row, column), value in np.ndenumerate(values) if max(values.shape) <= _MOST_TILES else ():
        plainly = value == 0.0 or 1e-2 <= abs(value) < 10.0
        text = "–" if np.isnan(value) else f"{value:.3f}" if plainly else f"{value:.3g}"
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
    named = set(evenly_spaced_indices(len(values), _MOST_NAMED).tolist())
    cells = best[["cell", "diverged", "seeds"]].to_numpy(int)
    for i, (colour, (cell, diverged, seeds)) in enumerate(zip(colours(values), cells, strict=True)):
        line = lines[lines.index.get_level_values("cell") == cell].droplevel("cell")
        name = tick(values[i]) + (f" ({diverged}/{seeds} diverge)" if diverged else "")
        axes.fill_between(line.index, line["low"], line["high"], color=colour, alpha=0.2, linewidth=0)
        axes.plot(line.index, line["median"], color=colour, label=name if i in named else "_")
    if not higher_is_better(metric) and len(lines):
        highest = float(lines["high"].max())
        if lines["low"].min() > 0:
            axes.set_yscale("log")
        elif highest > 20 * abs(float(lines["median"].median())):
            # A function may pass 0, far below where a descent of it begins.
            axes.set_yscale("symlog", linthresh=highest / 100)
    axes.set_xlabel("step")
    axes.set_ylabel(metric)
    axes.margins(x=0.01)
    plain(axes)
    axes.set_title(f"{metric}: median and middle half over seeds, best over all other axes", fontsize=10)
    figure.legend(title=by, loc="outside right upper", frameon=False, fontsize=8, title_fontsize=8)
