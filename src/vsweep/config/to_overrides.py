"""The exact config of a trial or a cell as overrides, and spelt as words of a command line."""

import numpy as np

from vsweep.config.overrides import FieldValue, spell, to_hydra_literal
from vsweep.config.schema import GROUPS
from vsweep.config.spec import SweepSpec
from vsweep.config.validate import Config, as_dict
from vsweep.errors import ConfigError
from vsweep.store.cell_overrides import CellOverrides


def trial_values(config: Config, seed: int) -> list[FieldValue]:
    """Return the fields of which one trial's config is composed, whatever the defaults are."""
    nested = as_dict(config)
    fields = {group: nested[group].pop("name") for group in GROUPS}
    for group in GROUPS:
        fields |= {f"{group}.{key}": value for key, value in nested.pop(group).items()}
    return [FieldValue(path, value) for path, value in (fields | nested | {"seeds": [seed]}).items()]


def trial_overrides(config: Config, seed: int) -> list[str]:
    """Return the same as words of a command line, for a person."""
    return [spell(field) for field in trial_values(config, seed)]


def cell_overrides(made: SweepSpec) -> CellOverrides:
    """The overrides of every cell of a sweep, but its seeds: what `trial_overrides` gives for each, at once.

    Raises `ConfigError` where its functions were given as objects, which no words name.
    """
    for config in made.variants.values():
        for path, target in trial_values(config, 0):
            if path.endswith("._target_") and not _found_again(target):
                raise ConfigError(
                    path.partition(".")[0], "it was given as an object in Python", "give it again"
                )
    grid = made.grid
    words = [[f"{axis.path}={to_hydra_literal(value)}" for value in axis.values] for axis in grid.axes]
    kinds: list[list[str | tuple[int, str]]] = []
    kind = np.zeros(len(grid.cells), np.int64)
    for i, (choice, config) in enumerate(made.variants.items()):
        *own, _ = trial_overrides(config, 0)
        axes = {axis.path: a for a, axis in enumerate(grid.axes) if a not in made.group_axes}
        keys = [word.partition("=")[0] for word in own]
        kinds.append(
            [(axes[key], word) if key in axes else word for key, word in zip(keys, own, strict=True)]
        )
        chosen = np.ones(len(grid.cells), bool)
        for a, value in zip(made.group_axes, choice, strict=True):
            chosen &= grid.index[:, a] == grid.axes[a].values.index(value)
        kind[chosen] = i
    return CellOverrides(grid.cells, grid.index, words, kind, kinds)


def _found_again(target: str) -> bool:
    """Whether a dotted path names a function of a module, and not what is only in a person's process."""
    module, dot, name = target.rpartition(".")
    return bool(dot) and module != "__main__" and "<" not in f"{module}{name}"
