"""Overrides without an effect: they are refused, or a note says for which cells they have one."""

from collections.abc import Iterable, Iterator, Mapping, Sequence

from vsweep.config.axes import RawAxes
from vsweep.config.grid import Axis
from vsweep.config.overrides import Override
from vsweep.config.schema import GROUPS, OWN
from vsweep.config.validate import Config, fields_of
from vsweep.errors import ConfigError


def refuse_replaced(
    file: Sequence[Override], recorded: Sequence[Override], given: Sequence[Override], axes: Mapping[str, str]
) -> None:
    """Raise `ConfigError` for an override of a field whose values come from an axis.

    An axis may replace what comes before it: a field of a sweep file, or of a recorded sweep.

    Args:
        file: The overrides of the sweep file.
        recorded: The overrides of the recorded sweep, which were accepted when it was trained.
        given: The overrides that the user gives.
        axes: The field under `grid` or `draws` that holds each axis, by the axis' path.
    """
    for change in given:
        inside = [field for field in axes.values() if field.startswith(f"{change.key}.")]
        if change.kind == "assign" and change.value == {} and inside:
            # Mappings are merged, so an empty one leaves all axes as they are.
            got = f"got {change.word}, which removes no axis"
            raise ConfigError(change.key, got, f"to remove the axes give {change.key}=null")
    changes = [*file, *recorded, *given]
    first_given = len(file) + len(recorded)
    for path, field in axes.items():
        own_path = {path, f"{path}.name"} if path in GROUPS else {path}
        last = [i for i, change in enumerate(changes) if f"{field}.".startswith(f"{change.key}.")][-1]
        for i, change in enumerate(changes):
            is_given = i >= first_given
            beside = is_given and last >= first_given
            # The choices of a sweep file, and of a mapping that has the axis too, are defaults.
            is_word = isinstance(change.source, str) or not beside
            fixes = change.kind == "assign" or (is_given and change.kind == "choose" and is_word)
            is_checked = is_given or i < len(file)
            replaced = i > last or beside
            for fixed in own_path.intersection(change.paths() if fixes and is_checked and replaced else ()):
                word = change.word_of(fixed)
                way_out = word.replace(f"{path}.name=", f"{path}=", 1)
                takes = f"to fix it give ~{field} {way_out}; to keep the axis leave {path} out"
                raise ConfigError(path, f"got {word}, but its values are those of the axis {field}", takes)


def refuse_unused_functions(own: Iterable[str], given: Sequence[Override], axes: RawAxes) -> None:
    """Raise `ConfigError` if a function that is given in Python is not the choice of its group.

    Args:
        own: The groups whose functions are given.
        given: The overrides that the user gives.
        axes: The axes.
    """
    fields = axes.fields()
    for group in own:
        for change in given:
            if (change.kind, change.key) == ("choose", group) and change.value != OWN:
                got = f"got {change.word}, and a function or arrays of your own in Python"
                raise ConfigError(group, got, "leave one of them out")
        values = next((axis.values for axis in axes.axes if axis.path == group), (OWN,))
        if OWN not in values:
            got = f"got a function or arrays of your own, but its choices are those of {fields[group]}"
            takes = f"to train it alone give ~{fields[group]}; to train it beside them add {OWN} to the axis"
            raise ConfigError(group, got, takes)


def notes_on_replaced(given: Sequence[Override]) -> Iterator[str]:
    """Yield a line for each override that a later one of the same field replaces."""
    last = {change.key: change for change in given if change.kind in ("choose", "assign")}
    for change in given:
        later = last.get(change.key, change)
        if change.kind in ("choose", "assign") and change.value != later.value:
            yield f"{change.word_of(change.key)} is replaced by {later.word_of(change.key)}"


def notes_on_unused(
    changes: Sequence[Override], axes: Sequence[Axis], configs: Sequence[Config]
) -> Iterator[str]:
    """Yield a line for each override that only some cells can use.

    Args:
        changes: All overrides.
        axes: The axes, and the fields that follow them.
        configs: The configs of the cells, one for each choice on the axes over groups.
    """
    assigned = {path: change for change in changes if change.kind == "assign" for path in change.paths()}
    for path, change in assigned.items():
        group, _, key = path.partition(".")
        if group not in GROUPS or not key or key in ("name", "_target_"):
            continue
        have = {getattr(config, group).name: path in fields_of(config) for config in configs}
        if not all(have.values()):
            users = " and ".join(f"{group}={name}" for name, has in have.items() if has)
            lacking = [name for name, has in have.items() if not has]
            others = f"{' and '.join(lacking)} {'has' if len(lacking) == 1 else 'have'}"
            yield f"{change.word_of(path)} is for the cells of {users}; {others} no such field"
        if path == "model.init_scale":
            yield from _notes_on_scale(change.word_of(path), axes, configs)


def _notes_on_scale(word: str, axes: Sequence[Axis], configs: Sequence[Config]) -> Iterator[str]:
    """Yield a line if the scale of the weights changes nothing, since they are zeros."""
    values = {axis.path: axis.values for axis in axes}
    inits = {
        init
        for config in configs
        if config.model.has_initializer
        for init in values.get("model.init", [config.model.fields.get("init")])
    }
    if inits == {"zeros"}:
        yield f"{word} changes nothing, since model.init=zeros; give another model.init, such as lecun_normal"
    elif "zeros" in inits:
        yield f"{word} changes nothing in the cells of model.init=zeros"
