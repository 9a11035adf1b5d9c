"""The reader of a sweep's directory: its config, its plan, its tables, and the parameters that were kept."""

import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd
import yaml

from vsweep.errors import ConfigError
from vsweep.store.best_params import read_trial_params
from vsweep.store.cell_overrides import CellOverrides
from vsweep.store.examples import read_examples
from vsweep.store.extend import has_pending_extension
from vsweep.store.writer import read_curves, read_trials

MakePredictor = Callable[["StoredSweep", int, dict[str, np.ndarray] | None], Callable[[Any], np.ndarray]]
MakeCellOverrides = Callable[["StoredSweep"], CellOverrides]
VERIFIED, CONFIRMED, PICTURES, REPORT = "verify.json", "confirm.json", "pictures", "report.html"


def clear_pictures(directory: Path, noted: Any) -> None:
    """Take away the pictures that `plan.json` notes, and nothing elsewhere: it may come from others."""
    for name in noted if isinstance(noted, dict) else ():
        if Path(name).name == name:
            (directory / PICTURES / name).unlink(missing_ok=True)


class StoredSweep:
    """A sweep's directory, read when asked."""

    def __init__(
        self,
        directory: str | Path,
        predictor: MakePredictor | None = None,
        spelling: MakeCellOverrides | None = None,
    ) -> None:
        """predictor: makes one from the sweep, a cell's number and a trial's parameters (None: of no matter).

        spelling: makes the overrides of its cells. Raises `ConfigError` where there is no sweep with a
        finished trial.
        """
        self._predictor, self._spelling = predictor, spelling
        # What did not come to where it was to be shown, in words: of the process that trained it.
        self.unsent = ""
        # What `where` left, in words.
        self.only = ""
        self.directory = Path(directory)
        if has_pending_extension(self.directory):
            got = f"{str(directory)!r} was left in the middle of being extended"
            raise ConfigError("dir", got, f"vsweep resume {directory}")
        if not (self.directory / "trials.parquet").is_file():
            begun = (self.directory / "plan.json").is_file()
            got = "no trial was finished in" if begun else "no sweep in"
            raise ConfigError("dir", f"{got} {str(directory)!r}", "it takes a sweep's directory")

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config, as nested dictionaries."""
        return yaml.safe_load((self.directory / "config.yaml").read_text(encoding="utf-8"))

    @cached_property
    def plan(self) -> dict[str, Any]:
        """Programs, blocks, devices, versions and data."""
        return json.loads((self.directory / "plan.json").read_text(encoding="utf-8"))

    @cached_property
    def trials(self) -> pd.DataFrame:
        """A row per trial: `trial`, `cell`, `seed`, axes, `status`, `diverged_at`, `final_…`, `best_…`."""
        return read_trials(self.directory)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """A row per trial and recorded step, by both: `trial`, `step`, and float32 metrics."""
        return read_curves(self.directory)

    @property
    def examples(self) -> pd.DataFrame:
        """The examples of up to two features, as they came: a column per feature, `target`, `part`, `truth`.

        `target` is a number, or a class by its place among the labels; `part` is `train`, `val` or `test`;
        `truth`, where it is known, is the number without its noise. Of several data sets, the first. Raises
        `KeyError` where there are none of up to two features.
        """
        found = read_examples(self.directory)
        if found is None:
            raise KeyError("its examples are not kept: they have more than two features, or there are none")
        return found

    def restricted(self, trials: pd.DataFrame, only: str) -> Self:
        """Return the same sweep with some of its trials alone.

        Args:
            trials: Rows of `trials`, indexed from 0.
            only: A description of these trials, for the titles of pictures.
        """
        part = type(self)(self.directory, self._predictor, self._spelling)
        part.trials = trials
        part.curves = self.curves[self.curves["trial"].isin(trials["trial"])].reset_index(drop=True)
        part.only = only
        return part

    def params(self, trial: int) -> dict[str, np.ndarray]:
        """A trial's parameters after its last step, by name, of its own shapes.

        Raises `KeyError` for a trial that is not there, or whose parameters were not kept: those of the best
        are, or all with `keep.params=all`, and `vsweep.reproduce` trains any trial again.
        """
        found = read_trial_params(self.directory, self._trial(trial)["identity"])
        if found is None:
            raise KeyError(f"the parameters of trial {trial} were not kept; vsweep.reproduce trains it again")
        return found

    def predictor(self, trial: int) -> Callable[[Any], np.ndarray]:
        """A function of examples `(examples, features)`, as they came, that gives classes or numbers.

        Raises as `params` does.
        """
        if self._predictor is None:
            raise RuntimeError("a predictor comes from vsweep.load(directory)")
        return self._predictor(self, int(self._trial(trial)["cell"]), self.params(trial))

    def landscape(self, trial: int) -> Callable[[Any], np.ndarray]:
        """The function that a trial went down, of points `(points, coordinates)`; it gives `(points,)`.

        Raises `KeyError` for a trial that is not there, or that went down none.
        """
        if self._predictor is None:
            raise RuntimeError("a function comes from vsweep.load(directory)")
        cell = int(self._trial(trial)["cell"])
        if "kind" not in self.trials.columns:
            raise KeyError("it is of functions to minimise: model=point")
        return self._predictor(self, cell, None)

    @cached_property
    def spelling(self) -> CellOverrides:
        """The overrides of all its cells. Raises `ConfigError` where they cannot be told."""
        if self._spelling is None:
            raise RuntimeError("overrides come from vsweep.load(directory)")
        return self._spelling(self)

    def overrides(self, cell: int) -> list[str]:
        """The exact config of a cell as overrides, its seeds last: `vsweep run` with these trains it again.

        Raises `KeyError` where there is no such cell, and `ConfigError` where they cannot be told: the sweep
        was made by another version, or of functions of your own that are not here.
        """
        seeds = sorted(self.trials["seed"].unique().tolist())
        return [*self.spelling.of(cell), f"seeds=[{','.join(map(str, seeds))}]"]

    def _trial(self, trial: int) -> pd.Series:
        found = self.trials[self.trials["trial"] == trial]
        if found.empty:
            raise KeyError(f"no trial {trial} is done in {self.directory}")
        return found.iloc[0]

    @property
    def verified(self) -> dict[str, Any] | None:
        """What `vsweep verify` found; None before it."""
        path = self.directory / VERIFIED
        return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else None

    @property
    def lacks_pictures(self) -> bool:
        """Whether pictures that its config asks for were not made, or are gone."""
        noted = self.plan.get("pictures")
        made = [name for name, why in noted.items() if not why] if isinstance(noted, dict) else []
        there = all((self.directory / PICTURES / name).is_file() for name in made)
        return bool(self.config.get("pictures")) and not (noted and there)

    def __repr__(self) -> str:
        """The directory and how much is in it."""
        return f"<Sweep of {len(self.trials):,} of {self.plan['trials']:,} trials in {self.directory}>"
