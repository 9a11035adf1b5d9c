"""Which descents pictures are of: those on a function, and those on the squared error of a line."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vsweep.analysis.labels import cell_label, evenly_spaced_indices, short_axis_names
from vsweep.analysis.minima import is_function
from vsweep.analysis.ranking import recorded_parameters
from vsweep.metrics import LR, axes_of, is_parameter
from vsweep.store.reader import StoredSweep

Value = Callable[[np.ndarray], np.ndarray]


class Trajectory(NamedTuple):
    """A descent's recorded points, float64 `(records, coordinates)`; and whether it ends at a minimum.

    steps: of each point, int64 `(records,)`; none where they are of no matter.
    """

    points: np.ndarray
    arrived: bool
    steps: np.ndarray = np.zeros(0, np.int64)


# Panels of a picture, and ways drawn in each over a line and along each side of a plane, at most.
_PANELS, _WAYS, _ACROSS = 6, 9, 6


class FunctionPanel(NamedTuple):
    """A function and the ways of some trials on it."""

    title: str
    names: list[str]
    ways: list[Trajectory]
    value: Value


class LossPanel(NamedTuple):
    """Ways on a line's loss, one of each row of trials. more: other points to be seen, `(rows, 2)`."""

    title: str
    rows: pd.DataFrame
    ways: list[Trajectory]
    more: np.ndarray


def coordinates(sweep: StoredSweep) -> list[str]:
    """The recorded coordinates of a function's point. Raises `KeyError` where the sweep is of none."""
    if not is_function(sweep.trials):
        raise KeyError("it is of functions to minimise: model=point")
    return coordinates_of(sweep, sweep.trials)


def coordinates_of(sweep: StoredSweep, trials: pd.DataFrame) -> list[str]:
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
    kept = evenly_spaced_indices(len(groups), _PANELS).tolist()
    return [(_titled(groups[i][1], axes), groups[i][1]) for i in kept]


def function_panels(sweep: StoredSweep, *, planes: bool) -> list[FunctionPanel]:
    """The functions that a picture shows, of one or two coordinates, or of two alone.

    planes: of two, and of these only that on which most arrive. Raises `KeyError` where there is none.
    """
    names, trials = coordinates(sweep), sweep.trials
    starts = [f"model.{name}" for name in names if f"model.{name}" in axes_of(trials)]
    trials = trials[trials["seed"] == trials["seed"].iloc[0]]
    parts = _few(trials, [axis for axis in axes_of(trials) if axis not in starts])
    counts = (2,) if planes else (1, 2)
    parts = [part for part in parts if len(coordinates_of(sweep, part[1])) in counts]
    if not parts:
        takes = "two coordinates" if planes else "one or two coordinates"
        raise KeyError(f"it takes a function of {takes}, and this one has {', '.join(names) or 'very many'}")
    if planes:
        # One hill is enough to look at: that on which most arrive.
        parts = [max(parts, key=lambda part: _arrived(part[1]))]
    return [_hill(sweep, title, part, starts) for title, part in parts]


def _hill(sweep: StoredSweep, title: str, part: pd.DataFrame, starts: Sequence[str]) -> FunctionPanel:
    names = coordinates_of(sweep, part)
    chosen = _spread(part, [start for start in starts if part[start].notna().all()])
    return FunctionPanel(
        title, names, _ways(sweep, chosen, names), sweep.landscape(int(part["trial"].iloc[0]))
    )


def every(sweep: StoredSweep) -> str:
    """How far apart the points of ways are, in words, where that is more than a step."""
    each = np.diff(sweep.curves["step"].to_numpy()[:2])
    # What happens between is not known.
    return f"a point every {each[0]} steps" if len(each) and each[0] > 1 else ""


def _titled(part: pd.DataFrame, axes: Sequence[str]) -> str:
    """What trials have in common, in words."""
    first: dict[str, Any] = {axis: part[axis].iloc[0] for axis in axes}
    words = cell_label(first, axes)
    return words or " ".join(f"{name}=null" for name in short_axis_names(axes).values())


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
        part = part[part[start].isin(values[evenly_spaced_indices(len(values), most)])]
    kept = evenly_spaced_indices(len(part), _ACROSS**2 if len(starts) > 1 else _WAYS)
    return part["trial"].iloc[kept].tolist()


def _ways(sweep: StoredSweep, trials: Sequence[int], names: Sequence[str]) -> list[Trajectory]:
    """The way of each trial; one arrived if it is at a minimum, or went down no function at all."""
    columns = [f"param.{name}" for name in names]
    table = sweep.trials.set_index("trial")
    there = table["minimum"].notna() if "minimum" in table else table["status"] == "ok"
    curves = sweep.curves[sweep.curves["trial"].isin(trials)]
    return [
        Trajectory(part[columns].to_numpy(np.float64), bool(there[trial]), part["step"].to_numpy(np.int64))
        for trial, part in curves.groupby("trial")
    ]


def loss_panels(sweep: StoredSweep) -> tuple[np.ndarray, Value, list[LossPanel]]:
    """Least squares `(2,)`, a line's squared error over its intercept and slope, and ways down it.

    Raises `KeyError` for what is no sweep of lines whose parameters were recorded.
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

    def value(at: np.ndarray) -> np.ndarray:
        left = at[:, 0, None] + at[:, 1, None] * x - train["target"].to_numpy()
        return np.mean(left**2, axis=1)

    parts = parts_of(trials, [axis for axis in axes_of(trials) if axis != LR])
    return best, value, [_bowl(sweep, title, part, best) for title, part in parts]


def _bowl(sweep: StoredSweep, title: str, part: pd.DataFrame, best: np.ndarray) -> LossPanel:
    # One of each learning rate, the fastest below the others.
    rows = part.drop_duplicates(LR).sort_values(LR, ascending=False) if LR in part else part.head(1)
    rows = rows.iloc[evenly_spaced_indices(len(rows), _WAYS)]
    ways = [_ways(sweep, [trial], ["b", "w"])[0] for trial in rows["trial"].tolist()]
    # As with functions: within 1 % of where it is least.
    reach = 0.01 * (1.0 + np.linalg.norm(best))
    ways = [way._replace(arrived=bool(np.linalg.norm(way.points[-1] - best) <= reach)) for way in ways]
    # So that the whole bowl is seen, what lies across its middle from where they start.
    return LossPanel(title, rows, ways, np.stack([2.0 * best - way.points[0] for way in ways]))
