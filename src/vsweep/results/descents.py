"""Pictures of descents: which start leads where, and the ways there on the function itself."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgba
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from vsweep.results.drawing import COLOURS, panels, picture, plain
from vsweep.results.ends import AWAY, MOVING, is_function, where_ended
from vsweep.results.select import axes_of, label

if TYPE_CHECKING:
    from vsweep.results.sweep import Sweep

LR = "optimizer.lr"
# Panels of a picture, and ways drawn in each over a line and along each side of a plane, at most.
_PANELS, _WAYS, _ACROSS = 6, 9, 6
_OTHERS = "other minima"
_GREYS = {MOVING: "#BBBBBB", AWAY: "#222222", _OTHERS: "#EEEEEE"}
Value = Callable[[np.ndarray], np.ndarray]


def coordinates(sweep: "Sweep") -> list[str]:
    """The recorded coordinates of a function's point. Raises `KeyError` where the sweep is of none."""
    if not is_function(sweep.trials):
        raise KeyError("it is of functions to minimise: model=point")
    return [name.removeprefix("param.") for name in sweep.curves.columns if name.startswith("param.")]


def draw_basin(sweep: "Sweep", x: str | None, y: str | None) -> Figure:
    """See `Plots.basin`."""
    trials = sweep.trials
    starts = [f"model.{name}" for name in coordinates(sweep) if f"model.{name}" in axes_of(trials)]
    others = [axis for axis in [*starts[1:], LR] if axis in axes_of(trials)]
    if not starts or not others:
        raise KeyError("it takes two axes: where a coordinate starts, and another or optimizer.lr")
    x, y = x or starts[0], y or others[0]
    for axis in (x, y):
        if axis not in axes_of(trials):
            raise KeyError(f"no axis {axis!r}: there are {', '.join(axes_of(trials))}")
    trials = trials[trials["seed"] == trials["seed"].iloc[0]].assign(ended=where_ended)
    parts = _parts(trials, [axis for axis in axes_of(trials) if axis not in (x, y)])
    names = _named(pd.concat([part for _, part in parts])["ended"])
    size = (4.2, 3.6) if len(parts) > 1 else (6.4, 4.4)
    figure, axes = panels(len(parts), columns=_columns(len(parts)), size=size)
    for at, (title, part) in zip(axes, parts, strict=True):
        _basin(at, part, names, x, y)
        at.set_title(title or "where each descent ends", fontsize=10)
    if len(parts) > 1:
        figure.suptitle("where each descent ends", fontsize=11)
    shown = [Patch(facecolor=colour, edgecolor="0.4", label=_said(name)) for name, colour in names.items()]
    figure.legend(
        handles=shown, loc="outside lower center", ncols=min(4, len(shown)), frameon=False, fontsize=9
    )
    return figure


def _said(name: str) -> str:
    return f"minimum {name}" if "=" in name else name


def _named(ended: pd.Series) -> dict[str, str]:
    """A colour for each place where trials end, the most frequent minima first."""
    counts = ended.value_counts()
    minima = [str(name) for name in counts.index if "=" in str(name)]
    kinds = [str(name) for name in counts.index if "=" not in str(name) and name not in _GREYS]
    kept = minima[: len(COLOURS) - 2 - len(kinds)]
    found = dict(zip(sorted(kept, key=_number) + kinds, COLOURS, strict=False))
    rest = [name for name in _GREYS if name in counts or (name == _OTHERS and len(minima) > len(kept))]
    return found | {name: _GREYS[name] for name in rest}


def _number(name: str) -> tuple[float, ...]:
    return tuple(float(part.partition("=")[2]) for part in name.split(", "))


def _basin(axes: Axes, part: pd.DataFrame, names: dict[str, str], x: str, y: str) -> None:
    order = list(names)
    codes = part["ended"].map(lambda name: order.index(name if name in names else _OTHERS))
    table = part.assign(code=codes).drop_duplicates([x, y]).pivot(index=y, columns=x, values="code")
    across, up = (table.columns.to_numpy(float), table.index.to_numpy(float))
    colours = ListedColormap([to_rgba(colour) for colour in names.values()])
    mesh = np.ma.masked_invalid(table.to_numpy(float))
    axes.pcolormesh(_edges(across), _edges(up), mesh, cmap=colours, vmin=-0.5, vmax=len(order) - 0.5)
    for values, scale, text, axis in (
        (across, axes.set_xscale, axes.set_xlabel, x),
        (up, axes.set_yscale, axes.set_ylabel, y),
    ):
        scale("log" if _geometric(values) else "linear")
        name = axis.removeprefix("model.")
        text("learning rate" if axis == LR else f"start, {name}" if axis.startswith("model.") else axis)


