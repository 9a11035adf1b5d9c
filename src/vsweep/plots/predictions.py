"""Draw the predictions of trained models: fits over one feature, regions over two."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from vsweep.analysis.example_data import ExampleData
from vsweep.analysis.labels import evenly_spaced_indices
from vsweep.analysis.predictions import FitPanel, Fits, Regions
from vsweep.plots.style import Style, legend, panels, plain, set_caption, set_panel_title

# A legend of more classes names some of them.
_MOST_NAMED = 12
# Classes differ in shape as well as in colour.
_MARKERS = ("o", "^", "s", "D", "v", "P", "X", "p")


def draw_fits(fits: Fits, style: Style) -> Figure:
    """Draw examples of one feature and the fits of some cells, a panel each."""
    count, examples = len(fits.panels), fits.examples
    figure, axes = panels(count, style, size=(4.8, 3.4) if count == 1 else (2.8, 2.6))
    for ax, panel in zip(axes, fits.panels, strict=True):
        _draw_targets(ax, examples, style)
        _draw_fits(ax, fits.x, panel, style)
        ax.set(xlabel=examples.features[0], ylabel="target", xlim=examples.limits[0], ylim=fits.targets)
        plain(ax)
        set_panel_title(ax, panel.title, 70 if count == 1 else 42)
    set_caption(figure, style, fits.caption)
    legend(figure)
    return figure


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


def _draw_fits(axes: Axes, x: np.ndarray, panel: FitPanel, style: Style) -> None:
    """Draw a thin line for each seed, their mean, and least squares."""
    colour = style.palette[1]
    for i, fit in enumerate(panel.fits if len(panel.fits) > 1 else []):
        axes.plot(x, fit, color=colour, linewidth=0.7, alpha=0.45, label="_" if i else "fit of a seed")
    if panel.fits:
        name = "mean of the fits" if len(panel.fits) > 1 else "fit"
        axes.plot(x, np.mean(panel.fits, axis=0), color=colour, linewidth=2.0, label=name)
    if panel.least_squares is not None:
        axes.plot(x, panel.least_squares, label="least squares", **style.least_squares)


def draw_regions(regions: Regions, style: Style) -> Figure:
    """Draw examples of classes over two features on the decision regions of some cells, a panel each."""
    count, examples = len(regions.panels), regions.examples
    figure, axes = panels(count, style, size=(4.2, 4.0) if count == 1 else (2.8, 2.8))
    palette = style.colours(examples.classes)
    look = {"cmap": ListedColormap(palette), "vmin": -0.5, "vmax": len(palette) - 0.5, "alpha": 0.3}
    for ax, panel in zip(axes, regions.panels, strict=True):
        if panel.classes is not None:
            draw_grid(ax, panel.classes, examples, interpolation="nearest", **look)
        draw_examples(ax, examples, palette, style)
        set_panel_title(ax, panel.title)
    set_caption(figure, style, regions.caption)
    legend(figure)
    return figure


def draw_grid(axes: Axes, values: np.ndarray, examples: ExampleData, **look: Any) -> None:
    """Draw values on a grid over two features, `(points, points)`, with matplotlib's further arguments."""
    extent = (*examples.limits[0], *examples.limits[1])
    axes.imshow(values, extent=extent, origin="lower", aspect="auto", **look)


def draw_examples(axes: Axes, examples: ExampleData, colours: Sequence[Any], style: Style) -> None:
    """Draw the examples of classes over two features: a colour and a shape each, hollow where held out."""
    size = float(np.clip(6000 / len(examples.examples), 3, 22))
    named = evenly_spaced_indices(len(examples.classes), _MOST_NAMED)
    for is_train in (True, False):
        part = examples.part(train=is_train)
        for i, name in enumerate(examples.classes):
            x = part.loc[part["target"] == i, list(examples.columns)].to_numpy(float)
            axes.scatter(
                x[:, 0],
                x[:, 1],
                size,
                marker=_MARKERS[i % len(_MARKERS)],
                facecolors=[colours[i]] if is_train else "none",
                edgecolors=style.paper if is_train else [colours[i]],
                linewidths=0.3 if is_train else 0.9,
                label=name if is_train and i in named else "_",
                zorder=2,
            )
    if not examples.part(train=False).empty:
        # The empty entry explains hollow markers in the legend, whatever their class.
        axes.scatter([], [], size, facecolors="none", edgecolors=style.soft[1], label="held out")
    (first, second), (horizontal, vertical) = examples.features, examples.limits
    axes.set(xlabel=first, ylabel=second, xlim=horizontal, ylim=vertical)
