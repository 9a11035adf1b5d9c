"""Compute the logits of logistic regression on two features, and the lines where they are 0.

A logit is two weights and a bias, for the original features: `w0 x0 + w1 x1 + b`, float64 `(3,)`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit

from vsweep.analysis.cells import Row, ranked_trials, rows_of, score
from vsweep.analysis.labels import (
    cell_label,
    evenly_spaced_indices,
    format_value,
    replicate_label,
)
from vsweep.analysis.predictions import ExampleData, ExamplePanels, Limits, example_data_for
from vsweep.analysis.ranking import rank_cells, varied_axes
from vsweep.metrics import LR, axes_of
from vsweep.store.reader import StoredSweep

# The largest number of learning rates, and the points along a feature at which a probability is shown.
_MOST_RATES, _POINTS = 6, 200
# The names of recorded parameters, for a single output and for an output per class.
_ONE_OUTPUT = ("w.0", "w.1", "b")
_TWO_OUTPUTS = ("w.0.0", "w.0.1", "b.0", "w.1.0", "w.1.1", "b.1")


class Boundary(NamedTuple):
    """The decision boundaries of a cell.

    Attributes:
        title: In lines.
        seeds: The end points `(2, 2)` of each of several seeds' lines inside the picture.
        name: The name of the strong line.
        strong: The end points of the line of the mean logit, if it is inside the picture.
        probability: The probability of the second class on a grid, `(points, points)`, if it is known.
    """

    title: list[str]
    seeds: list[np.ndarray]
    name: str
    strong: np.ndarray | None
    probability: np.ndarray | None


class Steps(NamedTuple):
    """A trial's decision boundary by step, as end points `(2, 2)`; None where it is outside the picture."""

    title: list[str]
    ends: list[np.ndarray | None]


def boundaries_of(sweep: StoredSweep) -> ExamplePanels[Boundary]:
    """Return the decision boundaries of the best and of the last cell of logistic regression.

    Raises:
        KeyError: If the data are not two classes over two features, there are several data sets, no cell is
            of logistic regression, or no parameters are known.
    """
    examples, trials, cells = _logistic(sweep, "boundaries")
    rows = rows_of(cells)
    places = [("best", rows[0]), (f"last of {len(rows)}", rows[-1])][: len(rows)]
    logits = [_final_logits(sweep, examples, trials[trials["cell"] == row["cell"]]) for _, row in places]
    if not any(len(known) for known, _ in logits):
        needs = "train the sweep with keep.params=all or record_params=true"
        raise KeyError(f"the parameters of the best and of the last cell were not kept: {needs}")
    panels = [
        _boundary(sweep, examples, place, row, *known)
        for (place, row), known in zip(places, logits, strict=True)
    ]
    caption = f"The color behind the examples is the probability of {examples.classes[1]}."
    title = "Logistic regression: where the probability is 1/2"
    return ExamplePanels(title, caption + examples.note, panels, examples)


def _boundary(
    sweep: StoredSweep, examples: ExampleData, place: str, row: Row, logits: np.ndarray, ok: np.ndarray
) -> Boundary:
    trials, metric = sweep.trials, sweep.metric
    title = [f"{place}: {cell_label(row, varied_axes(trials))}".removesuffix(": "), score(row, metric)]
    values = trials.loc[trials["cell"] == row["cell"], f"final_{metric}"].astype(float).dropna()
    if row["diverged"] == row["seeds"] and len(values):
        title.append(f"{metric} at their end {format_value(float(values.mean()))}")
    if len(logits) < row["seeds"]:
        title.append(f"{len(logits)} of {row['seeds']} trials kept parameters; keep.params=all keeps all")
    title += describe_hidden(logits, examples.limits, "seed")
    several = len(logits) > 1
    ends = [line for logit in logits if several and (line := line_ends(logit, examples.limits)) is not None]
    finite = np.isfinite(logits).all(axis=1)
    if not finite.any():
        return Boundary(title, ends, "", None, None)
    if (finite & ok).any():
        strong, name = logits[finite & ok].mean(axis=0), "line of the mean logit" if several else "line"
    else:
        strong, name = logits[finite][0], "line of the first seed, where all diverge"
    x, y = (np.linspace(low, high, _POINTS) for low, high in examples.limits)
    probability = expit(strong[0] * x[None, :] + strong[1] * y[:, None] + strong[2])
    return Boundary(title, ends, name, line_ends(strong, examples.limits), probability)


def first_steps_of(sweep: StoredSweep, steps: int = 10) -> ExamplePanels[Steps]:
    """Return the decision boundary after each of the first steps, for the best trial of each learning rate.

    Raises:
        KeyError: As `boundaries_of` does, or if the parameters of every step were not recorded.
    """
    examples, trials, cells = _logistic(sweep, "first_steps")
    cells = cells.drop_duplicates(LR).sort_values(LR) if LR in axes_of(trials) else cells.head(1)
    cells = cells.iloc[evenly_spaced_indices(len(cells), _MOST_RATES)]
    panels = []
    for cell in cells["cell"]:
        trial = rows_of(ranked_trials(trials, int(cell), sweep.metric))[0]
        records = sweep.curves[sweep.curves["trial"] == trial["trial"]]
        curve = records[records["step"] <= steps]
        logits = _recorded_logits(curve, "param.")
        if logits is None or len(curve) <= min(steps, records["step"].max()):
            needs = "train the sweep with record_params=true and record_every=1"
            raise KeyError(f"the parameters of every step were not recorded: {needs}")
        logits = _on_raw_features(logits, examples, np.full(len(logits), trial.get("split", 0)))
        name = f"{cell_label(trial, varied_axes(trials))} {replicate_label(trial)}".strip()
        diverged = "" if trial["status"] == "ok" else f"diverges at step {trial['diverged_at']}"
        lines = [name, diverged, *describe_hidden(logits, examples.limits, "step")]
        panels.append(Steps(lines, [line_ends(logit, examples.limits) for logit in logits]))
    rates = " for each learning rate" if len(cells) > 1 else ""
    choice = f"The best seed of the best cell{rates} is shown. " if len(trials) > 1 else ""
    title = "Logistic regression: where the probability is 1/2 after each of the first steps"
    return ExamplePanels(title, f"{choice}Step 0 is before any update.{examples.note}", panels, examples)


