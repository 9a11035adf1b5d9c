"""Where each descent of a function ends, over where it starts and how large its steps are, as a chart."""

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from pandas.api.types import is_numeric_dtype

from vsweep.analysis.basins import axis_said, basins_of, codes_of, coloured, edges, geometric, said
from vsweep.analysis.labels import evenly_spaced_indices
from vsweep.reports.charts.style import GREY, PALETTE, Chart
from vsweep.reports.charts.subplots import axes_at, discrete, key, panels, place_of
from vsweep.store.reader import StoredSweep

# Tiles along a side, and letters of what all of them say.
_TILES, _LETTERS = 160, 150_000
_VALUES = (" %{customdata[0]:.4g}", " %{customdata[1]:.4g}")


def basin(sweep: StoredSweep, x: str | None = None, y: str | None = None) -> Chart:
    """See `Plots.basin`; raises as it does."""
    x, y, names, parts = basins_of(sweep, x, y)
    if not all(is_numeric_dtype(sweep.trials[axis]) for axis in (x, y)):
        raise KeyError("it takes axes of numbers")
    colours = coloured(names, PALETTE)
    tables = [_fewer(codes_of(part, names, x, y)) for _, part in parts]
    made = panels([[title] for title, _ in parts], axis_said(x), axis_said(y))
    words = np.asarray([*map(said, names), ""], object)
    letters = sum(table.size for table in tables) * (4 + max(map(len, words)))
    for place, table in enumerate(tables):
        _tiles(made, place, table, list(colours.values()), words if letters <= _LETTERS else None)
    for name, colour in colours.items():
        mark = {"symbol": "square", "size": 10, "color": colour, "line": {"width": 1, "color": GREY}}
        key(made, said(name), marker=mark)
    cut = any(len(part) > table.size for (_, part), table in zip(parts, tables, strict=True))
    note = "Of several seeds, the first." if sweep.trials["seed"].nunique() > 1 else ""
    note += f" At most {_TILES} values of an axis are shown." if cut else ""
    return Chart("Where each descent ends", made, note.strip())


def _fewer(table: pd.DataFrame) -> pd.DataFrame:
    rows, columns = (evenly_spaced_indices(count, _TILES) for count in table.shape)
    return table.iloc[rows, columns]


def _tiles(
    made: go.Figure, place: int, table: pd.DataFrame, colours: list[str], words: np.ndarray | None
) -> None:
    """A panel's tiles, each of the colour of the place where its trial ended; of none, none."""
    codes = table.to_numpy(float)
    there = np.isfinite(codes)
    z = codes.astype(np.uint8) if there.all() else codes.astype(np.float32)
    across, up = table.columns.to_numpy(float), table.index.to_numpy(float)
    more = {} if words is None else {"text": words[np.where(there, codes, -1).astype(int)]}
    says = [
        str(name) + value for name, value in zip((table.columns.name, table.index.name), _VALUES, strict=True)
    ]
    made.add_heatmap(
        z=z,
        x=edges(across),
        y=edges(up),
        # Of a tile between edges Plotly tells the middle, which by ratio is another value.
        customdata=np.stack(np.meshgrid(across, up), axis=-1).astype(np.float32),
        hovertemplate="<br>".join([*says, *(["%{text}"] if more else [])]) + "<extra></extra>",
        **more,
        **discrete(colours),
        **place_of(made, place),
    )
    for axis, values in zip(axes_at(made, place), (across, up), strict=True):
        low, high = edges(values)[[0, -1]]
        axis.range = [low, high]
        if geometric(values):
            axis.update(type="log", range=np.log10([low, high]), dtick=1, exponentformat="power")
