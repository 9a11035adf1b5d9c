"""Pictures of logistic regression on two features: the lines where the probability is a half."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import LinearSegmentedColormap, ListedColormap, Normalize
from matplotlib.figure import Figure
from scipy.special import expit

from vsweep.analysis.cells import Row, ranked_trials, rows_of, scored
from vsweep.analysis.decision_boundary import across, after_steps, logits_of, unseen
from vsweep.analysis.example_data import ExampleData, Limits, example_data_for
from vsweep.analysis.labels import COLOURS, cell_label, evenly_spaced_indices, format_with_error
from vsweep.analysis.ranking import rank_cells, varied_axes
from vsweep.metrics import axes_of, default_metric
from vsweep.plots.examples import scatter
from vsweep.plots.style import colours, legend, panels, set_panel_title, set_suptitle
from vsweep.store.reader import StoredSweep

_LR, _MOST_RATES = "optimizer.lr", 6
# Points along a feature at which a probability is shown.
_ACROSS = 200
# A probability's colours: from those of one class, through white, to those of the other.
_BETWEEN = LinearSegmentedColormap.from_list("between", [COLOURS[0], "white", COLOURS[1]])
_HEADING = "logistic regression: where the probability is 1/2"


class Boundary(NamedTuple):
    """A cell's lines. logits: of its seeds, `(known, 3)`. strong: `(3,)`, their mean or one of them."""

    title: list[str]
    logits: np.ndarray
    strong: np.ndarray | None
    mean: bool


class Steps(NamedTuple):
    """A trial's logits before and after its first steps, `(1 + steps, 3)`. title: in lines."""

    title: list[str]
    logits: np.ndarray


def boundaries_of(sweep: StoredSweep) -> tuple[ExampleData, list[Boundary]]:
    """The boundaries that a picture shows: see `Plots.boundaries`."""
    scene = example_data_for(sweep, "boundaries", 2, "two classes")
    trials, metric = sweep.trials, default_metric(sweep.trials)
    cells = rows_of(_logistic(sweep, metric, "boundaries"))
    rows = [("best", cells[0]), (f"last of {len(cells)}", cells[-1])][: len(cells)]
    found = [logits_of(sweep, scene, trials[trials["cell"] == row["cell"]]) for _, row in rows]
    if not any(len(lines) for lines, _ in found):
        needs = "train the sweep with keep.params=all or record_params=true"
        raise KeyError(f"the parameters of the best and of the last cell were not kept: {needs}")
    shown = []
    for (words, row), (lines, ok) in zip(rows, found, strict=True):
        cell = f"{words}: {cell_label(row, varied_axes(trials))}".removesuffix(": ")
        score = [scored(row, metric), _diverged_score(trials, row, metric)]
        title = [cell, *score, _unknown(row, lines), *unseen(lines, scene.limits, "seed")]
        shown.append(Boundary(title, lines, *_strong(lines, ok)))
    return scene, shown


def boundaries(sweep: StoredSweep) -> Figure:
    """See `Plots.boundaries`."""
    scene, shown = boundaries_of(sweep)
    figure, axes = panels(len(shown), size=(4.2, 3.7))
    image = None
    for panel, (title, lines, strong, mean) in zip(axes, shown, strict=True):
        image = _shade(panel, scene, strong) or image
        scatter(panel, scene, COLOURS)
        _draw_lines(panel, scene.limits, lines, strong, mean=mean)
        set_panel_title(panel, title, 62)
    if image is not None:
        figure.colorbar(image, ax=axes, label=f"probability of {scene.classes[1]}", shrink=0.8)
    set_suptitle(figure, _HEADING)
    legend(figure)
    return figure


def first_steps_of(sweep: StoredSweep, steps: int) -> tuple[ExampleData, list[Steps], str]:
    """The steps that a picture shows, and of which trials they are, in words: see `Plots.first_steps`."""
    scene = example_data_for(sweep, "first_steps", 2, "two classes")
    metric = default_metric(sweep.trials)
    cells = _logistic(sweep, metric, "first_steps")
    if _LR in axes_of(sweep.trials):
        cells = cells.drop_duplicates(_LR).sort_values(_LR)
        cells = cells.iloc[evenly_spaced_indices(len(cells), _MOST_RATES)]
    else:
        cells = cells.head(1)
    trials = [rows_of(ranked_trials(sweep.trials, int(cell), metric))[0] for cell in cells["cell"]]
    found = [after_steps(sweep.curves, scene, trial["trial"], steps) for trial in trials]
    shown = []
    for trial, lines in zip(trials, found, strict=True):
        words = f"{cell_label(trial, varied_axes(sweep.trials))} seed={trial['seed']}".strip()
        diverged = "" if trial["status"] == "ok" else f"diverges at step {trial['diverged_at']}"
        shown.append(Steps([words, diverged, *unseen(lines, scene.limits, "step")], lines))
    return scene, shown, _of_each(cells, sweep.trials)


