"""Draw what models learned: fits and regions, decision boundaries, and recorded parameters."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, Normalize
from matplotlib.figure import Figure

from vsweep.analysis.cells import Panels
from vsweep.analysis.decision_boundary import Boundary, Steps
from vsweep.analysis.labels import evenly_spaced_indices
from vsweep.analysis.predictions import (
    ExampleData,
    ExamplePanels,
    FitPanel,
    ParameterPanel,
    RegionPanel,
    with_margin,
)
from vsweep.plots.style import Style, draw_panels, plain

# A legend of more classes names some of them.
_MOST_NAMED = 12
# Classes differ in shape as well as in color.
_MARKERS = ("o", "^", "s", "D", "v", "P", "X", "p")


def draw_fits(data: ExamplePanels[FitPanel], style: Style) -> Figure:
    """Draw examples of one feature and the fits of some cells, a panel each."""
    examples = data.examples
    targets = examples.examples.filter(["target", "truth"]).to_numpy(float)
    # Fits may lie far outside the range of the targets.
    limits = with_margin(targets, share=0.25)

    def draw(axes: Axes, panel: FitPanel) -> None:
        _draw_targets(axes, examples, style)
        _draw_fits(axes, panel, style)
        axes.set(xlabel=examples.features[0], ylabel="target", xlim=examples.limits[0], ylim=limits)
        plain(axes)

    return draw_panels(data, style, draw, size=(2.8, 2.6))


def _draw_targets(axes: Axes, examples: ExampleData, style: Style) -> None:
    """Draw the examples, hollow where held out, and the truth along the feature."""
    feature, size = examples.columns[0], float(np.clip(4000 / len(examples.examples), 3, 16))
    # Steps that draw fresh examples never train on those of the directory.
    train = "examples for evaluation" if examples.fresh else "training examples"
    blue, _, green, *_ = style.palette
    for is_train, name in ((True, train), (False, "held-out examples")):
        part = examples.part(train=is_train)
        if len(part):
            x, y = part[feature].to_numpy(float), part["target"].to_numpy(float)
            face = blue if is_train else "none"
            axes.scatter(x, y, s=size, c=face, edgecolors=blue, linewidths=0.6, alpha=0.6, label=name)
    if "truth" in examples.examples:
        truth = examples.examples.sort_values(feature)
        axes.plot(truth[feature], truth["truth"], color=green, linewidth=2.0, label="truth")


def _draw_fits(axes: Axes, panel: FitPanel, style: Style) -> None:
    """Draw a thin line for each seed, their mean, and least squares."""
    color = style.palette[1]
    for i, fit in enumerate(panel.fits if len(panel.fits) > 1 else []):
        axes.plot(panel.x, fit, color=color, linewidth=0.7, alpha=0.45, label="_" if i else "fit of a seed")
    if panel.fits:
        name = "mean of the fits" if len(panel.fits) > 1 else "fit"
        axes.plot(panel.x, np.mean(panel.fits, axis=0), color=color, linewidth=2.0, label=name)
    if panel.least_squares is not None:
        axes.plot(panel.x, panel.least_squares, label="least squares", **style.least_squares)


def draw_regions(data: ExamplePanels[RegionPanel], style: Style) -> Figure:
    """Draw examples of classes over two features on the decision regions of some cells, a panel each."""
    examples = data.examples
    palette = style.colors(examples.classes)
    look = {"cmap": ListedColormap(palette), "vmin": -0.5, "vmax": len(palette) - 0.5, "alpha": 0.3}

    def draw(axes: Axes, panel: RegionPanel) -> None:
        if panel.classes is not None:
            _draw_grid(axes, panel.classes, examples, interpolation="nearest", **look)
        _draw_examples(axes, examples, palette, style)

    return draw_panels(data, style, draw, size=(2.8, 2.8))


def _draw_grid(axes: Axes, values: np.ndarray, examples: ExampleData, **look: Any) -> None:
    """Draw values on a grid over two features, `(points, points)`, with matplotlib's further arguments."""
    extent = (*examples.limits[0], *examples.limits[1])
    axes.imshow(values, extent=extent, origin="lower", aspect="auto", **look)


