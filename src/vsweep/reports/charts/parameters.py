"""The parameters themselves, as charts: ways down a line's loss, and each against the step."""

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from vsweep.analysis.cells import rows_of
from vsweep.analysis.labels import cell_label, evenly_spaced_indices
from vsweep.analysis.trajectories import FunctionPanel, loss_panels
from vsweep.metrics import LR
from vsweep.plots.parameters import recorded, solved
from vsweep.reports.charts.style import GREY, PALETTE, Chart
from vsweep.reports.charts.subplots import joined, key, line, ordered, panels, place_of
from vsweep.reports.charts.trajectories import on_contours
from vsweep.store.reader import StoredSweep

_POINTS = 8000
# Of recorded parameters: how many, the trials of each, and the steps of these, at most.
_PARAMETERS, _TRIALS, _STEPS = 6, 40, 100
_SQUARES = "least squares"


def loss_surface(sweep: StoredSweep) -> Chart:
    """The squared error of a line over its intercept and slope, with the descents on it.

    Raises `KeyError` for what is no sweep of lines whose parameters were recorded.
    """
    best, value, shown = loss_panels(sweep)
    rates = sorted({rate for bowl in shown for rate in bowl.rows.get(LR, ())}, reverse=True)
    own = dict(zip(rates, ordered(len(rates)), strict=True))
    names = ["intercept b", "slope w"]
    made = panels([[bowl.title] for bowl in shown], *names, high=300, alike=len(shown) == 1)
    most = _POINTS // sum(len(bowl.ways) for bowl in shown)
    for place, bowl in enumerate(shown):
        rows = rows_of(bowl.rows)
        colours = [own.get(row.get(LR), PALETTE[0]) for row in rows]
        hill = FunctionPanel(bowl.title, names, bowl.ways, value)
        on_contours(made, place, hill, colours, most, "training loss", bowl.more)
        for row, colour in zip(rows, colours, strict=True):
            key(made, cell_label(row, [LR]) if LR in row else "a descent", line={"color": colour, "width": 2})
        look = {"symbol": "cross", "size": 10, "color": PALETTE[2]}
        key(made, _SQUARES, marker=look)
        made.add_scatter(
            x=best[:1],
            y=best[1:],
            mode="markers",
            name=_SQUARES,
            legendgroup=_SQUARES,
            showlegend=False,
            marker=look,
            hovertemplate=f"{_SQUARES}<br>b %{{x:.4g}}<br>w %{{y:.4g}}<extra></extra>",
            **place_of(made, place),
        )
    note = "The darker, the higher the loss. Trials that diverged have no path."
    return Chart("The training loss of a line, and the ways down it", made, note)


def parameters(sweep: StoredSweep) -> Chart:
    """Each recorded parameter against the step, of trials that did not diverge, and their mean.

    Raises `KeyError` where no parameters were recorded, and for functions, whose paths show them.
    """
    shown, drawn, mean, words = recorded(sweep, _PARAMETERS, _TRIALS)
    if "minimum" in sweep.trials:
        raise KeyError("the coordinates of a function are shown on it")
    made = panels([[name.removeprefix("param.")] for name in shown], "step", "", alike=False, high=200)
    made.update_xaxes(range=[0.0, float(sweep.curves["step"].max())])
    for place, name in enumerate(shown):
        own = [each[["step", name]] for each in drawn if each[name].notna().any()]
        if own:
            _lines(made, place, own, mean[name])
        for value in solved(sweep.trials, name.removeprefix("param.")):
            look = {"color": GREY, "dash": "dash", "width": 1.5}
            key(made, _SQUARES, line=look)
            at: dict[str, Any] = place_of(made, place)
            x = np.asarray([0, sweep.curves["step"].max()], np.float32)
            made.add_scatter(
                x=x,
                y=np.full(2, value, np.float32),
                mode="lines",
                name=_SQUARES,
                legendgroup=_SQUARES,
                showlegend=False,
                line=look,
                hovertemplate=f"{_SQUARES} %{{y:.4g}}<extra></extra>",
                **at,
            )
    note = ". ".join(word[:1].upper() + word[1:] for word in words if word) + "."
    return Chart("Parameters against the step", made, note)


def _lines(made: go.Figure, place: int, own: list[pd.DataFrame], mean: pd.Series) -> None:
    """A faint line for each trial, and the mean of all."""
    pieces = [each.to_numpy(float)[evenly_spaced_indices(len(each), _STEPS)] for each in own]
    faint, strong = (
        joined(pieces),
        np.stack([mean.index, mean], axis=1)[evenly_spaced_indices(len(mean), 2 * _STEPS)],
    )
    opacity = float(np.clip(16.0 / len(own), 0.4, 0.8))
    says, shade = "<br>step %{x:d}<br>%{y:.4g}", {"color": PALETTE[5], "width": 1}
    line(made, place, faint, "a trial", shade, says, opacity=opacity)
    line(made, place, strong, "mean of the trials", {"color": PALETTE[1], "width": 2.5}, says)
