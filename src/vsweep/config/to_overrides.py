"""Write the exact config of a trial or a cell as overrides."""

from typing import Any

import numpy as np

from vsweep.config.overrides import spell
from vsweep.config.schema import GROUPS
from vsweep.config.spec import SweepSpec
from vsweep.config.validate import Config, as_dict
from vsweep.errors import ConfigError
from vsweep.store.cell_overrides import CellOverrides


def cell_values(config: Config) -> dict[str, Any]:
    """Return all fields of a cell's config, which compose it independently of any defaults."""
    nested = as_dict(config)
    fields = {group: nested[group].pop("name") for group in GROUPS}
    for group in GROUPS:
        fields |= {f"{group}.{key}": value for key, value in nested.pop(group).items()}
    return fields | nested


def cell_overrides(spec: SweepSpec) -> CellOverrides:
    """Return the overrides of all cells of a sweep at once, as words of `cell_values`.

    Raises:
        ConfigError: If a function was given as an object, which no override can name.
    """
    for config in spec.variants.values():
        for path, target in cell_values(config).items():
            if path.endswith("._target_") and not _is_importable(target):
                group = path.partition(".")[0]
                raise ConfigError(group, "it was given as an object in Python", "pass the same object again")
    grid = spec.grid
    words = [[spell(axis.path, value) for value in axis.values] for axis in grid.axes]
    positions = {axis.path: a for a, axis in enumerate(grid.axes) if a not in spec.group_axes}
    kinds: list[list[str | tuple[int, str]]] = []
    kind = np.zeros(len(grid.cells), np.int64)
    for i, (choice, config) in enumerate(spec.variants.items()):
        fields = {path: spell(path, value) for path, value in cell_values(config).items()}
        kinds.append([(positions[p], word) if p in positions else word for p, word in fields.items()])
        rows = np.ones(len(grid.cells), bool)
        for a, value in zip(spec.group_axes, choice, strict=True):
            rows &= grid.index[:, a] == grid.axes[a].values.index(value)
        kind[rows] = i
    return CellOverrides(grid.cells, grid.index, words, kind, kinds)


def _is_importable(target: str) -> bool:
    """Return True for the dotted path of a module's function, which another process can import."""
    module, dot, name = target.rpartition(".")
    return bool(dot) and module != "__main__" and "<" not in f"{module}{name}"
