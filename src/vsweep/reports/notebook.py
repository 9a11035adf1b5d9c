"""The report's pictures one by one, for a notebook."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import plotly.graph_objects as go

from vsweep.analysis.lr_sensitivity import best_lr, fit_slope, lr_lines
from vsweep.reports.charts import curves as curve_charts
from vsweep.reports.charts import effects as effect_charts
from vsweep.reports.charts import heatmaps as heatmap_charts
from vsweep.reports.charts import leading_cells as leading_charts
from vsweep.reports.charts import lr_sensitivity as lr_charts
from vsweep.reports.charts.style import Chart
from vsweep.reports.report_data import ReportData
from vsweep.reports.task_charts import task_charts
from vsweep.store.atomic import write_whole
from vsweep.store.reader import StoredSweep


class Interactive:
    """Pictures to hover over; each gives a Plotly figure.

    metric: by default the one that ranks. path: where to write the picture, as an HTML file of its own.
    """

    _sweep: StoredSweep

    @cached_property
    def _subjects(self) -> dict[str | None, ReportData]:
        return {}

    def _of(self, metric: str | None) -> ReportData:
        if metric not in self._subjects:
            self._subjects[metric] = ReportData(self._sweep, metric)
        return self._subjects[metric]

    def leading(self, metric: str | None = None, path: str | Path | None = None) -> go.Figure:
        """The best cells, their means over seeds and the standard errors of these."""
        of = self._of(metric)
        return _titled(leading_charts.leading(of.trials, of.cells, of.metric), path)

    def importance(self, metric: str | None = None, path: str | Path | None = None) -> go.Figure:
        """How much of the differences between trials each axis and pair of axes explains.

        Raises `KeyError` where there is nothing to compare.
        """
        of = self._of(metric)
        if isinstance(of.importance, str):
            raise KeyError(of.importance)
        return _titled(effect_charts.importance_bars(of.importance, of.axes), path)

    def effect(self, axis: str, metric: str | None = None, path: str | Path | None = None) -> go.Figure:
        """A metric against the values of an axis, with its spread over all else.

        Raises `KeyError` for an axis that the sweep does not have.
        """
        of = self._of(metric)
        return _titled(effect_charts.effect(of.trials, of.cells, axis, of.metric), path)

    def tiles(
        self,
        x: str,
        y: str,
        show: str = heatmap_charts.BEST,
        metric: str | None = None,
        path: str | Path | None = None,
    ) -> go.Figure:
        """A map over two axes, with the line at which half of the trainings diverge.

        show: `best over the others`, `median over the others` or `share that diverged`. Raises `KeyError` for
        another, and for axes that the sweep does not have.
        """
        of = self._of(metric)
        made = heatmap_charts.maps(of.trials, of.cells, x, y, of.metric)
        if show not in made:
            raise KeyError(f"no map {show!r}: there are {', '.join(made)}")
        return _titled(made[show], path)

    def convergence(
        self, cells: Sequence[int] | None = None, metric: str | None = None, path: str | Path | None = None
    ) -> go.Figure:
        """The median and the middle half over seeds of some cells, with all trials faint behind them.

        cells: their numbers; by default those of the best three.
        """
        of = self._of(metric)
        chosen = list(cells) if cells is not None else of.shown_cells[:3]
        return _titled(
            curve_charts.convergence(of.trials, of.curves_of(chosen), of.metric, chosen, of.behind), path
        )

    def steps_to_target(
        self, cells: Sequence[int] | None = None, metric: str | None = None, path: str | Path | None = None
    ) -> go.Figure:
        """How many steps some cells take to reach a value of a metric. cells: as of `convergence`."""
        of = self._of(metric)
        chosen = list(cells) if cells is not None else of.shown_cells[:3]
        return _titled(curve_charts.steps_to_target(of.trials, of.curves_of(chosen), of.metric, chosen), path)

    def final_against_best(self, metric: str | None = None, path: str | Path | None = None) -> go.Figure:
        """Of each trial the metric at its last step against the best that it had on the way."""
        of = self._of(metric)
        return _titled(curve_charts.final_against_best(of.trials, of.metric), path)

    def rates(
        self, by: str | None = None, metric: str | None = None, path: str | Path | None = None
    ) -> go.Figure:
        """A metric against the learning rate, a line for each value of an axis.

        Raises `KeyError` where the learning rate does not vary.
        """
        of = self._of(metric)
        return _titled(lr_charts.rates(lr_lines(of.trials, of.metric, by), of.metric, by), path)

    def best_rates(self, by: str, metric: str | None = None, path: str | Path | None = None) -> go.Figure:
        """The best learning rate for each value of an axis, and their line. Raises as `rates` does."""
        of = self._of(metric)
        found = best_lr(lr_lines(of.trials, of.metric, by))
        return _titled(lr_charts.best_rates(found, by, fit_slope(of.trials, of.metric, by)), path)

    def task(self) -> list[go.Figure]:
        """What belongs to the task: decision regions, fits, paths on a function; none of many features."""
        return [_titled(chart, None) for chart in task_charts(self._sweep)]


def _titled(chart: Chart, path: str | Path | None) -> go.Figure:
    """A figure by itself, with its title, written to a path if one is given."""
    figure = chart.figure
    figure.update_layout(title={"text": chart.title}, template="plotly_white")
    figure.update_layout(margin={"t": 90})
    if path is not None:
        to = Path(path)
        to.parent.mkdir(parents=True, exist_ok=True)
        write_whole(to, lambda part: figure.write_html(part, include_plotlyjs=True))
    return figure
