"""What each W&B run of a sweep says: from the sweep's tables alone, and without W&B."""

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

from vsweep.analysis.downsample import downsample
from vsweep.analysis.labels import cell_label
from vsweep.analysis.seed_spread import aggregate_seeds, cell_summary
from vsweep.metrics import axes_of, default_metric, higher_is_better, preferred_metric
from vsweep.results import Sweep
from vsweep.store.writer import read_curves

# W&B's own bound.
_LONGEST_TAG = 64
# The job type of the run that shows a sweep whole.
OVERVIEW = "overview"
Rows = list[tuple[int, dict[str, float]]]


class Run(NamedTuple):
    """A W&B run.

    id: the same whenever the same trainings are shown. rows: for each step the values that are finite.
    summary: of plain values, none of which is not finite.
    """

    id: str
    name: str
    group: str
    job_type: str
    tags: tuple[str, ...]
    notes: str
    config: dict[str, Any]
    rows: Rows
    summary: dict[str, Any]


def sweep_id(plan: Mapping[str, Any]) -> str:
    """A sweep in eight hexadecimal digits; a directory that was moved, or added to, keeps its own."""
    made = f"{plan.get('name')} {plan.get('started')}"
    return str(plan.get("id") or sha256(made.encode()).hexdigest()[:8])


class Runs:
    """The runs of a sweep, as far as it is trained."""

    def __init__(self, directory: Path, level: str) -> None:
        """level: `trial`, `cell` or `sweep`, which is none of them.

        Raises `ConfigError` where there is no sweep with a finished trial.
        """
        self.sweep, self.level = Sweep(directory), level
        self._uid = sweep_id(self.sweep.plan)

    @property
    def whole(self) -> bool:
        """Whether all that the sweep trains is there."""
        return len(self.sweep.trials) == self.sweep.plan["trials"]

    @cached_property
    def ids(self) -> dict[str, int]:
        """The trial or cell of every run whose trials are all there, by the run's id."""
        trials = self.sweep.trials
        if self.level == "trial":
            numbers = trials["trial"].tolist()
            return {self._id(one): n for one, n in zip(trials["identity"], numbers, strict=True)}
        if self.level == "sweep":
            return {}
        seeds = self.sweep.plan["trials"] // self.sweep.plan["cells"]
        by_cell: Any = trials.groupby("cell")["identity"]
        return {self._id(*each): int(cell) for cell, each in by_cell if len(each) == seeds}

    @cached_property
    def overview_id(self) -> str:
        """That of the overview of what is there, whatever else is shown."""
        return self._hashed(OVERVIEW, *self.sweep.trials["identity"])

    def made(self, numbers: Sequence[int], most_rows: int) -> Iterator[Run]:
        """The runs of some trials or cells, by their numbers, of at most so many rows each."""
        if not numbers:
            return
        trials = self.sweep.trials[self.sweep.trials[self.level].isin(numbers)]
        curves = read_curves(self.sweep.directory, trials["trial"].tolist())
        yield from (
            self._of_trials(trials, curves, most_rows)
            if self.level == "trial"
            else self._of_cells(trials, curves, most_rows)
        )

    def overview(self) -> Run:
        """The overview's run, without its tables and pictures."""
        trials, plan = self.sweep.trials, self.sweep.plan
        metric = default_metric(trials)
        best: Any = self.sweep.best(metric).to_dict()
        summary = {
            "trial_count": len(trials),
            "cell_count": int(trials["cell"].nunique()),
            "diverged_count": int((trials["status"] == "diverged").sum()),
            "best": cell_label(best, axes_of(trials)),
            "metric": metric,
            f"best_{metric}": best["mean"],
        }
        config = {key: value for key, value in self.sweep.config.items() if key not in ("dir", "tracker")}
        name = f"{plan['name']}: overview"
        return self._run(self.overview_id, name, OVERVIEW, config, [], summary, more="")

    @cached_property
    def _cell_names(self) -> dict[int, str]:
        """Each cell in words, by its number: as briefly as it can be told from all others."""
        axes = axes_of(self.sweep.trials)
        records: Any = self.sweep.trials.drop_duplicates("cell").to_dict("records")
        names = {row["cell"]: cell_label(row, axes) or str(self.sweep.plan["name"]) for row in records}
        alike = Counter(names.values())
        for row in records:
            if alike[names[row["cell"]]] > 1:
                # W&B would take them for seeds of one.
                whole = {axis: repr(v) if isinstance(v := row[axis], float) else v for axis in axes}
                names[row["cell"]] = cell_label({**row, **whole}, axes)
        return names

    def _of_trials(self, trials: pd.DataFrame, curves: pd.DataFrame, most: int) -> Iterator[Run]:
        axes = axes_of(trials)
        by_trial = dict(iter(curves.groupby("trial")))
        records: Any = trials.to_dict("records")
        for row in records:
            rows = _rows(by_trial[row["trial"]].drop(columns="trial"), [row["diverged_at"]], most)
            summary = {k: v for k, v in row.items() if k not in ("trial", "cell", "seed", "identity", *axes)}
            config = cell_config(self.sweep.plan, row, axes)
            config |= {name: row[name] for name in ("seed", "trial", "cell")}
            cell = self._cell_names[row["cell"]]
            more = f"trial {row['trial']}: vsweep run trial={row['trial']} from=DIR trains it again"
            name = f"{cell} seed={row['seed']}"
            made = self._run(self._id(row["identity"]), name, "trial", config, rows, summary, more)
            yield made._replace(group=truncate_name(f"{cell} [{self._uid}]", f"{self._uid} {row['cell']}"))

    def _of_cells(self, trials: pd.DataFrame, curves: pd.DataFrame, most: int) -> Iterator[Run]:
        axes = axes_of(trials)
        tables: Any = dict(iter(aggregate_seeds(trials, curves).groupby(level="cell")))
        for number, each in trials.groupby("cell"):
            row: Any = each.astype(object).iloc[0].to_dict()
            table = tables[number].droplevel("cell").reset_index()
            rows = _rows(table, each["diverged_at"].dropna().tolist(), most)
            config = {**cell_config(self.sweep.plan, row, axes), "cell": number}
            name = self._cell_names[row["cell"]]
            run_id = self._id(*each["identity"])
            yield self._run(run_id, name, "cell", config, rows, cell_summary(each), f"cell {number}")

    def _run(
        self,
        run_id: str,
        name: str,
        level: str,
        config: dict[str, Any],
        rows: Rows,
        summary: Mapping[str, Any],
        more: str,
    ) -> Run:
        plan = self.sweep.plan
        config["vsweep"] = {"sweep": self._uid, "level": level, "name": plan["name"]}
        parts = [config.get(group) for group in ("data", "model", "optimizer")]
        names = [str(part["name"]) for part in parts if isinstance(part, Mapping) and part.get("name")]
        diverged = ["diverged"] if summary.get("status") == "diverged" else []
        tags = tuple(
            dict.fromkeys(tag[:_LONGEST_TAG] for tag in (self._uid, plan["name"], *names, *diverged))
        )
        return Run(
            run_id,
            truncate_name(name, run_id),
            truncate_name(f"{plan['name']} {plan['started']} [{self._uid}]", self._uid),
            level,
            tags,
            "\n".join(filter(None, (shorten_draws(str(plan["command"])), more))),
            {key: _plain(value) for key, value in config.items()},
            rows,
            {key: value for key, given in summary.items() if (value := _plain(given)) is not None},
        )

    def _id(self, *parts: str) -> str:
        return self._hashed(self.level, *parts)

    def _hashed(self, *parts: str) -> str:
        return sha256("\n".join((self._uid, *parts)).encode()).hexdigest()[:16]


