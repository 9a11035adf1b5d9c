"""Logistic regression of two classes on two features, as a logit, and the line where it is 0.

A logit is two weights and a bias, of features as they came: `w0 x0 + w1 x1 + b`, float64 `(3,)`.
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

# Panels of learning rates, at most, and points along a feature at which a probability is shown.
_MOST_RATES, _ACROSS = 6, 200
# Parameters as they are recorded: of one output, and of an output for each class.
_ONE, _EACH = ("w.0", "w.1", "b"), ("w.0.0", "w.0.1", "b.0", "w.1.0", "w.1.1", "b.1")


def logits_of(sweep: StoredSweep, scene: ExampleData, trials: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """The logits of trials at their end, `(known, 3)`, and which of these did not diverge, `(known,)`.

    They are of the parameters that were kept, or else were recorded last; others are left out.
    """
    known: list[np.ndarray | None] = []
    for i, trial in enumerate(trials["trial"]):
        kept = _kept(sweep, int(trial))
        recorded = _recorded(trials.iloc[[i]], "final_param.") if kept is None else None
        known.append(kept if recorded is None else recorded[0])
    there = [i for i, logit in enumerate(known) if logit is not None]
    logits = np.asarray([known[i] for i in there], float).reshape(-1, 3)
    return _as_they_came(logits, scene), (trials["status"] == "ok").to_numpy()[there]


def after_steps(curves: pd.DataFrame, scene: ExampleData, trial: int, steps: int) -> np.ndarray:
    """The logit of a trial before its first step and after each of its first steps, `(1 + steps, 3)`.

    There are fewer where the training has fewer. Raises `KeyError` where one was not recorded.
    """
    curve = curves[curves["trial"] == trial]
    wanted = np.arange(min(steps, int(curve["step"].max())) + 1)
    curve = curve[curve["step"].isin(wanted)]
    logits = _recorded(curve, "param.")
    if logits is None or len(curve) < len(wanted):
        needs = "train the sweep with record_params=true and record_every=1"
        raise KeyError(f"the parameters of every step were not recorded: {needs}")
    return _as_they_came(logits, scene)


def _kept(sweep: StoredSweep, trial: int) -> np.ndarray | None:
    """The logit of a trial's parameters, of standardised features; None where they were not kept."""
    try:
        params = sweep.params(trial)
    except KeyError:
        return None
    # One layer, whose arrays are named `0.w` and `0.b`.
    by_name = {key.rpartition(".")[2]: np.asarray(leaf, float) for key, leaf in params.items()}
    w, b = by_name["w"], by_name["b"]
    with np.errstate(invalid="ignore"):
        return np.append(w[0], b[0]) if len(b) == 1 else np.append(w[1] - w[0], b[1] - b[0])


def _recorded(frame: pd.DataFrame, prefix: str) -> np.ndarray | None:
    """The logits of recorded parameters, `(rows, 3)`, of standardised features; None where there are none."""
    recorded = [names for names in (_ONE, _EACH) if {f"{prefix}{name}" for name in names} <= set(frame)]
    if not recorded:
        return None
    # Where losses differ, each has its own; what went to nothing has neither.
    names = next((each for each in recorded if frame[f"{prefix}{each[0]}"].notna().any()), recorded[0])
    values = frame[[f"{prefix}{name}" for name in names]].to_numpy(float)
    with np.errstate(invalid="ignore"):
        return values if names is _ONE else values[:, 3:] - values[:, :3]


def _as_they_came(logits: np.ndarray, scene: ExampleData) -> np.ndarray:
    """Logits of standardised features, `(rows, 3)`, as those of features as they came."""
    with np.errstate(invalid="ignore", over="ignore"):
        w = logits[:, :2] / scene.std
        return np.column_stack([w, logits[:, 2] - w @ scene.mean])


def across(logit: np.ndarray, limits: Sequence[Limits]) -> np.ndarray | None:
    """Where the line enters and leaves a rectangle, `(2, 2)`; None where it does not."""
    if not np.isfinite(logit).all():
        return None
    (w0, w1, b), (horizontal, vertical) = logit, limits
    ends: list[tuple[float, float]] = []
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        for x in horizontal:
            y = float(np.divide(-(w0 * x + b), w1))
            ends += [(x, y)] if vertical[0] <= y <= vertical[1] else []
        for y in vertical:
            x = float(np.divide(-(w1 * y + b), w0))
            ends += [(x, y)] if horizontal[0] <= x <= horizontal[1] else []
    # Through a corner it comes twice.
    return np.asarray([min(ends), max(ends)]) if len(set(ends)) > 1 else None


def unseen(logits: np.ndarray, limits: Sequence[Limits], what: str) -> list[str]:
    """Why the lines of some logits are not there, in words. what: a logit is of: a `seed`, or a `step`."""
    finite = np.isfinite(logits).all(axis=1)
    flat = finite & (logits[:, :2] == 0.0).all(axis=1)
    outside = np.asarray([across(logit, limits) is None for logit in logits], bool) & finite & ~flat
    reasons = {"not finite": ~finite, "no line, all weights 0": flat, "line outside": outside}
    return [f"{why}: {_places(which, what)}" for why, which in reasons.items() if which.any()]


def _places(which: np.ndarray, what: str) -> str:
    """Which steps, or how many seeds, in words."""
    places = np.flatnonzero(which)
    if what == "seed":
        return f"{len(places)} of {len(which)} seed{'s' * (len(which) > 1)}"
    spans = np.split(places, np.flatnonzero(np.diff(places) > 1) + 1)
    text = ", ".join(f"{span[0]}–{span[-1]}" if len(span) > 1 else str(span[0]) for span in spans)
    return f"step{'s' * (len(places) > 1)} {text}"


