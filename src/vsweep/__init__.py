"""vsweep: train a grid of models in a few compiled JAX programs, and keep every curve.

`sweep` and `load` and what they give need Hydra and pandas; they are imported when first used, so that
`vsweep.tasks` and `vsweep.descent` import where there is JAX and optax alone.
"""

from typing import TYPE_CHECKING, Any

from vsweep.errors import ConfigError
from vsweep.tasks.dataset import Dataset
from vsweep.tasks.models import Model

if TYPE_CHECKING:
    from vsweep.api import load, plan, sweep
    from vsweep.results.sweep import Sweep

__all__ = ["ConfigError", "Dataset", "Model", "Sweep", "load", "plan", "sweep"]


def __getattr__(name: str) -> Any:
    if name in ("load", "plan", "sweep"):
        from vsweep import api

        return getattr(api, name)
    if name == "Sweep":
        from vsweep.results.sweep import Sweep

        return Sweep
    raise AttributeError(f"module 'vsweep' has no attribute {name!r}")
