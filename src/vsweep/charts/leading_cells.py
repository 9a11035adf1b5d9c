"""What is best, and is it sure? The leading cells, side by side."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from vsweep.analysis.cells import rows_of
from vsweep.analysis.labels import cell_label, format_with_error
from vsweep.analysis.ranking import varied_axes
from vsweep.analysis.significance import tied_with_best
from vsweep.charts.style import CELLS, GREY, PALETTE, Chart, figure, plain

_MOST = 20


def leading(trials: pd.DataFrame, cells: pd.DataFrame, metric: str, most: int = _MOST) -> Chart:
    """The best cells, their means over seeds and the standard errors of these.

    cells: as `rank_cells` gives them.
    """
    shown, near = cells.head(most), tied_with_best(cells).head(most).to_numpy(bool)
    axes = varied_axes(trials)
    hover = np.asarray(
        [
            f"{place}. {plain(cell_label(row, axes)) or 'the one cell'}"
            f"<br>{metric} {format_with_error(row['mean'], row['sem'])}"
            f"<br>{row['diverged']} of {row['seeds']} seeds diverged"
            for place, row in enumerate(rows_of(shown), 1)
        ]
    )
    traces = []
    if near.any():
        traces.append(_points(shown, hover, near, PALETTE[0], "circle", "statistically tied with the first"))
    if not near.all():
        name = "the others" if near.any() else "cells"
        traces.append(_points(shown, hover, ~near, GREY, "diamond", name))
    places = {
        "title": {"text": "place"},
        "range": [len(shown) + 0.7, 0.3],
        "tick0": 1,
        "dtick": 1 if len(shown) < 12 else 2,
        "zeroline": False,
    }
    means = {"title": {"text": f"{metric}, mean ± standard error"}, "zeroline": False}
    drawn = figure(traces, height=120 + 18 * len(shown), xaxis=means, yaxis=places)
    of = f"the best {len(shown)} of " if len(cells) > len(shown) else ""
    note = "A point is a cell, its line one standard error of the mean to either side."
    if lost := int(shown["mean"].isna().sum()):
        note += f" {lost} of them have no value: all their seeds diverged."
    return Chart(f"{metric} at the last step, of {of}{len(cells):,} cells", drawn, note)


def _points(
    shown: pd.DataFrame, hover: np.ndarray, kept: np.ndarray, colour: str, symbol: str, name: str
) -> go.Scatter:
    """Some of the cells, by their places. kept: bool `(cells,)`."""
    rows = shown[kept]
    return go.Scatter(
        x=rows["mean"].to_numpy(np.float64),
        y=np.flatnonzero(kept) + 1,
        mode="markers",
        error_x={"array": rows["sem"].fillna(0.0).to_numpy(np.float64), "thickness": 1.5},
        marker={"color": colour, "size": 9, "symbol": symbol},
        name=name,
        customdata=rows["cell"].to_numpy(),
        meta=CELLS,
        hovertext=hover[kept].tolist(),
        hoverinfo="text",
    )