def first_steps(sweep: StoredSweep, steps: int) -> Figure:
    """See `Plots.first_steps`."""
    scene, shown, of_each = first_steps_of(sweep, steps)
    figure, axes = panels(len(shown), columns=3, size=(4.4, 3.8) if len(shown) == 1 else (3.1, 2.9))
    shades = colours(range(max(len(lines) for _, lines in shown)))
    for panel, (title, lines) in zip(axes, shown, strict=True):
        scatter(panel, scene, ("0.72", "0.45"))
        ends = {i: end for i, line in enumerate(lines) if (end := across(line, scene.limits)) is not None}
        # Where steps are small, what is below shows beside what is above.
        widths = np.linspace(3.0, 1.2, len(shades))[list(ends)]
        panel.add_collection(
            LineCollection(list(ends.values()), colors=shades[list(ends)], linewidths=widths, zorder=3)
        )
        set_panel_title(panel, title, 46)
    scale = ScalarMappable(Normalize(-0.5, len(shades) - 0.5), ListedColormap(shades))
    ticks = evenly_spaced_indices(len(shades), 6).tolist()
    figure.colorbar(scale, ax=axes, label="step", shrink=0.8, ticks=ticks)
    set_suptitle(figure, f"{_HEADING} after each of the first steps", of_each)
    legend(figure)
    return figure


def _logistic(sweep: StoredSweep, metric: str, name: str) -> pd.DataFrame:
    """The cells of logistic regression, best first. Raises `KeyError` where there are none."""
    cells = rank_cells(sweep.trials, metric)
    if "model" in cells:
        cells = cells[cells["model"] == "logistic"]
    elif sweep.config["model"]["name"] != "logistic":
        cells = cells.head(0)
    if cells.empty:
        raise KeyError(f"{name} shows model=logistic, and this sweep has none")
    return cells


def _of_each(cells: pd.DataFrame, trials: pd.DataFrame) -> str:
    if len(trials) == 1:
        return ""
    return f"the best seed of the best cell{' of each learning rate' if len(cells) > 1 else ''}"


def _strong(lines: np.ndarray, ok: np.ndarray) -> tuple[np.ndarray | None, bool]:
    """The mean over the seeds that did not diverge, or the first that is finite; and whether it is a mean."""
    finite = np.isfinite(lines).all(axis=1)
    if (finite & ok).any():
        return lines[finite & ok].mean(axis=0), True
    return (lines[finite][0] if finite.any() else None), False


def _shade(axes: Axes, scene: ExampleData, line: np.ndarray | None) -> Any:
    """The probability of the second class; None where there is none."""
    if line is None:
        return None
    p, place = probability(line, scene.limits, _ACROSS), (*scene.limits[0], *scene.limits[1])
    return axes.imshow(
        p, cmap=_BETWEEN, vmin=0.0, vmax=1.0, alpha=0.45, extent=place, origin="lower", aspect="auto"
    )


def probability(logit: np.ndarray, limits: Sequence[Limits], count: int) -> np.ndarray:
    """The probability of the second class at each point of a grid, `(count, count)`."""
    x, y = (np.linspace(*each, count) for each in limits)
    return expit(logit[0] * x[None, :] + logit[1] * y[:, None] + logit[2])


def _draw_lines(
    axes: Axes, limits: Sequence[Limits], lines: np.ndarray, strong: np.ndarray | None, *, mean: bool
) -> None:
    """A faint line for each of several seeds, and a strong one, dashed where it is no mean."""
    ends = [each for each in (across(line, limits) for line in lines) if each is not None]
    if len(lines) > 1 and ends:
        drawn = LineCollection(ends, colors="0.25", linewidths=0.8, alpha=0.6, label="line of a seed")
        axes.add_collection(drawn)
    end = None if strong is None else across(strong, limits)
    if end is not None:
        text = "line of the mean logit" if len(lines) > 1 else "line"
        text = text if mean else "line of the first seed, where all diverge"
        axes.plot(*end.T, color="black", linewidth=2.2, linestyle="-" if mean else "--", label=text)


def _unknown(row: Row, lines: np.ndarray) -> str:
    known, seeds = len(lines), int(row["seeds"])
    return "" if known == seeds else f"parameters kept of {known} of {seeds} seeds (keep.params=all: of all)"


def _diverged_score(trials: pd.DataFrame, row: Row, metric: str) -> str:
    """The metric of a cell of which no seed is left, as far as it has one."""
    if row["diverged"] < row["seeds"]:
        return ""
    values = trials.loc[trials["cell"] == row["cell"], f"final_{metric}"].astype(float).dropna()
    return f"{metric} at their end {format_with_error(values.mean(), values.sem())}" if len(values) else ""
