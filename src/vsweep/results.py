"""The public `Sweep`: the reader of its directory, with rankings, tables, pictures and the report on top."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from vsweep.analysis import ranking
from vsweep.store.reader import StoredSweep

if TYPE_CHECKING:
    from vsweep.analysis.tables import Tables
    from vsweep.figures import Plots


class Sweep(StoredSweep):
    """A sweep that was trained, or is training still; its directory is read when asked."""

    def where(self, values: Mapping[str, Any]) -> "Sweep":
        """Restrict the sweep to the cells that have these values, for its tables and its pictures.

        Args:
            values: The value of each axis, by its dotted path; numbers as they are, or as tables and pictures
                print them.

        Raises:
            KeyError: If there is no such axis, or no trial is left.
        """
        return ranking.restrict(self, values)

    def cells(self, metric: str | None = None, report: str | None = None) -> pd.DataFrame:
        """A row per cell, best first: see `vsweep.analysis.ranking.rank_cells`."""
        return ranking.rank_cells(self.trials, metric, report)

    def best(self, metric: str | None = None, report: str | None = None) -> pd.Series:
        """The best cell: see `vsweep.analysis.ranking.best_cell`."""
        return ranking.best_cell(self.trials, metric, report)

    def report(self, path: str | Path | None = None, metric: str | None = None) -> Path:
        """Write a report that opens in a browser, as one file that needs no network; return its path.

        Args:
            path: The file; by default `report.html` in the sweep's directory, for the whole sweep alone.
            metric: The metric that ranks.

        Raises:
            KeyError: If the metric was not recorded.
            ValueError: If a part of a sweep is given no path.
        """
        if path is None and self.only:
            raise ValueError(f"a report of {self.only} alone takes a path")
        from vsweep.reports.page import write_report

        return write_report(self, path, metric)

    @property
    def tables(self) -> "Tables":
        """The report's tables: `sweep.tables.importance()`, `sweep.tables.best_lr(...)`."""
        from vsweep.analysis.tables import Tables

        return Tables(self)

    @property
    def plot(self) -> "Plots":
        """The pictures, one by one, as `sweep.plot.heatmap(...)`: see `vsweep.figures.Plots`."""
        # Only here: matplotlib takes half a second to import.
        from vsweep.figures import Plots

        return Plots(self)
