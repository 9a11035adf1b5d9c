"""What pictures over one or two features have in common: the examples, the chosen cells, their titles."""

import textwrap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from vsweep.analysis.labels import evenly, label, short, short_names, with_error
from vsweep.metrics import axes_of, higher_is_better
from vsweep.results.select import known_axis, rank_cells

if TYPE_CHECKING:
    from vsweep.store.reader import StoredSweep

Limits = tuple[float, float]
# Of a cell, by column: see `select.rank_cells`.
Row = dict[str, Any]
# A picture of more values of an axis shows some of them, both ends among them.
MOST_PANELS = 12
# Of more classes the legend names some.
_MOST_NAMED = 12
# Beside their colours, classes differ in shape.
_MARKERS = ("o", "^", "s", "D", "v", "P", "X", "p")


@dataclass(frozen=True)
class Scene:
    """The data of a sweep: see `Sweep.examples`, and the data's record in `plan.json`.

    columns: of the examples' features. fresh: whether steps draw examples of their own.
    """

    examples: pd.DataFrame
    columns: tuple[str, ...]
    features: tuple[str, ...]
    classes: tuple[str, ...]
    mean: np.ndarray
    std: np.ndarray
    fresh: bool = False

    @cached_property
    def limits(self) -> tuple[Limits, ...]:
        """What is shown of each feature: all examples, and a margin."""
        return tuple(with_margin(self.examples[name].to_numpy(float)) for name in self.columns)

    def part(self, *, train: bool) -> pd.DataFrame:
        """The examples that are trained on, or those that are held out."""
        return self.examples[(self.examples["part"] == "train") == train]


def with_margin(values: np.ndarray, share: float = 0.06) -> Limits:
    """The lowest and the highest value, moved apart by a share of their distance."""
    low, high = float(np.min(values)), float(np.max(values))
    margin = share * (high - low) or 0.5
    return low - margin, high + margin


def scene_of(sweep: "StoredSweep", name: str, features: int, targets: str) -> Scene:
    """The data of a sweep for a picture of this name.

    features: how many there have to be. targets: `numbers`, `classes` or `two classes`. Raises `KeyError`
    for other data, and for several data sets.
    """
    records = list(sweep.plan["data"].values())
    if len(records) > 1:
        raise KeyError(f"{name} shows one data set, and this sweep has {len(records)}")
    record, classes = records[0], tuple(records[0]["classes"])
    fits = {"numbers": not classes, "classes": bool(classes), "two classes": len(classes) == 2}[targets]
    if len(record["features"]) != features or not fits:
        has = f"{_count(len(classes), 'class', 'classes')} over" if classes else "numbers over"
        has = f"{has} {_count(len(record['features']), 'feature', 'features')}"
        needs = f"{targets} over {_count(features, 'feature', 'features')}"
        raise KeyError(f"{name} shows {needs}, and this sweep's data are {has}")
    mean, std = np.asarray(record["mean"], float), np.asarray(record["std"], float)
    examples = sweep.examples
    columns, names = tuple(map(str, examples.columns[:features])), tuple(record["features"])
    return Scene(examples, columns, names, classes, mean, std, bool(record.get("fresh")))


def _count(n: int, one: str, many: str) -> str:
    return f"{n} {one if n == 1 else many}"


def scatter(axes: Axes, scene: Scene, colours: Sequence[Any]) -> None:
    """The examples of classes over two features: a colour and a shape each, hollow where held out."""
    size = float(np.clip(6000 / len(scene.examples), 3, 22))
    named = evenly(len(scene.classes), _MOST_NAMED)
    for train in (True, False):
        part = scene.part(train=train)
        for i, name in enumerate(scene.classes):
            x = part.loc[part["target"] == i, list(scene.columns)].to_numpy(float)
            face, edge = (colours[i], "white") if train else ("none", colours[i])
            drawn = axes.scatter(x[:, 0], x[:, 1], size, marker=_MARKERS[i % len(_MARKERS)], zorder=2)
            drawn.set(facecolor=face, edgecolor=edge, linewidth=0.3 if train else 0.9)
            drawn.set_label(name if train and i in named else "_")
    if not scene.part(train=False).empty:
        # Of no class: it says what being hollow means.
        axes.scatter([], [], size, facecolors="none", edgecolors="0.3", label="held out")
    axes.set(xlabel=scene.features[0], ylabel=scene.features[1], xlim=scene.limits[0], ylim=scene.limits[1])


