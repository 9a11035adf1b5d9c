"""Draw the pictures of a sweep: one by one, as `sweep.plot`, and those that a config asks for."""

import inspect
import re
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from matplotlib.figure import Figure

from vsweep.analysis.convergence import best_cells, curves_of
from vsweep.analysis.labels import format_value
from vsweep.analysis.lr_sensitivity import lr_lines
from vsweep.analysis.marginals import heat_map
from vsweep.analysis.ranking import restrict
from vsweep.analysis.report_data import ReportData
from vsweep.charts import curves as curve_charts
from vsweep.charts import effects as effect_charts
from vsweep.charts import heatmaps as heat_map_charts
from vsweep.charts import lr_sensitivity as lr_charts
from vsweep.charts.style import Chart, plain
from vsweep.errors import ConfigError, suggest
from vsweep.plots.style import draw, save_figure
from vsweep.plots.tables import draw_curves, draw_heat_map
from vsweep.plots.task import TASK_PICTURES
from vsweep.store.atomic import write_whole
from vsweep.store.files import PICTURES
from vsweep.store.reader import StoredSweep

# The argument that restricts any picture to some cells, and the arguments that are axes.
_WHERE, _AXES = "where", ("x", "y", "by", "axis")
# Endings of the files that matplotlib writes for a paper.
IMAGES = (".png", ".pdf", ".svg", ".jpg", ".eps")
FilePath = str | Path | None
Cells = Sequence[int] | None