def _geometric(values: np.ndarray) -> bool:
    """Whether values are spread by their ratios rather than by their differences."""
    return len(values) > 2 and values.min() > 0 and values.max() / values.min() > 20


def _edges(values: np.ndarray) -> np.ndarray:
    """Between values halfway, as they are spread."""
    log = _geometric(values)
    at = np.log(values) if log else values
    if len(at) == 1:
        return np.asarray([at[0] - 0.5, at[0] + 0.5])
    middle = (at[1:] + at[:-1]) / 2.0
    edges = np.concatenate([[2 * at[0] - middle[0]], middle, [2 * at[-1] - middle[-1]]])
    return np.exp(edges) if log else edges


def _parts(trials: pd.DataFrame, axes: Sequence[str]) -> list[tuple[str, pd.DataFrame]]:
    """The trials by their values on these axes: all of them, or some that are spread, with a title each."""
    axes = [axis for axis in axes if trials[axis].nunique(dropna=False) > 1]
    if not axes:
        return [("", trials)]
    groups = list(trials.groupby(axes, sort=False, dropna=False))
    kept = _evenly(np.arange(len(groups)), _PANELS).tolist()
    return [(label(groups[i][1].iloc[0].to_dict(), axes), groups[i][1]) for i in kept]


def draw_paths(sweep: "Sweep", *, on_surface: bool) -> Figure:
    """See `Plots.paths` and `Plots.surface`."""
    names, trials = coordinates(sweep), sweep.trials
    if len(names) > 2 or (on_surface and len(names) != 2):
        takes = "two coordinates" if on_surface else "one or two coordinates"
        raise KeyError(f"it takes a function of {takes}, and this one has {', '.join(names)}")
    starts = [f"model.{name}" for name in names if f"model.{name}" in axes_of(trials)]
    trials = trials[trials["seed"] == trials["seed"].iloc[0]]
    parts = _few(trials, [axis for axis in axes_of(trials) if axis not in starts])
    if on_surface:
        # One hill is enough to look at: that on which most arrive.
        title, part = max(parts, key=lambda part: _arrived(part[1]))
        parts = [(f"descents on the function, {title}" if title else "descents on the function", part)]
        figure = picture(7.4, 6.0)
        axes: list[Any] = [figure.add_subplot(projection="3d")]
    else:
        size = (4.2, 3.6) if len(parts) > 1 else (6.4, 4.6)
        figure, axes = panels(len(parts), columns=_columns(len(parts)), size=size)
    for at, (title, part) in zip(axes, parts, strict=True):
        chosen = _spread(part, starts)
        ways = _ways(sweep, chosen, names)
        value = sweep.landscape(int(part["trial"].iloc[0]))
        draw = _on_surface if on_surface else _on_curve if len(names) == 1 else _on_contours
        draw(at, ways, value, names)
        at.set_title(title or "descents", fontsize=10)
    shown = [
        Line2D([], [], marker="o", color="0.2", markerfacecolor="white", label="start", linestyle=""),
        Line2D([], [], marker="*", color="0.2", label="end", linestyle="", markersize=9),
        Line2D(
            [], [], marker="X", color="0.2", label="goes on to leave the picture", linestyle="", markersize=7
        ),
    ]
    figure.legend(handles=shown, loc="outside lower center", ncols=3, frameon=False, fontsize=9)
    return figure


def _columns(count: int) -> int:
    return 2 if count in (2, 4) else 3


def _arrived(part: pd.DataFrame) -> int:
    return int(part["minimum"].notna().sum())


