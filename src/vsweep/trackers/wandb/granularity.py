"""Choose how many W&B runs show a sweep, and estimate how long they take to make."""

from typing import Literal, NamedTuple

# Up to these numbers, `auto` makes a run per trial or per cell.
_MOST_TRIALS, _MOST_CELLS = 300, 500
# There is a run of each trial, of each cell, or of neither, besides the overview.
Level = Literal["trial", "cell", "sweep"]
LEVELS: tuple[Level, ...] = ("trial", "cell", "sweep")
# Time per run and per row of six metrics in seconds, measured on two slow cores and with a remote server.
_RUN_S, _ROW_S = {"offline": 0.015, "online": 0.25}, 2e-4
_OVERVIEW_S = 5.0


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


def describe_runs(plan: RunPlan, rows: int, mode: str) -> str:
    """Describe the runs for the plan of a sweep; mode: as configured, where `auto` gives two estimates."""
    parts = {"trial": "one per trial and an overview", "cell": "one per cell and an overview"}
    runs = f"{plan.runs:,} runs, {parts[plan.level]}" if plan.level in parts else "an overview run"
    modes = {"auto": ("offline", "online"), "shared": ("online",)}.get(mode, (mode,))
    times = [f"{_duration(estimate_seconds(plan.runs, rows, m))} {m}" for m in modes]
    return f"W&B: {runs}: about {' or '.join(times)}, in the background"


def _duration(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.0f} min"