class Plots:
    """The pictures of one sweep.

    Pictures of the task are matplotlib figures: `basin`, `boundaries`, `first_steps`, `fits`,
    `loss_surface`, `parameters`, `paths`, `regions` and `surface`. All others are Plotly figures, to hover
    over. `path` writes a picture to a file: a matplotlib figure as .png, .pdf or .svg; a Plotly figure as
    .html, and `heatmap` and `curves` also as .png, .pdf or .svg for a paper.
    """

    def __init__(self, sweep: StoredSweep) -> None:
        """Keep the sweep; its files are read when a picture is drawn."""
        self._sweep = sweep
        self._data_by_metric: dict[str | None, ReportData] = {}

    def _data(self, metric: str | None) -> ReportData:
        if metric not in self._data_by_metric:
            self._data_by_metric[metric] = ReportData(self._sweep, metric)
        return self._data_by_metric[metric]

    def heatmap(
        self,
        x: str,
        y: str,
        metric: str | None = None,
        path: FilePath = None,
        show: str = heat_map_charts.BEST,
    ) -> go.Figure:
        """Draw a map over two axes, with the line at which half of the trials diverge.

        Args:
            x: An axis, by its dotted path.
            y: Another axis.
            metric: The metric; by default the one that ranks.
            path: The file to write; an image for a paper has the best mean in numbers.
            show: `best over the others`, `median over the others` or `share that diverged`; only the first is
                drawn as an image.

        Raises:
            KeyError: If there is no such axis, metric or map.
        """
        data = self._data(metric)
        table = heat_map(data.trials, data.cells, x, y, data.metric)
        charts = heat_map_charts.maps(table)
        if show not in charts and show != heat_map_charts.BEST:
            raise KeyError(f"no map {show!r}: the maps are {', '.join(charts)}")
        if show != heat_map_charts.BEST and _is_image(path):
            got = f"show: got {show!r}, and an image shows only {heat_map_charts.BEST!r}"
            raise ValueError(f"{got}; give a path that ends in .html")
        # Where every trial diverged, the only map is that of the diverged share.
        chart = charts.get(show) or next(iter(charts.values()))
        return self._finish(chart, path, lambda: draw(draw_heat_map, table))

    def curves(
        self, by: str | None = None, metric: str | None = None, path: FilePath = None, cells: Cells = None
    ) -> go.Figure:
        """Draw the median over the trials of a cell and its middle half, with all trials faint behind.

        Args:
            by: An axis, by its dotted path: a line for each value, of its best cell over all other axes.
            metric: The metric, which chooses the best cells too; by default the one that ranks.
            path: The file to write.
            cells: The numbers of the cells to draw, in place of `by`; by default those of the best three.

        Raises:
            KeyError: If there is no such axis or metric.
            ValueError: If both `by` and `cells` are given.
        """
        if by is not None and cells is not None:
            raise ValueError("curves: got both by and cells, expected one of them")
        data = self._data(metric)
        if by is not None:
            cells = best_cells(data.trials, data.metric, by)["cell"].tolist()
        chosen = data.shown_cells[:3] if cells is None else list(cells)
        curves = data.curves_of(chosen)
        lines = curves_of(data.trials, curves, data.metric, chosen, by or "")
        chart = curve_charts.curve_chart(data, curves, lines)
        return self._finish(chart, path, lambda: draw(draw_curves, lines))

    def importance(self, metric: str | None = None, path: FilePath = None) -> go.Figure:
        """Draw the share of the differences between trials that each axis and pair of axes explains.

        Raises:
            KeyError: If there is nothing to compare.
        """
        data = self._data(metric)
        if isinstance(data.importance, str):
            raise KeyError(data.importance)
        bars = effect_charts.importance_bars(data.importance, data.names, data.replicate)
        return self._finish(bars, path)

    def effect(self, axis: str, metric: str | None = None, path: FilePath = None) -> go.Figure:
        """Draw a metric against the values of an axis, with its spread over the other axes and seeds.

        Raises:
            KeyError: If there is no such axis.
        """
        return self._finish(effect_charts.effect(self._data(metric), axis), path)

    def rates(self, by: str | None = None, metric: str | None = None, path: FilePath = None) -> go.Figure:
        """Draw a metric against the learning rate, a line for each value of an axis.

        Raises:
            KeyError: If the learning rate does not vary.
        """
        data = self._data(metric)
        return self._finish(lr_charts.rates(lr_lines(data.trials, data.metric, by), data.metric, by), path)

    def basin(self, x: str | None = None, y: str | None = None, path: FilePath = None) -> Figure:
        """Draw the place where each descent of a function ends, over its start and its learning rate.

        There is a panel for each value of the other axes, or for six evenly spaced ones, of the first seed.

        Args:
            x: An axis; by default the start of the first coordinate.
            y: An axis; by default the start of the second coordinate, or else the learning rate.
            path: The file to write.

        Raises:
            KeyError: If the sweep minimizes no functions over two axes.
        """
        return self._draw("basin", path, x=x, y=y)

    def paths(self, path: FilePath = None) -> Figure:
        """Draw the function, a curve in 1-D and contours in 2-D, and descents from some starts.

        There is a panel for each learning rate, or for six evenly spaced cells.

        Raises:
            KeyError: If the sweep minimizes no functions of one or two coordinates.
        """
        return self._draw("paths", path)

    def surface(self, path: FilePath = None) -> Figure:
        """Draw a function of two coordinates as a surface, with the descents that reach a minimum most often.

        Raises:
            KeyError: If the sweep minimizes no function of two coordinates.
        """
        return self._draw("surface", path)

    def loss_surface(self, path: FilePath = None) -> Figure:
        """Draw the squared error of a line over its intercept and slope, with the descents on it.

        Raises:
            KeyError: If the sweep is not of `model=linear` on one feature with `record_params=true`.
        """
        return self._draw("loss_surface", path)

    def fits(self, by: str | None = None, path: FilePath = None) -> Figure:
        """Draw the examples of one feature, the truth where it is known, and the fits of models.

        Thin lines are the fits of seeds, and the strong line is their mean; seeds that diverged have none.
        Least squares are drawn where the trials record them. The title names the cells that have no fits,
        because their parameters were not kept or all their trials diverged.

        Args:
            by: An axis: a panel for each of its values (at most 12), of the best cell over all other axes,
                and before them one of the cells that lack it; None for the best cell alone.
            path: The file to write.

        Raises:
            KeyError: If there is no such axis, the data are other than numbers over one feature, or there are
                several data sets.
        """
        return self._draw("fits", path, by=by)

    def regions(self, by: str, path: FilePath = None) -> Figure:
        """Draw the classes that models predict over two features, with the examples on top.

        A panel's regions are those of its cell's best seed whose parameters were kept; its title has the mean
        over all seeds. Held-out examples are hollow.

        Args:
            by: As for `fits`.
            path: The file to write.

        Raises:
            KeyError: If the data are other than classes over two features, or as `fits` does.
        """
        return self._draw("regions", path, by=by)

    def boundaries(self, path: FilePath = None) -> Figure:
        """Draw the lines where the best and the last cell of logistic regression predict even odds.

        The last cell is the one with the most diverged seeds, or else the worst. Faint lines are those of its
        seeds; the strong line and the probability behind it are those of the mean logit over the seeds that
        did not diverge, or, where all did, of the first seed whose parameters are finite.

        Raises:
            KeyError: If the data are other than two classes over two features, there are several data sets,
                no cell is of logistic regression, or no parameters were kept or recorded.
        """
        return self._draw("boundaries", path)

    def first_steps(self, steps: int = 10, path: FilePath = None) -> Figure:
        """Draw the lines where logistic regression predicts even odds after each of its first steps.

        There is a panel for each learning rate (at most six), of the best seed of its best cell.

        Args:
            steps: The number of steps; step 0, the untrained model, is drawn too.
            path: The file to write.

        Raises:
            KeyError: As `boundaries` does, or if the parameters of every step were not recorded.
        """
        return self._draw("first_steps", path, steps=steps)

    def parameters(self, path: FilePath = None) -> Figure:
        """Draw each recorded parameter against the step, for all trials that did not diverge, and their mean.

        At most 12 parameters are shown, for at most 400 trials, drawn at random but always the same. Least
        squares are drawn where the trials record them.

        Raises:
            KeyError: If no parameters were recorded.
        """
        return self._draw("parameters", path)

    def _draw(self, name: str, path: FilePath, **arguments: Any) -> Figure:
        picture = TASK_PICTURES[name]
        figure = draw(picture.render, picture.data(self._sweep, **arguments))
        return self._save(figure, path)

    def _save(self, figure: Figure, path: FilePath) -> Figure:
        """Name the part of the sweep in a figure's title, and write it to a path if one is given."""
        if self._sweep.only:
            figure.suptitle(f"{figure.get_suptitle()}\nOnly the cells with {self._sweep.only}.", fontsize=10)
        if path is not None:
            save_figure(figure, path)
        return figure

    def _finish(self, chart: Chart, path: FilePath, image: Callable[[], Figure] | None = None) -> go.Figure:
        """Return a chart's figure with its title, written to a path if one is given.

        Args:
            chart: The chart.
            path: The path.
            image: A function that draws the chart for a paper; None if there is no such drawing.
        """
        figure = chart.figure
        title = f"{chart.title}, only {self._sweep.only}" if self._sweep.only else chart.title
        figure.update_layout(title={"text": plain(title)}, template="plotly_white", margin={"t": 90})
        if _is_image(path):
            if image is None:
                raise ValueError(f"path: got {str(path)!r}, and this picture is written only as .html")
            self._save(image(), path)
        elif path is not None:
            target = Path(path)
            target.parent.mkdir(parents=True, exist_ok=True)
            write_whole(target, lambda part: figure.write_html(part, include_plotlyjs=True))
        return figure


