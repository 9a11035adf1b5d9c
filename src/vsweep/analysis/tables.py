"""The report's tables one by one, for a notebook."""

import pandas as pd

from vsweep.analysis import importance, lr_sensitivity, marginals
from vsweep.analysis.ranking import matching_loss, rank_cells
from vsweep.metrics import default_metric
from vsweep.store.reader import StoredSweep
from vsweep.store.writer import initial_values


class Tables:
    """The tables of one sweep. metric: by default the one that ranks."""

    def __init__(self, sweep: StoredSweep) -> None:
        """Nothing is read before a table is asked for."""
        self._sweep = sweep

    def effects(self, axis: str, metric: str | None = None) -> pd.DataFrame:
        """A metric by the values of an axis: see `vsweep.analysis.marginals.effects`."""
        trials, metric = self._of(metric)
        return marginals.effects(trials, rank_cells(trials, metric), axis, metric)

    def pairs(self, x: str, y: str, metric: str | None = None) -> pd.DataFrame:
        """A metric, and the share that diverged, over two axes: see `vsweep.analysis.marginals.pairs`."""
        trials, metric = self._of(metric)
        return marginals.pairs(trials, rank_cells(trials, metric), x, y, metric)

    def importance(self, metric: str | None = None) -> importance.Importance:
        """What each axis and pair of axes explains: see `vsweep.analysis.importance.importance`."""
        return importance.importance(*self._of(metric))

    def lr_lines(self, by: str | None = None, metric: str | None = None) -> pd.DataFrame:
        """A metric along the learning rate: see `vsweep.analysis.lr_sensitivity.lr_lines`."""
        return lr_sensitivity.lr_lines(*self._of(metric), by)

    def best_lr(self, by: str | None = None, metric: str | None = None) -> pd.DataFrame:
        """The best learning rate for each value of an axis: see `vsweep.analysis.lr_sensitivity.best_lr`."""
        return lr_sensitivity.best_lr(self.lr_lines(by, metric))

    def lr_sensitivity(self, by: str | None = None, metric: str | None = None) -> pd.DataFrame:
        """What is lost beside the best learning rate: see `vsweep.analysis.lr_sensitivity.lr_sensitivity`.

        metric: a loss; by default the one that goes with the metric that ranks.
        """
        trials, metric = self._of(metric)
        loss = matching_loss(trials, metric)
        if loss is None:
            raise KeyError(f"no loss goes with {metric}")
        return lr_sensitivity.lr_sensitivity(trials, initial_values(self._sweep.directory, loss), loss, by)

    def _of(self, metric: str | None) -> tuple[pd.DataFrame, str]:
        return self._sweep.trials, metric or default_metric(self._sweep.trials)
