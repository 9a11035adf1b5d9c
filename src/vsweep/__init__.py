"""vsweep: train a grid of models in a few compiled JAX programs, and keep every curve.

Modules that need JAX, Hydra or pandas are imported on first use: the command line starts at once, and
`vsweep.tasks` and `vsweep.training` can be imported where only JAX and optax are installed.
"""

from importlib import import_module

# `python -m vsweep` runs this file before it leaves out a current folder that may be somebody else's, so only
# what Python has imported itself is imported here.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from vsweep.commands.check import check as check
    from vsweep.commands.confirm import confirm as confirm
    from vsweep.commands.dashboard import dashboard as dashboard
    from vsweep.commands.directory import load as load
    from vsweep.commands.plan import plan as plan
    from vsweep.commands.report import report as report
    from vsweep.commands.reproduce import overrides as overrides
    from vsweep.commands.reproduce import reproduce as reproduce
    from vsweep.commands.resume import resume as resume
    from vsweep.commands.sweep import sweep as sweep
    from vsweep.commands.sync import sync as sync
    from vsweep.commands.verify import verify as verify
    from vsweep.engine.devices import devices as devices
    from vsweep.errors import ConfigError as ConfigError
    from vsweep.results import Sweep as Sweep
    from vsweep.tasks.data.dataset import Dataset as Dataset
    from vsweep.tasks.models import Model as Model

# The command functions have the names of their modules; `_MODULES` maps each public name to its module.
_NAMES = ["check", "confirm", "dashboard", "plan", "report", "reproduce", "resume", "sweep", "sync", "verify"]
_MODULES = {name: f"vsweep.commands.{name}" for name in _NAMES} | {
    "ConfigError": "vsweep.errors",
    "Dataset": "vsweep.tasks.data.dataset",
    "Model": "vsweep.tasks.models",
    "Sweep": "vsweep.results",
    "devices": "vsweep.engine.devices",
    "load": "vsweep.commands.directory",
    "overrides": "vsweep.commands.reproduce",
}
__all__ = [*_MODULES]


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'vsweep' has no attribute {name!r}")
    return getattr(import_module(_MODULES[name]), name)
