"""Compute what models learned for pictures: fits over one feature, regions over two, and their parameters."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import islice
from typing import Any, Generic, NamedTuple

import numpy as np
import pandas as pd

from vsweep.analysis.cells import MOST_PANELS, Panel, Panels, Row, best_by, predictors, rows_of, score
from vsweep.analysis.labels import cell_label, format_count
from vsweep.analysis.ranking import rank_cells, recorded_parameters, sample_trials
from vsweep.metrics import axes_of, part_values, replicate_name, replicates, split_count
from vsweep.store.reader import StoredSweep

Limits = tuple[float, float]


@dataclass(frozen=True)
class ExampleData:
    """The data of a sweep, from `Sweep.examples` and from the data's record in `plan.json`.

    Attributes:
        examples: The table of examples.
        columns: The columns of the features in this table.
        features: The names of the features.
        classes: The names of the classes; none for numbers.
        moments: The mean and the standard deviation by which each feature is standardized, float64
            `(2, features)`, by the number of the split.
        fresh: Whether each step draws examples of its own.
    """

    examples: pd.DataFrame
    columns: tuple[str, ...]
    features: tuple[str, ...]
    classes: tuple[str, ...]
    moments: dict[int, np.ndarray]
    fresh: bool = False

    @cached_property
    def limits(self) -> tuple[Limits, ...]:
        """The range of each feature in a picture: all examples, and a margin."""
        return tuple(with_margin(self.examples[name].to_numpy(float)) for name in self.columns)

    @property
    def note(self) -> str:
        """The sentence of a caption on splits, if there are several."""
        text = " Held-out examples are those of split 0; each model was trained on its own split."
        return text if len(self.moments) > 1 else ""

    def part(self, *, train: bool) -> pd.DataFrame:
        """Return the examples that are trained on, or those that are held out."""
        return self.examples[(self.examples["part"] == "train") == train]


class ExamplePanels(NamedTuple, Generic[Panel]):
    """The data behind a picture whose panels all show the same examples."""

    title: str
    caption: str
    panels: list[Panel]
    examples: ExampleData


def with_margin(values: np.ndarray, share: float = 0.06) -> Limits:
    """Return the lowest and the highest value, moved apart by a share of their distance."""
    low, high = float(np.min(values)), float(np.max(values))
    margin = share * (high - low) or 0.5
    return low - margin, high + margin


def example_data_for(sweep: StoredSweep, name: str, features: int, targets: str) -> ExampleData:
    """Return the data of a sweep for a picture.

    Args:
        sweep: The sweep.
        name: The name of the picture, for messages.
        features: The number of features that it takes.
        targets: The targets that it takes: `numbers`, `classes` or `two classes`.

    Raises:
        KeyError: If the sweep has other data, or several data sets.
    """
    splits, *others = sweep.data_sets
    if others:
        raise KeyError(f"{name} shows one data set, and this sweep has {1 + len(others)}")
    record = splits[0]
    names, classes = tuple(record["features"]), tuple(record["classes"])
    suitable = {"numbers": not classes, "classes": bool(classes), "two classes": len(classes) == 2}
    if len(names) != features or not suitable[targets]:
        has = f"{len(classes)} class{'' if len(classes) == 1 else 'es'}" if classes else "numbers"
        has = f"{has} over {format_count(len(names), 'feature')}"
        takes = f"{targets} over {format_count(features, 'feature')}"
        raise KeyError(f"{name} shows {takes}, and this sweep's data are {has}")
    moments = {one.get("split", 0): np.asarray([one["mean"], one["std"]], float) for one in splits}
    examples = sweep.examples
    columns = tuple(map(str, examples.columns[:features]))
    return ExampleData(examples, columns, names, classes, moments, bool(record.get("fresh")))


# The points along a single feature, and along each of two, at which a model is evaluated.
_ALONG, _ACROSS = 400, 200
_MOST_PARAMETERS, _MOST_TRIALS = 12, 400


class FitPanel(NamedTuple):
    """The fits of a cell's seeds at the points `x`.

    Attributes:
        title: In lines.
        x: Float64 `(points,)`.
        fits: Float64 `(points,)` each.
        least_squares: The line of least squares, `(points,)`, if it is known.
    """

    title: list[str]
    x: np.ndarray
    fits: list[np.ndarray]
    least_squares: np.ndarray | None


class RegionPanel(NamedTuple):
    """The class that a cell's best seed predicts on a grid, `(points, points)`; None if it is unknown."""

    title: list[str]
    classes: np.ndarray | None


