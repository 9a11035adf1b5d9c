"""Store the parameters of the best trials, or of all."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from vsweep.metrics import higher_is_better
from vsweep.store.blocks import Params, TrainedBlock, read_params, write_params

ALL = "all"
_FOLDER = "params"


class ParamsWriter:
    """Keeps the best trials' parameters in one file, or those of every block in a file of its own."""

    def __init__(self, directory: Path, keep: int | str, metric: str, strata: Mapping[str, int]) -> None:
        """Choose the trials to keep.

        Args:
            directory: The sweep's directory.
            keep: The number of best trials whose parameters are kept, or "all".
            metric: The metric that ranks.
            strata: The number of each trial's stratum, by its identity: the best trials of each are kept.
        """
        self._folder, self._keep = directory / _FOLDER, keep
        self._file = self._folder / "best.npz"
        self._metric, self._strata = metric, strata
        # Scores are losses or negated accuracies, in ascending order.
        self._best: list[tuple[float, str, Params]] = []

    def open(self, identities: np.ndarray, summary: pd.DataFrame) -> int:
        """Read the parameters kept by an earlier process.

        Args:
            identities: Text `(trials,)`, the trials in the store.
            summary: Their summaries, in the same order.

        Returns:
            How many of the best trials have no stored parameters.
        """
        if self._keep == ALL:
            return 0
        stored = dict(read_params(self._file)) if self._file.is_file() else {}
        scores = zip(self._scores(summary), identities.tolist(), strict=True)
        ranking = self._first([(score, name, -1) for score, name in scores if np.isfinite(score)])
        self._best = [(score, name, stored.get(name, {})) for score, name, _ in ranking]
        return sum(not params for *_, params in self._best)

    def _first(self, trials: list[tuple[float, str, int]]) -> list[tuple[float, str, int]]:
        """Return the best of some trials `(score, name, place)`, as many of each stratum as are kept."""
        counts, chosen = Counter[int](), []
        for trial in sorted(trials):
            stratum = self._strata.get(trial[1], 0)
            counts[stratum] += 1
            if counts[stratum] <= int(self._keep):
                chosen.append(trial)
        return chosen

    def _scores(self, summary: pd.DataFrame) -> list[float]:
        """Score each trial so that the lowest is best; trials that are never kept score infinity."""
        column = f"final_{self._metric}"
        values = summary[column].to_numpy(np.float64) if column in summary else np.full(len(summary), np.nan)
        values = -values if higher_is_better(self._metric) else values
        return np.where((summary["status"] == "ok") & ~np.isnan(values), values, np.inf).tolist()

    def add(self, block: TrainedBlock, identities: np.ndarray, summary: pd.DataFrame, part: str) -> None:
        """Write the parameters of a finished block that are to be kept.

        Call this before the block is entered in the ledger, so that a finished trial always has them.

        Args:
            block: The finished trials.
            identities: Text `(trials,)`, in the order of the block.
            summary: The trials' summaries, in the same order.
            part: The name of the block's files, without a suffix.
        """
        if self._keep == ALL:
            params = block.params(np.arange(len(identities)))
            write_params(self._folder / f"{part}.npz", list(zip(identities.tolist(), params, strict=True)))
            return
        stored = [(score, identity, -1) for score, identity, _ in self._best]
        scores = zip(self._scores(summary), identities.tolist(), range(len(identities)), strict=True)
        ranking = self._first([*stored, *(entry for entry in scores if np.isfinite(entry[0]))])
        places = [place for *_, place in ranking if place >= 0]
        if not places:
            return
        by_identity = {identity: params for _, identity, params in self._best}
        by_identity |= dict(zip(identities[places].tolist(), block.params(np.asarray(places)), strict=True))
        self._best = [(score, identity, by_identity[identity]) for score, identity, _ in ranking]
        write_params(self._file, [(identity, params) for _, identity, params in self._best if params])


def read_trial_params(directory: Path, identity: str) -> Params | None:
    """Return a trial's parameters, or None if they were not kept."""
    for path in sorted((directory / _FOLDER).glob("*.npz")):
        for stored, params in read_params(path):
            if stored == identity:
                return params
    return None
