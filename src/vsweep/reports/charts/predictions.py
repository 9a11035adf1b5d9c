"""What trained models predict, as charts: regions over two features, fits over one."""

from collections.abc import Callable
from itertools import islice
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go

from vsweep.analysis.cells import Row, predictors, scored
from vsweep.analysis.example_data import ExampleData, example_data_for
from vsweep.metrics import default_metric
from vsweep.plots.predictions import (
    along,
    chosen_cells,
    classes_seen,
    least_squares,
    left_out,
    said_of,
    targets_shown,
    which_cells,
)
from vsweep.reports.charts.style import GREY, PALETTE, Chart
from vsweep.reports.charts.subplots import (
    MOST_PANELS,
    discrete,
    hover_at,
    joined,
    key,
    line,
    of_classes,
    panels,
    place_of,
    scatter,
    so_many,
    some,
)
from vsweep.store.reader import StoredSweep

# Points along a feature, at most; the lines of so many seeds; letters of all regions together.
_ALONG, _ACROSS, _SEEDS, _LETTERS = 200, 80, 12, 250_000
# What hovering over a line says.
_AT = "<br>%{x:.4g}, %{y:.4g}"


class _Panel(NamedTuple):
    """A cell and the predictors of its best seeds; there are none where nothing is to be drawn."""

    words: str
    row: Row
    predict: list[Callable[[Any], np.ndarray]]


def regions(sweep: StoredSweep, by: str | None) -> Chart:
    """Which class models see where. by: an axis, of whose values each has a panel.

    Raises `KeyError` for other data.
    """
    scene = example_data_for(sweep, "regions", 2, "classes")
    metric = default_metric(sweep.trials)
    shown, by, lacking = _drawable(sweep, metric, by, 1)
    made = panels([_titled(panel, metric, 1) for panel in shown] or [[]], *scene.features)
    colours, few = of_classes(len(scene.classes)), some(scene)
    names = np.asarray([name[:16] for name in scene.classes], object)
    letters = max(1, len(shown)) * (4.5 + float(np.mean([len(name) for name in names])))
    count = int(min(_ACROSS, (_LETTERS / letters) ** 0.5))
    across, up = (np.linspace(*limits, count).astype(np.float32) for limits in scene.limits)
    for place, panel in enumerate(shown):
        seen = classes_seen(scene, panel.predict[0], count)
        made.add_heatmap(
            z=seen.astype(np.uint8),
            x=across,
            y=up,
            text=names[seen],
            opacity=0.35,
            hovertemplate=hover_at(scene, "seen as %{text}"),
            **discrete(colours),
            **place_of(made, place),
        )
    for place in range(len(shown) or 1):
        scatter(made, place, few)
    what = f"Shown: {which_cells(sweep.trials, metric, by, MOST_PANELS)}; the regions are its best seed's."
    return Chart(_headed("Decision regions", by, sweep), made, _note(what, shown, lacking, so_many(scene)))


def fits(sweep: StoredSweep, by: str | None) -> Chart:
    """What models say along one feature: the examples, the truth where it is known, and the fits.

    by: as of `regions`. Raises `KeyError` for other data.
    """
    scene = example_data_for(sweep, "fits", 1, "numbers")
    metric = default_metric(sweep.trials)
    shown, by, lacking = _drawable(sweep, metric, by, None)
    x = along(scene, _ALONG)
    drawn = [[predict(x[:, None]) for predict in panel.predict] for panel in shown]
    made = panels([_titled(panel, metric) for panel in shown] or [[]], scene.features[0], "target")
    made.update_yaxes(range=targets_shown(scene, [fit for each in drawn for fit in each]))
    made.update_xaxes(range=scene.limits[0])
    few = some(scene)
    for place in range(len(shown) or 1):
        _points(made, place, few)
        cell = shown[place].row["cell"] if shown else sweep.trials["cell"].iloc[0]
        squares = least_squares(scene, sweep.trials[sweep.trials["cell"] == cell], x)
        if drawn:
            _fits(made, place, x, drawn[place])
        if squares is not None:
            ends = np.stack([x, squares], axis=1)[[0, -1]]
            line(made, place, ends, "least squares", {"color": GREY, "dash": "dash"}, _AT)
    what = f"Shown: {which_cells(sweep.trials, metric, by, MOST_PANELS)}."
    if any(len(each) > _SEEDS for each in drawn):
        what += f" Thin lines are of the best {_SEEDS} seeds, the mean is of all."
    return Chart(_headed("Fits", by, sweep), made, _note(what, shown, lacking, so_many(scene)))


