"""Measure how results depend on the learning rate, for each value of another axis."""

import numpy as np
import pandas as pd

from vsweep.analysis.ranking import arrange, check_axis, check_comparable, rank_cells
from vsweep.analysis.significance import ALPHA, Results, compare, values_by_seed
from vsweep.metrics import LR, axes_of, default_metric, final_values

_LINES = ["by", "lr", "cell", "mean", "sem", "seeds", "diverged", "best", "same"]


def lr_lines(trials: pd.DataFrame, metric: str | None = None, by: str | None = None) -> pd.DataFrame:
    """Return, for each value of an axis, its best cell and the cells that differ only in the learning rate.

    Args:
        trials: The table of trials.
        metric: The metric that ranks cells; by default `default_metric`.
        by: The axis; None for one line, that of the best of all cells.

    Returns:
        A row per cell of a line, sorted by `by` (the value, or "") and `lr`. `cell`, `mean`, `sem`, `seeds`
        and `diverged` are those of `rank_cells`. `best` is whether the cell is its line's best; no cell is if
        all diverged. `same` is nullable boolean: whether the cell may be the truly best one of its line (see
        `vsweep.analysis.significance`), NA if there are too few seeds to say. Values with fewer than two
        positive learning rates are left out.

    Raises:
        KeyError: If there is no such axis or metric, or the learning rate does not vary.
    """
    metric = metric or default_metric(trials)
    cells = rank_cells(trials, metric)
    if by is not None:
        check_axis(trials, by)
    check_comparable(trials, metric, *([] if by is None else [by]))
    if by == LR:
        raise KeyError("expected an axis other than the learning rate, got by=optimizer.lr")
    rates = cells[LR] if LR in cells else pd.Series(np.nan, cells.index)
    rates = pd.to_numeric(rates, errors="coerce").astype("Float64").astype("float64")
    # A log scale cannot show rates that are zero or negative.
    rates = rates.where((rates > 0.0) & np.isfinite(rates))
    cells = cells.assign(by="" if by is None else cells[by], lr=rates)
    cells = cells.dropna(subset=["by", "lr"])
    if cells["lr"].nunique() < 2:
        raise KeyError("the learning rate does not vary")
    others = [axis for axis in axes_of(trials) if axis != LR]
    cells = cells.assign(line=cells.groupby(others, dropna=False).ngroup() if others else 0)
    best = cells.drop_duplicates("by")
    lines = cells[cells["line"].isin(best["line"])]
    lines = lines[lines.groupby("line")["lr"].transform("size") > 1]
    lines = lines.assign(best=lines["cell"].isin(best["cell"]) & lines["mean"].notna())
    lines = lines.assign(same=_same_as_best(lines, arrange(trials, lines, metric)))
    return lines.sort_values(["by", "lr"], ignore_index=True)[_LINES]


def _same_as_best(lines: pd.DataFrame, results: Results) -> pd.Series:
    """Return which cells may be the truly best ones of their lines, nullable boolean; results: the cells'."""
    same = pd.array([pd.NA] * len(lines), "boolean")
    best = lines["best"].to_numpy()
    for rows in map(np.asarray, lines.groupby("line").indices.values()):
        p = compare(results.of(rows)).p
        known = ~np.isnan(p)
        same[rows[known]] = p[known] > ALPHA
    same[best] = True
    return pd.Series(same, lines.index)


def best_lr(lines: pd.DataFrame) -> pd.DataFrame:
    """Return the best learning rate of each line; lines whose cells all diverged are left out.

    Args:
        lines: Lines as `lr_lines` returns them.

    Returns:
        Columns: `by`, `lr`; `low` and `high`, the range of neighboring learning rates that cannot be
        distinguished from the best (NaN if the best has no standard error); `at_edge`, whether the best is
        the smallest or the largest that was tried; `cell`, `mean`, `sem`.
    """
    lines = lines.sort_values(["by", "lr"])
    groups = lines.groupby("by", sort=False)
    # A cell that was not compared may be as good as the best, so it counts as the same.
    different = ~lines["same"].fillna(value=True).astype(bool)
    # Runs of cells that are the same as the best are numbered, to find the run that contains the best cell.
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
        by: The axis; None for one line, that of the best of all cells.

    Returns:
        Columns: `by`, `sensitivity` (mean over seeds), `sem` (NaN for one seed), `low` and `high` (the
        smallest and largest learning rate), `rates` (their number) and `seeds`.

    Raises:
        KeyError: If there is no such axis or metric, the metric is not a loss, or the learning rate does not
            vary.
    """
    if not metric.endswith("loss"):
        raise KeyError(f"expected a loss, got {metric!r}")
    lines = lr_lines(trials, metric, by)
    initial = trials["trial"].map(start.astype(float))
    final = final_values(trials, metric)
    clipped = final.where(final < initial, initial)
    cells = lines["cell"].tolist()
    loss, trained = (values_by_seed(trials, values, cells) for values in (clipped, final.notna()))
    rows = []
    for value, places in lines.groupby("by").indices.items():
        rates = lines["lr"].to_numpy()[places]
        mean = np.trapezoid(loss[places], np.log(rates), axis=0) / np.log(rates[-1] / rates[0])
        excess = pd.Series(mean - loss[places].min(axis=0)).where((trained[places] == 1.0).any(axis=0))
        rows.append([value, excess.mean(), excess.sem(), rates[0], rates[-1], len(rates), excess.count()])
    table = pd.DataFrame(rows, columns=["by", "sensitivity", "sem", "low", "high", "rates", "seeds"])
    return table[table["seeds"] > 0].astype({"by": lines["by"].dtype}).reset_index(drop=True)