def _is_image(path: FilePath) -> bool:
    return path is not None and Path(path).suffix.lower() in IMAGES


def requested_pictures(
    entries: Sequence[Mapping[str, Any]], axes: Sequence[str]
) -> list[tuple[str, dict[str, Any]]]:
    """Return the pictures that a config asks for, each with its arguments.

    Args:
        entries: The config's `pictures`; every picture also has the argument `where`, as in `Sweep.where`.
        axes: The axes of the sweep.

    Raises:
        ConfigError: If there is no such picture, or it takes other arguments.
    """
    pictures = []
    for name, arguments in (item for entry in entries for item in entry.items()):
        _check_arguments(name, arguments, axes)
        pictures.append((name, dict(arguments)))
    return pictures


def _check_arguments(name: str, arguments: Mapping[str, Any], axes: Sequence[str]) -> None:
    """Raise `ConfigError` if there is no such picture, or it takes other arguments."""
    known = [key for key in vars(Plots) if not key.startswith("_")]
    if name not in known:
        raise ConfigError("pictures", f"no picture {name!r}", suggest(name, known))
    _, *parameters = inspect.signature(getattr(Plots, name)).parameters.values()
    defaults = {parameter.name: parameter.default for parameter in parameters if parameter.name != "path"}
    takes = (*defaults, _WHERE)
    for key in arguments:
        if key not in takes:
            raise ConfigError("pictures", f"{name} has no argument {key!r}", f"it takes {', '.join(takes)}")
    where = arguments.get(_WHERE, {})
    if not isinstance(where, Mapping):
        got = f"{name} has {_WHERE}: {where!r}"
        raise ConfigError("pictures", got, "it takes values by axis, such as {model.depth: 1}")
    required = [key for key, default in defaults.items() if default is inspect.Parameter.empty]
    # A file of curves names its axis or its cells; in a notebook the best cells are a fair default.
    required += ["by"] if name == "curves" and "cells" not in arguments else []
    for key in required:
        if key not in arguments:
            raise ConfigError("pictures", f"{name} lacks {key!r}", f"give {{{name}: {{{key}: …}}}}")
    for axis in [*(arguments[key] for key in _AXES if arguments.get(key) is not None), *where]:
        if axis not in axes:
            raise ConfigError("pictures", f"{name}: {axis!r} is not an axis", suggest(str(axis), axes))