def _drawable(
    sweep: StoredSweep, metric: str, by: str | None, seeds: int | None
) -> tuple[list[_Panel], str | None, list[str]]:
    """The cells that can be drawn, by which axis they are, and which cannot, in words."""
    cells = chosen_cells(sweep.trials, metric, by, MOST_PANELS)
    found = [_Panel(words, row, list(islice(predictors(sweep, row, metric), seeds))) for words, row in cells]
    shown = [panel for panel in found if panel.predict]
    if not shown and by is not None:
        # Of the values' best cells none was kept; the best of all may have been.
        return _drawable(sweep, metric, None, seeds)
    lacking = [f"{panel.words} ({_why(panel.row, metric)})" for panel in found if not panel.predict]
    return shown, by, lacking


def _why(row: Row, metric: str) -> str:
    return scored(row, metric) if row["diverged"] == row["seeds"] else left_out(row, 0)


def _titled(panel: _Panel, metric: str, needed: int | None = None) -> list[str]:
    # What the metric is, the note says.
    score = scored(panel.row, metric).removeprefix(f"{metric} ")
    return [panel.words, score, left_out(panel.row, len(panel.predict), needed)]


def _headed(words: str, by: str | None, sweep: StoredSweep) -> str:
    return ", ".join([f"{words} by {by}" if by else words, *([f"of {sweep.only}"] if sweep.only else [])])


def _note(what: str, shown: list[_Panel], lacking: list[str], few: str) -> str:
    # Where nothing is left there are the examples alone.
    first = what if shown else "The examples alone, without a model."
    lacks = f"Not shown: {'; '.join(lacking)}." if lacking else ""
    return " ".join(filter(None, (first, few, lacks)))


def _points(made: go.Figure, place: int, scene: ExampleData) -> None:
    """The examples, hollow where held out, and the truth along the feature."""
    feature = scene.columns[0]
    for train, text in said_of(scene).items():
        part = scene.part(train=train)
        if part.empty:
            continue
        mark = {"color": PALETTE[0], "symbol": "circle" if train else "circle-open", "size": 5}
        key(made, text, marker=mark)
        made.add_scatter(
            x=part[feature].to_numpy(np.float32),
            y=part["target"].to_numpy(np.float32),
            mode="markers",
            name=text,
            legendgroup=text,
            showlegend=False,
            marker=mark | {"opacity": 0.55},
            hovertemplate=f"{scene.features[0]} %{{x:.4g}}<br>target %{{y:.4g}}<extra></extra>",
            **place_of(made, place),
        )
    if "truth" in scene.examples:
        truth = scene.examples.sort_values(feature)
        x, y = truth[feature].to_numpy(float), truth["truth"].to_numpy(float)
        line(made, place, np.stack([x, y], axis=1), "truth", {"color": PALETTE[2], "width": 2}, _AT)


def _fits(made: go.Figure, place: int, x: np.ndarray, drawn: list[np.ndarray]) -> None:
    """A thin line for each seed, and their mean."""
    if len(drawn) > 1:
        lines = joined([np.stack([x, fit], axis=1) for fit in drawn[:_SEEDS]])
        look = {"color": PALETTE[1], "width": 0.8}
        line(made, place, lines, "fit of a seed", look, opacity=0.5, hoverinfo="skip", hovertemplate=None)
    text = "mean of the fits" if len(drawn) > 1 else "fit"
    line(
        made,
        place,
        np.stack([x, np.mean(drawn, axis=0)], axis=1),
        text,
        {"color": PALETTE[1], "width": 2.5},
        _AT,
    )
