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

# A row of a table of cells, by column.
Row = dict[str, Any]
# A picture shows at most this many values of an axis, the first and the last included.
MOST_PANELS = 12


def best_by(trials: pd.DataFrame, metric: str, by: str, most: int | None = None) -> list[tuple[str, Row]]:
    """Return the best cell for each value of an axis, ascending, with a label.

    The best of the cells that lack the axis comes first, labelled by what is common to them alone.

    Args:
        trials: The table of trials.
        metric: The metric that ranks the cells.
        by: The axis, by its dotted path.
        most: The largest number of cells, by default `MOST_PANELS`.

    Raises:
        KeyError: If there is no such axis.
    """
    check_axis(trials, by)
    cells = rank_cells(trials, metric)
    having = cells.dropna(subset=[by]).drop_duplicates(by)
    names = short_axis_names(axes_of(trials))
    rows = rows_of(having.sort_values(by, kind="stable"))
    best = [(f"{names[by]}={format_value(row[by])}", row) for row in rows]
    lacking = cells[cells[by].isna()]
    if len(lacking):
        best.insert(0, (_common_label(lacking, cells, axes_of(trials)), rows_of(lacking)[0]))
    return [best[i] for i in evenly_spaced_indices(len(best), most or MOST_PANELS)]


def _common_label(part: pd.DataFrame, cells: pd.DataFrame, axes: Sequence[str]) -> str:
    """Describe the values that only these cells have in common, or else the first of them."""
    common = [
        axis
        for axis in axes
        if part[axis].nunique(dropna=False) == 1 < cells[axis].nunique(dropna=False)
        and pd.notna(part[axis].iloc[0])
    ]
    return cell_label(rows_of(part)[0], common or axes)


def rows_of(cells: pd.DataFrame) -> list[Row]:
    """Return the rows of a table of cells as dictionaries."""
    return [{str(name): value for name, value in row.items()} for row in cells.to_dict("records")]


def score(row: Row, metric: str) -> str:
    """Describe a cell's metric, mean ± standard error over the seeds that did not diverge, and the others."""
    seeds, diverged = int(row["seeds"]), int(row["diverged"])
    if diverged == seeds:
        return "it diverges" if seeds == 1 else f"all {seeds} seeds diverge"
    text = f"{metric} {format_with_error(row['mean'], row['sem'])}"
    return f"{text}, {diverged}/{seeds} diverge" if diverged else text


def ranked_trials(trials: pd.DataFrame, cell: int, metric: str) -> pd.DataFrame:
    """Return a cell's trials, best first; diverged ones come last."""
    own = trials[trials["cell"] == cell]
    keys = pd.DataFrame({"lost": own["status"] != "ok", "value": own[f"final_{metric}"].astype(float)})
    order = keys.sort_values(["lost", "value"], ascending=[True, not higher_is_better(metric)], kind="stable")
    return own.loc[order.index]


def predictors(sweep: StoredSweep, row: Row, metric: str) -> Iterator[Callable[[Any], np.ndarray]]:
    """Yield the predictors of a cell's trials, best first; omit those that diverged or were not kept."""
    ranked = ranked_trials(sweep.trials, int(row["cell"]), metric)
    for trial in ranked.loc[ranked["status"] == "ok", "trial"]:
        try:
            yield sweep.predictor(int(trial))
        except KeyError:
            continue
