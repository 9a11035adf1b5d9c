"""Compute the data behind pictures of descents, on a function or on the loss of a line."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vsweep.analysis.labels import cell_label, evenly_spaced_indices, short_axis_names
from vsweep.analysis.minima import is_function
from vsweep.analysis.ranking import recorded_parameters
from vsweep.metrics import LR, axes_of, is_parameter
from vsweep.store.reader import StoredSweep

Function = Callable[[np.ndarray], np.ndarray]

# The largest numbers of panels, of descents on a line, and of starts along each coordinate of a plane.
_PANELS, _DESCENTS, _STARTS = 6, 9, 6
# The number of points along a line, and along each side of a plane.
_LINE_POINTS, _PLANE_POINTS = 400, 160

# The ends of a descent, as a legend names them.
MINIMUM, ELSEWHERE, OUTSIDE = "ends at a minimum", "ends elsewhere", "leaves the picture"


class Trajectory(NamedTuple):
    """A descent's recorded points, float64 `(records, coordinates)`, and whether it ends at a minimum."""

    points: np.ndarray
    arrived: bool


class Descent(NamedTuple):
    """The part of a descent that lies inside the picture.

    Attributes:
        label: Its name in the legend; empty where it needs none.
        points: Float64 `(points, coordinates)`.
        heights: The function at these points, `(points,)`; empty over a plane, where colours show it.
        end: `MINIMUM`, `ELSEWHERE` or `OUTSIDE`.
    """

    label: str
    points: np.ndarray
    heights: np.ndarray
    end: str


class Landscape(NamedTuple):
    """A function on a line or a plane, and some descents on it.

    Attributes:
        title: In lines.
        names: The name of each coordinate.
        height: The name of the function.
        grid: The values of each coordinate at which the function is shown.
        heights: The function there, `(x,)` or `(y, x)`.
        descents: The descents, those in front last.
    """

    title: list[str]
    names: list[str]
    height: str
    grid: list[np.ndarray]
    heights: np.ndarray
    descents: list[Descent]

    @property
    def limits(self) -> list[tuple[float, float]]:
        """The range of each coordinate."""
        return [(float(values[0]), float(values[-1])) for values in self.grid]


class Descents(NamedTuple):
    """Functions and the descents on them; `best` is the point of least squares `(2,)` of a line's loss."""

    title: str
    caption: str
    panels: list[Landscape]
    best: np.ndarray | None = None


def coordinates(sweep: StoredSweep) -> list[str]:
    """Return the recorded coordinates of a function's point.

    Raises:
        KeyError: If the sweep minimises no functions.
    """
    if not is_function(sweep.trials):
        raise KeyError("it takes a sweep of functions to minimise: model=point")
    return _coordinates_of(sweep, sweep.trials)


def _coordinates_of(sweep: StoredSweep, trials: pd.DataFrame) -> list[str]:
    """Return the coordinates at which some of these trials start."""
    first = sweep.curves[(sweep.curves["step"] == 0) & sweep.curves["trial"].isin(trials["trial"])]
    names = [name for name in map(str, first.columns) if is_parameter(name)]
    return [name.removeprefix("param.") for name in names if first[name].notna().any()]


def start_axes(sweep: StoredSweep) -> list[str]:
    """Return the axes along which descents start at different points."""
    axes = axes_of(sweep.trials)
    return [f"model.{name}" for name in coordinates(sweep) if f"model.{name}" in axes]


def split_trials(trials: pd.DataFrame, axes: Sequence[str]) -> list[tuple[str, pd.DataFrame]]:
    """Split trials by their values on these axes, each part with a title; return six parts at most."""
    axes = [axis for axis in axes if trials[axis].nunique(dropna=False) > 1]
    if not axes:
        return [("", trials)]
    parts = [part for _, part in trials.groupby(axes, sort=False, dropna=False)]
    kept = evenly_spaced_indices(len(parts), _PANELS).tolist()
    return [(_common_label(parts[i], axes), parts[i]) for i in kept]


def descents_of(sweep: StoredSweep) -> Descents:
    """Return the descents on functions of one or two coordinates, a panel for each learning rate.

    Raises:
        KeyError: If the sweep minimises no such function.
    """
    panels = [_function(sweep, *part, heights=False) for part in _function_parts(sweep, (1, 2))]
    return Descents("Descents on the function", _describe_spacing(sweep), panels)


def surface_of(sweep: StoredSweep) -> Descents:
    """Return the descents on the function of two coordinates on which most reach a minimum.

    Raises:
        KeyError: If the sweep minimises no function of two coordinates.
    """
    name, part = max(_function_parts(sweep, (2,)), key=lambda part: _count_arrived(part[1]))
    title = ", ".join(filter(None, ["The function as a surface", name]))
    return Descents(title, _describe_spacing(sweep), [_function(sweep, name, part, heights=True)])


