"""Choose the cells and trials that pictures show, and describe them."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from vsweep.analysis.labels import (
    cell_label,
    evenly_spaced_indices,
    format_value,
    format_with_error,
    short_axis_names,
)
from vsweep.analysis.ranking import check_axis, rank_cells
from vsweep.metrics import axes_of, higher_is_better
from vsweep.store.reader import StoredSweep

# Of a cell, by column: see `select.rank_cells`.
Row = dict[str, Any]
# A picture of more values of an axis shows some of them, both ends among them.
MOST_PANELS = 12


def best_by(trials: pd.DataFrame, metric: str, by: str, most: int | None = None) -> list[tuple[str, Row]]:
    """The best cell for each value of an axis, rising, with the value in words.

    Before them is the best of the cells that lack the axis, if there are any: in words, what these have in
    common, and other cells have not. At most `most`, or `MOST_PANELS`.

    Raises `KeyError` for an axis that there is not.
    """
    check_axis(trials, by)
    cells = rank_cells(trials, metric)
    having = cells.dropna(subset=[by]).drop_duplicates(by)
    names = short_axis_names(axes_of(trials))
    found: list[tuple[str, Row]] = [
        (f"{names[by]}={format_value(row[by])}", row)
        for row in rows_of(having.sort_values(by, kind="stable"))
    ]
    lacking = cells[cells[by].isna()]
    if len(lacking):
        found.insert(0, (_in_common(lacking, cells, axes_of(trials)), rows_of(lacking)[0]))
    return [found[place] for place in evenly_spaced_indices(len(found), most or MOST_PANELS)]


def _in_common(some: pd.DataFrame, cells: pd.DataFrame, axes: Sequence[str]) -> str:
    """What some cells have in common and others have not, in words; else the first of them."""
    common = [
        axis
        for axis in axes
        if some[axis].nunique(dropna=False) == 1 < cells[axis].nunique(dropna=False)
        and pd.notna(some[axis].iloc[0])
    ]
    return cell_label(rows_of(some)[0], common or axes)


def rows_of(cells: pd.DataFrame) -> list[Row]:
    """Each row of a table of cells."""
    return [{str(name): value for name, value in row.items()} for row in cells.to_dict("records")]


def score(row: Row, metric: str) -> str:
    """Describe a cell's metric, mean ± standard error over the seeds that did not diverge, and the others."""
    seeds, diverged = int(row["seeds"]), int(row["diverged"])
    if diverged == seeds:
        return "it diverges" if seeds == 1 else f"all {seeds} seeds diverge"
    text = f"{metric} {format_with_error(row['mean'], row['sem'])}"
    return f"{text}, {diverged}/{seeds} diverge" if diverged else text


def ranked_trials(trials: pd.DataFrame, cell: int, metric: str) -> pd.DataFrame:
    """A cell's trials, the best first, and those that diverged last."""
    found = trials[trials["cell"] == cell]
    keys = pd.DataFrame({"bad": found["status"] != "ok", "value": found[f"final_{metric}"].astype(float)})
    order = keys.sort_values(["bad", "value"], ascending=[True, not higher_is_better(metric)], kind="stable")
    return found.loc[order.index]


def predictors(sweep: StoredSweep, row: Row, metric: str) -> Iterator[Callable[[Any], np.ndarray]]:
    """The predictors of a cell's trials, the best first; not of those that diverged, or were not kept."""
    found = ranked_trials(sweep.trials, int(row["cell"]), metric)
    for trial in found.loc[found["status"] == "ok", "trial"]:
        try:
            yield sweep.predictor(int(trial))
        except KeyError:
            continue