def _few(trials: pd.DataFrame, axes: Sequence[str]) -> list[tuple[str, pd.DataFrame]]:
    """As `_parts`; of many learning rates that at which most arrive, and the largest at which half do."""
    others = [axis for axis in axes if axis != LR]
    groups = _parts(trials, others)
    if LR not in axes or len(groups) * trials[LR].nunique() <= _PANELS:
        return _parts(trials, axes)
    found = []
    for _, group in groups[: _PANELS // 2]:
        arrived = group.groupby(LR).apply(_arrived)
        likely = arrived[arrived >= max(1, arrived.max() / 2)]
        rates = sorted({arrived.idxmax(), likely.index.max() if len(likely) else arrived.index.min()})
        for rate in rates:
            part = group[group[LR] == rate]
            found.append((label(part.iloc[0].to_dict(), [*others, LR]), part))
    return found


def _spread(part: pd.DataFrame, starts: Sequence[str]) -> list[int]:
    """Some of the trials, spread over where they start."""
    most = _WAYS if len(starts) < 2 else _ACROSS
    for start in starts:
        part = part[part[start].isin(_evenly(np.sort(part[start].unique()), most))]
    return _evenly(part["trial"].to_numpy(), _ACROSS**2 if len(starts) > 1 else _WAYS).tolist()


def _evenly(values: np.ndarray, most: int) -> np.ndarray:
    """Some of many values, the first and the last among them."""
    return values[np.unique(np.linspace(0, len(values) - 1, min(len(values), most)).round().astype(int))]


def _ways(sweep: "Sweep", trials: Sequence[int], names: Sequence[str]) -> list[np.ndarray]:
    """The points of each trial, `(records, coordinates)`."""
    columns = [f"param.{name}" for name in names]
    curves = sweep.curves[sweep.curves["trial"].isin(trials)]
    return [part[columns].to_numpy(np.float64) for _, part in curves.groupby("trial")]


def _inside(way: np.ndarray, lows: Sequence[float], highs: Sequence[float]) -> tuple[np.ndarray, str]:
    """A way up to where it leaves the picture, and the marker of its end."""
    with np.errstate(invalid="ignore"):
        within = (np.isfinite(way) & (way >= lows) & (way <= highs)).all(axis=1)
    kept = way[np.logical_and.accumulate(within)]
    return kept, "*" if len(kept) == len(way) else "X"


def _window(ways: Sequence[np.ndarray], i: int) -> tuple[float, float]:
    """What of a coordinate is shown: where descents start and end, but for those that left."""
    begun = np.asarray([way[0, i] for way in ways])
    reach = max(np.ptp(begun), 1.0)
    ended = np.asarray([way[-1, i] for way in ways])
    with np.errstate(invalid="ignore"):
        near = ended[np.abs(ended - np.median(begun)) <= 1.5 * reach]
    every = np.concatenate([begun, near])
    margin = 0.08 * max(np.ptp(every), 0.5)
    return float(every.min() - margin), float(every.max() + margin)


def _on_curve(axes: Axes, ways: Sequence[np.ndarray], value: Value, names: Sequence[str]) -> None:
    low, high = _window(ways, 0)
    across = np.linspace(low, high, 400)
    height = value(across[:, None])
    axes.plot(across, height, color="0.35", linewidth=1.5)
    for i, way in enumerate(ways):
        inside, end = _inside(way, [low], [high])
        at, colour = value(inside), COLOURS[i % (len(COLOURS) - 1)]
        axes.plot(inside[:, 0], at, color=colour, linewidth=1.2, alpha=0.9, marker=".", markersize=3)
        axes.plot(inside[0, 0], at[0], "o", color=colour, markerfacecolor="white", markersize=6)
        axes.plot(inside[-1, 0], at[-1], end, color=colour, markersize=10 if end == "*" else 7)
    reach = np.ptp(height)
    axes.set_ylim(height.min() - 0.08 * reach, height.max() + 0.08 * reach)
    axes.set_xlim(low, high)
    axes.set_xlabel(names[0])
    axes.set_ylabel(f"f({names[0]})")
    plain(axes)


def _mesh(ways: Sequence[np.ndarray], value: Value) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    across, up = (np.linspace(*_window(ways, i), 160) for i in (0, 1))
    xs, ys = np.meshgrid(across, up)
    return xs, ys, value(np.stack([xs.ravel(), ys.ravel()], axis=1)).reshape(xs.shape)


def _on_contours(
    axes: Axes,
    ways: Sequence[np.ndarray],
    value: Value,
    names: Sequence[str],
    height: str = "",
    more: np.ndarray | None = None,
) -> None:
    """height: what the function is called. more: other points to be seen."""
    seen = [*ways, *([] if more is None else [more[i : i + 1] for i in range(len(more))])]
    xs, ys, heights = _mesh(seen, value)
    drawn = axes.contourf(xs, ys, heights, levels=20, cmap="Greys", alpha=0.85)
    assert axes.figure is not None
    axes.figure.colorbar(drawn, ax=axes, label=height or f"f({', '.join(names)})")
    for i, way in enumerate(ways):
        colour = COLOURS[i % (len(COLOURS) - 1)]
        at, end = _inside(way, [xs.min(), ys.min()], [xs.max(), ys.max()])
        axes.plot(at[:, 0], at[:, 1], color=colour, linewidth=1.4)
        axes.plot(*at[0], "o", color=colour, markerfacecolor="white", markersize=5)
        axes.plot(*at[-1], end, color=colour, markersize=9, markeredgecolor="white", markeredgewidth=0.5)
    axes.set_xlim(xs.min(), xs.max())
    axes.set_ylim(ys.min(), ys.max())
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])


