"""The options of the W&B tracker, the number of runs that follows from them, and the time they take."""

import os
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

OFFLINE = "offline"
# Besides the overview, there is a run for each trial, for each cell, or for neither.
Level = Literal["trial", "cell", "sweep"]
LEVELS: tuple[Level, ...] = ("trial", "cell", "sweep")
# The fields that say where a sweep is in W&B, and what its runs stand for.
WHERE = "project", "entity", "level"
# W&B's names of modes in the environment, with its synonyms.
MODES = {
    **dict.fromkeys(("online", "run", "shared"), "online"),
    **dict.fromkeys((OFFLINE, "dryrun"), OFFLINE),
    "disabled": "disabled",
}
# Values of WANDB_DISABLED, as other libraries read it; W&B's client itself has given this variable up.
_TRUE = "1", "on", "yes", "true"
# The project if neither the config nor W&B's own settings name one.
DEFAULT_PROJECT = "vsweep"
# Up to these numbers, `auto` makes a run per trial or per cell.
_MOST_TRIALS, _MOST_CELLS = 300, 500
# Time per run and per row of six metrics in seconds, measured on two slow cores and with a remote server.
_RUN_S, _ROW_S = {OFFLINE: 0.015, "online": 0.25}, 2e-4
_OVERVIEW_S = 5.0
# A run waits for a slow server at least this long, in seconds.
_SHORTEST_WAIT_S = 5.0


class Options(NamedTuple):
    """The fields of a config's `tracker.wandb`, with the defaults for directories that lack some of them.

    Attributes:
        mode: `auto`, `online`, `offline` or `disabled`.
        level: `auto`, or one of `LEVELS`.
        rows: The largest number of rows of a run.
        patience: The time to wait for a server that does not answer, in seconds.
        project: W&B's project; None is the client's own, or `DEFAULT_PROJECT`.
        entity: W&B's entity; None is the user's default.
    """

    mode: str = "auto"
    level: str = "auto"
    rows: int = 200
    patience: float = 45.0
    project: str | None = None
    entity: str | None = None

    @property
    def online(self) -> bool:
        """True if the runs go to a server."""
        return self.mode == "online"

    @property
    def waits(self) -> float:
        """The time that one run waits for a server, in seconds."""
        return max(_SHORTEST_WAIT_S, self.patience)


def tracker_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return all options; config: a resolved config, which may be old or come from someone else."""
    tracker = config.get("tracker")
    stored = tracker.get("wandb") if isinstance(tracker, Mapping) else None
    options = {**Options()._asdict(), **(stored if isinstance(stored, Mapping) else {})}
    # An earlier version had a mode in which several processes write one run.
    return {**options, "mode": "online"} if options["mode"] == "shared" else options


def tracker_mode(options: Mapping[str, Any]) -> str:
    """Return the configured mode; `auto` is replaced by WANDB_DISABLED or WANDB_MODE, if one is set.

    A value of WANDB_MODE that W&B does not know is refused by `vsweep.commands.tracker` beforehand.
    """
    if options["mode"] != "auto":
        return str(options["mode"])
    if os.environ.get("WANDB_DISABLED", "").lower() in _TRUE:
        return "disabled"
    return MODES.get(os.environ.get("WANDB_MODE", ""), "auto")


class RunPlan(NamedTuple):
    """The level of the runs, and their number including the overview."""

    level: Level
    runs: int


def plan_runs(level: str, trials: int, cells: int) -> RunPlan:
    """Choose runs per trial, per cell, or the overview alone; level: one of `LEVELS`, or `auto`."""
    auto: Level = "trial" if trials <= _MOST_TRIALS else "cell" if cells <= _MOST_CELLS else "sweep"
    chosen = next((known for known in LEVELS if known == level), auto)
    return RunPlan(chosen, {"trial": trials, "cell": cells, "sweep": 0}[chosen] + 1)


def estimate_seconds(runs: int, rows: int, mode: str) -> float:
    """Estimate how long it takes to make runs with this many rows each; mode: `offline` or `online`."""
    return _OVERVIEW_S + (runs - 1) * (_RUN_S[mode] + rows * _ROW_S)


def describe_runs(options: Mapping[str, Any], trials: int, cells: int, rows: int) -> str:
    """Describe the runs of a planned sweep, with two estimates of the time for the mode `auto`.

    Args:
        options: The config's `tracker.wandb`.
        trials: The number of trials.
        cells: The number of cells.
        rows: The number of rows of a run.
    """
    level, runs = plan_runs(options["level"], trials, cells)
    number = "an overview run" if level == "sweep" else f"{runs:,} runs, one per {level} and an overview"
    mode = tracker_mode(options)
    modes = (OFFLINE, "online") if mode == "auto" else (mode,)
    times = [f"{_duration(estimate_seconds(runs, rows, m))} {m}" for m in modes]
    return f"W&B: {number}: about {' or '.join(times)}, in the background"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
