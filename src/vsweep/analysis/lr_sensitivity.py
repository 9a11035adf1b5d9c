"""Measure how results depend on the learning rate, for each value of another axis."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from vsweep.analysis.ranking import check_axis, rank_cells
from vsweep.analysis.significance import prob_first_better, required_confidence, values_by_seed
from vsweep.metrics import LR, axes_of, default_metric, final_values, higher_is_better

_LINES = ["by", "lr", "cell", "mean", "sem", "seeds", "diverged", "best", "same"]
_RESAMPLES = 1000
_FEWEST_SEEDS = 3
_FEWEST_VALUES = 3


class Slope(NamedTuple):
    """The slope of the log of the best learning rate by the log of an axis's value.

    Attributes:
        slope: The slope.
        low: Its 2.5th percentile over resampled seeds; NaN for fewer than three seeds.
        high: Its 97.5th percentile; NaN for fewer than three seeds.
        values: The number of values of the axis.
        seeds: The number of seeds.
    """

    slope: float
    low: float
    high: float
    values: int
    seeds: int


def lr_lines(trials: pd.DataFrame, metric: str | None = None, by: str | None = None) -> pd.DataFrame:
    """Return for each value of an axis its best cell and those that differ only in the learning rate.

    Args:
        trials: The table of trials.
        metric: The metric that ranks cells; by default `default_metric`.
        by: The axis; None gives one line, that of the best cell of all.

    Returns:
        A row per cell of a line, sorted by `by` (the value, or "") and `lr`. `cell`, `mean`, `sem`, `seeds`
        and `diverged` are those of `rank_cells`. `best` is whether the cell is its line's best; no cell is if
        all diverged. `same` is nullable boolean: whether the cell cannot be distinguished from its line's
        best by the paired t-test (see `prob_first_better`), False if more of its seeds diverged, NA if fewer
        than two seeds are shared. Values with fewer than two positive learning rates are left out.

    Raises:
        KeyError: If there is no such axis or metric, or the learning rate does not vary.
    """
    metric = metric or default_metric(trials)
    cells = rank_cells(trials, metric)
    if by is not None:
        check_axis(trials, by)
    if by == LR:
        raise KeyError("it takes an axis other than the learning rate")
    cells = cells.assign(by="" if by is None else cells[by], lr=_rates(cells))
    cells = cells.dropna(subset=["by", "lr"])
    if cells["lr"].nunique() < 2:
        raise KeyError("the learning rate does not vary")
    others = [axis for axis in axes_of(trials) if axis != LR]
    cells = cells.assign(line=cells.groupby(others, dropna=False).ngroup() if others else 0)
    best = cells.drop_duplicates("by")
    lines = cells[cells["line"].isin(best["line"])]
    lines = lines[lines.groupby("line")["lr"].transform("size") > 1]
    lines = lines.assign(best=lines["cell"].isin(best["cell"]) & lines["mean"].notna())
    values = values_by_seed(trials, f"final_{metric}", lines["cell"].tolist())
    lines = lines.assign(same=_same_as_best(lines, values, higher=higher_is_better(metric)))
    return lines.sort_values(["by", "lr"], ignore_index=True)[_LINES]


def _rates(cells: pd.DataFrame) -> pd.Series:
    """Return learning rates, float64; NaN where there is no positive one."""
    if LR not in cells:
        raise KeyError("the learning rate does not vary")
    rates = pd.to_numeric(cells[LR], errors="coerce").astype("Float64").astype("float64")
    return rates.where((rates > 0.0) & np.isfinite(rates))


def _same_as_best(lines: pd.DataFrame, values: np.ndarray, *, higher: bool) -> pd.Series:
    """Return which cells cannot be distinguished from their line's best, nullable boolean.

    Args:
        lines: Cells, the best of each line before the others.
        values: Float64 `(cells, seeds)`, NaN where a trial diverged.
        higher: Whether higher values are better.
    """
    same = pd.array([pd.NA] * len(lines), "boolean")
    diverged, best = lines["diverged"].to_numpy(), lines["best"].to_numpy()
    for rows in lines.groupby("line").indices.values():
        chance, _ = prob_first_better(values[rows], higher=higher)
        known = ~np.isnan(chance)
        same[rows[known]] = chance[known] < required_confidence(len(rows))
        same[rows[diverged[rows] > diverged[rows[0]]]] = False
    same[best] = True
    return pd.Series(same, lines.index)


def best_lr(lines: pd.DataFrame) -> pd.DataFrame:
    """Return the best learning rate of each line; lines whose cells all diverged are left out.

    Args:
        lines: Lines as `lr_lines` returns them.

    Returns:
        Columns: `by`, `lr`; `low` and `high`, the range of neighbouring learning rates that cannot be
        distinguished from the best (NaN if the best has no standard error); `at_edge`, whether the best is
        the smallest or the largest that was tried; `cell`, `mean`, `sem`.
    """
    lines = lines.sort_values(["by", "lr"])
    groups = lines.groupby("by", sort=False)
    # A cell that was not compared may be the same.
    different = ~lines["same"].fillna(value=True).astype(bool)
    # Number the runs between cells that differ, and keep the run that holds the line's best.
    run = different.astype(int).groupby(lines["by"], sort=False).cumsum()
    best_run = run.where(lines["best"]).groupby(lines["by"], sort=False).transform("max")
    tied = lines["lr"].where((run == best_run) & ~different).groupby(lines["by"], sort=False)
    known = lines["sem"].notna()
    smallest, largest = (groups["lr"].transform(end) for end in ("min", "max"))
    lines = lines.assign(
        low=tied.transform("min").where(known),
        high=tied.transform("max").where(known),
        at_edge=(lines["lr"] == smallest) | (lines["lr"] == largest),
    )
    columns = ["by", "lr", "low", "high", "at_edge", "cell", "mean", "sem"]
    return lines.loc[lines["best"], columns].reset_index(drop=True)


def fit_slope(trials: pd.DataFrame, metric: str | None, by: str) -> Slope | None:
    """Fit the log of the best learning rate by the log of an axis's value, by least squares.

    The interval is the bootstrap's over seeds (Efron 1979). In each resample, the best learning rate of a
    line is chosen again by the fewest diverged seeds and then the best mean, and is moved at random by up to
    half of the distance to its neighbours, since the grid does not resolve more.

    Args:
        trials: The table of trials.
        metric: The metric that ranks cells; by default `default_metric`.
        by: The axis.

    Returns:
        The slope; None for an axis with fewer than three positive numbers, and if lines have fewer than three
        learning rates or different ones.

    Raises:
        KeyError: If there is no such axis or metric, or the learning rate does not vary.
    """
    metric = metric or default_metric(trials)
    lines = lr_lines(trials, metric, by)
    lines = lines[lines.groupby("by")["best"].transform("any")]
    if not pd.api.types.is_numeric_dtype(lines["by"]):
        return None
    lines = lines[lines["by"] > 0]
    best = lines[lines["best"]]
    rates = np.unique(lines["lr"].to_numpy())
    if len(best) < _FEWEST_VALUES or len(rates) < _FEWEST_VALUES or len(lines) < len(best) * len(rates):
        return None
    # Ties go to the lowest cell number, as in the ranking.
    lines = lines.sort_values(["by", "cell"])
    x = np.log(best["by"].to_numpy(np.float64))
    x -= x.mean()
    estimate = x @ np.log(best["lr"].to_numpy()) / (x @ x)
    seeds = trials.loc[trials["cell"].isin(lines["cell"]), "seed"].nunique()
    low = high = np.nan
    if seeds >= _FEWEST_SEEDS:
        resampled = x @ _jitter(np.log(_resample_best(trials, metric, lines)), np.log(rates)) / (x @ x)
        resampled = resampled[np.isfinite(resampled)]
        if 2 * len(resampled) > _RESAMPLES:
            low, high = np.percentile(resampled, [2.5, 97.5]).tolist()
    return Slope(float(estimate), low, high, len(best), seeds)


def _jitter(chosen: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Move log learning rates at random, uniformly up to half of the distance to their neighbours."""
    half = np.diff(rates) / 2.0
    place = np.clip(np.searchsorted(rates, chosen), 0, len(rates) - 1)
    below, above = np.append(half[:1], half)[place], np.append(half, half[-1:])[place]
    return chosen + np.random.default_rng(1).uniform(-below, above)


