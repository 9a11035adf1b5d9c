"""Convert a sweep's dashboard to a W&B workspace, and save it."""

import json
import shlex
import sys
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vsweep.errors import ConfigError, ServiceError
from vsweep.metrics import default_metric, higher_is_better
from vsweep.store.atomic import write_json
from vsweep.store.reader import StoredSweep
from vsweep.trackers.wandb.client import describe_missing_login, is_logged_in, redact_key
from vsweep.trackers.wandb.dashboard import (
    CurvesPanel,
    Field,
    ImagesPanel,
    ImportancePanel,
    Panel,
    ParallelPanel,
    ScatterPanel,
    TablePanel,
    dashboard_sections,
    describe_panel,
)
from vsweep.trackers.wandb.granularity import Level, plan_runs
from vsweep.trackers.wandb.options import tracker_options
from vsweep.trackers.wandb.runs import sweep_id

# The file in the sweep's directory with the URL of its dashboard in each `entity/project`.
WORKSPACE_FILE = Path("wandb") / "workspace.json"
# W&B draws ten lines of a panel by default, and more than a hundred badly.
_FEWEST_LINES, _MOST_LINES = 10, 100
# Unicode categories that W&B does not allow in the name of a view.
_FORBIDDEN_CATEGORIES = "So", "Sk", "Sm", "Sc", "Cs"
# W&B's client reports a server that does not answer with one of these.
_NO_ANSWER = "did not respond", "onnection", "timed out", "timeout", "resolve"


def run_level(sweep: StoredSweep) -> Level:
    """Return the level of a sweep's runs according to its config, or to its size."""
    level = tracker_options(sweep.config)["level"]
    return plan_runs(level, sweep.plan["trials"], sweep.plan["cells"]).level


def describe_panels(sweep: StoredSweep, level: Level) -> list[str]:
    """Return a line for each panel of the dashboard, with the name of its section."""
    sections = dashboard_sections(sweep, level).items()
    return [f"{name}: {describe_panel(panel)}" for name, panels in sections for panel in panels]


def build_workspace(sweep: StoredSweep, level: Level, entity: str, project: str) -> Any:
    """Build a sweep's dashboard without saving it; it has only runs that are tagged with the sweep's id.

    Returns:
        A `wandb_workspaces.workspaces.Workspace`.

    Raises:
        ServiceError: If wandb-workspaces is not installed.
    """
    ws, _ = _library()
    uid = sweep_id(sweep.plan)
    kinds = ["overview"] if level == "sweep" else [level, "overview"]
    trials, ranking = sweep.trials, default_metric(sweep.trials)
    final = ws.Summary(f"final_{ranking}")
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"{_allowed_name(str(sweep.plan.get('name', 'sweep')))} {uid}",
        sections=[_section(name, panels) for name, panels in dashboard_sections(sweep, level).items()],
        settings=ws.WorkspaceSettings(max_runs=_MOST_LINES),
        runset_settings=ws.RunsetSettings(
            filters=ws.And(ws.Tags().isin([uid]), ws.Metric("JobType").isin(kinds)),
            # A group is a cell, so with one seed it adds nothing to a run's name.
            groupby=[ws.Metric("Group")] if level == "trial" and trials["seed"].nunique() > 1 else [],
            order=[ws.Ordering(final, ascending=not higher_is_better(ranking))],
            pinned_columns=[f"summary:{final.name}"] if final.name in trials else [],
        ),
    )


def _allowed_name(name: str) -> str:
    return "".join("-" if unicodedata.category(char) in _FORBIDDEN_CATEGORIES else char for char in name)


def _section(name: str, panels: list[Panel]) -> Any:
    ws, _ = _library()
    layout = ws.SectionLayoutSettings(columns=min(3, len(panels)), rows=2 if len(panels) > 3 else 1)
    return ws.Section(name=name, panels=list(map(_panel, panels)), is_open=True, layout_settings=layout)


