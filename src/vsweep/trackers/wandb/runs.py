"""Build the content of a sweep's W&B runs from the sweep's tables, without W&B's client."""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from copy import deepcopy
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from vsweep.analysis.cells import rows_of
from vsweep.analysis.convergence import aggregate_seeds, cell_summary, downsample
from vsweep.analysis.labels import cell_label, replicate_label
from vsweep.analysis.ranking import rank_cells
from vsweep.metrics import (
    axes_of,
    chosen_metric,
    followers_of,
    higher_is_better,
    preferred_metric,
    without_parts,
)
from vsweep.store.reader import StoredSweep

# W&B's limits.
_LONGEST_TAG, _LONGEST_NAME = 64, 128
# The job type of the run that shows the whole sweep.
OVERVIEW = "overview"
# Lists of draws that are too long to read.
_DRAWS = re.compile(r"(draws\.[\w.]+=\[)([^\[\]]{120,})\]")
Rows = Sequence[tuple[int, dict[str, float]]]


class Run(NamedTuple):
    """The content of a W&B run.

    Attributes:
        id: Identifier that depends only on the trials shown.
        name: Name of the run.
        group: Name of the group of runs that it belongs to.
        job_type: The level: `trial`, `cell` or `overview`.
        config: Nested plain values.
        summary: Plain values, none of which is NaN or infinite.
        notes: Notes.
        tags: Tags.
        rows: Step and finite values of each row.
    """

    id: str
    name: str
    group: str
    job_type: str
    config: dict[str, Any]
    summary: dict[str, Any]
    notes: str = ""
    tags: tuple[str, ...] = ()
    rows: Rows = ()


def sweep_id(plan: Mapping[str, Any]) -> str:
    """Return the sweep's id, eight hexadecimal digits that do not change if it is moved or extended."""
    start = f"{plan.get('name')} {plan.get('started')}"
    return str(plan.get("id") or sha256(start.encode()).hexdigest()[:8])


