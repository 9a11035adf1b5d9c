"""What a W&B server has of a sweep's runs, and what it is asked to do with all of them."""

import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import redirect_stdout
from io import StringIO
from typing import Any, NamedTuple

import pandas as pd

from vsweep.metrics import axes_of, default_metric, higher_is_better
from vsweep.results import Sweep
from vsweep.trackers.wandb import client

_TIMEOUT_S = 30
# Of so many runs in one question.
_ASKED = 200
# How long a server may take until it knows of all rows that it took, in seconds.
_LAG_S = 15.0
# Of an axis, W&B's page of a sweep lists so many values.
_MOST_VALUES = 500


def is_reachable() -> bool:
    """Whether there is a server at all, whatever it says."""
    try:
        with urllib.request.urlopen(client.server_url(), timeout=10):
            return True
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError as error:
        # Which certificates are trusted is the client's to say: it brings its own.
        return isinstance(error.reason, ssl.SSLError)
    except (OSError, ValueError):
        return False


class ServerRun(NamedTuple):
    """A run that a server has: how many rows it counts, and whether the run came to its end."""

    rows: int
    finished: bool = True


class Server:
    """The runs of one project."""

    def __init__(self, to: client.Destination) -> None:
        """Raises what W&B does, where it does not answer or does not know one."""
        self._patience, self._waits = to.patience, to.waits
        self.renew()
        self.entity = to.entity or str(self._api.default_entity)
        self.project = to.project
        self.path = f"{self.entity}/{self.project}"
        # Where runs are, for the outbox and for a person.
        self.place = f"{client.server_url()} {self.path}"
        self.url = self._api.project(self.project, self.entity).url

    def renew(self) -> None:
        """Ask anew: W&B's client keeps answers, and asks through the service that `client.close` ends.

        Raises `ConnectionError` where nobody answers, which the client takes half a minute to find out.
        """
        import wandb

        if not is_reachable():
            raise ConnectionError(f"{client.server_url()} does not answer")
        self._api = wandb.Api(timeout=_TIMEOUT_S)

    def found(self, ids: Sequence[str]) -> dict[str, ServerRun]:
        """What is there of these runs, by their ids. Raises what W&B does."""
        return {
            run.id: ServerRun(run.history_line_count or 0, finished=run.state == "finished")
            for run in self._runs(ids)
        }

    def whole(self, rows: Mapping[str, int]) -> set[str]:
        """Which of these runs are finished there, and have so many rows.

        rows: by the run's id. Waits for a while, since a server is behind with its own books. Raises what W&B
        does.
        """
        until = time.monotonic() + min(_LAG_S, self._patience)
        whole: set[str] = set()
        while True:
            left = [run_id for run_id in rows if run_id not in whole]
            there = self.found(left)
            whole |= {run_id for run_id, one in there.items() if one == ServerRun(rows[run_id])}
            if len(whole) == len(rows) or time.monotonic() >= until:
                return whole
            time.sleep(1.0)
            self.renew()

    def lacks_files(self, run_id: str) -> bool:
        """Whether tables or pictures that a run's summary names are not there.

        Waits as `whole` does. Raises what W&B does.
        """
        until = time.monotonic() + min(_LAG_S, self._patience)
        while True:
            run = self._api.run(f"{self.path}/{run_id}")
            named = {one["path"] for one in run.summary_metrics.values() if _is_file(one)}
            if named and named <= {file.name for file in run.files()}:
                return False
            if time.monotonic() >= until:
                return True
            time.sleep(1.0)
            self.renew()

    def delete(self, ids: Sequence[str], sweep: str) -> None:
        """Take runs away, those that are there and say that they are of this sweep. Raises what W&B does.

        The ids come from a directory that may come from others, and may name anybody's runs.
        """
        for run in self._runs(ids):
            said = run.config.get("vsweep")
            if isinstance(said, Mapping) and said.get("sweep") == sweep:
                run.delete()

    def _runs(self, ids: Sequence[str]) -> Iterator[Any]:
        for i in range(0, len(ids), _ASKED):
            asked = list(ids[i : i + _ASKED])
            runs = self._api.runs(self.path, filters={"name": {"$in": asked}}, per_page=_ASKED)
            try:
                yield from list(runs)
            except ValueError as error:
                # No project yet, and so no runs.
                if "Could not find project" not in str(error):
                    raise

    def sweep(self, sweep: Sweep) -> str:
        """Make a W&B sweep for the runs to belong to. Raises what W&B does."""
        import wandb

        config, made = sweep_config(sweep), Future[str]()

        def make() -> None:
            try:
                with redirect_stdout(StringIO()):
                    made.set_result(wandb.sweep(config, entity=self.entity, project=self.project))
            except Exception as error:
                made.set_exception(error)

        # The client asks again for many minutes, and no setting of it says for how long.
        threading.Thread(target=make, daemon=True).start()
        try:
            return made.result(self._waits)
        except TimeoutError as error:
            # Else it would stand before whatever is asked next.
            client.close_service()
            raise ConnectionError("the server makes no W&B sweep for the runs") from error


def _is_file(value: Any) -> bool:
    """Whether a value of a run's summary is a table or a picture."""
    return isinstance(value, Mapping) and str(value.get("_type")).endswith("-file") and "path" in value


def sweep_config(sweep: Sweep) -> dict[str, Any]:
    """A sweep's axes as W&B has them, nested as the runs' configs are."""
    trials, metric = sweep.trials, default_metric(sweep.trials)
    parameters: dict[str, Any] = {}
    for axis in axes_of(trials):
        values = [v.item() if hasattr(v, "item") else v for v in trials[axis].unique() if pd.notna(v)]
        *groups, key = axis.split(".")
        # Of a group that is an axis, its name.
        groups, key = (groups, key) if groups or not _is_group(sweep, axis) else ([key], "name")
        inner = parameters
        for group in groups:
            inner = inner.setdefault(group, {"parameters": {}})["parameters"]
        inner[key] = {"values": values[:_MOST_VALUES]}
    seeds = sorted(trials["seed"].unique().tolist())
    parameters["seed"] = {"values": seeds[:_MOST_VALUES]}
    goal = "maximize" if higher_is_better(metric) else "minimize"
    name = f"{sweep.plan['name']} {sweep.plan['started']}"
    metric_config = {"name": f"final_{metric}", "goal": goal}
    return {"name": name, "method": "grid", "metric": metric_config, "parameters": parameters}


def _is_group(sweep: Sweep, axis: str) -> bool:
    return isinstance(sweep.config.get(axis), Mapping)