def _panel(panel: Panel) -> Any:
    """Convert a panel to W&B's type."""
    _, wr = _library()
    match panel:
        case CurvesPanel():
            return wr.LinePlot(
                title=panel.title,
                x="Step",
                y=list(panel.metrics),
                log_x=panel.log_x,
                log_y=panel.log_y,
                title_x="step",
                title_y=panel.metrics[0],
                groupby=wr.Config(panel.by.key) if panel.by else None,
                aggregate=True,
                groupby_aggfunc="mean",
                groupby_rangefunc=panel.spread,
                max_runs_to_show=min(max(panel.lines, _FEWEST_LINES), _MOST_LINES),
            )
        case ParallelPanel(fields):
            columns = [
                wr.ParallelCoordinatesPlotColumn(metric=_metric(f), display_name=f.name, log=f.log)
                for f in fields
            ]
            return wr.ParallelCoordinatesPlot(columns=columns, title="axes")
        case ImportancePanel(target):
            return wr.ParameterImportancePlot(with_respect_to=target)
        case ScatterPanel(x, y, z):
            third = {"z": _metric(z), "log_z": z.log} if z else {}
            return wr.ScatterPlot(
                title=panel.title, x=_metric(x), y=_metric(y), log_x=x.log, log_y=y.log, **third
            )
        case ImagesPanel(title, keys):
            return wr.MediaBrowser(title=title, media_keys=list(keys))
        case TablePanel(key):
            return wr.WeavePanelSummaryTable(table_name=key)


def _metric(field: Field) -> Any:
    _, wr = _library()
    return wr.SummaryMetric(field.key) if field.summary else wr.Config(field.key)


def _library() -> tuple[Any, Any]:
    """Import W&B's workspaces and its panels, which takes half a second."""
    try:
        with warnings.catch_warnings():
            # The library's own deprecations do not concern the user.
            warnings.simplefilter("ignore")
            import wandb_workspaces.reports.v2 as panels
            import wandb_workspaces.workspaces as workspaces
    except ImportError as error:
        need = "pip install wandb-workspaces"
        raise ServiceError(f"wandb-workspaces cannot be imported ({error}): {need}") from error
    return workspaces, panels


def save_workspace(sweep: StoredSweep, *, project: str, entity: str | None, level: Level) -> str:
    """Save a sweep's dashboard, and return its URL.

    A view that was saved before, according to `wandb/workspace.json` in the sweep's directory, is updated:
    its own sections are replaced, and those that a user added stay.

    Args:
        sweep: The sweep.
        project: W&B's project.
        entity: W&B's entity; None is the user's default.
        level: The level of the sweep's runs.

    Raises:
        ServiceError: If the dashboard cannot be saved.
    """
    with _client_errors():
        api = _api()
        entity = entity or api.default_entity
        if not entity:
            raise ServiceError("W&B has no default entity for you: give entity=NAME")
        path = f"{entity}/{project}"
        _warn_if_empty(api, sweep, path)
    saved = _read_urls(sweep)
    new = build_workspace(sweep, level, entity, project)
    with _client_errors():
        view = _updated(new, saved.get(path))
        view.save()
        url = str(view.url)
    _write_urls(sweep, {**saved, path: url})
    return url


def _api() -> Any:
    """Return W&B's API client, which would ask for a key if the user were not logged in."""
    import wandb

    if not is_logged_in():
        raise ServiceError(f"W&B: {describe_missing_login()}")
    return wandb.Api()


def _warn_if_empty(api: Any, sweep: StoredSweep, path: str) -> None:
    """Print a hint if the project has no run of the sweep; raise an error if there is no such project."""
    if not len(api.runs(path, filters={"tags": {"$in": [sweep_id(sweep.plan)]}}, per_page=1)):
        command = f"vsweep sync {shlex.quote(str(sweep.directory))}"
        print(f"no run of this sweep is in {path} yet; to send them: {command}", file=sys.stderr)


def _updated(new: Any, url: str | None) -> Any:
    """Return the view saved at a URL with the new content, or the new view if there is none."""
    if url is None:
        return new
    try:
        view = type(new).from_url(url)
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


def _read_urls(sweep: StoredSweep) -> dict[str, str]:
    """Read the URLs of saved dashboards; the file may come from someone else."""
    try:
        record = json.loads((sweep.directory / WORKSPACE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    pairs = record.items() if isinstance(record, dict) else ()
    return {path: url for path, url in pairs if isinstance(url, str) and f"/{path}?nw=" in url}


def _write_urls(sweep: StoredSweep, urls: dict[str, str]) -> None:
    path = sweep.directory / WORKSPACE_FILE
    try:
        path.parent.mkdir(exist_ok=True)
        write_json(path, urls)
    except OSError as error:
        effect = "the next vsweep dashboard will create another view"
        print(f"cannot write {path} ({error.strerror}): {effect}", file=sys.stderr)


@contextmanager
def _client_errors() -> Iterator[None]:
    """Convert errors of W&B's client to a sentence without the API key."""
    try:
        yield
    except (ConfigError, ServiceError):
        raise
    except Exception as error:
        reason = redact_key(error) or type(error).__name__
        silent = any(text in reason for text in _NO_ANSWER)
        problem = "W&B's server does not answer" if silent else "W&B saved no dashboard"
        raise ServiceError(f"{problem} ({reason})") from None