class Runs:
    """The runs of the trials of a sweep that are finished so far."""

    def __init__(self, directory: Path, level: str) -> None:
        """Read a sweep.

        Args:
            directory: The sweep's directory.
            level: `trial`, `cell`, or `sweep` for only the overview.

        Raises:
            ConfigError: If the directory has no sweep with a finished trial.
        """
        self.sweep, self.level = StoredSweep(directory), level
        plan = self.sweep.plan
        self._uid = sweep_id(plan)
        self._group = truncate_name(f"{plan['name']} {plan['started']} [{self._uid}]", self._uid)

    @property
    def complete(self) -> bool:
        """True if all trials are finished."""
        return len(self.sweep.trials) == self.sweep.plan["trials"]

    @cached_property
    def ids(self) -> dict[str, int]:
        """The number of the trial or cell of each run, by id; cells with unfinished trials have none."""
        if self.level == "sweep":
            return {}
        trials, plan = self.sweep.trials, self.sweep.plan
        size = 1 if self.level == "trial" else plan["trials"] // plan["cells"]
        identities = trials.groupby(self.level)["identity"].agg(tuple)
        known: Any = identities[identities.map(len) == size].items()
        return {self._hash(self.level, *part): int(number) for number, part in known}

    @cached_property
    def overview_id(self) -> str:
        """The id of the overview of the finished trials, at any level."""
        return self._hash(OVERVIEW, *self.sweep.trials["identity"])

    @property
    def all_ids(self) -> set[str]:
        """The ids of all runs."""
        return {*self.ids, self.overview_id}

    def build(self, numbers: Sequence[int], most_rows: int) -> Iterator[Run]:
        """Yield the runs of some trials or cells, with at most `most_rows` rows each."""
        if not numbers:
            return
        trials = self.sweep.trials[self.sweep.trials[self.level].isin(numbers)]
        curves = self.sweep.curves_of(trials["trial"].tolist())
        if self.level == "cell":
            curves = aggregate_seeds(trials, curves).reset_index()
        by_number = dict(iter(curves.groupby(self.level)))
        parts: Any = trials.groupby(self.level)
        chosen = chosen_metric(self.sweep.config)
        for number, part in parts:
            run = self._trial_run(part) if self.level == "trial" else self._cell_run(part)
            rows = _rows(by_number[number].drop(columns=self.level), part["diverged_at"], most_rows, chosen)
            yield self._finish(run._replace(id=self._hash(self.level, *part["identity"]), rows=rows))

    def _trial_run(self, trials: pd.DataFrame) -> Run:
        axes = [*axes_of(trials), *followers_of(trials)]
        row: Any = without_parts(trials).astype(object).iloc[0].to_dict()
        cell = self._cell_names[row["cell"]]
        group = truncate_name(f"{cell} [{self._uid}]", f"{self._uid} {row['cell']}")
        config = cell_config(self.sweep.plan, row, axes)
        numbers = [name for name in ("split", "seed", "trial", "cell") if name in row]
        config |= {name: row[name] for name in numbers}
        config["data"] = {**config["data"], **self._split_fields(row)}
        summary = {k: v for k, v in row.items() if k not in (*numbers, "identity", *axes)}
        note = f"trial {row['trial']}: vsweep run trial={row['trial']} from=DIR trains it again"
        return Run("", f"{cell} {replicate_label(row)}", group, "trial", config, summary, note)

    def _split_fields(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields of the data on which a trial's split depends; none where there is one split."""
        for data in self.sweep.plan["data"].values():
            if "split" in data and data["split"] == row.get("split"):
                fields = ((path.removeprefix("data."), value) for path, value in data["fields"].items())
                return {name: value for name, value in fields if name in ("split_seed", "splits", "fold")}
        return {}

    def _cell_run(self, trials: pd.DataFrame) -> Run:
        row: Any = trials.astype(object).iloc[0].to_dict()
        cell = row["cell"]
        fields = [*axes_of(trials), *followers_of(trials)]
        config = {**cell_config(self.sweep.plan, row, fields), "cell": cell}
        return Run(
            "", self._cell_names[cell], self._group, "cell", config, cell_summary(trials), f"cell {cell}"
        )

    def overview(self) -> Run:
        """Return the overview without its tables and pictures."""
        trials, name = self.sweep.trials, f"{self.sweep.plan['name']}: overview"
        metric = self.sweep.metric
        cells = rank_cells(trials, metric)
        best = rows_of(cells[cells["rank"] == 1])
        # Cells that cannot be compared have no best one, and those without a test none that may be the best.
        is_compared = len(best) == 1 and cells["p"].notna().any()
        summary = {
            "trial_count": len(trials),
            "cell_count": int(trials["cell"].nunique()),
            "diverged_count": int((trials["status"] == "diverged").sum()),
            "best": "; ".join(cell_label(row, axes_of(trials)) for row in best),
            "metric": metric,
            # The first of cells that cannot be compared is not the best of all.
            f"best_{metric}": best[0]["mean"] if len(best) == 1 else None,
            f"best_{metric}_error": best[0]["error"] if len(best) == 1 else None,
            "tied_count": max(1, int(cells["tied"].sum())) if is_compared else None,
        }
        config = {key: value for key, value in self.sweep.config.items() if key not in ("dir", "tracker")}
        return self._finish(Run(self.overview_id, name, self._group, OVERVIEW, config, summary))

    @cached_property
    def _cell_names(self) -> dict[int, str]:
        """The name of each cell, as short as distinguishes it from all others."""
        axes = axes_of(self.sweep.trials)
        records: Any = self.sweep.trials.drop_duplicates("cell").to_dict("records")
        names = {row["cell"]: cell_label(row, axes) or str(self.sweep.plan["name"]) for row in records}
        count = Counter(names.values())
        for row in records:
            if count[names[row["cell"]]] > 1:
                # W&B would take cells of the same name for seeds of one cell.
                exact = {axis: repr(v) if isinstance(v := row[axis], float) else v for axis in axes}
                names[row["cell"]] = cell_label({**row, **exact}, axes)
        return names

    def _finish(self, run: Run) -> Run:
        """Add the tags, the command and the sweep to a run, and convert its values to plain ones."""
        plan, config, summary = self.sweep.plan, run.config, run.summary
        groups = [config.get(group) for group in ("data", "model", "optimizer")]
        names = [str(group["name"]) for group in groups if isinstance(group, Mapping) and group.get("name")]
        diverged = ["diverged"] if summary.get("status") == "diverged" else []
        tags = (tag[:_LONGEST_TAG] for tag in (self._uid, plan["name"], *names, *diverged))
        config["vsweep"] = {"sweep": self._uid, "level": run.job_type, "name": plan["name"]}
        return run._replace(
            name=truncate_name(run.name, run.id),
            config={key: _plain(value) for key, value in config.items()},
            summary={key: plain for key, value in summary.items() if (plain := _plain(value)) is not None},
            notes="\n".join(filter(None, (shorten_draws(str(plan["command"])), run.notes))),
            tags=tuple(dict.fromkeys(tags)),
        )

    def _hash(self, *parts: str) -> str:
        return sha256("\n".join((self._uid, *parts)).encode()).hexdigest()[:16]


def heatmap_key(x: str, y: str) -> str:
    """Return the key under which the overview logs the heat map over two axes."""
    return f"heatmap/{x} by {y}"


def curves_key(axis: str) -> str:
    """Return the key under which the overview logs the curves by an axis."""
    return f"curves/{axis}"


def config_path(sweep: StoredSweep, axis: str) -> str:
    """Return the path of an axis's value in a run's config; a group's value is its name."""
    return f"{axis}.name" if isinstance(sweep.config.get(axis), dict) else axis


def _rows(curve: pd.DataFrame, diverged_at: Iterable[Any], most: int, chosen: str | None) -> Rows:
    """Return at most `most` rows of a curve, the best one and those of the divergence among them.

    Args:
        curve: A row per recorded step.
        diverged_at: The steps of the divergence.
        most: The number of rows.
        chosen: The metric that the config names; None for the preferred one of the curve.
    """
    steps = curve["step"].to_numpy()
    keep = [int(np.searchsorted(steps, step)) for step in diverged_at if pd.notna(step)]
    # The choice depends only on this curve, so its rows do not change if more trials are trained.
    preferred = preferred_metric(str(name) for name in curve if curve[name].notna().any())
    metric = chosen if chosen is not None and chosen in curve else preferred
    if metric in curve and curve[metric].notna().any():
        values = curve[metric].to_numpy(float)
        keep.insert(0, int(np.nanargmax(values if higher_is_better(metric) else -values)))
    places = downsample(len(steps), [min(k, len(steps) - 1) for k in keep], most)
    names = [name for name in curve.columns if name != "step"]
    rows = curve[names].to_numpy(float)[places].tolist()
    # W&B stores NaN and infinity as text, which its charts cannot draw.
    return [
        (step, {name: value for name, value in zip(names, row, strict=True) if math.isfinite(value)})
        for step, row in zip(steps[places].tolist(), rows, strict=True)
    ]


def cell_config(plan: Mapping[str, Any], row: Mapping[str, Any], axes: Sequence[str]) -> dict[str, Any]:
    """Return the resolved config of a cell, nested as W&B expects it for dotted paths.

    Args:
        plan: The content of `plan.json`.
        row: The cell's values on the axes, by dotted path.
        axes: The axes.
    """
    variants = plan["study"]["variants"]
    groups = [axis for axis in axes if isinstance(variants[0]["config"].get(axis), Mapping)]
    choice = [row[axis] for axis in groups]
    config = deepcopy(next(variant["config"] for variant in variants if variant["choice"] == choice))
    for axis in axes:
        group, _, key = axis.partition(".")
        part = config.get(group) if key else config
        # The config of a cell that lacks the field stays without it.
        if axis not in groups and isinstance(part, dict) and (key or group) in part:
            part[key or group] = _plain(row[axis])
    return dict(config)


def _plain(value: Any) -> Any:
    """Convert a value to JSON's types; None if it is missing, NaN or infinite."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value.item() if isinstance(value, np.generic) else value


def shorten_draws(command: str) -> str:
    """Shorten long lists of draws in a command to the first three; the overview has the whole command."""
    return _DRAWS.sub(lambda match: f"{match[1]}{','.join(match[2].split(',')[:3])},…]", command)


def truncate_name(name: str, unique: str) -> str:
    """Truncate a name to W&B's limit, with a unique ending."""
    if len(name) <= _LONGEST_NAME:
        return name
    return f"{name[: _LONGEST_NAME - len(unique) - 4]}… [{unique}]"
