"""Hold the gradients of a sweep against central differences."""

from collections.abc import Callable
from typing import Any

from vsweep.config.spec import make_study, own_of
from vsweep.config.user_input import Words, as_words
from vsweep.engine.checks.gradients import THRESHOLD, check_gradients
from vsweep.engine.make_plan import planned
from vsweep.engine.tuning.timings import known as measurements
from vsweep.store.gradient_check import Checked


def check(
    config: Words = (),
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
    made = make_study(as_words(config).words, own_of(model=model, loss=loss, data=data))
    plan, _ = planned(made, measurements(), {})
    return Checked(tuple(check_gradients(plan)), THRESHOLD)