def _logistic(sweep: StoredSweep, name: str) -> tuple[ExampleData, pd.DataFrame, pd.DataFrame]:
    """Return the examples, the table of trials, and the cells of logistic regression, best first.

    Raises:
        KeyError: If the data are not two classes over two features, or no cell is of logistic regression.
    """
    examples, trials = example_data_for(sweep, name, 2, "two classes"), sweep.trials
    cells = rank_cells(trials, sweep.metric)
    model = cells["model"] if "model" in cells else sweep.config["model"]["name"]
    cells = cells[(model == "logistic") & cells["cell"].notna()]
    if cells.empty:
        raise KeyError(f"{name} shows model=logistic, and this sweep has none")
    return examples, trials, cells


def _final_logits(
    sweep: StoredSweep, examples: ExampleData, trials: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """Return the final logits of a cell's trials whose parameters were kept or recorded.

    Returns:
        The logits, `(known, 3)`, and whether each trial did not diverge, bool `(known,)`.
    """
    logits = _recorded_logits(trials, "final_param.")
    if logits is None:
        stored = [_kept_logit(sweep, int(trial)) for trial in trials["trial"]]
        trials = trials[[logit is not None for logit in stored]]
        logits = np.reshape([logit for logit in stored if logit is not None], (-1, 3))
    splits = trials["split"].to_numpy() if "split" in trials else np.zeros(len(trials), np.int64)
    return _on_raw_features(logits, examples, splits), (trials["status"] == "ok").to_numpy()


def _kept_logit(sweep: StoredSweep, trial: int) -> np.ndarray | None:
    """Return the logit of a trial's kept parameters, for standardized features; None if there are none."""
    try:
        params = sweep.params(trial)
    except KeyError:
        return None
    # The arrays of the one layer are named `0.w` and `0.b`.
    arrays = {key.rpartition(".")[2]: np.asarray(leaf, float) for key, leaf in params.items()}
    layer = np.column_stack([arrays["w"], arrays["b"]])
    with np.errstate(invalid="ignore"):
        return layer[1] - layer[0] if len(layer) > 1 else layer[0]


def _recorded_logits(frame: pd.DataFrame, prefix: str) -> np.ndarray | None:
    """Return the recorded logits, `(rows, 3)`, for standardized features; None if there are none."""
    columns = [[f"{prefix}{name}" for name in names] for names in (_ONE_OUTPUT, _TWO_OUTPUTS)]
    columns = [names for names in columns if set(names) <= set(frame)]
    if not columns:
        return None
    # A sweep over losses records both kinds, and each trial has values for one of them.
    names = next((names for names in columns if frame[names[0]].notna().any()), columns[0])
    values = frame[names].to_numpy(float)
    with np.errstate(invalid="ignore"):
        return values if len(names) == 3 else values[:, 3:] - values[:, :3]


def _on_raw_features(logits: np.ndarray, examples: ExampleData, splits: np.ndarray) -> np.ndarray:
    """Convert logits for standardized features, `(rows, 3)`, to logits for the original features.

    Args:
        logits: Float64 `(rows, 3)`.
        examples: The data.
        splits: Int64 `(rows,)`, the split by which features were standardized.
    """
    moments = np.asarray([examples.moments[split] for split in splits.tolist()]).reshape(-1, 2, 2)
    with np.errstate(invalid="ignore", over="ignore"):
        w = logits[:, :2] / moments[:, 1]
        return np.column_stack([w, logits[:, 2] - (w * moments[:, 0]).sum(axis=1)])


def line_ends(logit: np.ndarray, limits: Sequence[Limits]) -> np.ndarray | None:
    """Return the points where a logit's line enters and leaves a rectangle, `(2, 2)`, or None."""
    if not np.isfinite(logit).all():
        return None
    (w0, w1, b), (horizontal, vertical) = logit, limits
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        points = [(x, float(np.divide(-(w0 * x + b), w1))) for x in horizontal]
        points += [(float(np.divide(-(w1 * y + b), w0)), y) for y in vertical]
    # A line through a corner meets two sides there.
    ends = {
        (x, y) for x, y in points if horizontal[0] <= x <= horizontal[1] and vertical[0] <= y <= vertical[1]
    }
    return np.asarray([min(ends), max(ends)]) if len(ends) > 1 else None


def describe_hidden(logits: np.ndarray, limits: Sequence[Limits], unit: str) -> list[str]:
    """Describe how many logits have no line in a rectangle, and why; `unit` is `seed` or `step`."""
    finite = np.isfinite(logits).all(axis=1)
    flat = finite & (logits[:, :2] == 0.0).all(axis=1)
    outside = np.asarray([line_ends(logit, limits) is None for logit in logits], bool) & finite & ~flat
    reasons = {"not finite": ~finite, "no line, all weights 0": flat, "line outside": outside}
    units = f"{unit}s" if len(logits) > 1 else unit
    return [f"{name}: {rows.sum()} of {len(rows)} {units}" for name, rows in reasons.items() if rows.any()]
