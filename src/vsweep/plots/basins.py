"""Which start leads where: the basins of attraction, as the descents of a sweep found them."""

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from vsweep.analysis.basins import axis_said, basins_of, codes_of, coloured, edges, geometric, said
from vsweep.analysis.labels import COLOURS
from vsweep.plots.style import panels
from vsweep.plots.trajectories import columns_of
from vsweep.store.reader import StoredSweep


def draw_basin(sweep: StoredSweep, x: str | None, y: str | None) -> Figure:
    """See `Plots.basin`."""
    x, y, order, parts = basins_of(sweep, x, y)
    names = coloured(order, COLOURS)
    size = (4.2, 3.6) if len(parts) > 1 else (6.4, 4.4)
    figure, axes = panels(len(parts), columns=columns_of(len(parts)), size=size)
    for at, (title, part) in zip(axes, parts, strict=True):
        _basin(at, part, names, x, y)
        at.set_title(title or "where each descent ends", fontsize=10)
    if len(parts) > 1:
        figure.suptitle("where each descent ends", fontsize=11)
    shown = [Patch(facecolor=colour, edgecolor="0.4", label=said(name)) for name, colour in names.items()]
    figure.legend(
        handles=shown, loc="outside lower center", ncols=min(4, len(shown)), frameon=False, fontsize=9
    )
    return figure


def _basin(axes: Axes, part: pd.DataFrame, names: dict[str, str], x: str, y: str) -> None:
    table = codes_of(part, list(names), x, y)
    across, up = (table.columns.to_numpy(float), table.index.to_numpy(float))
    colours = ListedColormap([to_rgba(colour) for colour in names.values()])
    mesh = np.ma.masked_invalid(table.to_numpy(float))
    axes.pcolormesh(edges(across), edges(up), mesh, cmap=colours, vmin=-0.5, vmax=len(names) - 0.5)
    for values, scale, text, axis in (
        (across, axes.set_xscale, axes.set_xlabel, x),
        (up, axes.set_yscale, axes.set_ylabel, y),
    ):
        scale("log" if geometric(values) else "linear")
        text(axis_said(axis))
