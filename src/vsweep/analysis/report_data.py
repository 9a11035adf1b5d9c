"""Collect the data of a report: a sweep's tables, and no more of its curves than a page can show."""

from collections.abc import Sequence
from functools import cached_property

import numpy as np
import pandas as pd

from vsweep.analysis.errors import is_seedless
from vsweep.analysis.importance import Importance, importance
from vsweep.analysis.labels import short_axis_names
from vsweep.analysis.ranking import matching_loss, rank_cells, sample_trials, varied_axes
from vsweep.analysis.response import label_nulls
from vsweep.metrics import is_parameter, replicate_name
from vsweep.store.reader import StoredSweep

# The page has the curves of this many best cells, and of as many others spread over all places.
_BEST, _SPREAD = 40, 40
# The number of trials whose faint curves lie behind those of cells.
_FAINT = 150


class ReportData:
    """A sweep with the metric that its report ranks by."""

    def __init__(self, sweep: StoredSweep, metric: str | None = None) -> None:
        """Read the tables of a sweep.

        Args:
            sweep: The sweep.
            metric: The metric that ranks, by default the sweep's own.

        Raises:
            KeyError: If the metric was not recorded.
        """
        # A report prints a null that is a value as "null", and a missing axis as a dash.
        self.sweep, self.trials = sweep, label_nulls(sweep.trials)
        self.metric = metric or sweep.metric
        self.cells = rank_cells(self.trials, self.metric)
        self.axes = varied_axes(self.trials)
        self.names = short_axis_names(self.axes)
        self.replicate = replicate_name(self.trials)
        self.is_seedless = is_seedless(self.trials, self.cells)
        # Cells without luck are compared over the held-out examples, where these are known.
        self.is_compared = bool(self.cells["p"].notna().any())
        self.diverged = int((self.trials["status"] == "diverged").sum())

    @cached_property
    def importance(self) -> Importance | str:
        """The importance of the axes, or the reason why it is unknown."""
        try:
            return importance(self.trials, self.metric)
        except KeyError as error:
            return str(error.args[0])

    @cached_property
    def by_importance(self) -> list[str]:
        """The axes that vary, the most important first."""
        if isinstance(self.importance, str):
            return self.axes
        ordered = [axes[0] for axes in self.importance.effects["axes"] if len(axes) == 1]
        return [*ordered, *(axis for axis in self.axes if axis not in ordered)]

    @property
    def loss(self) -> str | None:
        """The loss that matches the metric; None if none was recorded."""
        return matching_loss(self.trials, self.metric)

    @cached_property
    def shown_cells(self) -> list[int]:
        """The cells whose curves are on the page, best first."""
        ranked = self.cells["cell"].tolist()
        if len(ranked) <= _BEST + _SPREAD:
            return ranked
        rest = np.linspace(_BEST, len(ranked) - 1, _SPREAD).round().astype(int)
        return [*ranked[:_BEST], *(ranked[i] for i in np.unique(rest))]

    @cached_property
    def faint_trials(self) -> list[int]:
        """The trials whose curves are drawn faint behind the others: all, or a fixed random sample."""
        return sample_trials(self.trials, _FAINT)["trial"].tolist()

    @cached_property
    def curves(self) -> pd.DataFrame:
        """The curves of the shown cells and of the faint trials."""
        return self.curves_of(self.shown_cells)

    def curves_of(self, cells: Sequence[int]) -> pd.DataFrame:
        """Return the curves of some cells and of the faint trials."""
        needed = self.trials["cell"].isin(cells) | self.trials["trial"].isin(self.faint_trials)
        if needed.all() and not self.sweep.only:
            return self.sweep.curves
        return self.sweep.curves_of(self.trials.loc[needed, "trial"].tolist())

    @property
    def metrics(self) -> list[str]:
        """The recorded metrics, the one that ranks first; parameters are left out."""
        names = [name for name in map(str, self.curves.columns[2:]) if not is_parameter(name)]
        return sorted(names, key=lambda name: name != self.metric)

    @cached_property
    def start(self) -> pd.Series:
        """The loss of every trial at step 0, by its number; empty if no loss matches the metric."""
        return self.sweep.initial_values(self.loss) if self.loss else pd.Series(dtype=np.float64)
