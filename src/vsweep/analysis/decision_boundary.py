"""Compute the logits of logistic regression on two features, and the lines where they are 0.

A logit is two weights and a bias, for the original features: `w0 x0 + w1 x1 + b`, float64 `(3,)`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit

from vsweep.analysis.cells import Row, ranked_trials, rows_of, score
from vsweep.analysis.example_data import ExampleData, Limits, example_data_for
from vsweep.analysis.labels import cell_label, evenly_spaced_indices, format_with_error
from vsweep.analysis.ranking import rank_cells, varied_axes
from vsweep.metrics import LR, axes_of, default_metric
from vsweep.store.reader import StoredSweep

# The largest number of learning rates, and the points along a feature at which a probability is shown.
_MOST_RATES, _POINTS = 6, 200
# The names of recorded parameters, for a single output and for an output per class.
_ONE_OUTPUT = ("w.0", "w.1", "b")
_TWO_OUTPUTS = ("w.0.0", "w.0.1", "b.0", "w.1.0", "w.1.1", "b.1")


def final_logits(
    sweep: StoredSweep, examples: ExampleData, trials: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """Return the final logits of a cell's trials whose parameters were kept or recorded.

    Returns:
        The logits, `(known, 3)`, and whether each trial did not diverge, bool `(known,)`.
    """
    logits = [_kept_logit(sweep, int(trial)) for trial in trials["trial"]]
    recorded = _recorded_logits(trials, "final_param.")
    if recorded is not None:
        logits = [recorded[i] if logit is None else logit for i, logit in enumerate(logits)]
    known = np.asarray([logit is not None for logit in logits], bool)
    table = np.asarray([logit for logit in logits if logit is not None], float).reshape(-1, 3)
    return _on_raw_features(table, examples), (trials["status"] == "ok").to_numpy()[known]


def first_logits(curves: pd.DataFrame, examples: ExampleData, trial: int, steps: int) -> np.ndarray:
    """Return a trial's logits before and after each of its first steps, `(1 + steps, 3)` or fewer.

    Raises:
        KeyError: If the parameters of one of these steps were not recorded.
    """
    curve = curves[curves["trial"] == trial]
    needed = np.arange(min(steps, int(curve["step"].max())) + 1)
    curve = curve[curve["step"].isin(needed)]
    logits = _recorded_logits(curve, "param.")
    if logits is None or len(curve) < len(needed):
        needs = "train the sweep with record_params=true and record_every=1"
        raise KeyError(f"the parameters of every step were not recorded: {needs}")
    return _on_raw_features(logits, examples)


def _kept_logit(sweep: StoredSweep, trial: int) -> np.ndarray | None:
    """Return the logit of a trial's kept parameters, for standardised features; None if there are none."""
    try:
        params = sweep.params(trial)
    except KeyError:
        return None
    # The arrays of the one layer are named `0.w` and `0.b`.
    arrays = {key.rpartition(".")[2]: np.asarray(leaf, float) for key, leaf in params.items()}
    w, b = arrays["w"], arrays["b"]
    with np.errstate(invalid="ignore"):
        return np.append(w[0], b[0]) if len(b) == 1 else np.append(w[1] - w[0], b[1] - b[0])


def _recorded_logits(frame: pd.DataFrame, prefix: str) -> np.ndarray | None:
    """Return the recorded logits, `(rows, 3)`, for standardised features; None if there are none."""
    columns = [[f"{prefix}{name}" for name in names] for names in (_ONE_OUTPUT, _TWO_OUTPUTS)]
    columns = [names for names in columns if set(names) <= set(frame)]
    if not columns:
        return None
    # A sweep over losses records both kinds, and each trial has values for one of them.
    names = next((names for names in columns if frame[names[0]].notna().any()), columns[0])
    values = frame[names].to_numpy(float)
    with np.errstate(invalid="ignore"):
        return values if len(names) == 3 else values[:, 3:] - values[:, :3]


