"""The tables of the report, one by one, for use in a notebook."""

import pandas as pd

from vsweep.analysis import importance, lr_sensitivity, marginals
from vsweep.analysis.ranking import matching_loss, rank_cells
from vsweep.metrics import default_metric
from vsweep.store.reader import StoredSweep
from vsweep.store.writer import initial_values


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
        return lr_sensitivity.lr_sensitivity(trials, initial_values(self._sweep.directory, loss), loss, by)

    def _data(self, metric: str | None) -> tuple[pd.DataFrame, str]:
        return self._sweep.trials, metric or default_metric(self._sweep.trials)