def _function_parts(sweep: StoredSweep, counts: Sequence[int]) -> list[tuple[str, pd.DataFrame]]:
    """Return the trials of each panel; functions must have one of these numbers of coordinates."""
    trials, starts = sweep.trials, start_axes(sweep)
    others = [axis for axis in axes_of(trials) if axis not in starts]
    parts = _split_by_rate(trials[trials["seed"] == trials["seed"].iloc[0]], others)
    parts = [part for part in parts if len(_coordinates_of(sweep, part[1])) in counts]
    if not parts:
        takes = "two coordinates" if len(counts) == 1 else "one or two coordinates"
        names = ", ".join(coordinates(sweep)) or "very many"
        raise KeyError(f"it takes a function of {takes}, and this one has {names}")
    return parts


def _function(sweep: StoredSweep, title: str, part: pd.DataFrame, *, heights: bool) -> Landscape:
    names = _coordinates_of(sweep, part)
    chosen = _spread_trials(part, [axis for axis in start_axes(sweep) if part[axis].notna().all()])
    value, paths = sweep.landscape(int(part["trial"].iloc[0])), _paths(sweep, chosen, names)
    height = f"f({', '.join(names)})"
    return _landscape(title, names, height, paths, value, heights=heights or len(names) == 1)


def _landscape(
    title: str,
    names: list[str],
    height: str,
    paths: Sequence[Trajectory],
    value: Function,
    *,
    heights: bool,
    labels: Sequence[str] = (),
    more: np.ndarray | None = None,
) -> Landscape:
    """Evaluate a function over the part of it that shows some paths.

    Args:
        title: The title of the panel.
        names: The name of each coordinate.
        height: The name of the function.
        paths: The paths.
        value: The function.
        heights: Whether to evaluate it along the paths too.
        labels: The name of each path in the legend.
        more: Other points to show, `(points, coordinates)`.
    """
    shown = [*paths, *([] if more is None else [Trajectory(more, arrived=True)])]
    limits = [window(shown, i) for i in range(len(names))]
    count = _LINE_POINTS if len(names) == 1 else _PLANE_POINTS
    grid = [np.linspace(low, high, count) for low, high in limits]
    mesh = np.stack([values.ravel() for values in np.meshgrid(*grid)], axis=1)
    kept = [inside(path, limits) for path in paths]
    on_paths = [np.zeros(0)] * len(kept)
    if heights:
        # One call for all paths, because a function is compiled anew for every other number of points.
        ends = np.cumsum([len(points) for points, _ in kept])[:-1]
        on_paths = np.split(value(np.concatenate([points for points, _ in kept])), ends)
    descents = [
        Descent(label, points, along, end)
        for label, (points, end), along in zip(labels or [""] * len(kept), kept, on_paths, strict=True)
    ]
    return Landscape([title], names, height, grid, value(mesh).reshape([count] * len(names)), descents)


def inside(path: Trajectory, limits: Sequence[tuple[float, float]]) -> tuple[np.ndarray, str]:
    """Return the points of a path up to where it leaves the limits, and its end."""
    lows, highs = np.asarray(limits, float).T
    with np.errstate(invalid="ignore"):
        within = (np.isfinite(path.points) & (path.points >= lows) & (path.points <= highs)).all(axis=1)
    kept = path.points[np.logical_and.accumulate(within)]
    return kept, OUTSIDE if len(kept) < len(path.points) else MINIMUM if path.arrived else ELSEWHERE


def window(paths: Sequence[Trajectory], i: int) -> tuple[float, float]:
    """Return the range of a coordinate to show: all starts, all paths that arrived, and other ends nearby."""
    starts = np.asarray([path.points[0, i] for path in paths])
    ends = np.asarray([path.points[-1, i] for path in paths])
    with np.errstate(invalid="ignore"):
        near = ends[np.abs(ends - np.median(starts)) <= 1.5 * max(np.ptp(starts), 1.0)]
    arrived = [path.points[:, i] for path in paths if path.arrived]
    values = np.concatenate([starts, near, *arrived])
    margin = 0.08 * max(np.ptp(values), 0.5)
    return float(values.min() - margin), float(values.max() + margin)


def height_limits(landscape: Landscape) -> tuple[float, float, float | None] | None:
    """Return the range of a function on a line, and up to which size its scale is linear, if not everywhere.

    Returns:
        The lowest and the highest value to show, and the size; None where no value is finite.
    """
    heights = landscape.heights[np.isfinite(landscape.heights)]
    if not len(heights):
        return None
    low, high = float(heights.min()), float(heights.max())
    reach = high - low or 1.0
    minima = [abs(descent.heights[-1]) for descent in landscape.descents if descent.end == MINIMUM]
    size = float(max(minima, default=0.0))
    if size and reach > 40.0 * size:
        # On a linear scale, the heights between minima would be invisible beside the walls.
        return min(1.5 * low, -0.3 * size), 1.3 * high, 2.0 * size
    return low - 0.08 * reach, high + 0.08 * reach, None


