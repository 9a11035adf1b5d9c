"""Say what a sweep would train, and train nothing."""

from pathlib import Path

from vsweep.config.spec import SweepSpec, make_spec
from vsweep.config.user_input import ConfigInput, as_overrides
from vsweep.engine.make_plan import plan_sweep
from vsweep.engine.plan import Plan, make_plan
from vsweep.engine.tuning.shape import Hardware
from vsweep.engine.tuning.timings import load_timings as measurements
from vsweep.store.writer import read_plan


def plan(config: ConfigInput = ()) -> tuple[SweepSpec, Plan]:
    """What a sweep would train, and train nothing. Raises `ConfigError`."""
    words, notes = as_overrides(config)
    made = make_spec(words, notes=notes)
    before = read_plan(Path(made.raw["dir"])) if made.raw["dir"] else {}
    return made, plan_sweep(made, measurements(), before)[0]


def try_plan(config: ConfigInput) -> None:
    """Raise `ConfigError` for a sweep that cannot be run; start no device."""
    made = make_spec(as_overrides(config).words)
    make_plan(made.grid, made.variants, made.group_axes, Hardware("cpu", 1))