class _Cell(NamedTuple):
    """A cell's title in lines, its row, and the predictors of its seeds, the best first."""

    title: list[str]
    row: Row
    predictors: list[Callable[[Any], np.ndarray]]


def fits_of(sweep: StoredSweep, by: str | None = None) -> ExamplePanels[FitPanel]:
    """Return the fits of the best cell for each value of an axis.

    The caption names the cells that have no parameters. Where no cell has any, the best cell of all is tried,
    and then the examples stand alone.

    Args:
        sweep: A sweep on numbers over one feature.
        by: An axis, by its dotted path; None for the best cell alone.

    Raises:
        KeyError: If the sweep has other data, or no such axis.
    """
    examples = example_data_for(sweep, "fits", 1, "numbers")
    cells, title, caption = _select(sweep, "Fits", by, None)
    column = examples.examples[examples.columns[0]].to_numpy(float)
    x, trials = np.linspace(column.min(), column.max(), _ALONG), sweep.trials
    panels = []
    for cell in cells:
        line = _least_squares(examples, trials[trials["cell"] == cell.row["cell"]], x)
        panels.append(FitPanel(cell.title, x, [predict(x[:, None]) for predict in cell.predictors], line))
    panels = panels or [FitPanel([], x, [], _least_squares(examples, trials, x))]
    return ExamplePanels(title, caption + examples.note, panels, examples)


def regions_of(sweep: StoredSweep, by: str | None = None) -> ExamplePanels[RegionPanel]:
    """Return the decision regions of the best cell for each value of an axis; see `fits_of`.

    Raises:
        KeyError: If the data are not classes over two features, or as `fits_of` does.
    """
    examples = example_data_for(sweep, "regions", 2, "classes")
    cells, title, caption = _select(sweep, "Decision regions", by, 1)
    panels = [RegionPanel(cell.title, _classes(examples, cell.predictors[0])) for cell in cells]
    return ExamplePanels(title, caption + examples.note, panels or [RegionPanel([], None)], examples)


def _select(
    sweep: StoredSweep, subject: str, by: str | None, seeds: int | None
) -> tuple[list[_Cell], str, str]:
    """Choose the cells to draw, those that have predictors.

    Args:
        sweep: The sweep.
        subject: The subject of the picture.
        by: The axis for each of whose values a cell is drawn; None for the best cell alone.
        seeds: The number of predictors that a cell needs; None for all of them.

    Returns:
        The cells, and the picture's title and caption.

    Raises:
        KeyError: If there is no such axis.
    """
    trials, metric = sweep.trials, sweep.metric
    if by is None:
        cells = rank_cells(trials, metric)
        rows = [(cell_label(row, axes_of(trials)), row) for row in rows_of(cells[cells["rank"] == 1])]
    else:
        rows = best_by(trials, metric, by)
    drawn, omitted = [], []
    for name, row in rows:
        models, ok = list(islice(predictors(sweep, row, metric), seeds)), int(row["seeds"] - row["diverged"])
        if models:
            part = "" if len(models) >= min(ok, seeds or ok) else f"{len(models)} of {ok} seeds kept"
            drawn.append(_Cell([name, score(row, metric), part], row, models))
        else:
            reason = "parameters not kept; use keep.params=all" if ok else score(row, metric)
            omitted.append(f"{name or 'the one cell'} ({reason})")
    if not drawn and by is not None:
        # The best cell of all may have kept its parameters even if no value's best cell did.
        return _select(sweep, subject, None, seeds)
    sentences = ["No model can be drawn, so the examples stand alone."]
    if drawn:
        sentences = [_describe_choice(trials, metric, by)]
        sentences += ["The regions are those of its best seed."] if seeds == 1 else []
    sentences += [f"Not shown: {'; '.join(omitted)}."] if omitted else []
    return drawn, f"{subject} by {by}" if by else subject, " ".join(sentences)