def _on_raw_features(logits: np.ndarray, examples: ExampleData) -> np.ndarray:
    """Convert logits for standardised features, `(rows, 3)`, to logits for the original features."""
    with np.errstate(invalid="ignore", over="ignore"):
        w = logits[:, :2] / examples.std
        return np.column_stack([w, logits[:, 2] - w @ examples.mean])


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
        (x, y)
        for i, (x, y) in enumerate(points)
        if (vertical[0] <= y <= vertical[1] if i < 2 else horizontal[0] <= x <= horizontal[1])
    }
    return np.asarray([min(ends), max(ends)]) if len(ends) > 1 else None


def describe_hidden(logits: np.ndarray, limits: Sequence[Limits], unit: str) -> list[str]:
    """Describe which logits have no line in a rectangle, and why; `unit` is `seed` or `step`."""
    finite = np.isfinite(logits).all(axis=1)
    flat = finite & (logits[:, :2] == 0.0).all(axis=1)
    outside = np.asarray([line_ends(logit, limits) is None for logit in logits], bool) & finite & ~flat
    reasons = {"not finite": ~finite, "no line, all weights 0": flat, "line outside": outside}
    return [f"{reason}: {_count_or_steps(rows, unit)}" for reason, rows in reasons.items() if rows.any()]


def _count_or_steps(rows: np.ndarray, unit: str) -> str:
    """List steps, in ranges, or count seeds."""
    indices = np.flatnonzero(rows)
    if unit == "seed":
        return f"{len(indices)} of {len(rows)} seed{'s' * (len(rows) > 1)}"
    ranges = np.split(indices, np.flatnonzero(np.diff(indices) > 1) + 1)
    text = ", ".join(f"{steps[0]}–{steps[-1]}" if len(steps) > 1 else str(steps[0]) for steps in ranges)
    return f"step{'s' * (len(indices) > 1)} {text}"


class Boundary(NamedTuple):
    """The decision boundaries of a cell.

    Attributes:
        title: In lines.
        seeds: The end points `(2, 2)` of each seed's line inside the picture.
        known: The number of seeds whose parameters are known.
        strong: The end points of the line of the mean logit, if it is inside the picture.
        mean: Whether `strong` is a mean; otherwise all seeds diverged, and it is the line of one seed.
        probability: The probability of the second class on a grid, `(points, points)`, if it is known.
    """

    title: list[str]
    seeds: list[np.ndarray]
    known: int
    strong: np.ndarray | None
    mean: bool
    probability: np.ndarray | None


class Boundaries(NamedTuple):
    """Examples of two classes over two features, and the decision boundaries of some cells."""

    title: str
    caption: str
    examples: ExampleData
    panels: list[Boundary]


class Steps(NamedTuple):
    """The end points `(2, 2)` of a trial's decision boundary inside the picture, by step."""

    title: list[str]
    ends: dict[int, np.ndarray]


class FirstSteps(NamedTuple):
    """Examples of two classes over two features, and the boundary of some trials after their first steps.

    Attributes:
        title: The title.
        caption: The caption.
        examples: The examples.
        recorded: The number of steps, step 0 included.
        panels: A panel for each trial.
    """

    title: str
    caption: str
    examples: ExampleData
    recorded: int
    panels: list[Steps]


