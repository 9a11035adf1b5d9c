"""The data behind pictures of descents: on a function itself, or on the squared error of a line."""

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

# The number of panels, and of descents in each: along a line, and for each coordinate of a plane.
_PANELS, _PATHS, _STARTS = 6, 9, 6
# Points along a line, and along each side of a plane.
_ALONG, _ACROSS = 400, 160

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
    """Functions and the descents on them. best: least squares `(2,)`, if they are of a line's loss."""

    title: str
    caption: str
    panels: list[Landscape]
    best: np.ndarray | None = None


class HeightLimits(NamedTuple):
    """The range of a function's values to show. linear: the size up to which a scale is linear; None: all."""

    low: float
    high: float
    linear: float | None


def coordinates(sweep: StoredSweep) -> list[str]:
    """Return the recorded coordinates of a function's point. Raises `KeyError` where the sweep has none."""
    if not is_function(sweep.trials):
        raise KeyError("it is of functions to minimise: model=point")
    return _coordinates_of(sweep, sweep.trials)


def _coordinates_of(sweep: StoredSweep, trials: pd.DataFrame) -> list[str]:
    """Return the coordinates at which some of these trials start."""
    first = sweep.curves[(sweep.curves["step"] == 0) & sweep.curves["trial"].isin(trials["trial"])]
    names = [name for name in map(str, first.columns) if is_parameter(name)]
    return [name.removeprefix("param.") for name in names if first[name].notna().any()]


def parts_of(trials: pd.DataFrame, axes: Sequence[str]) -> list[tuple[str, pd.DataFrame]]:
    """Return the trials by their values on these axes, with a title each; of many values, some."""
    axes = [axis for axis in axes if trials[axis].nunique(dropna=False) > 1]
    if not axes:
        return [("", trials)]
    groups = list(trials.groupby(axes, sort=False, dropna=False))
    kept = evenly_spaced_indices(len(groups), _PANELS).tolist()
    return [(_common_label(groups[i][1], axes), groups[i][1]) for i in kept]


def descents_of(sweep: StoredSweep) -> Descents:
    """Return the descents on functions of one or two coordinates, a panel for each learning rate.

    Raises:
        KeyError: If the sweep minimises no such function.
    """
    panels = [_function(sweep, *part, heights=False) for part in _function_parts(sweep, (1, 2))]
    return Descents("Descents on the function", _spacing(sweep), panels)


def surface_of(sweep: StoredSweep) -> Descents:
    """Return the descents on the function of two coordinates on which most reach a minimum.

    Raises:
        KeyError: If the sweep minimises no function of two coordinates.
    """
    title, part = max(_function_parts(sweep, (2,)), key=lambda part: _arrived(part[1]))
    panel = _function(sweep, title, part, heights=True)
    return Descents(", ".join(filter(None, ["The function as a surface", title])), _spacing(sweep), [panel])


def _function_parts(sweep: StoredSweep, counts: Sequence[int]) -> list[tuple[str, pd.DataFrame]]:
    """Return the trials of each panel, whose functions have so many coordinates."""
    trials = sweep.trials
    others = [axis for axis in axes_of(trials) if axis not in _starts(sweep)]
    parts = _few(trials[trials["seed"] == trials["seed"].iloc[0]], others)
    parts = [part for part in parts if len(_coordinates_of(sweep, part[1])) in counts]
    if not parts:
        takes = "two coordinates" if len(counts) == 1 else "one or two coordinates"
        names = ", ".join(coordinates(sweep)) or "very many"
        raise KeyError(f"it takes a function of {takes}, and this one has {names}")
    return parts


def _starts(sweep: StoredSweep) -> list[str]:
    """Return the axes along which descents start at different points."""
    axes = axes_of(sweep.trials)
    return [f"model.{name}" for name in coordinates(sweep) if f"model.{name}" in axes]


