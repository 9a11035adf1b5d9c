"""The public `Sweep`: the reader of its directory, with rankings, tables, pictures and the report on top."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from vsweep.analysis import importance, lr_sensitivity, marginals, ranking
from vsweep.analysis.ranking import matching_loss, rank_cells
from vsweep.store.reader import StoredSweep

if TYPE_CHECKING:
    from vsweep.figures import Plots


class Tables:
    """The tables of one sweep; a metric defaults to the one that ranks."""

    def __init__(self, sweep: StoredSweep) -> None:
        """Keep the sweep; files are read when a table is asked for."""
        self._sweep = sweep

    def effects(self, axis: str, metric: str | None = None) -> pd.DataFrame:
        """Return a metric by the values of an axis: see `vsweep.analysis.marginals.effects`."""
        trials, metric = self._data(metric)
        return marginals.effects(trials, rank_cells(trials, metric), axis, metric)

    def pairs(self, x: str, y: str, metric: str | None = None) -> pd.DataFrame:
        """Return a metric by the values of two axes: see `vsweep.analysis.marginals.pairs`."""
        trials, metric = self._data(metric)
        return marginals.pairs(trials, rank_cells(trials, metric), x, y, metric)

    def importance(self, metric: str | None = None) -> importance.Importance:
        """Return the importance of axes and pairs: see `vsweep.analysis.importance.importance`."""
        return importance.importance(*self._data(metric))

    def lr_lines(self, by: str | None = None, metric: str | None = None) -> pd.DataFrame:
        """Return a metric by learning rate: see `vsweep.analysis.lr_sensitivity.lr_lines`."""
        return lr_sensitivity.lr_lines(*self._data(metric), by)

    def best_lr(self, by: str | None = None, metric: str | None = None) -> pd.DataFrame:
        """Return the best learning rates: see `vsweep.analysis.lr_sensitivity.best_lr`."""
        return lr_sensitivity.best_lr(self.lr_lines(by, metric))

    def lr_sensitivity(self, by: str | None = None, metric: str | None = None) -> pd.DataFrame:
        """Return learning-rate sensitivities: see `vsweep.analysis.lr_sensitivity.lr_sensitivity`.

        Args:
            by: The axis whose values are compared; by default none.
            metric: A loss, or a metric with a matching loss.

        Raises:
            KeyError: If no loss matches the metric, or the learning rate does not vary.
        """
        trials, metric = self._data(metric)
        loss = matching_loss(trials, metric)
        if loss is None:
            raise KeyError(f"no loss matches the metric {metric}")
        return lr_sensitivity.lr_sensitivity(trials, self._sweep.initial_values(loss), loss, by)

    def _data(self, metric: str | None) -> tuple[pd.DataFrame, str]:
        return self._sweep.trials, metric or self._sweep.metric


class Sweep(StoredSweep):
    """A trained sweep, or one that is still training, whose files are read when they are first needed.

    `vsweep.sweep` and `vsweep.load` return a sweep::

        sweep = vsweep.load("outputs/digits/2026-01-31_12-00-00")
        sweep.trials[["trial", "seed", "final_val_loss"]]
        sweep.cells().head()
        sweep.best()["optimizer.lr"]
    """

    def where(self, values: Mapping[str, Any]) -> "Sweep":
        """Restrict the sweep to the cells with some values, for its tables and its pictures.

        For example, `sweep.where({"model.width": 32}).cells()` ranks the cells of width 32.

        Args:
            values: The value of each axis by its dotted path; numbers as they are, or as tables and pictures
                print them.

        Returns:
            The restricted sweep.

        Raises:
            KeyError: If there is no such axis, or no trial is left.
        """
        return ranking.restrict(self, values)

    def cells(self, metric: str | None = None, report: str | None = None) -> pd.DataFrame:
        """Rank the cells, the best one first; a cell with fewer diverged seeds comes before one with more.

        Args:
            metric: The metric whose mean final value over the seeds ranks the cells, such as `val_loss`; by
                default the validation metric.
            report: Another metric, whose mean and standard error are added.

        Returns:
            A row per cell with the columns `cell`, the axes, `mean`, `std` (over trials), `sem`,
            `examples_sem` and `splits_sem` (the standard errors over seeds, over held-out examples, and over
            splits where there are several), `error` (over all of these), `low` and `high` (a 95 % interval),
            `seeds` and `diverged` (the numbers of trials and of those that diverged), `rank` (among the cells
            that the metric can compare), `p` (the p-value of the hypothesis that the cell is the best of
            these), `more_seeds` (the number of further seeds, or splits, that would separate it from the
            first), and `tied` (whether the cell may be the best, with 95 % confidence).

        Raises:
            KeyError: If a metric was not recorded.
        """
        return ranking.rank_cells(self.trials, metric or self.metric, report)

    def best(self, metric: str | None = None, report: str | None = None) -> pd.Series:
        """Return the best cell.

        Args:
            metric: The metric that chooses the cell, as in `cells`.
            report: Another metric of the cell; by default the same metric on the test examples, which have no
                part in choosing the cell unless there are several splits with test examples of their own.

        Returns:
            The first row of `cells`, except that `p` and `more_seeds` are those of the second one.

        Raises:
            KeyError: If a metric was not recorded.
            ValueError: If the metric cannot be compared between all cells.
        """
        return ranking.best_cell(self.trials, metric or self.metric, report)

    def report(self, path: str | Path | None = None, metric: str | None = None) -> Path:
        """Write a report of the sweep: one HTML file, which any browser opens without a network.

        Args:
            path: The file; by default `report.html` in the sweep's directory, unless the sweep is restricted.
            metric: The metric that ranks the cells, as in `cells`.

        Returns:
            The file's path.

        Raises:
            KeyError: If the metric was not recorded.
            ValueError: If the sweep is restricted and no path is given.
        """
        if path is None and self.only:
            raise ValueError(f"path: got none; a report of {self.only} needs a path, such as part.html")
        from vsweep.reports.page import write_report

        return write_report(self, path, metric)

    @property
    def tables(self) -> Tables:
        """The report's tables, such as `sweep.tables.effects("optimizer.lr")`, a data frame."""
        return Tables(self)

    @property
    def plot(self) -> "Plots":
        """The pictures, such as `sweep.plot.heatmap("optimizer.lr", "model.width")`."""
        # Matplotlib takes half a second to import, so it is imported on first use.
        from vsweep.figures import Plots

        return Plots(self)
