"""Which trials' parameters are kept: of the best, or of all."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from vsweep.metrics import higher_is_better, preferred_metric
from vsweep.store.blocks import Params, TrainedBlock
from vsweep.store.checkpoints import read_params, write_params

ALL = "all"
_FOLDER, _BEST = "params", "best.npz"


class ParamsWriter:
    """Keeps the parameters of the best trials so far in one file, or those of every block in a file each."""

    def __init__(self, directory: Path, keep: int | str, metrics: Sequence[str]) -> None:
        """keep: how many, or `all`. The metric is the one that ranks."""
        self._folder, self._keep = directory / _FOLDER, keep
        self._metric = preferred_metric(metrics)
        self._best: list[tuple[float, str, Params]] = []

    def open(self, identities: np.ndarray, summary: pd.DataFrame) -> int:
        """Go on with what was kept of trials that are in the store; returns how many of the best are not."""
        if self._keep == ALL:
            return 0
        kept = dict(read_params(self._folder / _BEST)) if (self._folder / _BEST).is_file() else {}
        ranked = sorted(zip(self._scores(summary), identities.tolist(), strict=True))[: int(self._keep)]
        self._best = [(score, name, kept.get(name, {})) for score, name in ranked if np.isfinite(score)]
        return sum(not each for *_, each in self._best)

    def _scores(self, summary: pd.DataFrame) -> list[float]:
        """What trials are ranked by, the lowest first; infinite for what is never kept."""
        column = f"final_{self._metric}"
        values = summary[column].to_numpy(np.float64) if column in summary else np.full(len(summary), np.nan)
        values = -values if higher_is_better(self._metric) else values
        return np.where((summary["status"] == "ok") & ~np.isnan(values), values, np.inf).tolist()

    def add(self, done: TrainedBlock, identities: np.ndarray, summary: pd.DataFrame, part: str) -> None:
        """Keep what is worth it of a block that is done, before it counts as done."""
        if self._keep == ALL:
            every = done.params(np.arange(len(identities)))
            write_params(self._folder / f"{part}.npz", list(zip(identities.tolist(), every, strict=True)))
            return
        found = zip(self._scores(summary), identities.tolist(), range(len(identities)), strict=True)
        best = [(score, identity, -1) for score, identity, _ in self._best]
        ranked = sorted([*best, *(entry for entry in found if np.isfinite(entry[0]))])[: int(self._keep)]
        places = [place for *_, place in ranked if place >= 0]
        if not places:
            return
        params = {identity: each for _, identity, each in self._best}
        fetched = done.params(np.asarray(places))
        params |= {str(identities[place]): each for place, each in zip(places, fetched, strict=True)}
        self._best = [(score, identity, params[identity]) for score, identity, _ in ranked]
        kept = [(identity, each) for _, identity, each in self._best if each]
        write_params(self._folder / _BEST, kept)


def read_trial_params(directory: Path, identity: str) -> Params | None:
    """The parameters of a trial, where they are kept."""
    for path in sorted((directory / _FOLDER).glob("*.npz")):
        for found, params in read_params(path):
            if found == identity:
                return params
    return None
