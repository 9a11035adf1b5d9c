"""A sweep's dashboard as W&B has it: a workspace, made from the sweep's tables without a network."""

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
from vsweep.results import Sweep
from vsweep.store.atomic import write_json
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
)
from vsweep.trackers.wandb.granularity import Level, plan_runs
from vsweep.trackers.wandb.options import tracker_options
from vsweep.trackers.wandb.runs import sweep_id

# W&B draws ten lines of a panel unless it is told of more, and no more than this many well.
_FEWEST_LINES, _MOST_LINES = 10, 100
# Kinds of characters that W&B takes in no name of a view.
_NOT_IN_NAMES = "So", "Sk", "Sm", "Sc", "Cs"


def run_level(sweep: Sweep) -> Level:
    """What W&B has a run of, as the sweep's config says, or as many trials as it has do."""
    return plan_runs(tracker_options(sweep.config)["level"], sweep.plan["trials"], sweep.plan["cells"]).level


def describe_panels(sweep: Sweep, level: Level) -> list[str]:
    """What the dashboard shows, a line for each panel, with the name of its section."""
    return [
        f"{name}: {panel.words}" for name, made in dashboard_sections(sweep, level).items() for panel in made
    ]


def build_workspace(sweep: Sweep, level: Level, entity: str, project: str) -> Any:
    """A sweep's dashboard, as a `wandb_workspaces.workspaces.Workspace` that is not saved.

    Only runs tagged with the sweep's id are in it. Raises `ServiceError` where wandb-workspaces is missing.
    """
    ws, _ = _library()
    uid = sweep_id(sweep.plan)
    kinds = ["overview"] if level == "sweep" else [level, "overview"]
    trials, ranking = sweep.trials, default_metric(sweep.trials)
    final = ws.Summary(f"final_{ranking}")
    return ws.Workspace(
        entity=entity,
        project=project,
        name=f"{_plain(str(sweep.plan.get('name', 'sweep')))} {uid}",
        sections=[_section(name, made) for name, made in dashboard_sections(sweep, level).items()],
        settings=ws.WorkspaceSettings(max_runs=_MOST_LINES),
        runset_settings=ws.RunsetSettings(
            filters=ws.And(ws.Tags().isin([uid]), ws.Metric("JobType").isin(kinds)),
            # A run's group is its cell, in words: of one seed, nothing that its name does not say.
            groupby=[ws.Metric("Group")] if level == "trial" and trials["seed"].nunique() > 1 else [],
            order=[ws.Ordering(final, ascending=not higher_is_better(ranking))],
            pinned_columns=[f"summary:{final.name}"] if final.name in trials else [],
        ),
    )


def _plain(name: str) -> str:
    return "".join("-" if unicodedata.category(one) in _NOT_IN_NAMES else one for one in name)


def _section(name: str, made: list[Panel]) -> Any:
    ws, _ = _library()
    layout = ws.SectionLayoutSettings(columns=min(3, len(made)), rows=2 if len(made) > 3 else 1)
    return ws.Section(name=name, panels=[_panel(each) for each in made], is_open=True, layout_settings=layout)


def _panel(panel: Panel) -> Any:
    """The same panel as W&B's own."""
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
        case ParallelPanel():
            columns = [
                wr.ParallelCoordinatesPlotColumn(metric=_number(each), display_name=each.name, log=each.log)
                for each in panel.columns
            ]
            return wr.ParallelCoordinatesPlot(columns=columns, title="axes")
        case ImportancePanel():
            return wr.ParameterImportancePlot(with_respect_to=panel.target)
        case ScatterPanel(x, y, z):
            third = {"z": _number(z), "log_z": z.log} if z else {}
            return wr.ScatterPlot(
                title=panel.title, x=_number(x), y=_number(y), log_x=x.log, log_y=y.log, **third
            )
        case ImagesPanel():
            return wr.MediaBrowser(title=panel.title, media_keys=list(panel.keys))
        case TablePanel():
            return wr.WeavePanelSummaryTable(table_name=panel.key)


def _number(field: Field) -> Any:
    _, wr = _library()
    return wr.SummaryMetric(field.key) if field.summary else wr.Config(field.key)


def _library() -> tuple[Any, Any]:
    """W&B's workspaces and its panels, imported when first used: it takes half a second."""
    try:
        with warnings.catch_warnings():
            # Of how it is written, not of what is asked of it.
            warnings.simplefilter("ignore")
            import wandb_workspaces.reports.v2 as panels
            import wandb_workspaces.workspaces as workspaces
    except ImportError as error:
        need = "pip install wandb-workspaces"
        raise ServiceError(f"wandb-workspaces cannot be imported ({error}): {need}") from error
    return workspaces, panels


# In the sweep's directory: the URL of its dashboard in each `entity/project`.
WORKSPACE_FILE = Path("wandb") / "workspace.json"
# Of a server that is not there W&B's client says one of these.
_NO_ANSWER = "did not respond", "onnection", "timed out", "timeout", "resolve"


def save_workspace(sweep: Sweep, *, project: str, entity: str | None, level: Level) -> str:
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
    made = build_workspace(sweep, level, entity, project)
    with _in_a_sentence():
        view = _updated(made, known.get(f"{entity}/{project}"))
        view.save()
        url = str(view.url)
    _note(sweep, {**known, f"{entity}/{project}": url})
    return url


def _logged_in() -> Any:
    """W&B's client. Raises `ServiceError` where one is not logged in: it would else ask for a key."""
    import wandb

    if not is_logged_in():
        raise ServiceError(f"W&B: {describe_missing_login()}")
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
        found = json.loads((sweep.directory / WORKSPACE_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    pairs = found.items() if isinstance(found, dict) else ()
    return {path: url for path, url in pairs if isinstance(url, str) and f"/{path}?nw=" in url}


def _note(sweep: Sweep, known: dict[str, str]) -> None:
    path = sweep.directory / WORKSPACE_FILE
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
        said = redact_key(error) or type(error).__name__
        silent = any(words in said for words in _NO_ANSWER)
        what = "W&B's server does not answer" if silent else "W&B saved no dashboard"
        raise ServiceError(f"{what} ({said})") from None