def write_pictures(sweep: StoredSweep, pictures: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, str]:
    """Write pictures in the sweep's directory.

    Returns:
        For the name of each file the reason why it could not be written; empty where it was.

    Raises:
        OSError: If the directory cannot be written.
    """
    reasons: dict[str, str] = {}
    for name, arguments in pictures:
        options = {key: value for key, value in arguments.items() if key != _WHERE}
        where = arguments.get(_WHERE, {})
        cells = [f"{axis}={_file_text(value)}" for axis, value in where.items()]
        texts = (name, *map(_file_text, options.values()), *cells)
        parts = [re.sub(r"[^\w.=+-]+", "_", text).strip("_") for text in texts]
        file = "-".join(parts).replace("=_", "=")[:120] + _ending(name, options)
        try:
            plots = Plots(restrict(sweep, where) if where else sweep)
            # A picture is drawn elsewhere, since only the store opens files in the directory.
            with tempfile.TemporaryDirectory() as folder:
                getattr(plots, name)(**options, path=Path(folder, file))
                sweep.files.write_bytes(f"{PICTURES}/{file}", Path(folder, file).read_bytes())
            reasons[file] = ""
        except OSError:
            raise
        except Exception as error:
            # The trained trials are in the store, and a failed picture must not hide them.
            message = error.args[0] if isinstance(error, KeyError) and error.args else None
            reasons[file] = " ".join(str(message or f"{type(error).__name__}: {error}").split())
    return reasons


def _ending(name: str, arguments: Mapping[str, Any]) -> str:
    """Return the ending of a picture's file: that of an image where the picture can be one."""
    is_matplotlib = inspect.signature(getattr(Plots, name)).return_annotation is Figure
    is_best = arguments.get("show", heat_map_charts.BEST) == heat_map_charts.BEST
    return ".png" if is_matplotlib or name == "curves" or (name == "heatmap" and is_best) else ".html"


def _file_text(value: object) -> str:
    return "null" if value is None else format_value(value)