def _function(sweep: StoredSweep, title: str, part: pd.DataFrame, *, heights: bool) -> Landscape:
    names = _coordinates_of(sweep, part)
    chosen = _spread(part, [start for start in _starts(sweep) if part[start].notna().all()])
    value = sweep.landscape(int(part["trial"].iloc[0]))
    paths = _paths(sweep, chosen, names)
    return _landscape(
        title, names, f"f({', '.join(names)})", paths, value, heights=heights or len(names) == 1
    )


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

    heights: whether to evaluate it along the paths too. more: other points to show, `(points, coordinates)`.
    """
    shown = [*paths, *([] if more is None else [Trajectory(more, arrived=True)])]
    limits = [window(shown, i) for i in range(len(names))]
    grid = [np.linspace(low, high, _ALONG if len(names) == 1 else _ACROSS) for low, high in limits]
    mesh = np.stack([values.ravel() for values in np.meshgrid(*grid)], axis=1)
    kept = [inside(path, limits) for path in paths]
    on_paths = [np.zeros(0)] * len(kept)
    if heights:
        # One call for all paths, because a function is compiled anew for every other number of points.
        ends = np.cumsum([len(points) for points, _ in kept])[:-1]
        on_paths = np.split(value(np.concatenate([points for points, _ in kept])), ends)
    descents = [
        Descent(name, points, high, end)
        for name, (points, end), high in zip(labels or [""] * len(kept), kept, on_paths, strict=True)
    ]
    shape = [len(values) for values in reversed(grid)]
    return Landscape([title], names, height, grid, value(mesh).reshape(shape), descents)


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


def height_limits(landscape: Landscape) -> HeightLimits | None:
    """Return the range of a function's values on a line; None where none is finite."""
    # A function need not be finite everywhere.
    heights = landscape.heights[np.isfinite(landscape.heights)]
    if not len(heights):
        return None
    reach = float(np.ptp(heights)) or 1.0
    minima = [abs(descent.heights[-1]) for descent in landscape.descents if descent.end == MINIMUM]
    size = float(max(minima, default=0.0))
    if size and reach > 40.0 * size:
        # The heights between minima would not be seen beside the walls.
        low, high = min(1.5 * float(heights.min()), -0.3 * size), 1.3 * float(heights.max())
        return HeightLimits(low, high, 2.0 * size)
    return HeightLimits(float(heights.min()) - 0.08 * reach, float(heights.max()) + 0.08 * reach, None)


def _spacing(sweep: StoredSweep) -> str:
    """Describe the distance between the points of a path, where it is more than a step."""
    distance = np.diff(sweep.curves["step"].to_numpy()[:2])
    # The points between two records are unknown.
    return f"A point every {distance[0]} steps." if len(distance) and distance[0] > 1 else ""


def _common_label(part: pd.DataFrame, axes: Sequence[str]) -> str:
    """Describe the values that trials have in common."""
    first: dict[str, Any] = {axis: part[axis].iloc[0] for axis in axes}
    return cell_label(first, axes) or " ".join(f"{name}=null" for name in short_axis_names(axes).values())


def _arrived(part: pd.DataFrame) -> int:
    return int(part["minimum"].notna().sum())


def _few(trials: pd.DataFrame, axes: Sequence[str]) -> list[tuple[str, pd.DataFrame]]:
    """Return the same as `parts_of`, but two of many learning rates.

    These are the one at which most descents arrive, and the largest at which half as many do.
    """
    others = [axis for axis in axes if axis != LR]
    groups = parts_of(trials, others)
    if LR not in axes or len(groups) * trials[LR].nunique() <= _PANELS:
        return parts_of(trials, axes)
    parts = []
    for _, group in groups[: _PANELS // 2]:
        arrived = group.groupby(LR).apply(_arrived)
        likely = arrived[arrived >= max(1, arrived.max() / 2)]
        rates = sorted({arrived.idxmax(), likely.index.max() if len(likely) else arrived.index.min()})
        for rate in rates:
            part = group[group[LR] == rate]
            parts.append((_common_label(part, [*others, LR]), part))
    return parts


def _spread(part: pd.DataFrame, starts: Sequence[str]) -> list[int]:
    """Return some of the trials, spread over their starts."""
    most = _PATHS if len(starts) < 2 else _STARTS
    for start in starts:
        values = np.sort(part[start].unique())
        part = part[part[start].isin(values[evenly_spaced_indices(len(values), most)])]
    kept = evenly_spaced_indices(len(part), _STARTS**2 if len(starts) > 1 else _PATHS)
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

    parts = parts_of(trials, [axis for axis in axes_of(trials) if axis != LR])
    panels = [_loss_surface(sweep, title, part, best, value) for title, part in parts]
    title = "The training loss of a line, and the descents on it"
    return Descents(title, "Trials that diverged have no path.", panels, best)


def _loss_surface(
    sweep: StoredSweep, title: str, part: pd.DataFrame, best: np.ndarray, value: Function
) -> Landscape:
    # The first trial of each learning rate is shown, the fastest below the others.
    rows = part.drop_duplicates(LR).sort_values(LR, ascending=False) if LR in part else part.head(1)
    rows = rows.iloc[evenly_spaced_indices(len(rows), _PATHS)]
    paths = [_paths(sweep, [trial], ["b", "w"])[0] for trial in rows["trial"].tolist()]
    # A path arrives within 1 % of the minimum, as on functions.
    reach = 0.01 * (1.0 + np.linalg.norm(best))
    paths = [path._replace(arrived=bool(np.linalg.norm(path.points[-1] - best) <= reach)) for path in paths]
    labels = [f"lr={rate:.4g}" for rate in rows[LR]] if LR in rows else ["a descent"]
    # The points opposite the starts are shown too, so that the whole bowl is seen.
    more = np.stack([2.0 * best - path.points[0] for path in paths])
    names = ["intercept b", "slope w"]
    return _landscape(title, names, "training loss", paths, value, heights=False, labels=labels, more=more)
