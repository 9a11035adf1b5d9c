"""How many W&B runs a sweep is shown as, and how long they take."""

from typing import Literal, NamedTuple

# What `auto` goes by: what a person can look at, and what is made in the time of a short training.
_MOST_TRIALS, _MOST_CELLS = 300, 500
# What W&B has a run of, beside the overview: each trial, each cell, or nothing.
Level = Literal["trial", "cell", "sweep"]
LEVELS: tuple[Level, ...] = ("trial", "cell", "sweep")
# Seconds that a run takes, beside a row of six metrics: of two slow cores, and of a server that is not near.
_RUN_S, _ROW_S = {"offline": 0.015, "online": 0.25}, 2e-4
_OVERVIEW_S = 5.0


class RunPlan(NamedTuple):
    """level: what has a run. runs: how many, the overview among them."""

    level: Level
    runs: int


def plan_runs(level: str, trials: int, cells: int) -> RunPlan:
    """A run per trial, per cell, or the overview alone. level: which, or `auto`."""
    made: Level = "trial" if trials <= _MOST_TRIALS else "cell" if cells <= _MOST_CELLS else "sweep"
    made = next((each for each in LEVELS if each == level), made)
    return RunPlan(made, {"trial": trials, "cell": cells, "sweep": 0}[made] + 1)


def estimate_seconds(runs: int, rows: int, mode: str) -> float:
    """How long so many runs of so many rows take, some. mode: `offline` or `online`."""
    return _OVERVIEW_S + (runs - 1) * (_RUN_S[mode] + rows * _ROW_S)


def describe_runs(shown: RunPlan, rows: int, mode: str) -> str:
    """What will be made, for the plan. mode: as asked for; of `auto` both times are said."""
    each = {"trial": "one per trial and an overview", "cell": "one per cell and an overview"}
    runs = f"{shown.runs:,} runs, {each[shown.level]}" if shown.level in each else "an overview run"
    modes = {"auto": ("offline", "online"), "shared": ("online",)}.get(mode, (mode,))
    times = [f"{_time(estimate_seconds(shown.runs, rows, m))} {m}" for m in modes]
    return f"W&B: {runs}: some {' or '.join(times)}, behind the training"


def _time(taken: float) -> str:
    return f"{taken:.0f} s" if taken < 100 else f"{taken / 60:.0f} min"
