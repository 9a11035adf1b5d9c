"""Query and change the runs of a project on a W&B server."""

import ssl
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import redirect_stdout
from io import StringIO
from typing import Any, NamedTuple

import pandas as pd

from vsweep.metrics import axes_of, default_metric, higher_is_better
from vsweep.store.reader import StoredSweep
from vsweep.trackers.wandb import client
from vsweep.trackers.wandb.dashboard import config_path

_TIMEOUT_S = 30
_RUNS_PER_QUERY = 200
# A server counts rows this long after it accepted them, in seconds.
_LAG_S = 15.0
# W&B's page of a sweep lists no more values of a parameter.
_MOST_VALUES = 500


def is_reachable() -> bool:
    """Return whether a server answers, with any status."""
    try:
        with urllib.request.urlopen(client.server_url(), timeout=10):
            return True
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError as error:
        # The client brings certificates of its own, so it may trust the server.
        return isinstance(error.reason, ssl.SSLError)
    except (OSError, ValueError):
        return False


class ServerRun(NamedTuple):
    """A run on the server: its number of rows, and whether it was finished."""

    rows: int
    finished: bool = True


class Server:
    """The runs of one project. Its methods raise the errors of W&B's client."""

    def __init__(self, to: client.Destination) -> None:
        """Connect to the server, which must answer and know the user."""
        self._patience, self._waits = to.patience, to.waits
        self.renew()
        self.entity = to.entity or str(self._api.default_entity)
        self.project = to.project
        self.path = f"{self.entity}/{self.project}"
        # The name of this destination in the upload log.
        self.place = f"{client.server_url()} {self.path}"
        self.url = self._api.project(self.project, self.entity).url

    def renew(self) -> None:
        """Replace the API client, which caches answers and needs the service that `close_service` ends.

        Raises:
            ConnectionError: If the server does not answer, which the client notices only after half a minute.
        """
        import wandb

        if not is_reachable():
            raise ConnectionError(f"{client.server_url()} does not answer")
        self._api = wandb.Api(timeout=_TIMEOUT_S)

    def find_runs(self, ids: Sequence[str]) -> dict[str, ServerRun]:
        """Return those of these runs that the server has, by id."""
        return {
            run.id: ServerRun(run.history_line_count or 0, finished=run.state == "finished")
            for run in self._runs(ids)
        }

    def complete_runs(self, rows: Mapping[str, int]) -> set[str]:
        """Return the runs that are finished and have as many rows as given by id; wait for a slow server."""
        complete: set[str] = set()

        def all_complete() -> bool:
            runs = self.find_runs([run_id for run_id in rows if run_id not in complete])
            complete.update(run_id for run_id, run in runs.items() if run == ServerRun(rows[run_id]))
            return len(complete) == len(rows)

        self._wait_until(all_complete)
        return complete

    def lacks_files(self, run_id: str) -> bool:
        """Return whether tables or pictures in a run's summary are missing; wait for a slow server."""

        def has_files() -> bool:
            run = self._api.run(f"{self.path}/{run_id}")
            paths = {value["path"] for value in run.summary_metrics.values() if _is_file(value)}
            return bool(paths) and paths <= {file.name for file in run.files()}

        return not self._wait_until(has_files)

    def _wait_until(self, condition: Callable[[], bool]) -> bool:
        deadline = time.monotonic() + min(_LAG_S, self._patience)
        while not condition():
            if time.monotonic() >= deadline:
                return False
            time.sleep(1.0)
            self.renew()
        return True

    def delete(self, ids: Sequence[str], sweep: str) -> None:
        """Delete those of these runs whose config names this sweep.

        The ids come from a directory, which may come from someone else and name any run.
        """
        for run in self._runs(ids):
            record = run.config.get("vsweep")
            if isinstance(record, Mapping) and record.get("sweep") == sweep:
                run.delete()

    def _runs(self, ids: Sequence[str]) -> Iterator[Any]:
        for i in range(0, len(ids), _RUNS_PER_QUERY):
            filters = {"name": {"$in": list(ids[i : i + _RUNS_PER_QUERY])}}
            try:
                yield from list(self._api.runs(self.path, filters=filters, per_page=_RUNS_PER_QUERY))
            except ValueError as error:
                # A project that does not exist has no runs.
                if "Could not find project" not in str(error):
                    raise

    def create_sweep(self, sweep: StoredSweep) -> str:
        """Create a W&B sweep for the runs to join, and return its id."""
        import wandb

        config, result = sweep_config(sweep), Future[str]()

        def create() -> None:
            try:
                with redirect_stdout(StringIO()):
                    result.set_result(wandb.sweep(config, entity=self.entity, project=self.project))
            except Exception as error:
                result.set_exception(error)

        # The client retries for many minutes, and no setting limits that.
        threading.Thread(target=create, daemon=True).start()
        try:
            return result.result(self._waits)
        except TimeoutError as error:
            # The pending request would block the next one.
            client.close_service()
            raise ConnectionError("the server did not create a W&B sweep for the runs") from error


def _is_file(value: Any) -> bool:
    """Return whether a value of a run's summary is a table or a picture."""
    return isinstance(value, Mapping) and str(value.get("_type")).endswith("-file") and "path" in value


def sweep_config(sweep: StoredSweep) -> dict[str, Any]:
    """Return a W&B sweep's config with the sweep's axes, nested as in the runs' configs."""
    trials, metric = sweep.trials, default_metric(sweep.trials)
    parameters: dict[str, Any] = {}
    for axis in axes_of(trials):
        values = [v.item() if hasattr(v, "item") else v for v in trials[axis].unique() if pd.notna(v)]
        *groups, key = config_path(sweep, axis).split(".")
        inner = parameters
        for group in groups:
            inner = inner.setdefault(group, {"parameters": {}})["parameters"]
        inner[key] = {"values": values[:_MOST_VALUES]}
    parameters["seed"] = {"values": sorted(trials["seed"].unique().tolist())[:_MOST_VALUES]}
    goal = "maximize" if higher_is_better(metric) else "minimize"
    return {
        "name": f"{sweep.plan['name']} {sweep.plan['started']}",
        "method": "grid",
        "metric": {"name": f"final_{metric}", "goal": goal},
        "parameters": parameters,
    }
