"""Pictures of descents: which of them to draw, on the function itself or on a line's loss."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from vsweep.results import landscapes
from vsweep.results.drawing import evenly, panels, picture
from vsweep.results.ends import is_function
from vsweep.results.landscapes import Way, colour_of
from vsweep.results.scene import rows_of
from vsweep.results.select import axes_of, is_parameter, label, short_names

if TYPE_CHECKING:
    from vsweep.results.sweep import Sweep

LR = "optimizer.lr"
# Panels of a picture, and ways drawn in each over a line and along each side of a plane, at most.
_PANELS, _WAYS, _ACROSS = 6, 9, 6


def coordinates(sweep: "Sweep") -> list[str]:
    """The recorded coordinates of a function's point. Raises `KeyError` where the sweep is of none."""
    if not is_function(sweep.trials):
        raise KeyError("it is of functions to minimise: model=point")
    return coordinates_of(sweep, sweep.trials)


def coordinates_of(sweep: "Sweep", trials: pd.DataFrame) -> list[str]:
    """Those that some of these trials start at."""
    first = sweep.curves[(sweep.curves["step"] == 0) & sweep.curves["trial"].isin(trials["trial"])]
    names = [name for name in map(str, first.columns) if is_parameter(name)]
    return [name.removeprefix("param.") for name in names if first[name].notna().any()]


def parts_of(trials: pd.DataFrame, axes: Sequence[str]) -> list[tuple[str, pd.DataFrame]]:
    """The trials by their values on these axes: all of them, or some that are spread, with a title each."""
    axes = [axis for axis in axes if trials[axis].nunique(dropna=False) > 1]
    if not axes:
        return [("", trials)]
    groups = list(trials.groupby(axes, sort=False, dropna=False))
    kept = evenly(len(groups), _PANELS).tolist()
    return [(_titled(groups[i][1], axes), groups[i][1]) for i in kept]


