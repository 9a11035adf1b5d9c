"""Saves a sweep's dashboard in Weights & Biases: one view, brought up to date when it is made again."""

import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vsweep.errors import ConfigError, ServiceError
from vsweep.results import Sweep
from vsweep.store.atomic import write_json
from vsweep.trackers.wandb.client import logged_in, no_login, without_key
from vsweep.trackers.wandb.levels import Level
from vsweep.trackers.wandb.runs import sweep_id
from vsweep.trackers.wandb.workspace import workspace

# In the sweep's directory: the URL of its dashboard in each `entity/project`.
SAVED = Path("wandb") / "workspace.json"
# Of a server that is not there W&B's client says one of these.
_NO_ANSWER = "did not respond", "onnection", "timed out", "timeout", "resolve"


def save(sweep: Sweep, *, project: str, entity: str | None, level: Level) -> str:
    """Save a sweep's dashboard, and give its URL.

    project, entity: where; None is one's own. level: what W&B has a run of. A view that was saved before, as
    `wandb/workspace.json` in the sweep's directory knows, is brought up to date: its own sections are made
    anew, and those that a person added stay.

    Raises `ServiceError` where it cannot be saved.
    """
    with _in_a_sentence():
        api = _logged_in()
        entity = entity or api.default_entity
        if not entity:
            raise ServiceError("W&B knows no entity of yours: give entity=NAME")
        _look(api, sweep, f"{entity}/{project}")
    known = _known(sweep)
    made = workspace(sweep, level, entity, project)
    with _in_a_sentence():
        view = _updated(made, known.get(f"{entity}/{project}"))
        view.save()
        url = str(view.url)
    _note(sweep, {**known, f"{entity}/{project}": url})
    return url


def _logged_in() -> Any:
    """W&B's client. Raises `ServiceError` where one is not logged in: it would else ask for a key."""
    import wandb

    if not logged_in():
        raise ServiceError(f"W&B: {no_login()}")
    return wandb.Api()


def _look(api: Any, sweep: Sweep, path: str) -> None:
    """Say so where none of the sweep's runs is there. Raises where there is no such project."""
    if not len(api.runs(path, filters={"tags": {"$in": [sweep_id(sweep.plan)]}}, per_page=1)):
        send = f"vsweep sync {shlex.quote(str(sweep.directory))}"
        print(f"no run of this sweep is in {path} yet; to send them: {send}", file=sys.stderr)


def _updated(made: Any, url: str | None) -> Any:
    """The view that was saved at a URL, showing what was made; what was made where it is there no more."""
    if url is None:
        return made
    try:
        view = type(made).from_url(url)
    except ValueError as error:
        if "not found in project" not in str(error):
            raise
        return made
    if (view.entity, view.project) != (made.entity, made.project):
        # The URL is from a file, and it leads elsewhere for all that it has of this project's name.
        return made
    ours = {section.name for section in made.sections}
    view.name, view.runset_settings = made.name, made.runset_settings
    view.sections = [*made.sections, *(section for section in view.sections if section.name not in ours)]
    return view


def _known(sweep: Sweep) -> dict[str, str]:
    """Where the dashboard was saved, as the directory says, which may come from others."""
    try:
        found = json.loads((sweep.directory / SAVED).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    pairs = found.items() if isinstance(found, dict) else ()
    return {path: url for path, url in pairs if isinstance(url, str) and f"/{path}?nw=" in url}


def _note(sweep: Sweep, known: dict[str, str]) -> None:
    path = sweep.directory / SAVED
    try:
        path.parent.mkdir(exist_ok=True)
        write_json(path, known)
    except OSError as error:
        again = "another vsweep dashboard will make another view"
        print(f"cannot write {path} ({error.strerror}): {again}", file=sys.stderr)


@contextmanager
def _in_a_sentence() -> Iterator[None]:
    """Say in one what W&B's client raises, without the API key."""
    try:
        yield
    except (ConfigError, ServiceError):
        raise
    except Exception as error:
        said = without_key(error) or type(error).__name__
        silent = any(words in said for words in _NO_ANSWER)
        what = "W&B's server does not answer" if silent else "W&B saved no dashboard"
        raise ServiceError(f"{what} ({said})") from None