def best_by(trials: pd.DataFrame, metric: str, by: str, most: int | None = None) -> list[tuple[str, Row]]:
    """The best cell for each value of an axis, rising, with the value in words.

    Before them is the best of the cells that lack the axis, if there are any: in words, what these have in
    common, and other cells have not. At most `most`, or `MOST_PANELS`.

    Raises `KeyError` for an axis that there is not.
    """
    known_axis(trials, by)
    cells = rank_cells(trials, metric)
    having = cells.dropna(subset=[by]).drop_duplicates(by)
    names = short_names(axes_of(trials))
    found: list[tuple[str, Row]] = [
        (f"{names[by]}={short(row[by])}", row) for row in rows_of(having.sort_values(by, kind="stable"))
    ]
    lacking = cells[cells[by].isna()]
    if len(lacking):
        found.insert(0, (_in_common(lacking, cells, axes_of(trials)), rows_of(lacking)[0]))
    return [found[place] for place in evenly(len(found), most or MOST_PANELS)]


def _in_common(some: pd.DataFrame, cells: pd.DataFrame, axes: Sequence[str]) -> str:
    """What some cells have in common and others have not, in words; else the first of them."""
    common = [
        axis
        for axis in axes
        if some[axis].nunique(dropna=False) == 1 < cells[axis].nunique(dropna=False)
        and pd.notna(some[axis].iloc[0])
    ]
    return label(rows_of(some)[0], common or axes)


def rows_of(cells: pd.DataFrame) -> list[Row]:
    """Each row of a table of cells."""
    return [{str(name): value for name, value in row.items()} for row in cells.to_dict("records")]


def scored(row: Row, metric: str) -> str:
    """A cell's metric, mean ± standard error over the seeds that did not diverge; and how many did."""
    seeds, diverged = int(row["seeds"]), int(row["diverged"])
    if diverged == seeds:
        return "it diverges" if seeds == 1 else f"all {seeds} seeds diverge"
    text = f"{metric} {with_error(row['mean'], row['sem'])}"
    return f"{text}, {diverged}/{seeds} diverge" if diverged else text


def ranked_trials(trials: pd.DataFrame, cell: int, metric: str) -> pd.DataFrame:
    """A cell's trials, the best first, and those that diverged last."""
    found = trials[trials["cell"] == cell]
    keys = pd.DataFrame({"bad": found["status"] != "ok", "value": found[f"final_{metric}"].astype(float)})
    order = keys.sort_values(["bad", "value"], ascending=[True, not higher_is_better(metric)], kind="stable")
    return found.loc[order.index]


def predictors(sweep: "StoredSweep", row: Row, metric: str) -> Iterator[Callable[[Any], np.ndarray]]:
    """The predictors of a cell's trials, the best first; not of those that diverged, or were not kept."""
    found = ranked_trials(sweep.trials, int(row["cell"]), metric)
    for trial in found.loc[found["status"] == "ok", "trial"]:
        try:
            yield sweep.predictor(int(trial))
        except KeyError:
            continue


def titled(axes: Axes, lines: Sequence[str], width: int = 42) -> None:
    """A panel's title, of lines of at most so many letters each."""
    axes.set_title("\n".join(_wrapped(lines, width)), fontsize=8.5)


def headed(figure: Figure, *lines: str) -> None:
    """A picture's title, of lines that are no wider than it."""
    figure.suptitle("\n".join(_wrapped(lines, int(13.0 * figure.get_figwidth()))), fontsize=10)


def _wrapped(lines: Sequence[str], width: int) -> list[str]:
    return [piece for line in lines for piece in textwrap.wrap(line, width)]


def spread(count: int) -> int:
    """How many panels go in a row, so that the last row is fullest."""
    rows = -(-count // 4)
    return -(-count // rows)


def legend(figure: Figure) -> None:
    """One legend below all panels, of what any of them shows."""
    named: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            named.setdefault(name, handle)
    if not named:
        return
    across = max(1, int(figure.get_figwidth() / (0.55 + 0.065 * max(map(len, named)))))
    rows = -(-len(named) // across)
    drawn = figure.legend(
        list(named.values()),
        list(named),
        loc="outside lower center",
        ncols=-(-len(named) // rows),
        frameon=False,
        fontsize=8,
        markerscale=1.3,
    )
    for shown in filter(None, drawn.legend_handles):
        # What is faint beside many others is not to be seen alone.
        shown.set_alpha(1.0)