def draw_paths(sweep: "Sweep", *, on_surface: bool) -> Figure:
    """See `Plots.paths` and `Plots.surface`."""
    names, trials = coordinates(sweep), sweep.trials
    starts = [f"model.{name}" for name in names if f"model.{name}" in axes_of(trials)]
    trials = trials[trials["seed"] == trials["seed"].iloc[0]]
    parts = _few(trials, [axis for axis in axes_of(trials) if axis not in starts])
    counts = (2,) if on_surface else (1, 2)
    parts = [part for part in parts if len(coordinates_of(sweep, part[1])) in counts]
    if not parts:
        takes = "two coordinates" if on_surface else "one or two coordinates"
        raise KeyError(f"it takes a function of {takes}, and this one has {', '.join(names) or 'very many'}")
    if on_surface:
        # One hill is enough to look at: that on which most arrive.
        title, part = max(parts, key=lambda part: _arrived(part[1]))
        parts = [(f"descents on the function, {title}" if title else "descents on the function", part)]
        figure = picture(7.4, 6.0)
        axes: list[Any] = [figure.add_subplot(projection="3d")]
    else:
        size = (4.2, 3.6) if len(parts) > 1 else (6.4, 4.6)
        figure, axes = panels(len(parts), columns=columns_of(len(parts)), size=size)
    for at, (title, part) in zip(axes, parts, strict=True):
        names = coordinates_of(sweep, part)
        chosen = _spread(part, [start for start in starts if part[start].notna().all()])
        ways = _ways(sweep, chosen, names)
        value = sweep.landscape(int(part["trial"].iloc[0]))
        flat = landscapes.on_curve if len(names) == 1 else landscapes.on_contours
        draw = landscapes.on_surface if on_surface else flat
        draw(at, ways, value, names)
        at.set_title(title or "descents", fontsize=10)
    figure.legend(handles=_markers(axes), loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    each = np.diff(sweep.curves["step"].to_numpy()[:2])
    if len(each) and each[0] > 1:
        # What happens between is not known.
        figure.suptitle(f"a point every {each[0]} steps", fontsize=10)
    return figure


def _titled(part: pd.DataFrame, axes: Sequence[str]) -> str:
    """What trials have in common, in words."""
    first: dict[str, Any] = {axis: part[axis].iloc[0] for axis in axes}
    words = label(first, axes)
    return words or " ".join(f"{name}=null" for name in short_names(axes).values())


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


def _arrived(part: pd.DataFrame) -> int:
    return int(part["minimum"].notna().sum())


def _few(trials: pd.DataFrame, axes: Sequence[str]) -> list[tuple[str, pd.DataFrame]]:
    """As `parts_of`; of many learning rates that at which most arrive, and the largest at which half do."""
    others = [axis for axis in axes if axis != LR]
    groups = parts_of(trials, others)
    if LR not in axes or len(groups) * trials[LR].nunique() <= _PANELS:
        return parts_of(trials, axes)
    found = []
    for _, group in groups[: _PANELS // 2]:
        arrived = group.groupby(LR).apply(_arrived)
        likely = arrived[arrived >= max(1, arrived.max() / 2)]
        rates = sorted({arrived.idxmax(), likely.index.max() if len(likely) else arrived.index.min()})
        for rate in rates:
            part = group[group[LR] == rate]
            found.append((_titled(part, [*others, LR]), part))
    return found


def _spread(part: pd.DataFrame, starts: Sequence[str]) -> list[int]:
    """Some of the trials, spread over where they start."""
    most = _WAYS if len(starts) < 2 else _ACROSS
    for start in starts:
        values = np.sort(part[start].unique())
        part = part[part[start].isin(values[evenly(len(values), most)])]
    kept = evenly(len(part), _ACROSS**2 if len(starts) > 1 else _WAYS)
    return part["trial"].iloc[kept].tolist()


def _ways(sweep: "Sweep", trials: Sequence[int], names: Sequence[str]) -> list[Way]:
    """The way of each trial; one arrived if it is at a minimum, or went down no function at all."""
    columns = [f"param.{name}" for name in names]
    table = sweep.trials.set_index("trial")
    there = table["minimum"].notna() if "minimum" in table else table["status"] == "ok"
    curves = sweep.curves[sweep.curves["trial"].isin(trials)]
    return [
        Way(part[columns].to_numpy(np.float64), bool(there[trial])) for trial, part in curves.groupby("trial")
    ]


def draw_loss_surface(sweep: "Sweep") -> Figure:
    """See `Plots.loss_surface`."""
    names = [name for name in map(str, sweep.curves) if is_parameter(name)]
    if names != ["param.b", "param.w"] or "least_squares_w" not in sweep.trials:
        raise KeyError("it takes a line of one feature: model=linear record_params=true, squared error")
    if sweep.trials["least_squares_w"].isna().any():
        raise KeyError("it takes squared error alone, and some trials have another loss")
    if sweep.trials["least_squares_w"].nunique() > 1:
        raise KeyError("it takes one data set, and its trials are on several")
    (data,) = list(sweep.plan["data"].values())[:1]
    train = sweep.examples[sweep.examples["part"] == "train"]
    x = (train.iloc[:, 0].to_numpy() - data["mean"][0]) / data["std"][0]
    trials = sweep.trials[sweep.trials["status"] == "ok"]
    if trials.empty:
        raise KeyError("all its trials diverged")
    best = sweep.trials[["least_squares_b", "least_squares_w"]].iloc[0].to_numpy(float)

    def value(at: np.ndarray) -> np.ndarray:
        left = at[:, 0, None] + at[:, 1, None] * x - train["target"].to_numpy()
        return np.mean(left**2, axis=1)

    # One of each learning rate, the fastest below the others.
    parts = parts_of(trials, [axis for axis in axes_of(trials) if axis != LR])
    size = (5.2, 4.4) if len(parts) > 1 else (6.0, 4.8)
    figure, axes = panels(len(parts), columns=columns_of(len(parts)), size=size)
    named: dict[str, Any] = {}
    for at, (title, part) in zip(axes, parts, strict=True):
        rows = part.drop_duplicates(LR).sort_values(LR, ascending=False) if LR in part else part.head(1)
        rows = rows.iloc[evenly(len(rows), _WAYS)]
        ways = [_ways(sweep, [trial], ["b", "w"])[0] for trial in rows["trial"].tolist()]
        # As with functions: within 1 % of where it is least.
        reach = 0.01 * (1.0 + np.linalg.norm(best))
        ways = [way._replace(arrived=bool(np.linalg.norm(way.points[-1] - best) <= reach)) for way in ways]
        # So that the whole bowl is seen, what lies across its middle from where they start.
        across = np.stack([2.0 * best - way.points[0] for way in ways])
        landscapes.on_contours(at, ways, value, ["intercept b", "slope w"], "training loss", across)
        at.plot(*best, "P", color="black", markersize=7, markeredgecolor="white", zorder=4)
        at.set_title(title or "the training loss of a line, and the ways down it", fontsize=10)
        for i, row in enumerate(rows_of(rows)):
            text = label(row, [LR]) if LR in row else "a descent"
            named.setdefault(text, Line2D([], [], color=colour_of(i), label=text))
    squares = Line2D([], [], marker="P", color="black", label="least squares", linestyle="")
    handles = [*named.values(), squares, *_markers(axes)]
    figure.legend(handles=handles, loc="outside right upper", frameon=False, fontsize=9)
    return figure
