"""Compute the predictions of trained models for pictures: fits over one feature, regions over two."""

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vsweep.analysis.cells import MOST_PANELS, Row, best_by, predictors, rows_of, score
from vsweep.analysis.example_data import ExampleData, Limits, example_data_for, with_margin
from vsweep.analysis.labels import cell_label
from vsweep.analysis.ranking import rank_cells
from vsweep.metrics import axes_of, default_metric
from vsweep.store.reader import StoredSweep

# The points along a single feature, and along each of two, at which a model is evaluated.
_ALONG, _ACROSS = 400, 200
_NOT_KEPT = "the parameters of the trials to draw were not kept: train the sweep with keep.params=all"
_EXAMPLES_ALONE = "No model can be drawn, so the examples stand alone."


class FitPanel(NamedTuple):
    """The fits of a cell's seeds, float64 `(points,)` each, and the line of least squares if it is known."""

    title: list[str]
    fits: list[np.ndarray]
    least_squares: np.ndarray | None


class Fits(NamedTuple):
    """Examples of one feature, and the fits of some cells at the points `x`, `(points,)`."""

    title: str
    caption: str
    examples: ExampleData
    x: np.ndarray
    targets: Limits
    panels: list[FitPanel]


class RegionPanel(NamedTuple):
    """The class that a cell's best seed predicts on a grid, `(points, points)`; None if it is unknown."""

    title: list[str]
    classes: np.ndarray | None


class Regions(NamedTuple):
    """Examples of classes over two features, and the decision regions of some cells."""

    title: str
    caption: str
    examples: ExampleData
    panels: list[RegionPanel]


class _Cell(NamedTuple):
    """A cell, and the predictors of its seeds, the best first; none where no parameters are known."""

    name: str
    title: list[str]
    row: Row
    predictors: list[Callable[[Any], np.ndarray]]


def fits_of(
    sweep: StoredSweep, by: str | None = None, most: int | None = None, *, skip_missing: bool = False
) -> Fits:
    """Return the fits of the best cell for each value of an axis.

    Args:
        sweep: A sweep on numbers over one feature.
        by: An axis, by its dotted path; None for the best cell alone.
        most: The number of panels, at most.
        skip_missing: Name the cells without parameters in the caption rather than in a panel.

    Raises:
        KeyError: If the sweep has other data, has no such axis, or kept no parameters of these cells.
    """
    examples = example_data_for(sweep, "fits", 1, "numbers")
    cells, by, caption = _select(sweep, by, most, None, skip_missing=skip_missing)
    column = examples.examples[examples.columns[0]].to_numpy(float)
    x, trials = np.linspace(column.min(), column.max(), _ALONG), sweep.trials
    panels = []
    for cell in cells:
        least_squares = _least_squares(examples, trials[trials["cell"] == cell.row["cell"]], x)
        panels.append(
            FitPanel(cell.title, [predict(x[:, None]) for predict in cell.predictors], least_squares)
        )
    panels = panels or [FitPanel([], [], _least_squares(examples, trials, x))]
    targets = _target_limits(examples, [fit for panel in panels for fit in panel.fits])
    return Fits(_picture_title("Fits", by), " ".join(caption), examples, x, targets, panels)


def regions_of(
    sweep: StoredSweep, by: str | None = None, most: int | None = None, *, skip_missing: bool = False
) -> Regions:
    """Return the decision regions of the best cell for each value of an axis; see `fits_of`.

    Raises:
        KeyError: If the data are not classes over two features, or as `fits_of` does.
    """
    examples = example_data_for(sweep, "regions", 2, "classes")
    cells, by, caption = _select(sweep, by, most, 1, skip_missing=skip_missing)
    panels = [
        RegionPanel(cell.title, _classes(examples, cell.predictors[0]) if cell.predictors else None)
        for cell in cells
    ] or [RegionPanel([], None)]
    if cells:
        caption.insert(1, "The regions are those of its best seed.")
    return Regions(_picture_title("Decision regions", by), " ".join(caption), examples, panels)


