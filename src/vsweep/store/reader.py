"""Read a sweep's directory: its config, its plan, its tables, and the stored parameters."""

from collections.abc import Callable, Sequence
from copy import copy
from functools import cached_property
from io import BytesIO
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from vsweep.errors import ConfigError
from vsweep.metrics import chosen_metric, default_metric
from vsweep.store.best_params import read_trial_params
from vsweep.store.cell_overrides import CellOverrides
from vsweep.store.extend import has_pending_extension
from vsweep.store.files import EXAMPLES, PICTURES, PLAN, TRIALS, VERIFIED, Files
from vsweep.store.records import check_verification
from vsweep.store.writer import initial_values, read_config, read_curves, read_plan, read_trials

# The fields of the data in which the splits of one data set differ.
_OF_SPLIT = ("data.split_seed", "data.fold")


def clear_pictures(files: Files, noted: Any) -> None:
    """Delete the pictures that `plan.json` lists."""
    present = files.names(PICTURES)
    for name in noted if isinstance(noted, dict) else ():
        if f"{PICTURES}/{name}" in present:
            files.delete(f"{PICTURES}/{name}")


def _is_same(one: Any, other: Any) -> bool:
    """Return whether the value of an axis in a table is that of a field."""
    return bool(pd.isna(one)) if other is None else str(one) == str(other) or one == other


