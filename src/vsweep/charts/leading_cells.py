"""Answer what is best, and whether it is sure: the leading cells, side by side."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from vsweep.analysis.cells import rows_of
from vsweep.analysis.labels import cell_label, format_with_error
from vsweep.analysis.ranking import varied_axes
from vsweep.analysis.significance import tied_with_best
from vsweep.charts.style import GREY, PALETTE, Chart, cell_points, figure, plain

_MOST = 20


def leading(trials: pd.DataFrame, cells: pd.DataFrame, metric: str) -> Chart:
    """Draw the best cells: the mean over seeds and its standard error.

    Args:
        trials: The table of trials.
        cells: The table of cells, as `rank_cells` returns it.
        metric: The metric that ranks the cells.
    """
    shown, tied = cells.head(_MOST), tied_with_best(cells).head(_MOST).to_numpy(bool)
    axes = varied_axes(trials)
    texts = np.asarray(
        [
            f"{place}. {plain(cell_label(row, axes)) or 'the one cell'}"
            f"<br>{metric} {format_with_error(row['mean'], row['sem'])}"
            f"<br>{row['diverged']} of {row['seeds']} seeds diverged"
            for place, row in enumerate(rows_of(shown), 1)
        ]
    )
    groups = [
        (tied, PALETTE[0], "circle", "statistically tied with the first"),
        (~tied, GREY, "diamond", "the others" if tied.any() else "cells"),
    ]
    traces = [
        go.Scatter(
            x=shown["mean"].to_numpy(np.float64)[kept],
            y=np.flatnonzero(kept) + 1,
            mode="markers",
            error_x={"array": shown["sem"].fillna(0.0).to_numpy(np.float64)[kept], "thickness": 1.5},
            marker={"color": colour, "size": 9, "symbol": symbol},
            name=name,
            **cell_points(shown["cell"][kept], texts[kept].tolist()),
        )
        for kept, colour, symbol, name in groups
        if kept.any()
    ]
    step = 1 if len(shown) < 12 else 2
    places = {"title": {"text": "place"}, "range": [len(shown) + 0.7, 0.3], "tick0": 1, "dtick": step}
    means = {"title": {"text": f"{metric}, mean ± standard error"}, "zeroline": False}
    drawn = figure(traces, height=120 + 18 * len(shown), xaxis=means, yaxis=places | {"zeroline": False})
    note = "Each point is a cell; its line extends one standard error of the mean to either side."
    if lost := int(shown["mean"].isna().sum()):
        note += f" {lost} of them have no value because all their seeds diverged."
    best = f"the best {len(shown)} of " if len(cells) > len(shown) else ""
    return Chart(f"{metric} at the last step of {best}{len(cells):,} cells", drawn, note)
