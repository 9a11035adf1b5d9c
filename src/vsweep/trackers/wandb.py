"""Weights & Biases: one W&B run per cell, made from the store once training has ended."""

import math
import os
import warnings
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console

from vsweep.results.select import axes_of, label
from vsweep.results.sweep import Sweep
from vsweep.trackers.bar import Bar

# A call of `log` costs W&B's client 0.2 to 0.5 ms: rows, not runs, are what takes time.
_MOST_ROWS = 200
_THREADS = 4
_MODES = ("online", "offline", "disabled")


class WandbTracker:
    """Offline unless the person is logged in or asks for online."""

    def __init__(
        self,
        cell_config: Callable[[int], Mapping[str, Any]],
        *,
        mode: str,
        project: str,
        entity: str | None,
        quiet: bool = False,
    ) -> None:
        """cell_config: the config of a cell, by its number. mode: `auto`, `online` or `offline`."""
        self._cell_config = cell_config
        self._mode, self._project, self._entity = mode, project, entity
        self._console = Console(stderr=True, highlight=False, quiet=quiet)

    def begin(self, name: str, trials: int, plan: str) -> None:
        """Nothing: training does not wait for W&B."""

    def trained(self, trials: int) -> None:
        """Nothing: curves go to the store first."""

    def close(self) -> None:
        """Nothing is open."""

    def end(self, sweep: Sweep) -> None:
        """Make a run of every cell, with its own progress line."""
        import wandb

        mode = self._mode
        if mode == "auto":
            said = os.environ.get("WANDB_MODE", "")
            mode = said if said in _MODES else "online" if _logged_in() else "offline"
        if mode == "disabled":
            return
        if mode == "online" and not _logged_in():
            self._console.print("W&B: not logged in (wandb login), so the runs are made offline")
            mode = "offline"
        cells = cell_curves(sweep)
        bar = Bar(console=self._console)
        with warnings.catch_warnings(), bar, ThreadPoolExecutor(_THREADS) as pool:
            warnings.simplefilter("ignore")
            task = bar.add_task(f"W&B, {mode}", total=len(cells))
            runs = [pool.submit(self._log, sweep, mode, summary, curve) for summary, curve in cells]
            try:
                for _ in as_completed(runs):
                    bar.advance(task)
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)
                raise
        failed = [error for run in runs if (error := run.exception()) is not None]
        if wandb.run is None:
            # Only then is every run's file whole; but a person's own run is theirs to end.
            wandb.teardown()
        self._report(sweep, mode, len(cells), failed)

    def _report(self, sweep: Sweep, mode: str, runs: int, failed: list[BaseException]) -> None:
        def say(line: str) -> None:
            self._console.print(line, soft_wrap=True)

        if failed:
            say(
                f"W&B: {len(failed)} of {runs} runs failed ({failed[0]}); every curve is in {sweep.directory}"
            )
        elif mode == "offline":
            folder = sweep.directory / "wandb"
            say(f"W&B: {runs} runs in {folder}; to upload them: wandb sync {folder}/offline-run-*")
        else:
            say(f"W&B: {runs} runs in project {self._project}")

    def _log(self, sweep: Sweep, mode: Any, summary: Mapping[str, Any], curve: pd.DataFrame) -> None:
        import wandb

        run = wandb.init(
            project=self._project,
            entity=self._entity,
            mode=mode,
            dir=str(sweep.directory),
            group=f"{sweep.plan['name']} {sweep.plan['started']}",
            name=label(summary, axes_of(sweep.trials)) or sweep.plan["name"],
            config=dict(self._cell_config(summary["cell"])),
            reinit="create_new",
            settings=_quiet_settings(),
        )
        try:
            for values in curve.to_dict("records"):
                step = int(values.pop("step"))
                # W&B keeps what is not finite as text, which no chart of its own can draw.
                run.log({name: v for name, v in values.items() if math.isfinite(v)}, step=step)
            for name in ("seeds", "diverged"):
                run.summary[name] = int(summary[name])
        finally:
            run.finish()


def _logged_in() -> bool:
    import wandb

    return bool(wandb.login(prompt=False))


def _quiet_settings() -> Any:
    """No console capture, system metrics or code: a run is curves and a config."""
    import wandb

    return wandb.Settings(
        silent=True,
        console="off",
        disable_code=True,
        disable_git=True,
        save_code=False,
        symlink=False,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_viewer=True,
        x_save_requirements=False,
    )


def cell_curves(sweep: Sweep) -> list[tuple[dict[str, Any], pd.DataFrame]]:
    """Of each cell, in order: its number and axes with `seeds` and `diverged`, and its curve.

    A curve has, for each recorded step (at most 200, the first and last among them), `step` and for each
    metric the mean over the seeds that did not diverge, under the metric's name, and their standard
    deviation (n - 1; none for one seed), under `<metric>_std`. Where all seeds diverged it is of them all.
    """
    trials = sweep.trials
    axes = axes_of(trials)
    diverged = trials["status"] == "diverged"
    every = diverged.groupby(trials["cell"]).transform("all")
    kept = trials.loc[~diverged | every, ["trial", "cell"]]
    curves = sweep.curves.merge(kept, on="trial")
    metrics = [name for name in sweep.curves.columns if name not in ("trial", "step")]
    curves[metrics] = curves[metrics].astype(np.float64)
    grouped = curves.groupby(["cell", "step"])[metrics]
    table = grouped.mean().join(grouped.std().add_suffix("_std"))
    by_cell = trials.groupby("cell")
    summary = by_cell[axes].first() if axes else pd.DataFrame(index=by_cell.size().index)
    summary["seeds"], summary["diverged"] = by_cell.size(), diverged.groupby(trials["cell"]).sum()
    parts = {cell: part.droplevel("cell") for cell, part in table.groupby(level="cell")}
    rows: list[Any] = summary.reset_index().to_dict("records")
    return [(row, _thinned(parts[row["cell"]].reset_index())) for row in rows]


def _thinned(curve: pd.DataFrame) -> pd.DataFrame:
    if len(curve) <= _MOST_ROWS:
        return curve
    return curve.iloc[np.unique(np.linspace(0, len(curve) - 1, _MOST_ROWS).round().astype(int))]
