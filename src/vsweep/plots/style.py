"""What all pictures have in common: their size, their colours, how numbers are written."""

import textwrap
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vsweep.analysis.labels import COLOURS
from vsweep.store.atomic import write_whole

_DPI = 120


class Picture(Figure):
    """A figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> bytes:
        png = BytesIO()
        self.savefig(png, dpi=_DPI)
        return png.getvalue()


def picture(width: float, height: float) -> Picture:
    """An empty picture, inches."""
    return Picture(figsize=(width, height), layout="constrained")


def panels(
    count: int, *, columns: int = 4, size: tuple[float, float] = (2.6, 2.7)
) -> tuple[Picture, list[Axes]]:
    """A picture of several panels in rows, with as many axes as are asked for."""
    across = min(columns, count)
    down = -(-count // across)
    figure = picture(size[0] * across + 0.6, size[1] * down + 0.6)
    # Apart, so that a label is not taken for its neighbour's.
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.06)
    axes = figure.subplots(down, across, squeeze=False).ravel().tolist()
    for left in axes[count:]:
        left.remove()
    return figure, axes[:count]


def save_figure(figure: Figure, path: str | Path | None) -> Figure:
    """The figure, written to a path if one is given."""
    if path is not None:
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        kind = path.suffix.removeprefix(".") or "png"
        write_whole(path, lambda part: figure.savefig(part, dpi=_DPI, format=kind))
    return figure


def plain(axes: Axes) -> None:
    """Lines on a faint grid, without a frame."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def colours(values: Sequence[object]) -> Any:
    """A colour per value: of numbers from dark to light, of names such as differ."""
    if len(values) <= len(COLOURS) and all(isinstance(value, str) for value in values):
        return list(COLOURS[: len(values)])
    return colormaps["viridis"](np.linspace(0.0, 0.92, len(values)))


def tick(value: object) -> str:
    """A value as briefly as it can be read."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def set_panel_title(axes: Axes, lines: Sequence[str], width: int = 42) -> None:
    """A panel's title, of lines of at most so many letters each."""
    axes.set_title("\n".join(_wrapped(lines, width)), fontsize=8.5)


def set_suptitle(figure: Figure, *lines: str) -> None:
    """A picture's title, of lines that are no wider than it."""
    figure.suptitle("\n".join(_wrapped(lines, int(13.0 * figure.get_figwidth()))), fontsize=10)


def _wrapped(lines: Sequence[str], width: int) -> list[str]:
    return [piece for line in lines for piece in textwrap.wrap(line, width)]


def spread(count: int) -> int:
    """How many panels go in a row, so that the last row is fullest."""
    rows = -(-count // 4)
    return -(-count // rows)


def legend(figure: Figure) -> None:
    """One legend below all panels, of what any of them shows."""
    named: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault(name, handle)
    if not named:
        return
    across = max(1, int(figure.get_figwidth() / (0.55 + 0.065 * max(map(len, named)))))
    rows = -(-len(named) // across)
    drawn = figure.legend(
        list(named.values()),
        list(named),
        loc="outside lower center",
        ncols=-(-len(named) // rows),
        frameon=False,
        fontsize=8,
        markerscale=1.3,
    )
    for shown in filter(None, drawn.legend_handles):
        # What is faint beside many others is not to be seen alone.
        shown.set_alpha(1.0)
