"""Pictures of what trained models predict: fits over one feature, regions over two."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from vsweep.analysis.cells import MOST_PANELS, Row, best_by, predictors, rows_of, scored
from vsweep.analysis.example_data import ExampleData, example_data_for, with_margin
from vsweep.analysis.labels import COLOURS, cell_label
from vsweep.analysis.ranking import rank_cells
from vsweep.metrics import axes_of, default_metric
from vsweep.plots.examples import scatter
from vsweep.plots.style import colours, legend, panels, plain, set_panel_title, set_suptitle, spread
from vsweep.store.reader import StoredSweep

# Points along a feature at which a model is asked.
_ALONG, _ACROSS = 400, 240
_NOT_KEPT = "the parameters of the trials to be drawn were not kept: train the sweep with keep.params=all"


def fits(sweep: StoredSweep, by: str | None) -> Figure:
    """See `Plots.fits`."""
    scene = example_data_for(sweep, "fits", 1, "numbers")
    metric = default_metric(sweep.trials)
    chosen = chosen_cells(sweep.trials, metric, by)
    x = along(scene, _ALONG)
    drawn = [[predict(x[:, None]) for predict in predictors(sweep, row, metric)] for _, row in chosen]
    _refuse_nothing(chosen, [bool(each) for each in drawn])
    figure, axes = panels(
        len(chosen), columns=spread(len(chosen)), size=(4.8, 3.4) if len(chosen) == 1 else (2.8, 2.6)
    )
    shown = targets_shown(scene, [fit for each in drawn for fit in each])
    for panel, (words, row), each in zip(axes, chosen, drawn, strict=True):
        _points(panel, scene)
        _fits(panel, x, each)
        _least_squares(panel, scene, sweep.trials[sweep.trials["cell"] == row["cell"]], x)
        panel.set(xlabel=scene.features[0], ylabel="target", xlim=scene.limits[0], ylim=shown)
        plain(panel)
        set_panel_title(
            panel, [words, scored(row, metric), left_out(row, len(each))], 70 if by is None else 42
        )
    set_suptitle(figure, which_cells(sweep.trials, metric, by))
    legend(figure)
    return figure


def regions(sweep: StoredSweep, by: str) -> Figure:
    """See `Plots.regions`."""
    scene = example_data_for(sweep, "regions", 2, "classes")
    metric = default_metric(sweep.trials)
    chosen = best_by(sweep.trials, metric, by)
    kept = [next(predictors(sweep, row, metric), None) for _, row in chosen]
    _refuse_nothing(chosen, [predict is not None for predict in kept])
    figure, axes = panels(
        len(chosen), columns=spread(len(chosen)), size=(4.2, 4.0) if len(chosen) == 1 else (2.8, 2.8)
    )
    palette, (horizontal, vertical) = colours(scene.classes), scene.limits
    for panel, (words, row), predict in zip(axes, chosen, kept, strict=True):
        if predict is not None:
            panel.imshow(
                classes_seen(scene, predict, _ACROSS),
                cmap=ListedColormap(palette),
                vmin=-0.5,
                vmax=len(palette) - 0.5,
                alpha=0.3,
                extent=(*horizontal, *vertical),
                origin="lower",
                aspect="auto",
                interpolation="nearest",
            )
        scatter(panel, scene, palette)
        set_panel_title(panel, [words, scored(row, metric), left_out(row, int(predict is not None), 1)])
    set_suptitle(figure, which_cells(sweep.trials, metric, by), "the regions of its best seed")
    legend(figure)
    return figure


def chosen_cells(
    trials: pd.DataFrame, metric: str, by: str | None, most: int | None = None
) -> list[tuple[str, Row]]:
    """As `best_by`; without an axis the best cell alone."""
    if by is not None:
        return best_by(trials, metric, by, most)
    row = rows_of(rank_cells(trials, metric))[0]
    return [(cell_label(row, axes_of(trials)), row)]


def along(scene: ExampleData, count: int) -> np.ndarray:
    """So many places along one feature, from the first example to the last, float64 `(count,)`."""
    seen = scene.examples[scene.columns[0]].to_numpy(float)
    return np.linspace(seen.min(), seen.max(), count)


def classes_seen(scene: ExampleData, predict: Callable[[Any], np.ndarray], count: int) -> np.ndarray:
    """The class that a model sees at each point of a grid, by its place among them, `(count, count)`."""
    grid = np.meshgrid(*(np.linspace(*limits, count) for limits in scene.limits))
    points = np.stack([each.ravel() for each in grid], axis=1)
    return pd.Index(scene.classes).get_indexer(pd.Index(predict(points))).reshape(count, count)


def which_cells(trials: pd.DataFrame, metric: str, by: str | None, most: int | None = None) -> str:
    """Which cells are shown, in words."""
    over, values = "", 0 if by is None else trials[by].nunique(dropna=False)
    most = most or MOST_PANELS
    if values:
        over = f" for {f'{most} of {values} values of' if values > most else 'each'} {by}"
    error = ", mean ± se over seeds" if trials["seed"].nunique() > 1 else ""
    return f"the best cell{over} by {metric}{error}"


def _refuse_nothing(chosen: list[tuple[str, Row]], there: list[bool]) -> None:
    """Raise `KeyError` where nothing is there to be drawn, unless all of it diverged."""
    if not any(there) and any(row["diverged"] < row["seeds"] for _, row in chosen):
        raise KeyError(_NOT_KEPT)


def left_out(row: Row, kept: int, needed: int | None = None) -> str:
    """What a panel lacks, for parameters that were not kept."""
    ok = int(row["seeds"] - row["diverged"])
    if kept >= min(ok, needed or ok):
        return ""
    return f"{kept} of {ok} seeds kept" if kept else "not kept: keep.params=all"


def targets_shown(scene: ExampleData, drawn: list[np.ndarray]) -> tuple[float, float]:
    """From the lowest to the highest target, and of fits as much beyond it as is half of that."""
    columns = [name for name in ("target", "truth") if name in scene.examples]
    low, high = with_margin(scene.examples[columns].to_numpy(float))
    beyond = (high - low) / 2.0
    every = np.concatenate([*drawn, [low, high]])
    every = every[np.isfinite(every)]
    return max(float(every.min()), low - beyond), min(float(every.max()), high + beyond)


def said_of(scene: ExampleData) -> dict[bool, str]:
    """What the examples are that are trained on, and the others."""
    # Steps that draw fresh examples never see those that are here.
    train = "examples that it is measured on" if scene.fresh else "training examples"
    return {True: train, False: "held-out examples"}


def _points(axes: Axes, scene: ExampleData) -> None:
    """The examples, hollow where held out, and the truth along the feature."""
    feature, size = scene.columns[0], float(np.clip(4000 / len(scene.examples), 3, 16))
    for train, text in said_of(scene).items():
        part = scene.part(train=train)
        if len(part):
            colour = COLOURS[0] if train else "none"
            x, y = part[feature].to_numpy(float), part["target"].to_numpy(float)
            axes.scatter(x, y, s=size, c=colour, edgecolors=COLOURS[0], linewidths=0.6, alpha=0.6, label=text)
    if "truth" in scene.examples:
        truth = scene.examples.sort_values(feature)
        axes.plot(truth[feature], truth["truth"], color=COLOURS[2], linewidth=2.0, label="truth")


def _fits(axes: Axes, x: np.ndarray, drawn: list[np.ndarray]) -> None:
    """A thin line for each seed, and their mean."""
    for i, fit in enumerate(drawn if len(drawn) > 1 else []):
        axes.plot(x, fit, color=COLOURS[1], linewidth=0.7, alpha=0.45, label="_" if i else "fit of a seed")
    if drawn:
        text = "mean of the fits" if len(drawn) > 1 else "fit"
        axes.plot(x, np.mean(drawn, axis=0), color=COLOURS[1], linewidth=2.0, label=text)


def _least_squares(axes: Axes, scene: ExampleData, trials: pd.DataFrame, x: np.ndarray) -> None:
    y = least_squares(scene, trials, x)
    if y is not None:
        axes.plot(x, y, color="black", linestyle="--", linewidth=1.4, label="least squares")


def least_squares(scene: ExampleData, trials: pd.DataFrame, x: np.ndarray) -> np.ndarray | None:
    """The line of least squares, where the trials know it; it is of the standardised feature."""
    if not {"least_squares_w", "least_squares_b"} <= set(trials):
        return None
    w, b = trials[["least_squares_w", "least_squares_b"]].iloc[0].to_numpy(float)
    return w * (x - scene.mean[0]) / scene.std[0] + b
