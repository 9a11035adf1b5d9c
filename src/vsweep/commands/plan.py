"""Describe the training of a sweep, and train nothing."""

from pathlib import Path

from vsweep.commands.tracker import check_environment
from vsweep.config.spec import SweepSpec, make_spec
from vsweep.config.user_input import ConfigInput
from vsweep.engine.plan import Plan, make_plan, plan_sweep
from vsweep.engine.plan_record import as_text
from vsweep.engine.tuning.shape import Hardware
from vsweep.engine.tuning.timings import load_timings
from vsweep.store.writer import read_plan
from vsweep.trackers.wandb.environment import describe_environment
from vsweep.trackers.wandb.options import describe_runs, tracker_mode
from vsweep.training.loop import recorded_steps


def plan(config: ConfigInput = ()) -> tuple[SweepSpec, Plan]:
    """Plan a sweep, and train nothing.

    Args:
        config: The config, as in `vsweep.sweep`.

    Returns:
        The checked config, and the programs that would be trained.

    Raises:
        ConfigError: If the sweep cannot be run, or W&B's client would refuse a variable of the environment.
    """
    spec = make_spec(config)
    check_environment(spec.raw["tracker"]["wandb"])
    earlier = read_plan(Path(spec.raw["dir"])) if spec.raw["dir"] else {}
    return spec, plan_sweep(spec, load_timings(), earlier)[0]


def try_plan(config: ConfigInput) -> None:
    """Raise `ConfigError` for a sweep that cannot be run; start no device."""
    make_plan(make_spec(config), Hardware("cpu", 1))


def describe(spec: SweepSpec, plan: Plan) -> str:
    """Return the text of a plan, with the runs that Weights & Biases would show."""
    lines, options = [as_text(spec.name, plan)], spec.raw["tracker"]["wandb"]
    if tracker_mode(options) != "disabled":
        longest = max(len(recorded_steps(program.static.length)) for program in plan.programs)
        rows = min(options["rows"], longest)
        lines.append(describe_runs(options, len(plan.grid), len(plan.grid.cells), rows))
    return "\n  ".join([*lines, *describe_environment(options)])
