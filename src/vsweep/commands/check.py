"""Check the gradients of a sweep against central differences."""

from typing import Any

from vsweep.config.spec import make_spec, user_functions
from vsweep.config.user_input import ConfigInput
from vsweep.engine.checks.gradients import THRESHOLD, check_gradients
from vsweep.engine.plan import plan_sweep
from vsweep.engine.tuning.timings import load_timings
from vsweep.store.checks import GradientCheck


def check(config: ConfigInput = (), **own: Any) -> GradientCheck:
    """Check the gradients that a sweep would descend against central differences, in float64.

    The gradient of each program's training loss is checked in the first and the last trial, at the initial
    parameters and near them; programs with many parameters are checked in some of them. Nothing is trained
    or written.

    Args:
        config: The config, as in `vsweep.sweep`.
        **own: Your own `model`, `loss` and `data`, as in `vsweep.sweep`.

    Returns:
        The largest errors; `wrong` where a gradient's relative error is above 1e-6 and above the differences'
        own uncertainty.

    Raises:
        ConfigError: If the sweep cannot be run.
    """
    plan, _ = plan_sweep(make_spec(config, user_functions(**own)), load_timings(), {})
    programs = tuple(check_gradients(plan))
    return GradientCheck.combine("", programs, programs=programs, threshold=THRESHOLD)
