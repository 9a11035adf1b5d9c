"""Save the dashboard of a sweep in W&B."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import wandb

from vsweep.errors import ServiceError
from vsweep.store.files import WANDB, Files
from vsweep.store.reader import StoredSweep
from vsweep.trackers.wandb.client import alone, login_problem, redact_key
from vsweep.trackers.wandb.dashboard import build_workspace, ws
from vsweep.trackers.wandb.options import Level, Options
from vsweep.trackers.wandb.runs import sweep_id

# The file in the sweep's directory with the URL of its dashboard in each `entity/project`.
WORKSPACE_FILE = f"{WANDB}/workspace.json"


@contextmanager
def _client_errors() -> Iterator[None]:
    """Convert errors of W&B's client to a sentence without the API key."""
    try:
        yield
    except ServiceError:
        raise
    except Exception as error:
        raise ServiceError(redact_key(error) or type(error).__name__) from None


@_client_errors()
def save_workspace(sweep: StoredSweep, options: Options, level: Level, tell: Callable[..., None]) -> str:
    """Save a sweep's dashboard, and return its URL.

    A view that was saved before, according to `wandb/workspace.json` in the sweep's directory, is updated:
    its own sections are replaced, and those that a user added stay.

    Args:
        sweep: The sweep.
        options: The options of the tracker, with a project; without an entity it is the user's default.
        level: The level of the sweep's runs.
        tell: Callback that gets steps for `Waiting`, and `notes` for the user.

    Raises:
        ServiceError: If the dashboard cannot be saved.
    """
    # The client would ask for a key if the user were not logged in.
    if problem := login_problem():
        raise ServiceError(problem)
    tell(end="start")
    api = wandb.Api()
    entity = options.entity or api.default_entity
    if not entity:
        raise ServiceError("you have no default entity: give entity=NAME")
    tell(reach="server")
    path, notes = f"{entity}/{options.project}", []
    if not len(api.runs(path, filters={"tags": {"$in": [sweep_id(sweep.plan)]}}, per_page=1)):
        command = f"vsweep sync {shlex.quote(str(sweep.directory))}"
        notes.append(f"{path} has no runs of this sweep yet; to upload them: {command}")
    tell(reach="look up", notes=notes)
    urls = _read_urls(sweep.files)
    with alone(tell, "build"):
        group = wandb.setup().settings.run_group
        workspace = build_workspace(sweep, level, entity, str(options.project), one_group=bool(group))
    view = _updated(workspace, urls.get(path))
    tell(reach="read")
    view.save()
    try:
        sweep.files.write_json(WORKSPACE_FILE, {**urls, path: str(view.url)})
    except OSError as error:
        effect = "the next vsweep dashboard will create another view"
        file = sweep.files.path(WORKSPACE_FILE)
        tell(notes=[*notes, f"cannot write {file} ({error.strerror}): {effect}"])
    return str(view.url)


def _updated(new: ws.Workspace, url: str | None) -> ws.Workspace:
    """Return the view saved at a URL with the new content, or the new view if there is none."""
    if url is None:
        return new
    try:
        view = ws.Workspace.from_url(url)
    except ValueError as error:
        if "not found in project" not in str(error):
            raise
        return new
    if (view.entity, view.project) != (new.entity, new.project):
        # The URL is read from a file, and it may lead to another project in spite of its text.
        return new
    names = {section.name for section in new.sections}
    view.name, view.runset_settings = new.name, new.runset_settings
    view.sections = [*new.sections, *(section for section in view.sections if section.name not in names)]
    return view


def _read_urls(files: Files) -> dict[str, str]:
    """Read the URLs of saved dashboards; the file may come from someone else."""
    try:
        record = files.read_json(WORKSPACE_FILE)
    except OSError:
        return {}
    pairs = record.items() if isinstance(record, dict) else ()
    return {path: url for path, url in pairs if isinstance(url, str) and f"/{path}?nw=" in url}
