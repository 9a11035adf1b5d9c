"""vsweep: train a grid of models in a few compiled JAX programs, and keep every curve.

What needs JAX, Hydra or pandas is imported when first used: the command line starts at once, and
`vsweep.tasks` and `vsweep.training` import where there is JAX and optax alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vsweep.errors import ConfigError

if TYPE_CHECKING:
    from vsweep.api import load, plan, report, resume, sweep
    from vsweep.execution.devices import devices
    from vsweep.prove import check, confirm, overrides, reproduce, verify
    from vsweep.results import Sweep
    from vsweep.sending import dashboard, sync
    from vsweep.tasks.data.dataset import Dataset
    from vsweep.tasks.models import Model

__all__ = [
    "ConfigError",
    "Dataset",
    "Model",
    "Sweep",
    "check",
    "confirm",
    "dashboard",
    "devices",
    "load",
    "overrides",
    "plan",
    "report",
    "reproduce",
    "resume",
    "sweep",
    "sync",
    "verify",
]

_WHERE = {
    "Dataset": "vsweep.tasks.data.dataset",
    "Model": "vsweep.tasks.models",
    "Sweep": "vsweep.results",
    "dashboard": "vsweep.sending",
    "devices": "vsweep.execution.devices",
    "load": "vsweep.api",
    "check": "vsweep.prove",
    "confirm": "vsweep.prove",
    "overrides": "vsweep.prove",
    "reproduce": "vsweep.prove",
    "verify": "vsweep.prove",
    "plan": "vsweep.api",
    "report": "vsweep.api",
    "resume": "vsweep.api",
    "sweep": "vsweep.api",
    "sync": "vsweep.sending",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'vsweep' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