class Boundary(NamedTuple):
    """The decision boundaries of a cell.

    Attributes:
        title: In lines.
        seeds: The end points `(2, 2)` of each seed's line inside the picture.
        known: The number of seeds whose parameters are known.
        strong: The end points of the line of the mean logit, if it is inside the picture.
        mean: Whether `strong` is a mean, or the line of one seed because all diverged.
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

    recorded: the number of steps, step 0 included.
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
    cells = rows_of(_logistic(sweep, metric, "boundaries"))
    rows = [("best", cells[0]), (f"last of {len(cells)}", cells[-1])][: len(cells)]
    logits = [logits_of(sweep, examples, trials[trials["cell"] == row["cell"]]) for _, row in rows]
    if not any(len(lines) for lines, _ in logits):
        needs = "train the sweep with keep.params=all or record_params=true"
        raise KeyError(f"the parameters of the best and of the last cell were not kept: {needs}")
    panels = []
    for (place, row), (lines, ok) in zip(rows, logits, strict=True):
        name = f"{place}: {cell_label(row, varied_axes(trials))}".removesuffix(": ")
        title = [name, score(row, metric), _diverged_score(trials, row, metric), _unknown(row, lines)]
        strong, mean = _strong(lines, ok)
        panels.append(
            Boundary(
                [*title, *unseen(lines, examples.limits, "seed")],
                _inside(lines, examples.limits),
                len(lines),
                None if strong is None else across(strong, examples.limits),
                mean,
                None if strong is None else _probability(strong, examples.limits),
            )
        )
    caption = f"The colour behind the examples is the probability of {examples.classes[1]}."
    return Boundaries("Logistic regression: where the probability is 1/2", caption, examples, panels)


def first_steps_of(sweep: StoredSweep, steps: int = 10) -> FirstSteps:
    """Return the decision boundary after each of the first steps, for the best trial of each learning rate.

    Raises:
        KeyError: As `boundaries_of` does, or if the parameters of every step were not recorded.
    """
    examples = example_data_for(sweep, "first_steps", 2, "two classes")
    metric = default_metric(sweep.trials)
    cells = _logistic(sweep, metric, "first_steps")
    if LR in axes_of(sweep.trials):
        cells = cells.drop_duplicates(LR).sort_values(LR)
        cells = cells.iloc[evenly_spaced_indices(len(cells), _MOST_RATES)]
    else:
        cells = cells.head(1)
    panels, count = [], 0
    for cell in cells["cell"]:
        trial = rows_of(ranked_trials(sweep.trials, int(cell), metric))[0]
        logits = after_steps(sweep.curves, examples, trial["trial"], steps)
        name = f"{cell_label(trial, varied_axes(sweep.trials))} seed={trial['seed']}".strip()
        diverged = "" if trial["status"] == "ok" else f"diverges at step {trial['diverged_at']}"
        lines = {step: across(logit, examples.limits) for step, logit in enumerate(logits)}
        ends = {step: line for step, line in lines.items() if line is not None}
        panels.append(Steps([name, diverged, *unseen(logits, examples.limits, "step")], ends))
        count = max(count, len(logits))
    each = " of each learning rate" if len(cells) > 1 else ""
    which = f"The best seed of the best cell{each}. " if len(sweep.trials) > 1 else ""
    title = "Logistic regression: where the probability is 1/2 after each of the first steps"
    return FirstSteps(title, f"{which}Step 0 is before any update.", examples, count, panels)


def _logistic(sweep: StoredSweep, metric: str, name: str) -> pd.DataFrame:
    """Return the cells of logistic regression, best first. Raises `KeyError` where there are none."""
    cells = rank_cells(sweep.trials, metric)
    if "model" in cells:
        cells = cells[cells["model"] == "logistic"]
    elif sweep.config["model"]["name"] != "logistic":
        cells = cells.head(0)
    if cells.empty:
        raise KeyError(f"{name} shows model=logistic, and this sweep has none")
    return cells


def _inside(logits: np.ndarray, limits: Sequence[Limits]) -> list[np.ndarray]:
    return [line for line in (across(logit, limits) for logit in logits) if line is not None]


def _strong(logits: np.ndarray, ok: np.ndarray) -> tuple[np.ndarray | None, bool]:
    """Return the mean logit of the seeds that did not diverge, or else the first finite logit and False."""
    finite = np.isfinite(logits).all(axis=1)
    if (finite & ok).any():
        return logits[finite & ok].mean(axis=0), True
    return (logits[finite][0] if finite.any() else None), False


def _probability(logit: np.ndarray, limits: Sequence[Limits]) -> np.ndarray:
    """Return the probability of the second class on a grid over the limits."""
    x, y = (np.linspace(low, high, _ACROSS) for low, high in limits)
    return expit(logit[0] * x[None, :] + logit[1] * y[:, None] + logit[2])


def _unknown(row: Row, logits: np.ndarray) -> str:
    known, seeds = len(logits), int(row["seeds"])
    return "" if known == seeds else f"parameters kept of {known} of {seeds} seeds (keep.params=all: of all)"


def _diverged_score(trials: pd.DataFrame, row: Row, metric: str) -> str:
    """Describe the metric of a cell whose seeds all diverged, where it has values."""
    if row["diverged"] < row["seeds"]:
        return ""
    values = trials.loc[trials["cell"] == row["cell"], f"final_{metric}"].astype(float).dropna()
    return f"{metric} at their end {format_with_error(values.mean(), values.sem())}" if len(values) else ""