def _draw_examples(axes: Axes, examples: ExampleData, colors: Sequence[Any], style: Style) -> None:
    """Draw the examples of classes over two features: a color and a shape each, hollow where held out."""
    size = float(np.clip(6000 / len(examples.examples), 3, 22))
    named = evenly_spaced_indices(len(examples.classes), _MOST_NAMED)
    for is_train in (True, False):
        part = examples.part(train=is_train)
        for i, name in enumerate(examples.classes):
            face, edge, width = ([colors[i]], style.paper, 0.3) if is_train else ("none", [colors[i]], 0.9)
            look: Any = {"facecolors": face, "edgecolors": edge, "linewidths": width, "zorder": 2}
            label, marker = name if is_train and i in named else "_", _MARKERS[i % len(_MARKERS)]
            x, y = part.loc[part["target"] == i, list(examples.columns)].to_numpy(float).T
            axes.scatter(x, y, size, marker=marker, label=label, **look)
    if not examples.part(train=False).empty:
        # The empty entry explains hollow markers of all classes in the legend.
        axes.scatter([], [], size, facecolors="none", edgecolors=style.soft[1], label="held out")
    (first, second), (horizontal, vertical) = examples.features, examples.limits
    axes.set(xlabel=first, ylabel=second, xlim=horizontal, ylim=vertical)


def draw_boundaries(data: ExamplePanels[Boundary], style: Style) -> Figure:
    """Draw the decision boundaries of some cells on the examples, a panel each."""
    examples = data.examples
    # The colors range from one class's through the paper's to the other's.
    colors = [style.palette[0], style.paper, style.palette[1]]
    shades = LinearSegmentedColormap.from_list("between", colors)

    def draw(axes: Axes, panel: Boundary) -> None:
        if panel.probability is not None:
            _draw_grid(axes, panel.probability, examples, cmap=shades, vmin=0.0, vmax=1.0, alpha=0.45)
        _draw_examples(axes, examples, style.palette, style)
        if panel.seeds:
            look: Any = {"colors": style.soft[1], "linewidths": 0.8, "label": "line of a seed"}
            axes.add_collection(LineCollection(panel.seeds, **look))
        if panel.strong is not None:
            axes.plot(*panel.strong.T, color=style.ink, linewidth=2.2, label=panel.name)

    figure = draw_panels(data, style, draw, size=(4.2, 3.7))
    if any(panel.probability is not None for panel in data.panels):
        scale = ScalarMappable(Normalize(0.0, 1.0), shades)
        figure.colorbar(scale, ax=figure.axes, label=f"probability of {examples.classes[1]}", shrink=0.8)
    return figure


def draw_first_steps(data: ExamplePanels[Steps], style: Style) -> Figure:
    """Draw the decision boundary after each of the first steps of some trials, a panel each."""
    count = max(len(panel.ends) for panel in data.panels)
    shades = style.colors(range(count))
    # Lines become thinner with the steps, so that small steps do not hide the first lines.
    widths = np.linspace(3.0, 1.2, count)

    def draw(axes: Axes, panel: Steps) -> None:
        _draw_examples(axes, data.examples, style.soft, style)
        for ends, color, width in zip(panel.ends, shades, widths, strict=False):
            if ends is not None:
                axes.plot(*ends.T, color=color, linewidth=width, zorder=3)

    figure = draw_panels(data, style, draw, size=(3.1, 2.9))
    scale = ScalarMappable(Normalize(-0.5, count - 0.5), ListedColormap(shades))
    ticks = evenly_spaced_indices(count, 6).tolist()
    figure.colorbar(scale, ax=figure.axes, label="step", shrink=0.8, ticks=ticks)
    return figure


def draw_parameters(data: Panels[ParameterPanel], style: Style) -> Figure:
    """Draw each recorded parameter: a faint line for each trial, the mean of all, and least squares."""
    blue, orange, *_ = style.palette

    def draw(axes: Axes, panel: ParameterPanel) -> None:
        if panel.trials:
            faint = LineCollection(panel.trials, colors=blue, linewidths=0.6, label="a trial")
            faint.set_alpha(float(np.clip(8.0 / len(panel.trials), 0.12, 0.5)))
            axes.add_collection(faint)
            axes.plot(panel.mean.index, panel.mean, color=orange, linewidth=2.0, label="mean of the trials")
        for i, value in enumerate(panel.least_squares):
            axes.axhline(value, label="_" if i else "least squares", **style.least_squares)
        axes.set_xlabel("step")
        axes.margins(x=0.0)
        plain(axes)

    return draw_panels(data, style, draw, size=(3.0, 2.5))