def _describe_choice(trials: pd.DataFrame, metric: str, by: str | None) -> str:
    """Describe the chosen cells in a sentence."""
    values = trials[by].nunique(dropna=False) if by else 0
    shown = f"{MOST_PANELS} of {values} values of" if values > MOST_PANELS else "each"
    over = [f"{replicate_name(trials)}s"] if replicates(trials).nunique() > 1 else []
    # The spread over splits includes that over held-out examples.
    if not split_count(trials) and part_values(trials, metric) is not None:
        over.append("held-out examples")
    error = f", mean ± standard error over {' and '.join(over)}" if over else ""
    return f"The best cell{f' for {shown} {by}' if by else ''} by {metric}{error}."


def _classes(examples: ExampleData, predict: Callable[[Any], np.ndarray]) -> np.ndarray:
    """Return the index of the class that a model predicts, on a grid over both features."""
    grid = np.meshgrid(*(np.linspace(*limits, _ACROSS) for limits in examples.limits))
    points = np.stack([axis.ravel() for axis in grid], axis=1)
    labels = pd.Index(predict(points).astype(str))
    return pd.Index(examples.classes).get_indexer(labels).reshape(_ACROSS, _ACROSS)


def _least_squares(examples: ExampleData, trials: pd.DataFrame, x: np.ndarray) -> np.ndarray | None:
    """Return the line of least squares at `x` if the trials record it, for the standardized feature."""
    if not {"least_squares_w", "least_squares_b"} <= set(trials):
        return None
    w, b = trials[["least_squares_w", "least_squares_b"]].iloc[0].to_numpy(float)
    mean, std = examples.moments[int(trials["split"].iloc[0]) if "split" in trials else 0]
    return w * (x - mean[0]) / std[0] + b


class ParameterPanel(NamedTuple):
    """A recorded parameter.

    Attributes:
        title: The name of the parameter.
        trials: The steps and values of some trials, float64 `(steps, 2)` each.
        mean: The mean over all trials, by step.
        least_squares: The value of least squares for each data set, if it is known.
    """

    title: list[str]
    trials: list[np.ndarray]
    mean: pd.Series
    least_squares: list[float]


def parameter_curves(sweep: StoredSweep) -> Panels[ParameterPanel]:
    """Return the recorded parameters of the trials that did not diverge.

    Raises:
        KeyError: If no parameters were recorded.
    """
    names = recorded_parameters(sweep.trials)
    if not names:
        raise KeyError("no parameters were recorded: train the sweep with record_params=true")
    shown = names[:_MOST_PARAMETERS]
    trials, curves = sweep.trials, sweep.curves
    ok = trials.loc[trials["status"] == "ok", ["trial"]]
    drawn = sample_trials(ok, _MOST_TRIALS)
    values = curves.loc[curves["trial"].isin(ok["trial"]), ["trial", "step", *shown]]
    values = values.astype(dict.fromkeys(shown, float))
    mean = values.groupby("step")[shown].mean()
    groups = [group for _, group in values[values["trial"].isin(drawn["trial"])].groupby("trial")]
    panels = [
        ParameterPanel(
            [name.removeprefix("param.")],
            [group[["step", name]].to_numpy(float) for group in groups if group[name].notna().any()],
            mean[name],
            _known_values(trials, name.removeprefix("param.")),
        )
        for name in shown
    ]
    choice = f"The first {len(shown)} of {len(names)} parameters. " if len(shown) < len(names) else ""
    caption = f"{choice}{_count(len(trials), len(ok), len(drawn))}.{_units(sweep)}"
    return Panels("Parameters against the step", caption, panels)


def _known_values(trials: pd.DataFrame, name: str) -> list[float]:
    column = f"least_squares_{name}"
    return trials[column].dropna().unique().tolist() if column in trials else []


def _count(trials: int, ok: int, drawn: int) -> str:
    """Describe how many trials are drawn."""
    if not ok:
        return "The trial diverged" if trials == 1 else f"All {trials:,} trials diverged"
    text = f"{drawn:,} of {ok:,} trials, drawn at random" if drawn < ok else format_count(ok, "trial")
    return f"{text}; {trials - ok:,} more diverged" if ok < trials else text


def _units(sweep: StoredSweep) -> str:
    data = sweep.plan["data"].values()
    standardized = any(any(record["mean"]) or {*record["std"]} - {1.0} for record in data)
    return " The parameters are those of standardized features." if standardized else ""
