"""Say what a sweep would train, and train nothing."""

from pathlib import Path

from vsweep.config.spec import Study, make_study
from vsweep.config.user_input import Words, as_words
from vsweep.engine.make_plan import planned
from vsweep.engine.plan import Plan, make_plan
from vsweep.engine.tuning.cost_model import Hardware
from vsweep.engine.tuning.timings import known as measurements
from vsweep.store.writer import read_plan


def plan(config: Words = ()) -> tuple[Study, Plan]:
    """What a sweep would train, and train nothing. Raises `ConfigError`."""
    words, notes = as_words(config)
    made = make_study(words, notes=notes)
    before = read_plan(Path(made.raw["dir"])) if made.raw["dir"] else {}
    return made, planned(made, measurements(), before)[0]


def try_plan(config: Words) -> None:
    """Raise `ConfigError` for a sweep that cannot be run; start no device."""
    made = make_study(as_words(config).words)
    make_plan(made.grid, made.variants, made.group_axes, Hardware("cpu", 1))
