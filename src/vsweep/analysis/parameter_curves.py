"""Compute the data behind the picture of recorded parameters against the step."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from vsweep.analysis.labels import format_count
from vsweep.analysis.ranking import recorded_parameters
from vsweep.store.reader import StoredSweep

_MOST_PARAMETERS, _MOST_TRIALS = 12, 400


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


class ParameterCurves(NamedTuple):
    """The recorded parameters of a sweep, a panel each, and the last step."""

    title: str
    caption: str
    last: float
    panels: list[ParameterPanel]


def parameter_curves(sweep: StoredSweep) -> ParameterCurves:
    """Return the recorded parameters of the trials that did not diverge.

    Raises:
        KeyError: If no parameters were recorded.
    """
    names = recorded_parameters(sweep.trials)
    if not names:
        raise KeyError("no parameters were recorded: train the sweep with record_params=true")
    shown = names[:_MOST_PARAMETERS]
    trials, curves = sweep.trials, sweep.curves
    ok = trials.loc[trials["status"] == "ok", "trial"].to_numpy()
    rng = np.random.default_rng(0)
    drawn = ok if len(ok) <= _MOST_TRIALS else rng.choice(ok, _MOST_TRIALS, replace=False)
    kept = curves.loc[curves["trial"].isin(ok), ["trial", "step", *shown]].astype(dict.fromkeys(shown, float))
    mean = kept.groupby("step")[shown].mean()
    groups = [group for _, group in kept[kept["trial"].isin(drawn)].groupby("trial")]
    panels = [
        ParameterPanel(
            [name.removeprefix("param.")],
            [group[["step", name]].to_numpy(float) for group in groups if group[name].notna().any()],
            mean[name],
            _least_squares(trials, name.removeprefix("param.")),
        )
        for name in shown
    ]
    choice = f"The first {len(shown)} of {len(names)} parameters. " if len(shown) < len(names) else ""
    caption = f"{choice}{_count(len(trials), len(ok), len(drawn))}.{_units(sweep)}"
    return ParameterCurves("Parameters against the step", caption, float(curves["step"].max()), panels)


def _least_squares(trials: pd.DataFrame, name: str) -> list[float]:
    column = f"least_squares_{name}"
    return trials[column].dropna().unique().tolist() if column in trials else []


def _count(trials: int, ok: int, drawn: int) -> str:
    """Describe how many trials are drawn."""
    if not ok:
        return "The trial diverged" if trials == 1 else f"All {trials:,} trials diverged"
    text = f"{drawn:,} of {ok:,} trials, drawn at random" if drawn < ok else format_count(ok, "trial")
    return f"{text}; {trials - ok:,} more diverged" if ok < trials else text


def _units(sweep: StoredSweep) -> str:
    standardised = any(
        set(data["mean"]) | {0.0} != {0.0} or set(data["std"]) | {1.0} != {1.0}
        for data in sweep.plan["data"].values()
    )
    return " The parameters are those of standardised features." if standardised else ""
