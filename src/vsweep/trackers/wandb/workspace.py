"""A sweep's dashboard as W&B has it: a workspace, made from the sweep's tables without a network."""

import unicodedata
import warnings
from typing import Any

from vsweep.errors import ServiceError
from vsweep.metrics import default_metric, higher_is_better
from vsweep.results import Sweep
from vsweep.trackers.wandb.dashboard import sections
from vsweep.trackers.wandb.levels import Level, shown_as
from vsweep.trackers.wandb.options import options
from vsweep.trackers.wandb.panels import Curves, Field, Importance, Panel, Parallel, Pictures, Rows, Scatter
from vsweep.trackers.wandb.runs import sweep_id

# W&B draws ten lines of a panel unless it is told of more, and no more than this many well.
_FEWEST_LINES, _MOST_LINES = 10, 100
# Kinds of characters that W&B takes in no name of a view.
_NOT_IN_NAMES = "So", "Sk", "Sm", "Sc", "Cs"


def level_of(sweep: Sweep) -> Level:
    """What W&B has a run of, as the sweep's config says, or as many trials as it has do."""
    return shown_as(options(sweep.config)["level"], sweep.plan["trials"], sweep.plan["cells"]).level


def panels(sweep: Sweep, level: Level) -> list[str]:
    """What the dashboard shows, a line for each panel, with the name of its section."""
    return [f"{name}: {panel.words}" for name, made in sections(sweep, level).items() for panel in made]


def workspace(sweep: Sweep, level: Level, entity: str, project: str) -> Any:
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
        sections=[_section(name, made) for name, made in sections(sweep, level).items()],
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
        case Curves():
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
        case Parallel():
            columns = [
                wr.ParallelCoordinatesPlotColumn(metric=_number(each), display_name=each.name, log=each.log)
                for each in panel.columns
            ]
            return wr.ParallelCoordinatesPlot(columns=columns, title="axes")
        case Importance():
            return wr.ParameterImportancePlot(with_respect_to=panel.target)
        case Scatter(x, y, z):
            third = {"z": _number(z), "log_z": z.log} if z else {}
            return wr.ScatterPlot(
                title=panel.title, x=_number(x), y=_number(y), log_x=x.log, log_y=y.log, **third
            )
        case Pictures():
            return wr.MediaBrowser(title=panel.title, media_keys=list(panel.keys))
        case Rows():
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
