"""Train a sweep: the public function behind `vsweep run`."""

from collections.abc import Callable
from typing import Any

from vsweep.commands.train import train_sweep
from vsweep.config.spec import make_spec, user_functions
from vsweep.config.user_input import ConfigInput
from vsweep.results import Sweep


def sweep(
    config: ConfigInput = (),
    *,
    model: Callable[..., Any] | None = None,
    loss: Callable[..., Any] | None = None,
    data: Any = None,
    quiet: bool = False,
) -> Sweep:
    """Train a sweep and return its results.

    Args:
        config: Hydra overrides as on the command line (`["sweep=digits", "seeds=8"]`), or nested mappings of
            fields (`{"data": "iris", "grid": {"optimizer": {"lr": [0.1, 1.0]}}}`). `wandb_sweep=path.yaml`
            reads a W&B sweep file.
        model: Your own model: a function of any fields that returns a `Model`.
        loss: Your own loss: a function of `(outputs, targets)` and any fields that returns one loss per
            example.
        data: Your own data: `(x, y)` with x `(examples, features)` and y `(examples,)`, which are classes or
            numbers by `data.targets`; or a function of any fields that returns them.
        quiet: Show nothing while the sweep trains.

    Raises:
        ConfigError: If the sweep cannot be run; nothing was written.
        StoreError: If the directory can no longer be written, or one trial does not fit in memory.
        StuckError: If a block makes no progress for 20 times its predicted time, and for 10 minutes.
        Interrupted: On Ctrl-C (it is a `KeyboardInterrupt`); finished trials are kept.
    """
    own = user_functions(model=model, loss=loss, data=data)
    return train_sweep(make_spec(config, own), quiet=quiet)