def boundaries_of(sweep: StoredSweep) -> Boundaries:
    """Return the decision boundaries of the best and of the last cell of logistic regression.

    Raises:
        KeyError: If the data are not two classes over two features, there are several data sets, no cell is
            of logistic regression, or no parameters are known.
    """
    examples = example_data_for(sweep, "boundaries", 2, "two classes")
    trials, metric = sweep.trials, default_metric(sweep.trials)
    cells = rows_of(_logistic_cells(sweep, metric, "boundaries"))
    rows = [("best", cells[0]), (f"last of {len(cells)}", cells[-1])][: len(cells)]
    logits = [final_logits(sweep, examples, trials[trials["cell"] == row["cell"]]) for _, row in rows]
    if not any(len(lines) for lines, _ in logits):
        needs = "train the sweep with keep.params=all or record_params=true"
        raise KeyError(f"the parameters of the best and of the last cell were not kept: {needs}")
    panels = []
    for (place, row), (lines, ok) in zip(rows, logits, strict=True):
        name = f"{place}: {cell_label(row, varied_axes(trials))}".removesuffix(": ")
        title = [name, score(row, metric), _diverged_score(trials, row, metric)]
        if len(lines) < row["seeds"]:
            title.append(f"parameters kept of {len(lines)} of {row['seeds']} seeds (keep.params=all: of all)")
        title += describe_hidden(lines, examples.limits, "seed")
        ends = [line for line in (line_ends(logit, examples.limits) for logit in lines) if line is not None]
        finite = np.isfinite(lines).all(axis=1)
        mean = bool((finite & ok).any())
        # Where all seeds diverged, the first finite logit stands for their mean.
        strong = lines[finite & ok].mean(axis=0) if mean else lines[finite][0] if finite.any() else None
        line, probability = None, None
        if strong is not None:
            line, probability = line_ends(strong, examples.limits), _probability(strong, examples.limits)
        panels.append(Boundary(title, ends, len(lines), line, mean, probability))
    caption = f"The colour behind the examples is the probability of {examples.classes[1]}."
    return Boundaries("Logistic regression: where the probability is 1/2", caption, examples, panels)


def first_steps_of(sweep: StoredSweep, steps: int = 10) -> FirstSteps:
    """Return the decision boundary after each of the first steps, for the best trial of each learning rate.

    Raises:
        KeyError: As `boundaries_of` does, or if the parameters of every step were not recorded.
    """
    examples = example_data_for(sweep, "first_steps", 2, "two classes")
    trials, metric = sweep.trials, default_metric(sweep.trials)
    cells = _logistic_cells(sweep, metric, "first_steps")
    if LR in axes_of(trials):
        cells = cells.drop_duplicates(LR).sort_values(LR)
        cells = cells.iloc[evenly_spaced_indices(len(cells), _MOST_RATES)]
    else:
        cells = cells.head(1)
    panels, count = [], 0
    for cell in cells["cell"]:
        trial = rows_of(ranked_trials(trials, int(cell), metric))[0]
        logits = first_logits(sweep.curves, examples, trial["trial"], steps)
        name = f"{cell_label(trial, varied_axes(trials))} seed={trial['seed']}".strip()
        diverged = "" if trial["status"] == "ok" else f"diverges at step {trial['diverged_at']}"
        lines = {step: line_ends(logit, examples.limits) for step, logit in enumerate(logits)}
        ends = {step: line for step, line in lines.items() if line is not None}
        panels.append(Steps([name, diverged, *describe_hidden(logits, examples.limits, "step")], ends))
        count = max(count, len(logits))
    rates = " for each learning rate" if len(cells) > 1 else ""
    choice = f"The best seed of the best cell{rates} is shown. " if len(trials) > 1 else ""
    title = "Logistic regression: where the probability is 1/2 after each of the first steps"
    return FirstSteps(title, f"{choice}Step 0 is before any update.", examples, count, panels)


def _logistic_cells(sweep: StoredSweep, metric: str, name: str) -> pd.DataFrame:
    """Return the cells of logistic regression, best first; raise `KeyError` if there are none."""
    cells = rank_cells(sweep.trials, metric)
    if "model" in cells:
        cells = cells[cells["model"] == "logistic"]
    elif sweep.config["model"]["name"] != "logistic":
        cells = cells.head(0)
    if cells.empty:
        raise KeyError(f"{name} shows model=logistic, and this sweep has none")
    return cells


def _probability(logit: np.ndarray, limits: Sequence[Limits]) -> np.ndarray:
    """Return the probability of the second class on a grid over the limits."""
    x, y = (np.linspace(low, high, _POINTS) for low, high in limits)
    return expit(logit[0] * x[None, :] + logit[1] * y[:, None] + logit[2])


def _diverged_score(trials: pd.DataFrame, row: Row, metric: str) -> str:
    """Describe the metric of a cell whose seeds all diverged, if it has values."""
    if row["diverged"] < row["seeds"]:
        return ""
    values = trials.loc[trials["cell"] == row["cell"], f"final_{metric}"].astype(float).dropna()
    return f"{metric} at their end {format_with_error(values.mean(), values.sem())}" if len(values) else ""