def _by_cell_and_seed(trials: pd.DataFrame, lines: pd.DataFrame, *values: pd.Series) -> list[np.ndarray]:
    """Arrange values by trial as float64 `(rows of lines, seeds)` each, NaN where there is no trial."""
    inside = trials["cell"].isin(lines["cell"]).to_numpy()
    row = pd.Index(lines["cell"]).get_indexer(trials.loc[inside, "cell"])
    seed, known = pd.factorize(trials.loc[inside, "seed"])
    tables = [np.full((len(lines), len(known)), np.nan) for _ in values]
    for table, value in zip(tables, values, strict=True):
        table[row, seed] = value[inside]
    return tables


def _resample_best(trials: pd.DataFrame, metric: str, lines: pd.DataFrame) -> np.ndarray:
    """Choose the best learning rate of each line over resampled seeds, `(lines, resamples)`; NaN for none."""
    loss, failed = _by_cell_and_seed(
        trials, lines, final_values(trials, metric), trials["status"] == "diverged"
    )
    loss, failed = loss * (-1.0 if higher_is_better(metric) else 1.0), failed == 1.0
    seeds = loss.shape[1]
    # Each column counts how often each seed is drawn in a resample.
    uniform = np.full(seeds, 1.0 / seeds)
    draws = np.random.default_rng(0).multinomial(seeds, uniform, _RESAMPLES).T.astype(float)
    rates, best = lines["lr"].to_numpy(), []
    for line in lines.groupby("by").indices.values():
        ok = np.isfinite(loss[line])
        count, total = ok @ draws, np.where(ok, loss[line], 0.0) @ draws
        mean = np.divide(total, count, out=np.full(count.shape, np.inf), where=count > 0)
        diverged = np.where(count > 0, failed[line] @ draws, np.inf)
        chosen = np.where(diverged == diverged.min(axis=0), mean, np.inf).argmin(axis=0)
        best.append(np.where(count.any(axis=0), rates[line][chosen], np.nan))
    return np.array(best)