def mean_baseline(records: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Return the mean of the constant guess's metrics over records of data, by name."""
    guesses = [record.get("baseline", {}) for record in records]
    known = [name for name in guesses[0] if all(name in guess for guess in guesses)] if guesses else []
    return {name: float(np.mean([guess[name] for guess in guesses])) for name in known}


class StoredSweep:
    """A sweep's directory, whose files are read when they are first needed."""

    def __init__(self, directory: str | Path) -> None:
        """Open a directory.

        Args:
            directory: The sweep's directory.

        Raises:
            ConfigError: If the directory has no sweep with a finished trial.
            DamagedError: If the table of its trials is lost.
        """
        # The process that trains the sweep sets this to a message on results that W&B did not get.
        self.unsent = ""
        self._numbering: str | None = None
        # The restriction to some trials, as text.
        self.only = ""
        self.directory, self.files = Path(directory), Files(directory)
        if self.directory.is_dir() and has_pending_extension(self.files):
            got = f"an extension of {str(directory)!r} was interrupted"
            raise ConfigError("dir", got, f"run `vsweep resume {directory}`")
        if not (self.directory.is_dir() and self.files.exists(TRIALS)):
            if self.directory.is_dir() and self.files.lost(TRIALS):
                raise self.files.damaged(TRIALS, "it is missing")
            started = self.directory.is_dir() and self.files.exists(PLAN)
            got = "no trial was finished in" if started else "no sweep in"
            takes = f"run `vsweep resume {directory}`" if started else "it takes a sweep's directory"
            raise ConfigError("dir", f"{got} {str(directory)!r}", takes)

    @cached_property
    def config(self) -> dict[str, Any]:
        """The resolved config as nested dictionaries, such as `sweep.config["optimizer"]["name"]`."""
        return read_config(self.directory)

    @cached_property
    def plan(self) -> dict[str, Any]:
        """The content of `plan.json`: programs, blocks, devices, versions and data."""
        return read_plan(self.directory)

    @cached_property
    def trials(self) -> pd.DataFrame:
        """The table of trials, a row per finished trial.

        The columns are `trial`, `cell`, a column per field that follows axes, `split` where there are several
        splits of the data, `seed`, a column per axis by its dotted path, `status` (`ok` or `diverged`),
        `diverged_at` (a step, or missing), `final_<metric>` and `best_<metric>` for every metric, and
        `parts_<metric>` for metrics of held-out examples, arrays of leave-out values (see
        `vsweep.metrics.part_values`). For example, the mean over the splits and seeds::

            sweep.trials.groupby("optimizer.lr")["final_val_loss"].mean()
        """
        self._numbering = read_plan(self.directory).get("table")
        return read_trials(self.directory)

    @cached_property
    def curves(self) -> pd.DataFrame:
        """The recorded curves, a row per trial and recorded step, sorted by both.

        The columns are `trial`, `step` and a column per metric, of the training's precision. Step 0 is the
        untrained model. For example, the curve of one trial::

            sweep.curves.query("trial == 3").plot("step", "val_loss")
        """
        self._check_numbering()
        return read_curves(self.directory, finished=self.trials["trial"].to_numpy())

    def curves_of(self, trials: Sequence[int]) -> pd.DataFrame:
        """Return the curves of some trials, which need less memory than those of all."""
        self._check_numbering()
        return read_curves(self.directory, list(trials))

    def initial_values(self, metric: str) -> pd.Series:
        """Return a metric of every trial at step 0, float64, indexed by the trial's number."""
        self._check_numbering()
        return initial_values(self.directory, metric, self.trials["trial"].to_numpy())

    def _check_numbering(self) -> None:
        """Raise `ConfigError` if the trials have other numbers since the table of trials was read."""
        if len(self.trials) and read_plan(self.directory).get("table") != self._numbering:
            got = f"{str(self.directory)!r} was extended since it was opened"
            raise ConfigError("dir", got, "load it again")

    @property
    def metric(self) -> str:
        """The metric that ranks the cells: the one that the config names, or the default."""
        return chosen_metric(self.config) or default_metric(self.trials)

    @property
    def target_scales(self) -> list[float]:
        """The number by which each program divided the targets; 1 where they stayed as they were."""
        return [program.get("target", [0.0, 1.0])[1] for program in self.plan["programs"]]

    @property
    def baseline(self) -> dict[str, float]:
        """The metrics of a constant guess, by name, the mean over the splits of the data.

        It is empty for several data sets, for none, or if unknown.
        """
        records = self.data_sets
        return mean_baseline(records[0]) if len(records) == 1 else {}

    @property
    def data_sets(self) -> list[list[dict[str, Any]]]:
        """The records of each data set in `plan.json`, one for each of its splits."""
        return [list(records.values()) for records in self.named_data_sets]

    @property
    def named_data_sets(self) -> list[dict[str, dict[str, Any]]]:
        """The records of each data set in `plan.json`, one for each of its splits, by their names."""
        groups: dict[str, dict[str, dict[str, Any]]] = {}
        for name, data in self.plan["data"].items():
            fields = {path: v for path, v in data.get("fields", {}).items() if path not in _OF_SPLIT}
            # Where cells have one split each, another split is another data set, as for another axis.
            key = repr(fields) if "split" in data else repr(len(groups))
            groups.setdefault(key, {})[name] = data
        return list(groups.values())

    def baseline_of(self, cell: int) -> dict[str, float]:
        """Return the metrics of a constant guess on a cell's data, the mean over its splits, by name.

        Args:
            cell: The cell's number.
        """
        if self.baseline:
            return self.baseline
        row = self.trials[self.trials["cell"] == cell].iloc[0]
        records = [
            data
            for data in self.plan["data"].values()
            if "fields" in data
            and all(_is_same(row[path], value) for path, value in data["fields"].items() if path in row)
        ]
        return mean_baseline(records)

    @property
    def examples(self) -> pd.DataFrame:
        """The examples of the first data set, if they have at most two features, as its first split has them.

        There is a column per feature, `target`, `part` and `truth`. `target` is a number, or the index of a
        class among the labels; `part` is `train`, `val` or `test`; `truth` is the number without noise, where
        it is known.

        Raises:
            KeyError: If the examples have more than two features, or there are none.
        """
        name = f"{EXAMPLES}/0.parquet"
        try:
            content = self.files.read(name)
        except FileNotFoundError:
            reason = "no examples are stored: the data has more than two features, or there is none"
            raise KeyError(reason) from None
        with self.files.parsing(name):
            return pd.read_parquet(BytesIO(content))

    def restricted(self, trials: pd.DataFrame, only: str) -> Self:
        """Return the same sweep with only some of its trials.

        Args:
            trials: Rows of `trials`, indexed from 0.
            only: A description of these trials, for the titles of pictures.
        """
        part = copy(self)
        part.trials = trials
        part.curves = self.curves[self.curves["trial"].isin(trials["trial"])].reset_index(drop=True)
        part.only = only
        return part

    def params(self, trial: int) -> dict[str, np.ndarray]:
        """Return a trial's parameters after its last step, by name, in the trial's own shapes.

        The best trials' parameters are stored, or all with `keep.params=all`; `vsweep.reproduce` retrains any
        other trial.

        Args:
            trial: The trial's number.

        Raises:
            KeyError: If there is no such trial, or its parameters were not kept.
        """
        params = read_trial_params(self.files, self._trial(trial)["identity"])
        if params is None:
            raise KeyError(f"the parameters of trial {trial} were not kept; vsweep.reproduce retrains it")
        return params

    def predictor(self, trial: int) -> Callable[[Any], np.ndarray]:
        """Return a trial's predictor, such as in `sweep.predictor(3)(x)`.

        Args:
            trial: The trial's number.

        Returns:
            A function from unscaled examples `(examples, features)` to class labels, in the type of the
            targets, or numbers `(examples,)`. The columns of a data frame are found by their names. Its
            methods are `outputs(x)` and `predict_proba(x)`, the probabilities of its `classes` in order.

        Raises:
            KeyError: If there is no such trial, or its parameters were not kept.
        """
        row = self._trial(trial)
        return self._make_predictor(int(row["cell"]), int(row.get("split", 0)), self.params(trial))

    def landscape(self, trial: int) -> Callable[[Any], np.ndarray]:
        """Return the function that a trial minimized.

        Args:
            trial: The trial's number.

        Returns:
            A function from points `(points, coordinates)` to values `(points,)`.

        Raises:
            KeyError: If there is no such trial, or it minimized no function.
        """
        row = self._trial(trial)
        if "kind" not in self.trials.columns:
            raise KeyError("landscape: expected a sweep of functions to minimize: model=point")
        return self._make_predictor(int(row["cell"]), int(row.get("split", 0)), None)

    def _make_predictor(
        self,
        cell: int,  # noqa: ARG002
        split: int,  # noqa: ARG002
        params: dict[str, np.ndarray] | None,  # noqa: ARG002
    ) -> Callable[[Any], np.ndarray]:
        """Build the predictor of a trial, by its cell and split; params: None where it does not need them."""
        raise RuntimeError("this sweep cannot predict; open it with vsweep.load(directory)")

    @cached_property
    def cell_overrides(self) -> CellOverrides:
        """The overrides of all cells.

        Raises:
            ConfigError: If they cannot be reconstructed.
        """
        raise RuntimeError("this sweep has no overrides; open it with vsweep.load(directory)")

    def overrides(self, cell: int) -> list[str]:
        """Return a cell's config as overrides, with its seeds last; `vsweep run` with these retrains it.

        Args:
            cell: The cell's number.

        Raises:
            KeyError: If there is no such cell.
            ConfigError: If the overrides cannot be reconstructed, because the sweep was made by another
                version, or got functions of your own as Python objects.
        """
        seeds = sorted(self.trials["seed"].unique().tolist())
        return [*self.cell_overrides.of_cell(cell), f"seeds=[{','.join(map(str, seeds))}]"]

    def _trial(self, trial: int) -> pd.Series:
        rows = self.trials[self.trials["trial"] == trial]
        if rows.empty:
            raise KeyError(f"trial {trial} does not exist or is not finished in {self.directory}")
        return rows.iloc[0]

    @property
    def verified(self) -> dict[str, Any] | None:
        """The result of `vsweep verify`, or None before it was run."""
        try:
            record = self.files.read_json(VERIFIED)
        except FileNotFoundError:
            return None
        with self.files.parsing(VERIFIED):
            check_verification(record)
        return record

    @property
    def lacks_pictures(self) -> bool:
        """True if pictures that the config asks for were not drawn, or were deleted."""
        reasons = self.plan.get("pictures")
        drawn = [name for name, reason in reasons.items() if not reason] if isinstance(reasons, dict) else []
        present = self.files.names(PICTURES)
        complete = reasons and all(f"{PICTURES}/{name}" in present for name in drawn)
        return bool(self.config.get("pictures")) and not complete

    def __repr__(self) -> str:
        """Return the directory and how many trials are in it."""
        return f"<Sweep of {len(self.trials):,} of {self.plan['trials']:,} trials in {self.directory}>"
