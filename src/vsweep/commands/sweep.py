"""Train a sweep: the public function behind `vsweep run`."""

from collections.abc import Callable
from typing import Any

from vsweep.commands.train import train_sweep
from vsweep.config.spec import make_spec, user_functions
from vsweep.config.user_input import ConfigInput, as_overrides
from vsweep.results import Sweep


def sweep(
    config: ConfigInput = (),
    *,
    model: Callable[..., Any] | None = None,
    loss: Callable[..., Any] | None = None,
    data: Any = None,
    quiet: bool = False,
) -> Sweep:
    """Train a sweep, and give what came out.

    config: Hydra overrides as on the command line (`["sweep=digits", "seeds=8"]`), or nested mappings
        of fields (`{"data": "iris", "grid": {"optimizer": {"lr": [0.1, 1.0]}}}`). `wandb_sweep=path.yaml` is
        what a W&B sweep file says.
    model: your own: a function of any fields that gives a `Model`.
    loss: your own: a function of `(outputs, targets)` and any fields, that gives a loss per example.
    data: your own: `(x, y)`, x `(examples, features)`, y `(examples,)` (integers are classes, floats
        are numbers), or a function of any fields that gives them.
    quiet: show nothing while it trains.

    Raises `ConfigError`, before anything is written, for what cannot be run, and `Interrupted` (a
    `KeyboardInterrupt`) on Ctrl-C, with what is finished kept.
    """
    own = user_functions(model=model, loss=loss, data=data)
    words, notes = as_overrides(config)
    return train_sweep(make_spec(words, own, notes), quiet=quiet)
