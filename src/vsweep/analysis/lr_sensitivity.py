"""How a result hangs on the learning rate, for each value of another axis."""

from typing import NamedTuple

import numpy as np
import pandas as pd

from vsweep.analysis.ranking import check_axis, rank_cells
from vsweep.analysis.significance import prob_first_better, required_confidence, values_by_seed
from vsweep.metrics import LR, axes_of, default_metric, final_values, higher_is_better

_LINES = ["by", "lr", "cell", "mean", "sem", "seeds", "diverged", "best", "same"]
_RESAMPLES, _FEWEST_SEEDS, _FEWEST_VALUES = 1000, 3, 3


class Slope(NamedTuple):
    """The slope of the logarithm of the best learning rate on the logarithm of an axis's value.

    low, high: its 2.5 and 97.5 percentiles over resampled seeds, NaN of fewer than three seeds. values: how
    many of the axis. seeds: how many.
    """

    slope: float
    low: float
    high: float
    values: int
    seeds: int


def lr_lines(trials: pd.DataFrame, metric: str | None = None, by: str | None = None) -> pd.DataFrame:
    """For each value of an axis, its best cell and those that differ from it in the learning rate alone.

    by: the axis; None for one line, of the best cell of all. Values without a learning rate, or whose line
    has fewer than two, are left out, and so are learning rates that are no positive numbers.

    Columns: `by` (the value, or ""), rising; `lr`, rising; `cell`, `mean`, `sem`, `seeds`, `diverged` as of
    `rank_cells`; `best`, whether it is the line's best (none is where all diverged); `same`, "boolean":
    whether it cannot be told apart from the line's best by the paired t-test (see `compare`), False if more
    seeds diverged, NA where fewer than two are shared. Raises `KeyError` for an axis or a metric that there
    is not, and where the learning rate does not vary.
    """
    metric = metric or default_metric(trials)
    cells = rank_cells(trials, metric)
    cells = cells.assign(by="" if by is None else cells[_other(trials, by)], lr=_rates(cells))
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
    lines = lines.assign(same=_same(lines, values, higher=higher_is_better(metric)))
    return lines.sort_values(["by", "lr"], ignore_index=True)[_LINES]


def _other(trials: pd.DataFrame, by: str) -> str:
    """The axis, if there is such a one beside the learning rate."""
    check_axis(trials, by)
    if by == LR:
        raise KeyError("it takes another axis than the learning rate")
    return by


def _rates(cells: pd.DataFrame) -> pd.Series:
    """Learning rates, float64; NaN where there is none above zero."""
    if LR not in cells:
        raise KeyError("the learning rate does not vary")
    rates = pd.to_numeric(cells[LR], errors="coerce").astype("Float64").astype("float64")
    return rates.where((rates > 0.0) & np.isfinite(rates))


def _same(lines: pd.DataFrame, values: np.ndarray, *, higher: bool) -> pd.Series:
    """Whether cells cannot be told apart from their line's best, which comes first; "boolean".

    values: float64 `(cells, seeds)`, NaN where a trial diverged.
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
    """The best learning rate of each line; lines that all diverged are left out.

    Columns: `by`, `lr`; `low` and `high`, the ends of the run of neighbours that cannot be told apart from it
    (NaN where its own error is not known); `at_edge`, whether none that is smaller, or none that is larger,
    was tried; `cell`, `mean`, `sem`.
    """
    lines = lines.sort_values(["by", "lr"])
    groups = lines.groupby("by", sort=False)
    # What is not known to be apart may be the same.
    apart = ~lines["same"].fillna(value=True).astype(bool)
    # Each run has a number; that of the best is its line's.
    run = apart.astype(int).groupby(lines["by"], sort=False).cumsum()
    own = run.where(lines["best"]).groupby(lines["by"], sort=False).transform("max")
    reached = lines["lr"].where((run == own) & ~apart).groupby(lines["by"], sort=False)
    best = lines.assign(low=reached.transform("min"), high=reached.transform("max"))
    ends = groups["lr"].agg(["min", "max"])
    best = best[lines["best"]]
    known = best["sem"].notna()
    best = best.assign(low=best["low"].where(known), high=best["high"].where(known))
    least, most = best["by"].map(ends["min"]), best["by"].map(ends["max"])
    best = best.assign(at_edge=(best["lr"] == least) | (best["lr"] == most))
    return best[["by", "lr", "low", "high", "at_edge", "cell", "mean", "sem"]].reset_index(drop=True)


def fit_slope(trials: pd.DataFrame, metric: str | None, by: str) -> Slope | None:
    """How the best learning rate goes with an axis, by least squares on logarithms.

    The interval is the bootstrap's over seeds (Efron 1979): each line's best is chosen anew from the means
    over the resampled seeds, fewer diverged ones first, and stands for any learning rate up to half of the
    way to its neighbours. None for an axis of fewer than three positive numbers, and where lines have fewer
    than three learning rates or not the same ones. Raises as `lr_lines` does.
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
    # As where cells are ranked: of equals the first by number.
    lines = lines.sort_values(["by", "cell"])
    at = np.log(best["by"].to_numpy(np.float64))
    at -= at.mean()
    found = at @ np.log(best["lr"].to_numpy()) / (at @ at)
    seeds = trials.loc[trials["cell"].isin(lines["cell"]), "seed"].nunique()
    low = high = np.nan
    if seeds >= _FEWEST_SEEDS:
        drawn = at @ _between(np.log(_resampled(trials, metric, lines)), np.log(rates)) / (at @ at)
        drawn = drawn[np.isfinite(drawn)]
        if 2 * len(drawn) > _RESAMPLES:
            low, high = np.percentile(drawn, [2.5, 97.5]).tolist()
    return Slope(float(found), low, high, len(best), seeds)


