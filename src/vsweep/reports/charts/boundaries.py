"""Logistic regression of two classes as charts: where the probability is a half, at last and at first."""

import numpy as np
import plotly.graph_objects as go

from vsweep.analysis.decision_boundary import across
from vsweep.analysis.example_data import ExampleData
from vsweep.plots.boundaries import Boundary, boundaries_of, first_steps_of, probability
from vsweep.reports.charts.style import GREY, PALETTE, Chart
from vsweep.reports.charts.subplots import (
    hover_at,
    joined,
    line,
    ordered,
    panels,
    place_of,
    scatter,
    so_many,
    some,
)
from vsweep.store.reader import StoredSweep

# Points along a feature at which a probability is shown.
_ACROSS = 80
# A probability's colours: from those of one class, through none, to those of the other.
_BETWEEN = [[0.0, PALETTE[0]], [0.5, "rgba(127,127,127,0)"], [1.0, PALETTE[1]]]


def boundaries(sweep: StoredSweep) -> Chart:
    """Where the best and the last cell see even odds: see `Plots.boundaries`; raises as it does."""
    scene, shown = boundaries_of(sweep)
    made = panels([each.title for each in shown], *scene.features, high=300)
    few = some(scene)
    for place, each in enumerate(shown):
        if each.strong is not None:
            _shade(made, place, scene, each.strong)
        scatter(made, place, few)
        _draw_lines(made, place, scene, each)
    note = f"The colour behind is the probability of a class, none where it is 1/2. {so_many(scene)}"
    return Chart("Logistic regression: where the probability is 1/2", made, note.strip())


def _shade(made: go.Figure, place: int, scene: ExampleData, logit: np.ndarray) -> None:
    """The probability of the second class, in whole per cent."""
    x, y = (np.linspace(*limits, _ACROSS).astype(np.float32) for limits in scene.limits)
    made.add_heatmap(
        z=np.rint(100.0 * probability(logit, scene.limits, _ACROSS)).astype(np.uint8),
        x=x,
        y=y,
        zmin=0,
        zmax=100,
        colorscale=_BETWEEN,
        opacity=0.5,
        showscale=False,
        hovertemplate=hover_at(scene, f"{scene.classes[1]}: %{{z}} %"),
        **place_of(made, place),
    )


def _draw_lines(made: go.Figure, place: int, scene: ExampleData, each: Boundary) -> None:
    """A faint line for each of several seeds, and a strong one, dashed where it is no mean."""
    found = [across(logit, scene.limits) for logit in each.logits]
    seeds = [end for end in found if end is not None]
    if len(found) > 1 and seeds:
        line(made, place, joined(seeds), "line of a seed", {"color": GREY, "width": 1})
    end = None if each.strong is None else across(each.strong, scene.limits)
    if end is not None:
        text = "line of the mean logit" if len(found) > 1 else "line"
        text = text if each.mean else "line of the first seed, where all diverge"
        look = {"color": PALETTE[2], "width": 3, "dash": "solid" if each.mean else "dash"}
        line(made, place, end, text, look)


def first_steps(sweep: StoredSweep, steps: int = 10) -> Chart:
    """Where trials see even odds after each first step: see `Plots.first_steps`; raises as it does."""
    scene, shown, of_each = first_steps_of(sweep, steps)
    made = panels([each.title for each in shown], *scene.features)
    few, shades = some(scene), ordered(max(len(each.logits) for each in shown))
    for place, each in enumerate(shown):
        scatter(made, place, few, opacity=0.35)
        for step, logit in enumerate(each.logits):
            end = across(logit, scene.limits)
            if end is not None:
                # Where steps are small, what is below shows beside what is above.
                look = {"color": shades[step], "width": 4.0 - 2.0 * step / len(shades)}
                line(made, place, end, f"step {step}", look)
    words = f"Shown: {of_each}." if of_each else ""
    note = " ".join(filter(None, (words, "Step 0 is before any.", so_many(scene))))
    return Chart("Logistic regression: the line after each of the first steps", made, note)
