"""What a report is of: a sweep's tables, read once and no more of its curves than a page can show."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import pandas as pd

from vsweep.analysis.importance import Importance, importance
from vsweep.analysis.labels import format_with_error, short_axis_names
from vsweep.analysis.minima import is_function
from vsweep.analysis.ranking import (
    best_cell,
    matching_loss,
    rank_cells,
    sample_trials,
    test_metric,
    varied_axes,
)
from vsweep.analysis.response import label_nulls
from vsweep.metrics import default_metric, is_parameter
from vsweep.store.reader import StoredSweep
from vsweep.store.writer import initial_values, read_curves

# Of so many cells the curves are on the page: the best, and as many more spread over all places.
_BEST, _SPREAD = 40, 40
_FAINT = 150


class ReportData:
    """A sweep, and the metric that its report ranks by."""

    def __init__(self, sweep: StoredSweep, metric: str | None = None) -> None:
        """Raises `KeyError` for a metric that was not recorded."""
        # In a report a null that is a value is one of its axis's names.
        self.sweep, self.trials = sweep, label_nulls(sweep.trials)
        self.metric = metric or default_metric(self.trials)
        self.cells = rank_cells(self.trials, self.metric)
        self.axes = varied_axes(self.trials)
        self.names = short_axis_names(self.axes)
        # Descents of a function, and whatever else no seed has a part in.
        spread = self.cells["std"].fillna(0.0).any()
        self.still = not spread and (self.cells["seeds"].max() > 1 or is_function(self.trials))
        self.diverged = int((self.trials["status"] == "diverged").sum())

    @cached_property
    def importance(self) -> Importance | str:
        """What each axis explains, or why nothing is known of it."""
        try:
            return importance(self.trials, self.metric)
        except KeyError as error:
            return str(error.args[0])

    @cached_property
    def by_importance(self) -> list[str]:
        """The axes that vary, those that explain most first."""
        if isinstance(self.importance, str):
            return self.axes
        shares = {
            axes[0]: share
            for axes, share in self.importance.effects[["axes", "share"]].to_numpy()
            if len(axes) == 1
        }
        return sorted(self.axes, key=lambda axis: -shares.get(axis, 0.0))

    @property
    def starts(self) -> list[str]:
        """The axes that are where a descent of a function starts."""
        return [axis for axis in self.axes if f"final_param.{axis.removeprefix('model.')}" in self.trials]

    @property
    def loss(self) -> str | None:
        """The loss that goes with the metric; None where none was recorded."""
        return matching_loss(self.trials, self.metric)

    @property
    def tested(self) -> str:
        """The chosen cell's value on the test's examples, in a sentence."""
        name = test_metric(self.trials, self.metric)
        if name is None:
            return ""
        best = best_cell(self.sweep.trials, self.metric, name)
        if pd.isna(best[name]):
            return ""
        value = format_with_error(best[name], best[f"{name}_sem"])
        return f"On the test's examples, which had no part in choosing it: {name} {value}."

    @cached_property
    def shown_cells(self) -> list[int]:
        """The cells whose curves are on the page, best first."""
        ranked = self.cells["cell"].tolist()
        if len(ranked) <= _BEST + _SPREAD:
            return ranked
        rest = np.linspace(_BEST, len(ranked) - 1, _SPREAD).round().astype(int)
        return [*ranked[:_BEST], *(ranked[i] for i in np.unique(rest))]

    @cached_property
    def behind(self) -> list[int]:
        """The trials that are seen faint behind the curves: all, or some at random but ever the same."""
        return sample_trials(self.trials, _FAINT)["trial"].tolist()

    @cached_property
    def curves(self) -> pd.DataFrame:
        """The curves of these cells, and of the trials behind them."""
        return self.curves_of(self.shown_cells)

    def curves_of(self, cells: Sequence[int]) -> pd.DataFrame:
        """The curves of some cells, and of the trials behind them."""
        wanted = self.trials["cell"].isin(cells) | self.trials["trial"].isin(self.behind)
        if wanted.all() and not self.sweep.only:
            return self.sweep.curves
        return read_curves(self.sweep.directory, self.trials.loc[wanted, "trial"].tolist())

    @property
    def metrics(self) -> list[str]:
        """What curves record, the one that ranks first; parameters apart."""
        names = [name for name in map(str, self.curves.columns) if name not in ("trial", "step")]
        found = [name for name in names if not is_parameter(name)]
        return sorted(found, key=lambda name: name != self.metric)

    @cached_property
    def start(self) -> pd.Series:
        """The loss of every trial at step 0, by its number; none where no loss goes with the metric."""
        return initial_values(self.sweep.directory, self.loss) if self.loss else pd.Series(dtype=np.float64)