def lr_sensitivity(
    trials: pd.DataFrame, start: pd.Series, metric: str, by: str | None = None
) -> pd.DataFrame:
    """Compute the learning-rate sensitivity of each line (Wortsman et al. 2023, arXiv:2309.14322).

    It is the mean over log-uniform learning rates, from the line's smallest to its largest, of
    `min(loss(lr), loss at the start) - least loss over the range`, by the trapezoid rule for each seed. A
    trial that diverged has the loss at the start. Seeds that lack a learning rate or diverged at all of them
    are left out, and so are lines without a seed.

    Args:
        trials: The table of trials.
        start: The loss at step 0, indexed by trial.
        metric: Name of the loss.
        by: The axis; None gives one line, that of the best cell of all.

    Returns:
        Columns: `by`, `sensitivity` (mean over seeds), `sem` (NaN for one seed), `low` and `high` (the
        smallest and largest learning rate), `rates` (their number) and `seeds`.

    Raises:
        KeyError: If there is no such axis or metric, the metric is not a loss, or the learning rate does not
            vary.
    """
    if not metric.endswith("loss"):
        raise KeyError(f"it takes a loss, not {metric!r}")
    lines = lr_lines(trials, metric, by)
    initial = trials["trial"].map(start.astype(float))
    final = final_values(trials, metric)
    clipped = final.where(final < initial, initial)
    loss, trained = _by_cell_and_seed(trials, lines, clipped, final.notna())
    first = np.flatnonzero(~lines["by"].duplicated())
    rates = lines.groupby("by")["lr"]
    # The weight of a rate is half of the distance between its neighbours on the line.
    step = np.diff(np.log(lines["lr"].to_numpy()), prepend=0.0)
    step[first] = 0.0
    weight = 0.5 * (step + np.append(step[1:], 0.0))
    mean = np.add.reduceat(weight[:, None] * loss, first) / np.add.reduceat(weight, first)[:, None]
    complete = np.maximum.reduceat(trained, first) == 1.0
    by_seed = pd.DataFrame(np.where(complete, mean - np.minimum.reduceat(loss, first), np.nan))
    table = pd.DataFrame(
        {
            "by": lines["by"].iloc[first].array,
            "sensitivity": by_seed.mean(axis=1),
            "sem": by_seed.sem(axis=1),
            "low": rates.min().to_numpy(),
            "high": rates.max().to_numpy(),
            "rates": rates.size().to_numpy(),
            "seeds": by_seed.count(axis=1),
        }
    )
    return table[table["seeds"] > 0].reset_index(drop=True)