def _describe_spacing(sweep: StoredSweep) -> str:
    """Describe the distance between the points of a path, where it is more than a step."""
    distance = np.diff(sweep.curves["step"].to_numpy()[:2])
    return f"A point every {distance[0]} steps." if len(distance) and distance[0] > 1 else ""


def _common_label(part: pd.DataFrame, axes: Sequence[str]) -> str:
    """Describe the values that trials have in common."""
    first: dict[str, Any] = {axis: part[axis].iloc[0] for axis in axes}
    return cell_label(first, axes) or " ".join(f"{name}=null" for name in short_axis_names(axes).values())


def _count_arrived(part: pd.DataFrame) -> int:
    return int(part["minimum"].notna().sum())


def _split_by_rate(trials: pd.DataFrame, axes: Sequence[str]) -> list[tuple[str, pd.DataFrame]]:
    """Split trials as `split_trials` does, but choose two learning rates if there are many.

    These are the one at which most descents arrive, and the largest at which half as many do.
    """
    others = [axis for axis in axes if axis != LR]
    groups = split_trials(trials, others)
    if LR not in axes or len(groups) * trials[LR].nunique() <= _PANELS:
        return split_trials(trials, axes)
    parts = []
    for _, group in groups[: _PANELS // 2]:
        arrived = group.groupby(LR).apply(_count_arrived)
        likely = arrived[arrived >= max(1, arrived.max() / 2)]
        for rate in sorted({arrived.idxmax(), likely.index.max() if len(likely) else arrived.index.min()}):
            part = group[group[LR] == rate]
            parts.append((_common_label(part, [*others, LR]), part))
    return parts


def _spread_trials(part: pd.DataFrame, starts: Sequence[str]) -> list[int]:
    """Return some of the trials, spread over their starts."""
    most = _DESCENTS if len(starts) < 2 else _STARTS
    for start in starts:
        values = np.sort(part[start].unique())
        part = part[part[start].isin(values[evenly_spaced_indices(len(values), most)])]
    kept = evenly_spaced_indices(len(part), _STARTS**2 if len(starts) > 1 else _DESCENTS)
    return part["trial"].iloc[kept].tolist()


def _paths(sweep: StoredSweep, trials: Sequence[int], names: Sequence[str]) -> list[Trajectory]:
    """Return the path of each trial; it arrived if it is at a minimum, or if the sweep has no minima."""
    columns = [f"param.{name}" for name in names]
    table = sweep.trials.set_index("trial")
    arrived = table["minimum"].notna() if "minimum" in table else table["status"] == "ok"
    curves = sweep.curves[sweep.curves["trial"].isin(trials)]
    return [
        Trajectory(part[columns].to_numpy(np.float64), bool(arrived[trial]))
        for trial, part in curves.groupby("trial")
    ]


def loss_surface_of(sweep: StoredSweep) -> Descents:
    """Return the squared error of a line over its intercept and slope, and the descents on it.

    Raises:
        KeyError: If the sweep does not train lines by squared error with recorded parameters.
    """
    names = recorded_parameters(sweep.trials)
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

    def value(points: np.ndarray) -> np.ndarray:
        residuals = points[:, 0, None] + points[:, 1, None] * x - train["target"].to_numpy()
        return np.mean(residuals**2, axis=1)

    parts = split_trials(trials, [axis for axis in axes_of(trials) if axis != LR])
    panels = [_loss_surface(sweep, title, part, best, value) for title, part in parts]
    title = "The training loss of a line, and the descents on it"
    return Descents(title, "Trials that diverged have no path.", panels, best)


def _loss_surface(
    sweep: StoredSweep, title: str, part: pd.DataFrame, best: np.ndarray, value: Function
) -> Landscape:
    # The first trial of each learning rate is shown, the largest rate behind the others.
    rows = part.drop_duplicates(LR).sort_values(LR, ascending=False) if LR in part else part.head(1)
    rows = rows.iloc[evenly_spaced_indices(len(rows), _DESCENTS)]
    paths = [_paths(sweep, [trial], ["b", "w"])[0] for trial in rows["trial"].tolist()]
    # A path arrives within 1 % of the minimum, as on functions.
    reach = 0.01 * (1.0 + np.linalg.norm(best))
    paths = [path._replace(arrived=bool(np.linalg.norm(path.points[-1] - best) <= reach)) for path in paths]
    labels = [f"lr={rate:.4g}" for rate in rows[LR]] if LR in rows else ["a descent"]
    # The points opposite the starts are shown too, so that the whole bowl is seen.
    more = np.stack([2.0 * best - path.points[0] for path in paths])
    names = ["intercept b", "slope w"]
    return _landscape(title, names, "training loss", paths, value, heights=False, labels=labels, more=more)
