"""Compute the data behind pictures of descents, on a function or on the loss of a line."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from vsweep.analysis.cells import Panels, rows_of
from vsweep.analysis.labels import cell_label, evenly_spaced_indices
from vsweep.analysis.minima import is_function
from vsweep.analysis.predictions import example_data_for
from vsweep.analysis.ranking import recorded_parameters, varied_axes
from vsweep.metrics import LR, axes_of, is_parameter
from vsweep.store.reader import StoredSweep

Function = Callable[[np.ndarray], np.ndarray]

# The largest numbers of panels, of descents on a line, and of starts along each coordinate of a plane.
_PANELS, _DESCENTS, _STARTS = 6, 9, 6
# The number of points along a line, and along each side of a plane.
_LINE_POINTS, _PLANE_POINTS = 400, 160

# The ends of a descent, as a legend names them.
MINIMUM, ELSEWHERE, OUTSIDE = "ends at a minimum", "ends elsewhere", "leaves the picture"


class Descent(NamedTuple):
    """A descent, or the part of it that lies inside the picture.

    Attributes:
        points: The recorded points, float64 `(points, coordinates)`.
        end: `MINIMUM`, `ELSEWHERE` or `OUTSIDE`.
        label: Its name in the legend; empty where it needs none.
        heights: The function at these points, `(points,)`, once it is known.
    """

    points: np.ndarray
    end: str
    label: str = ""
    heights: np.ndarray = np.empty(0)


class Landscape(NamedTuple):
    """A function on a line or a plane, and some descents on it.

    Attributes:
        title: In lines.
        names: The name of each coordinate.
        height: The name of the function.
        limits: The range of each coordinate.
        grid: The values of each coordinate at which the function is shown.
        heights: The function there, `(x,)` or `(y, x)`.
        descents: The descents, those in front last.
        best: The point of least squares, `(2,)`, of a line's loss.
    """

    title: list[str]
    names: list[str]
    height: str
    limits: list[tuple[float, float]]
    grid: list[np.ndarray]
    heights: np.ndarray
    descents: list[Descent]
    best: np.ndarray | None = None


def coordinates(sweep: StoredSweep, trials: pd.DataFrame | None = None) -> list[str]:
    """Return the recorded coordinates at which some trials start, by default all of the sweep.

    Raises:
        KeyError: If the sweep minimizes no functions.
    """
    if not is_function(sweep.trials):
        raise KeyError("expected a sweep of functions to minimize: model=point")
    trials = sweep.trials if trials is None else trials
    first = sweep.curves[(sweep.curves["step"] == 0) & sweep.curves["trial"].isin(trials["trial"])]
    names = [name for name in map(str, first.columns) if is_parameter(name)]
    return [name.removeprefix("param.") for name in names if first[name].notna().any()]


def start_axes(sweep: StoredSweep) -> list[str]:
    """Return the axes along which descents start at different points."""
    axes = axes_of(sweep.trials)
    return [f"model.{name}" for name in coordinates(sweep) if f"model.{name}" in axes]


def split_trials(trials: pd.DataFrame, but: Sequence[str]) -> list[tuple[str, pd.DataFrame]]:
    """Split trials by their values on all axes except these; return at most six parts, each with a title."""
    axes = [axis for axis in varied_axes(trials) if axis not in but]
    if not axes:
        return [("", trials)]
    parts = [part for _, part in trials.groupby(axes, sort=False, dropna=False)]
    shown = [parts[i] for i in evenly_spaced_indices(len(parts), _PANELS)]
    return [(cell_label(part.iloc[0], axes), part) for part in shown]


def descents_of(sweep: StoredSweep) -> Panels[Landscape]:
    """Return the descents on functions of one or two coordinates, a panel for each learning rate.

    Raises:
        KeyError: If the sweep minimizes no such function.
    """
    panels = [_function(sweep, *part) for part in _function_parts(sweep, (1, 2))]
    return Panels("Descents on the function", _describe_spacing(sweep), panels)


def surface_of(sweep: StoredSweep) -> Panels[Landscape]:
    """Return the descents on the function of two coordinates on which most reach a minimum.

    Raises:
        KeyError: If the sweep minimizes no function of two coordinates.
    """
    part = max(_function_parts(sweep, (2,)), key=lambda part: part[1]["minimum"].count())
    return Panels("The function as a surface", _describe_spacing(sweep), [_function(sweep, *part)])


def _function_parts(sweep: StoredSweep, counts: Sequence[int]) -> list[tuple[str, pd.DataFrame]]:
    """Return the trials of each panel; functions must have one of these numbers of coordinates."""
    starts, trials = start_axes(sweep), sweep.trials
    parts = split_trials(trials[trials["seed"] == trials["seed"].iloc[0]], starts)
    parts = [part for part in parts if len(coordinates(sweep, part[1])) in counts]
    if not parts:
        takes = "two coordinates" if len(counts) == 1 else "one or two coordinates"
        names = ", ".join(coordinates(sweep)) or "very many"
        raise KeyError(f"expected a function of {takes}, and this one has {names}")
    return parts


def _function(sweep: StoredSweep, title: str, part: pd.DataFrame) -> Landscape:
    names = coordinates(sweep, part)
    chosen = _spread_trials(part, [axis for axis in start_axes(sweep) if part[axis].notna().all()])
    value = sweep.landscape(int(part["trial"].iloc[0]))
    paths = [
        Descent(_path(sweep, row["trial"], names), MINIMUM if pd.notna(row["minimum"]) else ELSEWHERE)
        for row in rows_of(chosen)
    ]
    return _landscape(title, names, f"f({', '.join(names)})", paths, value)


def _landscape(
    title: str,
    names: list[str],
    height: str,
    paths: Sequence[Descent],
    value: Function,
    best: np.ndarray | None = None,
) -> Landscape:
    """Evaluate a function over the part of it that shows some paths, and along the paths.

    Args:
        title: The title of the panel.
        names: The name of each coordinate.
        height: The name of the function.
        paths: The paths.
        value: The function.
        best: The middle of a bowl, which is shown as far on the other side as on the paths' side.
    """
    opposite = [] if best is None else [Descent(2.0 * best - path.points[:1], MINIMUM) for path in paths]
    limits = [_window([*paths, *opposite], i) for i in range(len(names))]
    count = _LINE_POINTS if len(names) == 1 else _PLANE_POINTS
    grid = [np.linspace(low, high, count) for low, high in limits]
    mesh = np.stack([values.ravel() for values in np.meshgrid(*grid)], axis=1)
    visible = [inside(path, limits) for path in paths]
    # One call for all points, because a function is compiled anew for every other number of points.
    points = [mesh, *(path.points for path in visible)]
    ends = np.cumsum([len(part) for part in points])[:-1]
    heights, *along = np.split(value(np.concatenate(points)), ends)
    descents = [path._replace(heights=part) for path, part in zip(visible, along, strict=True)]
    heights = heights.reshape([count] * len(names))
    return Landscape([title], names, height, limits, grid, heights, descents, best)


def inside(path: Descent, limits: Sequence[tuple[float, float]]) -> Descent:
    """Return the part of a path up to where it leaves the limits."""
    lows, highs = np.asarray(limits, float).T
    with np.errstate(invalid="ignore"):
        within = (np.isfinite(path.points) & (path.points >= lows) & (path.points <= highs)).all(axis=1)
    points = path.points[np.logical_and.accumulate(within)]
    return path if within.all() else path._replace(points=points, end=OUTSIDE)


def _window(paths: Sequence[Descent], i: int) -> tuple[float, float]:
    """Return the range of a coordinate to show: all starts, all paths that arrived, and other ends nearby."""
    starts = np.asarray([path.points[0, i] for path in paths])
    ends = np.asarray([path.points[-1, i] for path in paths])
    with np.errstate(invalid="ignore"):
        near = ends[np.abs(ends - np.median(starts)) <= 1.5 * max(np.ptp(starts), 1.0)]
    arrived = [path.points[:, i] for path in paths if path.end == MINIMUM]
    values = np.concatenate([starts, near, *arrived])
    margin = 0.08 * max(np.ptp(values), 0.5)
    return float(values.min() - margin), float(values.max() + margin)


def height_limits(landscape: Landscape) -> tuple[float, float, float | None]:
    """Return the range of heights to show, and up to which size their scale is linear, if not everywhere."""
    heights = landscape.heights[np.isfinite(landscape.heights)]
    low, high = heights.min(initial=np.inf), heights.max(initial=-np.inf)
    reach = high - low or 1.0
    size = max((abs(path.heights[-1]) for path in landscape.descents if path.end == MINIMUM), default=0.0)
    if size and reach > 40.0 * size:
        # On a linear scale, the heights between minima would be invisible beside the walls.
        return min(1.5 * low, -0.3 * size), 1.3 * high, 2.0 * size
    return low - 0.08 * reach, high + 0.08 * reach, None


def _describe_spacing(sweep: StoredSweep) -> str:
    """Describe the distance between the points of a path, where it is more than a step."""
    distance = np.diff(sweep.curves["step"].to_numpy()[:2])
    return f"A point every {distance[0]} steps." if len(distance) and distance[0] > 1 else ""


def _spread_trials(part: pd.DataFrame, starts: Sequence[str]) -> pd.DataFrame:
    """Return some of the trials, spread over their starts."""
    most = _DESCENTS if len(starts) < 2 else _STARTS
    for start in starts:
        values = np.sort(part[start].unique())
        part = part[part[start].isin(values[evenly_spaced_indices(len(values), most)])]
    places = evenly_spaced_indices(len(part), _STARTS**2 if len(starts) > 1 else _DESCENTS)
    return part.iloc[places]


def _path(sweep: StoredSweep, trial: int, names: Sequence[str]) -> np.ndarray:
    columns = [f"param.{name}" for name in names]
    return sweep.curves.loc[sweep.curves["trial"] == trial, columns].to_numpy(np.float64)


def loss_surface_of(sweep: StoredSweep) -> Panels[Landscape]:
    """Return the squared error of a line over its intercept and slope, and the descents on it.

    Raises:
        KeyError: If the sweep does not train lines by squared error with recorded parameters.
    """
    names = recorded_parameters(sweep.trials)
    if names != ["param.b", "param.w"] or "least_squares_w" not in sweep.trials:
        raise KeyError("expected a line of one feature: model=linear record_params=true, squared error")
    trials = sweep.trials
    # Each split has training examples of its own, and so a surface of its own.
    several = "split" in trials
    trials = trials[trials["split"] == 0] if several else trials
    if trials["least_squares_w"].nunique(dropna=False) > 1:
        raise KeyError("expected squared error on one data set, and some trials have others")
    trials = trials[trials["status"] == "ok"]
    if trials.empty:
        raise KeyError("all trials diverged")
    examples = example_data_for(sweep, "loss_surface", 1, "numbers")
    train = examples.part(train=True)
    mean, std = examples.moments[0]
    x = (train[examples.columns[0]].to_numpy() - mean[0]) / std[0]
    best = trials[["least_squares_b", "least_squares_w"]].iloc[0].to_numpy(float)

    def value(points: np.ndarray) -> np.ndarray:
        residuals = points[:, 0, None] + points[:, 1, None] * x - train["target"].to_numpy()
        return np.mean(residuals**2, axis=1)

    panels = [_loss_surface(sweep, title, part, best, value) for title, part in split_trials(trials, [LR])]
    title = "The squared error of a line on the training examples, and the descents on it"
    caption = "Trials that diverged have no path." + " Split 0 is shown." * several
    return Panels(title, caption, panels)


def _loss_surface(
    sweep: StoredSweep, title: str, part: pd.DataFrame, best: np.ndarray, value: Function
) -> Landscape:
    # The first trial of each learning rate is shown, the largest rate behind the others.
    rows = part.drop_duplicates(LR).sort_values(LR, ascending=False) if LR in part else part.head(1)
    rows = rows.iloc[evenly_spaced_indices(len(rows), _DESCENTS)]
    labels = [f"lr={rate:.4g}" for rate in rows[LR]] if LR in rows else ["a descent"]
    # A path arrives within 1 % of the minimum, as on functions.
    reach = 0.01 * (1.0 + np.linalg.norm(best))
    paths = []
    for trial, label in zip(rows["trial"], labels, strict=True):
        points = _path(sweep, trial, ["b", "w"])
        arrived = np.linalg.norm(points[-1] - best) <= reach
        paths.append(Descent(points, MINIMUM if arrived else ELSEWHERE, label))
    return _landscape(title, ["intercept b", "slope w"], "mean squared error", paths, value, best)
