"""Query and change the runs of a project on a W&B server."""

import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping, Sequence
from typing import Any

import wandb

from vsweep.trackers.wandb.options import Options
from vsweep.trackers.wandb.runs import OVERVIEW, Run

_TIMEOUT_S = 30
_RUNS_PER_QUERY = 200
# A server counts rows this long after it accepted them, in seconds.
_LAG_S = 15.0


def is_reachable(url: str) -> bool:
    """Return whether a server answers, with any status."""
    try:
        with urllib.request.urlopen(url, timeout=10):
            return True
    except urllib.error.HTTPError:
        return True
    except urllib.error.URLError as error:
        # The client brings certificates of its own, so it may trust the server.
        return isinstance(error.reason, ssl.SSLError)
    except (OSError, ValueError):
        return False


class Server:
    """The runs of one project. Its methods raise the errors of W&B's client."""

    def __init__(self, options: Options) -> None:
        """Connect to the server, which must answer and know the user."""
        self._options = options
        self._base_url = str(wandb.setup().settings.base_url).rstrip("/")
        self.renew()
        entity = options.entity or str(self._api.default_entity)
        self._path = f"{entity}/{options.project}"
        # The name of this destination in the upload log.
        self.place = f"{self._base_url} {self._path}"
        self.url = self._api.project(options.project, entity).url

    def renew(self) -> None:
        """Replace the API client, which caches answers and needs the service that `wandb.teardown` ends.

        Raises:
            ConnectionError: If the server does not answer, which the client notices only after half a minute.
        """
        if not is_reachable(self._base_url):
            raise ConnectionError(f"{self._base_url} does not answer")
        self._api = wandb.Api(timeout=_TIMEOUT_S)

    def complete_runs(self, runs: Sequence[Run]) -> set[str]:
        """Return the ids of the runs, among these, that are finished and complete on the server."""
        content = {run.id: run for run in runs}
        found = self._find({"name": {"$in": list(content)}})
        return {stored.id for stored in found if _is_complete(stored, content[stored.id])}

    def wait_for(self, runs: Sequence[Run]) -> set[str]:
        """Wait for a while until these runs are complete on the server; return the ids of those that are."""
        deadline = time.monotonic() + min(_LAG_S, self._options.patience)
        while True:
            self.renew()
            complete = self.complete_runs(runs)
            if len(complete) == len(runs) or time.monotonic() >= deadline:
                return complete
            time.sleep(1.0)

    def delete(self, ids: Collection[str], sweep: str) -> None:
        """Delete the runs, among these, whose config names this sweep.

        The ids come from a directory, which may come from someone else and name any run.
        """
        for run in self._find({"tags": {"$in": [sweep]}}):
            # The client asks the server for each config that is read.
            record = run.config.get("vsweep") if run.id in ids else None
            if isinstance(record, Mapping) and record.get("sweep") == sweep:
                run.delete()

    def _find(self, filters: dict[str, Any]) -> list[Any]:
        try:
            return list(self._api.runs(self._path, filters=filters, per_page=_RUNS_PER_QUERY))
        except ValueError as error:
            # A project that does not exist has no runs.
            if "Could not find project" not in str(error):
                raise
            return []


def _is_complete(stored: Any, run: Run) -> bool:
    """Return whether a run on the server has all rows, or the overview all its tables and pictures."""
    if stored.state != "finished":
        return False
    if run.job_type != OVERVIEW:
        return stored.history_line_count == len(run.rows)
    values = [value for value in stored.summary_metrics.values() if isinstance(value, Mapping)]
    files = {value["path"] for value in values if str(value.get("_type")).endswith("-file")}
    return bool(files) and files <= {file.name for file in stored.files()}
