"""Store the parameters of the best trials, or of all."""

from collections import Counter
from collections.abc import Mapping
from contextlib import suppress

import numpy as np
import pandas as pd

from vsweep.errors import DamagedError
from vsweep.metrics import higher_is_better
from vsweep.store.blocks import Params, TrainedBlock, read_params, write_params
from vsweep.store.files import PARAMS, Files
from vsweep.store.manifest import Block

ALL = "all"
_BEST = f"{PARAMS}/best.npz"


class ParamsWriter:
    """Keeps the best trials' parameters in one file, or those of every block in a file of its own."""

    def __init__(self, files: Files, keep: int | str, metric: str, strata: Mapping[str, int]) -> None:
        """Choose the trials to keep.

        Args:
            files: The files of the sweep's directory.
            keep: The number of best trials whose parameters are kept, or "all".
            metric: The metric that ranks.
            strata: The number of each trial's stratum, by its identity: the best trials of each are kept.
        """
        self._files, self._keep = files, keep
        self._metric, self._strata = metric, strata
        # Scores are losses or negated accuracies, in ascending order.
        self._best: list[tuple[float, str, Params]] = []

    def lost(self, summaries: Mapping[Block, pd.DataFrame]) -> list[Block]:
        """Return the blocks of trials whose parameters were kept, and are damaged or lost.

        Args:
            summaries: The blocks in the store, with the summaries of their trials, indexed by `identity`.
        """
        if self._keep == ALL:
            return [b for b in summaries if not self._files.is_intact(f"{PARAMS}/{b.stem}.npz")]
        if self._files.is_intact(_BEST) or not summaries:
            return []
        summary = pd.concat(summaries.values())
        best = {identity for _, identity, _ in self._ranked(summary.index.to_numpy(), summary)}
        return [block for block, rows in summaries.items() if rows.index.isin(best).any()]

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
        stored: dict[str, Params] = {}
        # A damaged file without a checksum, of an earlier version, has no parameters of any trial.
        with suppress(DamagedError, FileNotFoundError):
            stored = read_params(self._files, _BEST)
        ranking = self._ranked(identities, summary)
        self._best = [(score, name, stored.get(name, {})) for score, name, _ in ranking]
        return sum(not params for *_, params in self._best)

    def _ranked(self, identities: np.ndarray, summary: pd.DataFrame) -> list[tuple[float, str, int]]:
        """Return the best of all trials in the store, as `_first` does."""
        scores = zip(self._scores(summary), identities.tolist(), strict=True)
        return self._first([(score, name, -1) for score, name in scores if np.isfinite(score)])

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
            pairs = list(zip(identities.tolist(), params, strict=True))
            write_params(self._files, f"{PARAMS}/{part}.npz", pairs)
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
        write_params(self._files, _BEST, [(identity, params) for _, identity, params in self._best if params])


def read_trial_params(files: Files, identity: str) -> Params | None:
    """Return a trial's parameters, or None if they were not kept.

    Raises:
        DamagedError: If they are in no intact file, and there is a damaged one.
    """
    damaged = None
    for name in dict.fromkeys([*files.names(PARAMS), *files.lost(PARAMS)]):
        try:
            params = read_params(files, name).get(identity)
        except DamagedError as error:
            damaged = error
        else:
            if params is not None:
                return params
    if damaged is not None:
        raise damaged
    return None
