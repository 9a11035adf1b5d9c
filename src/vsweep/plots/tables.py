"""Draw heat maps and curves for papers; Plotly draws those of notebooks and the report."""

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.figure import Figure

from vsweep.analysis.convergence import Curves
from vsweep.analysis.labels import evenly_spaced_indices, format_value
from vsweep.analysis.marginals import HeatMap
from vsweep.metrics import higher_is_better
from vsweep.plots.style import Style, picture, plain, set_title

# A legend of more values names some of them.
_MOST_NAMED = 12
# A heat map with more values on an axis has no numbers in its tiles, and ticks at some of its values.
_MOST_TILES, _MOST_TICKS = 20, 12


def draw_heat_map(heat_map: HeatMap, style: Style) -> Figure:
    """Draw the best mean, over all other axes, as a tile for each pair of values."""
    values = heat_map.grid(heat_map.table["best"].to_numpy(float))
    diverged = heat_map.grid(heat_map.table["best_diverged"].to_numpy(float), 0.0)
    rows, columns = values.shape
    figure = picture(2.4 + 0.62 * min(columns, _MOST_TILES), 1.4 + 0.5 * min(rows, _MOST_TILES))
    axes = figure.subplots()
    higher = higher_is_better(heat_map.metric)
    # Color-blind readers see viridis run from dark to light, too; the better end is the lighter one.
    colors = colormaps["viridis" if higher else "viridis_r"].with_extremes(bad="0.85")
    image = axes.imshow(values, cmap=colors, origin="lower", aspect="auto")
    across, up = (evenly_spaced_indices(n, n if n <= _MOST_TILES else _MOST_TICKS) for n in (columns, rows))
    axes.set_xticks(across, [format_value(heat_map.columns[i]) for i in across])
    axes.set_yticks(up, [format_value(heat_map.rows[i]) for i in up])
    axes.set(xlabel=heat_map.x, ylabel=heat_map.y)
    low, high = np.nanmin(values, initial=np.inf), np.nanmax(values, initial=-np.inf)
    for (row, column), value in np.ndenumerate(values) if max(values.shape) <= _MOST_TILES else ():
        text = "–" if np.isnan(value) else f"{value:.3g}"
        text += "\ndiverges" if diverged[row, column] > 0 else ""
        share = (value - low) / max(high - low, 1e-12)
        color = "black" if np.isnan(value) or (share > 0.5) == higher else "white"
        axes.text(column, row, text, ha="center", va="center", color=color, fontsize=8)
    if not np.isnan(values).all():
        figure.colorbar(image, label="mean of the cell")
    choice = ", best over all other axes" if (heat_map.table["cells"] > 1).any() else ""
    set_title(figure, style, f"{heat_map.metric} at the last step{choice}")
    return figure


def draw_curves(curves: Curves, style: Style) -> Figure:
    """Draw a line for each cell, the median over its seeds, on a band of their middle half."""
    figure = picture(7.2, 4.2)
    axes = figure.subplots()
    metric, lines = curves.metric, curves.lines
    named = set(evenly_spaced_indices(len(lines), _MOST_NAMED).tolist())
    # A cell whose seeds all diverged would flatten all other curves.
    bands = [line.band.head(0) if line.diverged else line.band for line in lines]
    for i, (band, color) in enumerate(zip(bands, style.colors(curves.values), strict=True)):
        axes.fill_between(band.index, band["low"], band["high"], color=color, alpha=0.2, linewidth=0)
        axes.plot(band.index, band["median"], color=color, label=lines[i].name if i in named else "_")
    shown = pd.concat(bands)
    if not higher_is_better(metric) and len(shown):
        if shown["low"].min() > 0:
            axes.set_yscale("log")
        elif shown["high"].max() > 20 * abs(shown["median"].median()):
            # A function may be negative, far below the start of its descents.
            axes.set_yscale("symlog", linthresh=shown["high"].max() / 100)
    axes.set(xlabel="step", ylabel=metric)
    axes.margins(x=0.01)
    plain(axes)
    choice = "best over all other axes" if curves.by else "by cell"
    set_title(figure, style, f"{metric}: median and middle half of each cell, {choice}")
    figure.legend(title=curves.by, loc="outside right upper", frameon=False, fontsize=8, title_fontsize=8)
    return figure