def _between(chosen: np.ndarray, rates: np.ndarray) -> np.ndarray:
    """Log learning rates moved at random, evenly, by half of the way to their neighbours `rates` at most."""
    half = np.diff(rates) / 2.0
    place = np.clip(np.searchsorted(rates, chosen), 0, len(rates) - 1)
    below, above = np.append(half[:1], half)[place], np.append(half, half[-1:])[place]
    return chosen + np.random.default_rng(1).uniform(-below, above)


def _tables(trials: pd.DataFrame, lines: pd.DataFrame, *values: pd.Series) -> list[np.ndarray]:
    """Values by trial as float64 `(rows of lines, seeds)`, NaN where there is no trial."""
    inside = trials["cell"].isin(lines["cell"]).to_numpy()
    row = pd.Index(lines["cell"]).get_indexer(trials.loc[inside, "cell"])
    seed, known = pd.factorize(trials.loc[inside, "seed"])
    tables = [np.full((len(lines), len(known)), np.nan) for _ in values]
    for table, value in zip(tables, values, strict=True):
        table[row, seed] = value[inside]
    return tables


def _resampled(trials: pd.DataFrame, metric: str, lines: pd.DataFrame) -> np.ndarray:
    """The best learning rate of each line over resampled seeds, `(lines, resamples)`; NaN for none."""
    loss, failed = _tables(trials, lines, final_values(trials, metric), trials["status"] == "diverged")
    loss, failed = loss * (-1.0 if higher_is_better(metric) else 1.0), failed == 1.0
    seeds = loss.shape[1]
    # How often each seed is drawn.
    even = np.full(seeds, 1.0 / seeds)
    draws = np.random.default_rng(0).multinomial(seeds, even, _RESAMPLES).T.astype(float)
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
    """Learning-rate sensitivity of each line (Wortsman et al. 2023, arXiv:2309.14322).

    The mean over log-uniform learning rates, from the line's smallest to its largest, of
    `min(loss(lr), loss at the start) - least loss over the range`; by the trapezoid rule, of each seed, and
    the start's loss where a trial diverged. start: the loss at step 0 by trial. Seeds that lack a learning
    rate or diverged at all are left out, and lines without a seed.

    Columns: `by`, `sensitivity` (mean over seeds), `sem` (NaN of one seed), `low`, `high` (of the learning
    rates), `rates` (how many), `seeds`. Raises as `lr_lines` does, and for a metric that is no loss.
    """
    if not metric.endswith("loss"):
        raise KeyError(f"it takes a loss, and {metric!r} is none")
    lines = lr_lines(trials, metric, by)
    begun = trials["trial"].map(start.astype(float))
    final = final_values(trials, metric)
    loss, trained = _tables(trials, lines, final.where(final < begun, begun), final.notna())
    first = np.flatnonzero(~lines["by"].duplicated())
    rates = lines.groupby("by")["lr"]
    at = np.log(lines["lr"].to_numpy())
    # Half the way to each neighbour on the line.
    step = np.diff(at, prepend=0.0)
    step[first] = 0.0
    weight = 0.5 * (step + np.append(step[1:], 0.0))
    mean = np.add.reduceat(weight[:, None] * loss, first) / np.add.reduceat(weight, first)[:, None]
    sure = np.maximum.reduceat(trained, first) == 1.0
    each = pd.DataFrame(np.where(sure, mean - np.minimum.reduceat(loss, first), np.nan))
    found = pd.DataFrame(
        {
            "by": lines["by"].iloc[first].array,
            "sensitivity": each.mean(axis=1),
            "sem": each.sem(axis=1),
            "low": rates.min().to_numpy(),
            "high": rates.max().to_numpy(),
            "rates": rates.size().to_numpy(),
            "seeds": each.count(axis=1),
        }
    )
    return found[found["seeds"] > 0].reset_index(drop=True)
