"""Draw recorded parameters against the step."""

import numpy as np
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure

from vsweep.analysis.parameter_curves import ParameterCurves
from vsweep.plots.style import Style, legend, panels, plain, set_caption


def draw_parameters(curves: ParameterCurves, style: Style) -> Figure:
    """Draw each recorded parameter: a faint line for each trial, the mean of all, and least squares."""
    count, (blue, orange, *_) = len(curves.panels), style.palette
    figure, axes = panels(count, style, columns=3, size=(4.8, 3.2) if count == 1 else (3.0, 2.5))
    for ax, panel in zip(axes, curves.panels, strict=True):
        if panel.trials:
            faint = LineCollection(panel.trials, colors=blue, linewidths=0.6, label="a trial")
            faint.set_alpha(float(np.clip(8.0 / len(panel.trials), 0.12, 0.5)))
            ax.add_collection(faint)
            ax.plot(panel.mean.index, panel.mean, color=orange, linewidth=2.0, label="mean of the trials")
        for i, value in enumerate(panel.least_squares):
            ax.axhline(value, label="_" if i else "least squares", **style.least_squares)
        ax.set(xlabel="step", ylabel=panel.title[0], xlim=(0.0, curves.last))
        plain(ax)
    set_caption(figure, style, curves.caption)
    legend(figure)
    return figure