def _rows(curve: pd.DataFrame, diverged_at: Iterable[Any], most: int) -> Rows:
    """At most so many of a curve's rows, the best one and those of the divergence among them."""
    steps = curve["step"].to_numpy()
    keep = [int(np.searchsorted(steps, step)) for step in diverged_at if pd.notna(step)]
    # By this curve alone, so that its rows stay the same whatever else is trained.
    metric = preferred_metric(str(name) for name in curve if curve[name].notna().any())
    if metric in curve and curve[metric].notna().any():
        ranked = curve[metric].to_numpy(float)
        keep.insert(0, int(np.nanargmax(ranked if higher_is_better(metric) else -ranked)))
    places = downsample(len(steps), [min(k, len(steps) - 1) for k in keep], most)
    names = [name for name in curve.columns if name != "step"]
    values = curve[names].to_numpy(float)[places].tolist()
    # W&B keeps what is not finite as text, which no chart of its own can draw.
    return [
        (step, {name: v for name, v in zip(names, row, strict=True) if math.isfinite(v)})
        for step, row in zip(steps[places].tolist(), values, strict=True)
    ]


def cell_config(plan: Mapping[str, Any], row: Mapping[str, Any], axes: Sequence[str]) -> dict[str, Any]:
    """The resolved config of a cell, nested as W&B shows it under dotted paths.

    row: the cell's values on the axes, by their paths.
    """
    variants = plan["study"]["variants"]
    groups = [axis for axis in axes if isinstance(variants[0]["config"].get(axis), Mapping)]
    choice = [row[axis] for axis in groups]
    config = deepcopy(next(each["config"] for each in variants if each["choice"] == choice))
    for axis in axes:
        group, _, key = axis.partition(".")
        part = config.get(group) if key else config
        # A cell that lacks the field says nothing of it.
        if axis not in groups and isinstance(part, dict) and (key or group) in part:
            part[key or group] = _plain(row[axis])
    return dict(config)


def _plain(value: Any) -> Any:
    """A value as JSON has it, None where it is missing or not finite."""
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each) for each in value]
    if value is None or value is pd.NA or (isinstance(value, float) and not math.isfinite(value)):
        return None
    return value.item() if isinstance(value, np.generic) else value


# W&B's own bound.
_LONGEST = 128
# Draws too long for a person to read.
_DRAWS = re.compile(r"(draws\.[\w.]+=\[)([^\[\]]{120,})\]")


def shorten_draws(command: str) -> str:
    """A command, of many draws the first alone: a run's notes stand in a table, and the overview has all."""

    def begins(found: re.Match[str]) -> str:
        return f"{found[1]}{','.join(found[2].split(',')[:3])},…]"

    return _DRAWS.sub(begins, command)


def truncate_name(name: str, unique: str) -> str:
    """A name of a length that W&B takes, still its own."""
    if len(name) <= _LONGEST:
        return name
    return f"{name[: _LONGEST - len(unique) - 4]}… [{unique}]"
