"""Pictures of descents, on the function itself or on a line's loss."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vsweep.analysis.labels import label
from vsweep.metrics import LR
from vsweep.results import landscapes
from vsweep.results.drawing import panels, picture
from vsweep.results.hills import bowls, every, hills
from vsweep.results.landscapes import colour_of
from vsweep.results.scene import rows_of

if TYPE_CHECKING:
    from vsweep.store.reader import StoredSweep


def draw_paths(sweep: "StoredSweep", *, on_surface: bool) -> Figure:
    """See `Plots.paths` and `Plots.surface`."""
    shown = hills(sweep, planes=on_surface)
    if on_surface:
        figure = picture(7.4, 6.0)
        axes: list[Any] = [figure.add_subplot(projection="3d")]
    else:
        size = (4.2, 3.6) if len(shown) > 1 else (6.4, 4.6)
        figure, axes = panels(len(shown), columns=columns_of(len(shown)), size=size)
    for at, (title, names, ways, value) in zip(axes, shown, strict=True):
        flat = landscapes.on_curve if len(names) == 1 else landscapes.on_contours
        draw = landscapes.on_surface if on_surface else flat
        draw(at, ways, value, names)
        words = f"descents on the function, {title}" if title else "descents on the function"
        at.set_title(words if on_surface else title or "descents", fontsize=10)
    figure.legend(handles=_markers(axes), loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    if every(sweep):
        figure.suptitle(every(sweep), fontsize=10)
    return figure


_NAMES = {
    landscapes.BEGINS: ("start", "white"),
    landscapes.ARRIVES: ("ends at a minimum", "0.2"),
    landscapes.STOPS: ("ends elsewhere", "0.2"),
    landscapes.LEAVES: ("goes on to leave the picture", "0.2"),
}


def _markers(axes: Sequence[Any]) -> list[Line2D]:
    """What the markers in these axes stand for."""
    used = {line.get_marker() for each in axes for line in each.lines}
    handles = []
    for marker, (text, face) in _NAMES.items():
        if marker in used:
            look: Any = {"marker": marker, "markerfacecolor": face, "markersize": 7, "linestyle": ""}
            handles.append(Line2D([], [], color="0.2", label=text, **look))
    return handles


def columns_of(count: int) -> int:
    """How many of so many panels go in a row."""
    return 2 if count in (2, 4) else 3


def draw_loss_surface(sweep: "StoredSweep") -> Figure:
    """See `Plots.loss_surface`."""
    best, value, shown = bowls(sweep)
    size = (5.2, 4.4) if len(shown) > 1 else (6.0, 4.8)
    figure, axes = panels(len(shown), columns=columns_of(len(shown)), size=size)
    named: dict[str, Any] = {}
    for at, (title, rows, ways, more) in zip(axes, shown, strict=True):
        landscapes.on_contours(at, ways, value, ["intercept b", "slope w"], "training loss", more)
        at.plot(*best, "P", color="black", markersize=7, markeredgecolor="white", zorder=4)
        at.set_title(title or "the training loss of a line, and the ways down it", fontsize=10)
        for i, row in enumerate(rows_of(rows)):
            text = label(row, [LR]) if LR in row else "a descent"
            named.setdefault(text, Line2D([], [], color=colour_of(i), label=text))
    squares = Line2D([], [], marker="P", color="black", label="least squares", linestyle="")
    handles = [*named.values(), squares, *_markers(axes)]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=9)
    return figure
