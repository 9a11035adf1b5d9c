"""What all pictures of a report have in common: a Plotly figure, its colours, its scales."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from vsweep.results.select import short

# Told apart by every kind of sight (Okabe and Ito 2008), and on white as on black.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8A8A00", "#7F7F7F")
# From dark to light for every kind of sight; of losses, the better end is the lighter all the same.
LESS_IS_BETTER, MORE_IS_BETTER = "Viridis_r", "Viridis"
# Of shares that diverged: light to dark, the other way round than what is good.
SHARES = "Oranges"


class Chart(NamedTuple):
    """A picture and its words.

    title: what is seen, in words. figure: without a title and colours of paper and text, which are the
    page's. note: how it is to be read, with its units and what is left out.
    """

    title: str
    figure: go.Figure
    note: str = ""


def figure(traces: Sequence[Any] = (), *, height: int = 380, **layout: Any) -> go.Figure:
    """A figure of these traces. height: pixels. layout: Plotly's."""
    base: dict[str, Any] = {
        "height": height,
        "margin": {"l": 64, "r": 16, "t": 16, "b": 52},
        "colorway": list(PALETTE),
        "hoverlabel": {"align": "left"},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.02, "x": 0},
    }
    return go.Figure(list(traces), base | layout)


def scale(values: Sequence[Any]) -> str:
    """The scale that values of an axis lie on: `log`, `linear`, or `category` where they are no numbers."""
    known = [value for value in values if value is not None and value == value]
    if not known or not all(isinstance(v, int | float | np.number) and not isinstance(v, bool) for v in known):
        return "category"
    spread = np.unique(np.asarray(known, float))
    if len(spread) > 2 and spread[0] > 0:
        ratios, differences = np.diff(np.log(spread)), np.diff(spread)
        if np.std(ratios) / np.mean(ratios) < np.std(differences) / np.mean(differences):
            return "log"
    return "log" if len(spread) == 2 and spread[0] > 0 and spread[1] >= 5 * spread[0] else "linear"


def words(values: Sequence[Any]) -> list[str]:
    """Values as briefly as they can be read; a null is that a cell lacks the axis."""
    return [short(value) for value in values]
