"""The look of matplotlib pictures: sizes, colors in light and dark, titles and legends."""

import textwrap
from collections.abc import Callable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import numpy as np
from matplotlib import colormaps, matplotlib_fname, rc_context, rcdefaults
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vsweep.analysis.labels import COLORS
from vsweep.store.atomic import write_whole
from vsweep.store.enclosing import enclosing_sweep

_DPI = 120
Data = TypeVar("Data")


class Style(NamedTuple):
    """The colors of a picture, and whether it stands alone or on a page.

    Attributes:
        paper: The background.
        ink: Text, axes and the strongest lines.
        soft: Fainter lines, and examples in the background.
        palette: Colors that color-blind readers can distinguish.
        greys: The colors of places that are not stationary points, by how common they are.
        heights: The colors of a function from its lowest to its highest value.
        ramp: The part of viridis that is visible on the paper.
        captions: Whether the title and the caption are part of the picture.
    """

    paper: str = "#ffffff"
    ink: str = "#000000"
    soft: tuple[str, str] = ("#b8b8b8", "#737373")
    palette: tuple[str, ...] = COLORS
    greys: tuple[str, str, str] = ("#bbbbbb", "#222222", "#eeeeee")
    heights: tuple[str, str] = ("#f4f4f4", "#6e6e6e")
    ramp: tuple[float, float] = (0.0, 0.92)
    captions: bool = True

    @property
    def settings(self) -> Any:
        """Matplotlib's settings for these colors."""
        inked = ("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color")
        papers = ("figure.facecolor", "axes.facecolor", "savefig.facecolor", "legend.facecolor")
        return dict.fromkeys(inked, self.ink) | dict.fromkeys(papers, self.paper)

    @property
    def least_squares(self) -> Any:
        """Matplotlib's settings for the line of least squares."""
        return {"color": self.ink, "linestyle": "--", "linewidth": 1.4}

    def colors(self, values: Sequence[object]) -> Any:
        """Return a color per value: distinct ones for few names, or else along a scale."""
        if len(values) <= len(self.palette) and all(isinstance(value, str) for value in values):
            return list(self.palette[: len(values)])
        return colormaps["viridis"](np.linspace(*self.ramp, len(values)))


LIGHT = Style()
PAGE_LIGHT = LIGHT._replace(captions=False)
PAGE_DARK = PAGE_LIGHT._replace(
    paper="#111418",
    ink="#e9e9e9",
    soft=("#4b525b", "#7d858f"),
    palette=("#4aa3df", "#f0813c", "#2fc49b", "#e592c2", "#f2b531", "#9ad4f5", "#f0e442", "#ffffff"),
    greys=("#7d858f", "#000000", "#c9ced4"),
    heights=("#20262e", "#8d96a1"),
    ramp=(0.2, 1.0),
)


# Matplotlib reads its settings in the current folder, which may be a sweep's directory from someone else.
if enclosing_sweep(matplotlib_fname()) is not None:
    rcdefaults()


class Picture(Figure):
    """A figure that a notebook shows without pyplot."""

    def _repr_png_(self) -> bytes:
        return encode(self)


def encode(figure: Figure, dpi: int = _DPI) -> bytes:
    """Return a figure as the bytes of a PNG file."""
    buffer = BytesIO()
    figure.savefig(buffer, dpi=dpi, format="png")
    return buffer.getvalue()


def draw(render: Callable[[Data, Style], Figure], data: Data, style: Style = LIGHT) -> Figure:
    """Draw data in the colors of a style."""
    with rc_context(style.settings):
        return render(data, style)


def picture(width: float, height: float) -> Picture:
    """Return an empty picture of a size in inches."""
    return Picture(figsize=(width, height), layout="constrained")


def grid_shape(count: int) -> tuple[int, int]:
    """Return the rows and columns of some panels: three columns, or four where these leave fewer gaps."""
    shapes = []
    for most in (3, 4):
        # The number of rows is the least possible, and the panels are spread over them evenly.
        down = -(-count // most)
        shapes.append((down, -(-count // down)))
    return min(shapes, key=lambda shape: shape[0] * shape[1])


def draw_panels(
    data: Any,
    style: Style,
    draw_panel: Callable[[Axes, Any], None],
    size: tuple[float, float],
    entries: Mapping[str, Any] | None = None,
) -> Picture:
    """Draw the panels of some data in rows of up to three or four, with titles and a legend.

    Args:
        data: The data, with `title`, `caption` and `panels`, each with a `title` in lines.
        style: The style.
        draw_panel: Draws a panel on its axes.
        size: The width and height in inches of one of several panels; a single panel is 1.5 times as large.
        entries: The legend's entries; by default the labeled artists.
    """
    count = len(data.panels)
    down, across = grid_shape(count)
    width, height = (length * (1.5 if count == 1 else 1.0) for length in size)
    figure = picture(width * across + 0.6, height * down + 0.6)
    # The space separates a label from its neighbor's.
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.06)
    axes = figure.subplots(down, across, squeeze=False).ravel().tolist()
    for left in axes[count:]:
        left.remove()
    for ax, panel in zip(axes, data.panels, strict=False):
        draw_panel(ax, panel)
        ax.set_title("\n".join(_wrapped(panel.title, int(15.0 * width))), fontsize=8.5)
    set_title(figure, style, data.title, data.caption)
    legend(figure, entries)
    return figure


def save_figure(figure: Figure, path: str | Path) -> None:
    """Write a figure to a file, whole or not at all, in the format of the file's suffix."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    kind = path.suffix.removeprefix(".") or "png"
    write_whole(path, lambda part: figure.savefig(part, dpi=_DPI, format=kind))


def plain(axes: Axes) -> None:
    """Put lines on a faint grid without a frame."""
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)


def set_title(figure: Figure, style: Style, *lines: str) -> None:
    """Set a picture's title in wrapped lines, unless the page shows them."""
    if style.captions:
        figure.suptitle("\n".join(_wrapped(lines, int(13.0 * figure.get_figwidth()))), fontsize=10)


def _wrapped(lines: Sequence[str], width: int) -> list[str]:
    return [piece for line in lines for piece in textwrap.wrap(line, width)]


def legend(figure: Figure, entries: Mapping[str, Any] | None = None) -> None:
    """Put one legend below all panels, for the given entries or else for the labeled artists."""
    named: dict[str, Any] = dict(entries or {})
    for axes in figure.axes if not named else ():
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault(name, handle)
    if not named:
        return
    across = max(1, int(figure.get_figwidth() / (0.55 + 0.065 * max(map(len, named)))))
    rows = -(-len(named) // across)
    look: Any = {"frameon": False, "fontsize": 8, "markerscale": 1.3, "ncols": -(-len(named) // rows)}
    drawn = figure.legend([*named.values()], [*named], loc="outside lower center", **look)
    for handle in filter(None, drawn.legend_handles):
        # Faint lines add up in the picture, but a single one would be invisible in the legend.
        handle.set_alpha(1.0)
