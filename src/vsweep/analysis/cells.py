"""Choose the cells and trials that pictures show, and describe them."""

from collections.abc import Callable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import pandas as pd

from vsweep.analysis.labels import cell_label, evenly_spaced_indices, format_with_error
from vsweep.analysis.ranking import check_axis, rank_cells
from vsweep.metrics import axes_of, higher_is_better, strata
from vsweep.store.reader import StoredSweep

# A row of a table of cells, by column.
Row = dict[str, Any]
Panel = TypeVar("Panel")
# A picture shows at most this many values of an axis, the first and the last included.
MOST_PANELS = 12


class Panels(NamedTuple, Generic[Panel]):
    """The data behind a picture with a title, a caption, and panels that have titles of their own."""

    title: str
    caption: str
    panels: list[Panel]


def best_by(trials: pd.DataFrame, metric: str, by: str) -> list[tuple[str, Row]]:
    """Return the best cell for each value of an axis, ascending, with a label, for at most 12 values.

    The best of the cells that lack the axis comes first, labeled by all its values. Cells between which the
    metric cannot be compared have a best one each.

    Args:
        trials: The table of trials.
        metric: The metric that ranks the cells.
        by: The axis, by its dotted path.

    Raises:
        KeyError: If there is no such axis.
    """
    check_axis(trials, by)
    keys = list(dict.fromkeys([by, *strata(trials, metric)]))
    best = rank_cells(trials, metric).drop_duplicates(keys)
    rows = rows_of(best.sort_values(by, na_position="first", kind="stable"))
    axes = axes_of(trials)
    # A cell that lacks the axis is labeled by its values on all other axes.
    labels = [cell_label(row, keys) or cell_label(row, axes) for row in rows]
    return [(labels[i], rows[i]) for i in evenly_spaced_indices(len(rows), MOST_PANELS)]


def rows_of(cells: pd.DataFrame) -> list[Row]:
    """Return the rows of a table of cells as dictionaries."""
    return [{str(name): value for name, value in row.items()} for row in cells.to_dict("records")]


def score(row: Row, metric: str) -> str:
    """Describe a cell's metric, mean ± standard error, and how many trials diverged."""
    trials, diverged = int(row["seeds"]), int(row["diverged"])
    if diverged == trials:
        return "the trial diverges" if trials == 1 else f"all {trials} trials diverge"
    text = f"{metric} {format_with_error(row['mean'], row['error'])}"
    return f"{text}, {diverged}/{trials} diverge" if diverged else text


def ranked_trials(trials: pd.DataFrame, cell: int, metric: str) -> pd.DataFrame:
    """Return a cell's trials, best first; diverged ones come last."""
    part = trials[trials["cell"] == cell]
    keys = pd.DataFrame({"diverged": part["status"] != "ok", "value": part[f"final_{metric}"].astype(float)})
    ascending = [True, not higher_is_better(metric)]
    return part.loc[keys.sort_values(["diverged", "value"], ascending=ascending, kind="stable").index]


def predictors(sweep: StoredSweep, row: Row, metric: str) -> Iterator[Callable[[Any], np.ndarray]]:
    """Yield the predictors of a cell's trials, best first, without trials that diverged or were not kept."""
    ranked = ranked_trials(sweep.trials, int(row["cell"]), metric)
    for trial in ranked.loc[ranked["status"] == "ok", "trial"]:
        try:
            yield sweep.predictor(int(trial))
        except KeyError:
            continue
