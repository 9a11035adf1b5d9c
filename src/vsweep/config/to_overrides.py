"""Write the exact config of a trial or a cell as overrides."""

import numpy as np

from vsweep.config.overrides import FieldValue, spell, to_hydra_literal
from vsweep.config.schema import GROUPS
from vsweep.config.spec import SweepSpec
from vsweep.config.validate import Config, as_dict
from vsweep.errors import ConfigError
from vsweep.store.cell_overrides import CellOverrides


def trial_values(config: Config, seed: int) -> list[FieldValue]:
    """Return the fields that compose one trial's config, whatever the defaults are."""
    nested = as_dict(config)
    fields = {group: nested[group].pop("name") for group in GROUPS}
    for group in GROUPS:
        fields |= {f"{group}.{key}": value for key, value in nested.pop(group).items()}
    return [FieldValue(path, value) for path, value in (fields | nested | {"seeds": [seed]}).items()]


def trial_overrides(config: Config, seed: int) -> list[str]:
    """Return the fields of `trial_values` as words of a command line."""
    return [spell(field) for field in trial_values(config, seed)]


def cell_overrides(spec: SweepSpec) -> CellOverrides:
    """Return the overrides of all cells of a sweep at once, as `trial_overrides` without the seed.

    Raises:
        ConfigError: If a function was given as an object, which no override can name.
    """
    for config in spec.variants.values():
        for path, target in trial_values(config, 0):
            if path.endswith("._target_") and not _is_importable(target):
                group = path.partition(".")[0]
                raise ConfigError(group, "it was given as an object in Python", "give it again")
    grid = spec.grid
    words = [[f"{axis.path}={to_hydra_literal(value)}" for value in axis.values] for axis in grid.axes]
    positions = {axis.path: a for a, axis in enumerate(grid.axes) if a not in spec.group_axes}
    kinds: list[list[str | tuple[int, str]]] = []
    kind = np.zeros(len(grid.cells), np.int64)
    for i, (choice, config) in enumerate(spec.variants.items()):
        *fields, _ = trial_overrides(config, 0)
        keys = [field.partition("=")[0] for field in fields]
        kinds.append(
            [
                (positions[key], field) if key in positions else field
                for key, field in zip(keys, fields, strict=True)
            ]
        )
        rows = np.ones(len(grid.cells), bool)
        for a, value in zip(spec.group_axes, choice, strict=True):
            rows &= grid.index[:, a] == grid.axes[a].values.index(value)
        kind[rows] = i
    return CellOverrides(grid.cells, grid.index, words, kind, kinds)


def _is_importable(target: str) -> bool:
    """Return True for the dotted path of a module's function, which another process can import."""
    module, dot, name = target.rpartition(".")
    return bool(dot) and module != "__main__" and "<" not in f"{module}{name}"