def _select(
    sweep: StoredSweep, by: str | None, most: int | None, seeds: int | None, *, skip_missing: bool
) -> tuple[list[_Cell], str | None, list[str]]:
    """Choose the cells to draw.

    Args:
        sweep: The sweep.
        by: The axis for each of whose values a cell is drawn; None for the best cell alone.
        most: The largest number of cells.
        seeds: The number of predictors that a cell needs; None for all of them.
        skip_missing: Whether to leave out cells without predictors.

    Returns:
        The cells, the axis along which they were chosen in the end, and the sentences of the caption.

    Raises:
        KeyError: If there is no such axis, or no cell has predictors and none may be left out.
    """
    trials, metric = sweep.trials, default_metric(sweep.trials)
    if by is None:
        row = rows_of(rank_cells(trials, metric))[0]
        rows = [(cell_label(row, axes_of(trials)), row)]
    else:
        rows = best_by(trials, metric, by, most)
    cells = []
    for name, row in rows:
        kept = list(islice(predictors(sweep, row, metric), seeds))
        cells.append(_Cell(name, [name, score(row, metric), _missing(row, len(kept), seeds)], row, kept))
    drawable = [cell for cell in cells if cell.predictors]
    caption = _describe_choice(trials, metric, by, most)
    if not skip_missing:
        if not drawable and any(row["diverged"] < row["seeds"] for _, row in rows):
            raise KeyError(_NOT_KEPT)
        return cells, by, [caption]
    if not drawable and by is not None:
        # The best cell of all may have kept its parameters even if no value's best cell did.
        return _select(sweep, None, most, seeds, skip_missing=True)
    reasons = "; ".join(
        f"{cell.name} ({_missing(cell.row, 0) or score(cell.row, metric)})"
        for cell in cells
        if not cell.predictors
    )
    omitted = [f"Not shown: {reasons}."] if reasons else []
    return drawable, by, [caption if drawable else _EXAMPLES_ALONE, *omitted]


def _picture_title(subject: str, by: str | None) -> str:
    return f"{subject} by {by}" if by else subject


def _describe_choice(trials: pd.DataFrame, metric: str, by: str | None, most: int | None) -> str:
    """Describe the chosen cells in a sentence."""
    values, most = trials[by].nunique(dropna=False) if by else 0, most or MOST_PANELS
    over = f" for {f'{most} of {values} values of' if values > most else 'each'} {by}" if values else ""
    error = ", mean ± standard error over seeds" if trials["seed"].nunique() > 1 else ""
    return f"The best cell{over} by {metric}{error}."


def _missing(row: Row, kept: int, needed: int | None = None) -> str:
    """Describe the parameters that were not kept, if any are missing."""
    ok = int(row["seeds"] - row["diverged"])
    if kept >= min(ok, needed or ok):
        return ""
    return f"{kept} of {ok} seeds kept" if kept else "not kept: keep.params=all"


def _classes(examples: ExampleData, predict: Callable[[Any], np.ndarray]) -> np.ndarray:
    """Return the index of the class that a model predicts, on a grid over both features."""
    grid = np.meshgrid(*(np.linspace(*limits, _ACROSS) for limits in examples.limits))
    points = np.stack([axis.ravel() for axis in grid], axis=1)
    return pd.Index(examples.classes).get_indexer(pd.Index(predict(points))).reshape(_ACROSS, _ACROSS)


def _target_limits(examples: ExampleData, fits: Sequence[np.ndarray]) -> Limits:
    """Return the range of the targets, widened by up to half on each side where fits lie outside."""
    columns = [name for name in ("target", "truth") if name in examples.examples]
    low, high = with_margin(examples.examples[columns].to_numpy(float))
    beyond = (high - low) / 2.0
    values = np.concatenate([*fits, [low, high]])
    values = values[np.isfinite(values)]
    return max(float(values.min()), low - beyond), min(float(values.max()), high + beyond)


def _least_squares(examples: ExampleData, trials: pd.DataFrame, x: np.ndarray) -> np.ndarray | None:
    """Return the line of least squares at `x` if the trials record it, for the standardised feature."""
    if not {"least_squares_w", "least_squares_b"} <= set(trials):
        return None
    w, b = trials[["least_squares_w", "least_squares_b"]].iloc[0].to_numpy(float)
    return w * (x - examples.mean[0]) / examples.std[0] + b
