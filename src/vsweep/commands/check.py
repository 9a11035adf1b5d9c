"""Hold the gradients of a sweep against central differences."""

from collections.abc import Callable
from typing import Any

from vsweep.config.spec import make_spec, user_functions
from vsweep.config.user_input import ConfigInput, as_overrides
from vsweep.engine.checks.gradients import THRESHOLD, check_gradients
from vsweep.engine.make_plan import plan_sweep
from vsweep.engine.tuning.timings import load_timings as measurements
from vsweep.store.gradient_check import Checked


def check(
    config: ConfigInput = (),
    *,
    model: Callable[..., Any] | None = None,
    loss: Callable[..., Any] | None = None,
    data: Any = None,
) -> Checked:
    """Hold the gradients that a sweep would descend against central differences, in float64.

    config, model, loss, data: as in `vsweep.sweep`. Of every program the training loss's gradient is taken in
    the first and the last trial, at the first parameters and near them; where there are many parameters, in
    some. Nothing is trained, and nothing is written.

    Returns what was found, `wrong` where a gradient is off by more than a millionth and by more than
    differences leave in doubt. Raises `ConfigError`.
    """
    made = make_spec(as_overrides(config).words, user_functions(model=model, loss=loss, data=data))
    plan, _ = plan_sweep(made, measurements(), {})
    return Checked(tuple(check_gradients(plan)), THRESHOLD)
