"""What pictures over one or two features have in common: the examples, the chosen cells, their titles."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from vsweep.analysis.example_data import ExampleData
from vsweep.analysis.labels import evenly_spaced_indices

# Of more classes the legend names some.
_MOST_NAMED = 12
# Beside their colours, classes differ in shape.
_MARKERS = ("o", "^", "s", "D", "v", "P", "X", "p")


def scatter(axes: Axes, scene: ExampleData, colours: Sequence[Any]) -> None:
    """The examples of classes over two features: a colour and a shape each, hollow where held out."""
    size = float(np.clip(6000 / len(scene.examples), 3, 22))
    named = evenly_spaced_indices(len(scene.classes), _MOST_NAMED)
    for train in (True, False):
        part = scene.part(train=train)
        for i, name in enumerate(scene.classes):
            x = part.loc[part["target"] == i, list(scene.columns)].to_numpy(float)
            face, edge = (colours[i], "white") if train else ("none", colours[i])
            drawn = axes.scatter(x[:, 0], x[:, 1], size, marker=_MARKERS[i % len(_MARKERS)], zorder=2)
            drawn.set(facecolor=face, edgecolor=edge, linewidth=0.3 if train else 0.9)
            drawn.set_label(name if train and i in named else "_")
    if not scene.part(train=False).empty:
        # Of no class: it says what being hollow means.
        axes.scatter([], [], size, facecolors="none", edgecolors="0.3", label="held out")
    axes.set(xlabel=scene.features[0], ylabel=scene.features[1], xlim=scene.limits[0], ylim=scene.limits[1])
