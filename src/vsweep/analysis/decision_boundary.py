"""Logistic regression of two classes on two features, as a logit, and the line where it is 0.

A logit is two weights and a bias, of features as they came: `w0 x0 + w1 x1 + b`, float64 `(3,)`.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from vsweep.analysis.example_data import ExampleData, Limits
from vsweep.store.reader import StoredSweep

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
