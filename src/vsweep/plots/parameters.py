"""A picture of the parameters themselves, on their way."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from vsweep.analysis.labels import COLOURS
from vsweep.analysis.ranking import recorded_parameters
from vsweep.plots.style import legend, panels, plain, set_suptitle
from vsweep.store.reader import StoredSweep

_MOST_PARAMETERS, _MOST_LINES = 12, 400


class Recorded(NamedTuple):
    """Recorded parameters against the step: of some trials, with a column each, and the mean of all.

    words: how many parameters and trials these are, and of what features.
    """

    names: list[str]
    drawn: list[pd.DataFrame]
    mean: pd.DataFrame
    words: list[str]


def recorded(sweep: StoredSweep, most: int, lines: int) -> Recorded:
    """At most so many parameters, and trials of those that did not diverge.

    Raises `KeyError` where no parameters were recorded.
    """
    names = recorded_parameters(sweep.trials)
    if not names:
        raise KeyError("no parameters were recorded: train the sweep with record_params=true")
    shown = names[:most]
    trials, curves = sweep.trials, sweep.curves
    ok = trials.loc[trials["status"] == "ok", "trial"].to_numpy()
    rng = np.random.default_rng(0)
    few = ok if len(ok) <= lines else rng.choice(ok, lines, replace=False)
    kept = curves.loc[curves["trial"].isin(ok), ["trial", "step", *shown]].astype(dict.fromkeys(shown, float))
    mean = kept.groupby("step")[shown].mean()
    drawn = [group for _, group in kept[kept["trial"].isin(few)].groupby("trial")]
    many = _many(len(trials), len(ok), len(few))
    some = "parameters" if shown == names else f"the first {len(shown)} of {len(names)} parameters"
    return Recorded(shown, drawn, mean, [f"{some} against the step: {many}", _units(sweep)])


def parameters(sweep: StoredSweep) -> Figure:
    """See `Plots.parameters`."""
    shown, drawn, mean, words = recorded(sweep, _MOST_PARAMETERS, _MOST_LINES)
    figure, axes = panels(len(shown), columns=3, size=(4.8, 3.2) if len(shown) == 1 else (3.0, 2.5))
    for panel, name in zip(axes, shown, strict=True):
        _lines(panel, drawn, mean[name])
        _least_squares(panel, sweep.trials, name.removeprefix("param."))
        panel.set(xlabel="step", ylabel=name.removeprefix("param."))
        panel.set_xlim(0.0, float(sweep.curves["step"].max()))
        plain(panel)
    set_suptitle(figure, *words)
    legend(figure)
    return figure


def _lines(axes: Axes, drawn: list[pd.DataFrame], mean: pd.Series) -> None:
    """A faint line for each trial that has the parameter, and the mean of all."""
    name = str(mean.name)
    having = [each[["step", name]].to_numpy(float) for each in drawn if each[name].notna().any()]
    if not having:
        return
    faint = LineCollection(having, colors=COLOURS[0], linewidths=0.6, label="a trial")
    faint.set_alpha(float(np.clip(8.0 / len(having), 0.12, 0.5)))
    axes.add_collection(faint)
    axes.plot(mean.index, mean, color=COLOURS[1], linewidth=2.0, label="mean of the trials")


def _least_squares(axes: Axes, trials: pd.DataFrame, name: str) -> None:
    """What least squares say of a parameter: as many lines as there are data sets."""
    for i, value in enumerate(solved(trials, name)):
        text = "_" if i else "least squares"
        axes.axhline(value, color="black", linestyle="--", linewidth=1.4, label=text)


def solved(trials: pd.DataFrame, name: str) -> list[float]:
    """What least squares say of a parameter, of each data set; none where they are not known."""
    column = f"least_squares_{name}"
    return trials[column].dropna().unique().tolist() if column in trials else []


def _many(trials: int, ok: int, lines: int) -> str:
    """How many trials are drawn, in words."""
    if not ok:
        return "the trial diverged" if trials == 1 else f"all {trials:,} trials diverged"
    drawn = f"{lines:,} of {ok:,} trials, drawn at random" if lines < ok else f"{ok:,} trial{'s' * (ok > 1)}"
    return f"{drawn}; {trials - ok:,} more diverged" if ok < trials else drawn


def _units(sweep: StoredSweep) -> str:
    standardised = any(
        set(data["mean"]) | {0.0} != {0.0} or set(data["std"]) | {1.0} != {1.0}
        for data in sweep.plan["data"].values()
    )
    return "they are those of standardised features" if standardised else ""
