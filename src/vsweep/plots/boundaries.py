"""Draw the lines where logistic regression on two features gives a probability of a half."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, Normalize
from matplotlib.figure import Figure

from vsweep.analysis.decision_boundary import Boundaries, Boundary, FirstSteps
from vsweep.analysis.labels import evenly_spaced_indices
from vsweep.plots.predictions import draw_examples, draw_grid
from vsweep.plots.style import Style, legend, panels, set_caption, set_panel_title


def draw_boundaries(boundaries: Boundaries, style: Style) -> Figure:
    """Draw the decision boundaries of some cells on the examples, a panel each."""
    examples = boundaries.examples
    figure, axes = panels(len(boundaries.panels), style, size=(4.2, 3.7))
    # The colours range from one class's through the paper's to the other's.
    colours = [style.palette[0], style.paper, style.palette[1]]
    shades = LinearSegmentedColormap.from_list("between", colours)
    for ax, panel in zip(axes, boundaries.panels, strict=True):
        if panel.probability is not None:
            draw_grid(ax, panel.probability, examples, cmap=shades, vmin=0.0, vmax=1.0, alpha=0.45)
        draw_examples(ax, examples, style.palette, style)
        _draw_lines(ax, panel, style)
        set_panel_title(ax, panel.title, 62)
    images = [image for ax in axes for image in ax.images]
    if images:
        figure.colorbar(images[0], ax=axes, label=f"probability of {examples.classes[1]}", shrink=0.8)
    set_caption(figure, style, boundaries.title)
    legend(figure)
    return figure


def _draw_lines(axes: Axes, panel: Boundary, style: Style) -> None:
    """Draw a faint line for each of several seeds, and a strong one, dashed if it is not their mean."""
    if panel.known > 1 and panel.seeds:
        faint = LineCollection(panel.seeds, colors=style.soft[1], linewidths=0.8, label="line of a seed")
        axes.add_collection(faint)
    if panel.strong is not None:
        name = "line of the mean logit" if panel.known > 1 else "line"
        name = name if panel.mean else "line of the first seed, where all diverge"
        line = "-" if panel.mean else "--"
        axes.plot(*panel.strong.T, color=style.ink, linewidth=2.2, linestyle=line, label=name)


def draw_first_steps(steps: FirstSteps, style: Style) -> Figure:
    """Draw the decision boundary after each of the first steps of some trials, a panel each."""
    count = len(steps.panels)
    figure, axes = panels(count, style, columns=3, size=(4.4, 3.8) if count == 1 else (3.1, 2.9))
    shades = style.colours(range(steps.recorded))
    for ax, panel in zip(axes, steps.panels, strict=True):
        draw_examples(ax, steps.examples, style.soft, style)
        # Lines become thinner with the steps, so that small steps do not hide the first lines.
        widths = np.linspace(3.0, 1.2, steps.recorded)[list(panel.ends)]
        lines = LineCollection(list(panel.ends.values()), colors=shades[list(panel.ends)], zorder=3)
        lines.set_linewidth(widths.tolist())
        ax.add_collection(lines)
        set_panel_title(ax, panel.title, 46)
    scale = ScalarMappable(Normalize(-0.5, steps.recorded - 0.5), ListedColormap(shades))
    ticks = evenly_spaced_indices(steps.recorded, 6).tolist()
    figure.colorbar(scale, ax=axes, label="step", shrink=0.8, ticks=ticks)
    set_caption(figure, style, f"{steps.title}.", steps.caption)
    legend(figure)
    return figure
