"""The picture of recorded parameters against the step."""

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from vsweep.analysis.parameter_curves import ParameterCurves
from vsweep.plots.style import Style, legend, panels, plain, set_caption


def draw_parameters(curves: ParameterCurves, style: Style) -> Figure:
    """Draw each recorded parameter: a faint line for each trial, the mean of all, and least squares."""
    count = len(curves.panels)
    figure, axes = panels(count, style, columns=3, size=(4.8, 3.2) if count == 1 else (3.0, 2.5))
    for at, panel in zip(axes, curves.panels, strict=True):
        if panel.trials:
            alpha = float(np.clip(8.0 / len(panel.trials), 0.12, 0.5))
            faint = LineCollection(panel.trials, colors=style.palette[0], linewidths=0.6, label="a trial")
            faint.set_alpha(alpha)
            at.add_collection(faint)
            at.plot(
                panel.mean.index,
                panel.mean,
                color=style.palette[1],
                linewidth=2.0,
                label="mean of the trials",
            )
        for i, value in enumerate(panel.least_squares):
            name = "_" if i else "least squares"
            at.axhline(value, color=style.ink, linestyle="--", linewidth=1.4, label=name)
        at.set(xlabel="step", ylabel=panel.title[0])
        at.set_xlim(0.0, curves.last)
        plain(at)
    set_caption(figure, style, curves.caption)
    legend(figure)
    return figure
