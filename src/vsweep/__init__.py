"""vsweep: train a grid of models in a few compiled JAX programs, and keep every curve.

What needs JAX, Hydra or pandas is imported when first used: the command line starts at once, and
`vsweep.tasks` and `vsweep.training` import where there is JAX and optax alone.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vsweep.errors import ConfigError

if TYPE_CHECKING:
    from vsweep.commands.check import check
    from vsweep.commands.confirm import confirm
    from vsweep.commands.dashboard import dashboard
    from vsweep.commands.plan import plan
    from vsweep.commands.report import load, report
    from vsweep.commands.reproduce import overrides, reproduce
    from vsweep.commands.resume import resume
    from vsweep.commands.sweep import sweep
    from vsweep.commands.sync import sync
    from vsweep.commands.verify import verify
    from vsweep.engine.devices import devices
    from vsweep.results import Sweep
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
    "dashboard": "vsweep.commands.dashboard",
    "devices": "vsweep.engine.devices",
    "load": "vsweep.commands.report",
    "check": "vsweep.commands.check",
    "confirm": "vsweep.commands.confirm",
    "overrides": "vsweep.commands.reproduce",
    "reproduce": "vsweep.commands.reproduce",
    "verify": "vsweep.commands.verify",
    "plan": "vsweep.commands.plan",
    "report": "vsweep.commands.report",
    "resume": "vsweep.commands.resume",
    "sweep": "vsweep.commands.sweep",
    "sync": "vsweep.commands.sync",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'vsweep' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)