def _on_surface(axes: Any, ways: Sequence[np.ndarray], value: Value, names: Sequence[str]) -> None:
    xs, ys, heights = _mesh(ways, value)
    axes.plot_surface(xs, ys, heights, cmap="Greys", alpha=0.55, linewidth=0, rcount=60, ccount=60)
    lift = 0.01 * np.ptp(heights)
    for i, way in enumerate(ways):
        colour = COLOURS[i % (len(COLOURS) - 1)]
        kept, end = _inside(way, [xs.min(), ys.min()], [xs.max(), ys.max()])
        at = value(kept) + lift
        axes.plot(kept[:, 0], kept[:, 1], at, color=colour, linewidth=1.6, zorder=5)
        axes.plot(*kept[:1].T, at[:1], "o", color=colour, markerfacecolor="white", markersize=5, zorder=6)
        axes.plot(*kept[-1:].T, at[-1:], end, color=colour, markersize=9, zorder=6)
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    axes.set_zlabel(f"f({', '.join(names)})")
    axes.view_init(elev=42, azim=-62)


def draw_loss_surface(sweep: "Sweep") -> Figure:
    """See `Plots.loss_surface`."""
    names = [name for name in sweep.curves.columns if name.startswith("param.")]
    if names != ["param.b", "param.w"] or "least_squares_w" not in sweep.trials:
        raise KeyError("it takes a line of one feature: model=linear record_params=true, squared error")
    if sweep.trials.loc[:, "least_squares_w"].nunique() > 1:
        raise KeyError("it takes one data set, and its trials are on several")
    (data,) = list(sweep.plan["data"].values())[:1]
    train = sweep.examples[sweep.examples["part"] == "train"]
    x = (train.iloc[:, 0].to_numpy() - data["mean"][0]) / data["std"][0]
    trials = sweep.trials[sweep.trials["status"] == "ok"]
    # The first of each learning rate: with all examples in a step, where that is the first on its axis.
    trials = trials.drop_duplicates(LR) if LR in axes_of(trials) else trials
    chosen = _evenly(trials["trial"].to_numpy(), _WAYS)
    ways = _ways(sweep, chosen.tolist(), ["b", "w"])
    best = sweep.trials[["least_squares_b", "least_squares_w"]].iloc[0].to_numpy(float)

    def value(at: np.ndarray) -> np.ndarray:
        left = at[:, 0, None] + at[:, 1, None] * x - train["target"].to_numpy()
        return np.mean(left**2, axis=1)

    figure = picture(6.6, 5.2)
    axes = figure.subplots()
    # So that the whole bowl is seen, what lies across its middle from where they start.
    across = np.stack([2.0 * best - way[0] for way in ways])
    _on_contours(axes, ways, value, ["intercept b", "slope w"], "training loss", across)
    axes.plot(*best, "P", color="black", markersize=9, markeredgecolor="white", label="least squares")
    rows: list[Any] = trials[trials["trial"].isin(chosen)].to_dict("records")
    for i, row in enumerate(rows):
        name = label(row, [axis for axis in axes_of(trials) if axis == LR])
        axes.plot([], [], color=COLOURS[i % (len(COLOURS) - 1)], label=name or "a descent")
    axes.set_title("the training loss of a line, and the ways down it", fontsize=10)
    figure.legend(loc="outside right upper", frameon=False, fontsize=9)
    return figure
