"""The distributions of W&B's sweeps: their names, fields and defaults, and values drawn from them.

They follow W&B's own controller: `log_uniform` and `inv_log_uniform` take natural logarithms as `min` and
`max`, the same names with `_values` take the values themselves, and `q_` rounds to multiples of `q`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from vsweep.config.grid import is_number
from vsweep.errors import ConfigError, short_repr, suggest

_EXACT = 2**53
_MOST = 1_000_000
_DIGITS = 12
_TAKES = "it takes value, values, min and max, or a distribution and its fields"

_DEFAULTS = {"mu": 0.0, "sigma": 1.0, "a": 1.0, "b": 1.0, "q": 1}
_BOUNDS, _MOMENTS = ("min", "max"), ("mu", "sigma")
_QUANTIZED: dict[str, tuple[str, ...]] = {
    "uniform": _BOUNDS,
    "log_uniform": _BOUNDS,
    "log_uniform_values": _BOUNDS,
    "normal": _MOMENTS,
    "log_normal": _MOMENTS,
    "beta": ("a", "b"),
}
_FIELDS: dict[str, tuple[str, ...]] = {
    "constant": ("value",),
    "categorical": ("values",),
    "int_uniform": _BOUNDS,
    "inv_log_uniform": _BOUNDS,
    "inv_log_uniform_values": _BOUNDS,
    **_QUANTIZED,
    **{f"q_{name}": (*fields, "q") for name, fields in _QUANTIZED.items()},
}


def _quantiles(name: str, u: np.ndarray, first: float, second: float) -> np.ndarray:
    """Return the quantiles of a distribution with two fields at `u`, float64 `(draws,)` in (0, 1)."""
    # SciPy's distributions take half a second to import, and only W&B's sweep files draw from them.
    from scipy.stats import beta, loguniform, norm, uniform

    if name.endswith("_values"):
        # Rounding in the logarithm must not carry a value beyond an end.
        return np.clip(loguniform.ppf(u, first, second), first, second)
    if name == "beta":
        return beta.ppf(u, first, second)
    if name == "inv_log_uniform":
        return np.exp(-uniform.isf(u, first, second - first))
    # SciPy's own scale must be above 0, and W&B takes a sigma of 0.
    normal = name.endswith("normal")
    values = first + second * norm.ppf(u) if normal else uniform.ppf(u, first, second - first)
    return np.exp(values) if name.startswith("log_") else values


@dataclass(frozen=True)
class Distribution:
    """The distribution that W&B draws a parameter from.

    Attributes:
        field: The parameter's name, for messages.
        name: W&B's name of the distribution.
        values: The values of a constant or a categorical distribution.
        probabilities: The probability of each value; None where all are equal.
        numbers: The distribution's fields, in the order of `_FIELDS`.
    """

    field: str
    name: str
    values: tuple[Any, ...] = ()
    probabilities: tuple[float, ...] | None = None
    numbers: tuple[float, ...] = ()

    def axis(self) -> list[Any] | dict[str, list[float]]:
        """Return the values as an axis takes them.

        Raises:
            ConfigError: If W&B's grid search cannot enumerate this distribution.
        """
        if self.probabilities is not None:
            got = "probabilities under method: grid"
            raise ConfigError(self.field, got, "leave them out, or give method: random")
        if self.values:
            return list({repr(value): value for value in self.values}.values())
        if self.name in ("int_uniform", "q_uniform"):
            low, high, step = (*self.numbers, 1)[:3]
            count = (high - low) / step
            if count > _MOST:
                raise ConfigError(self.field, f"about {count:.3g} values", f"a grid takes up to {_MOST:,}")
            return {"range": [low, high + 1] if self.name == "int_uniform" else [low, high, step]}
        takes = "a grid takes values, int_uniform or q_uniform: give values, or method: random"
        raise ConfigError(self.field, f"{self.name} cannot be enumerated", takes)

    def draw(self, u: np.ndarray) -> list[Any]:
        """Return one value for each number.

        Args:
            u: Numbers in (0, 1), float64 `(draws,)`.

        Raises:
            ConfigError: If a drawn number is not finite.
        """
        if self.values:
            weights = np.cumsum(self.probabilities or [1.0] * len(self.values))
            indices = np.searchsorted(weights, u * weights[-1], side="right")
            return [self.values[min(i, len(self.values) - 1)] for i in indices.tolist()]
        if self.name == "int_uniform":
            low, high = map(int, self.numbers)
            return [min(low + int(v), high) for v in (u * (high - low + 1)).tolist()]
        with np.errstate(over="ignore", invalid="ignore"):
            numbers = _quantiles(self.name.removeprefix("q_"), u, *self.numbers[:2])
            q = self.numbers[2] if self.name.startswith("q_") else 0
            numbers = np.round(numbers / q) * q if q else numbers
        if not np.isfinite(numbers).all():
            got = f"{self.name} draws numbers that are not finite"
            raise ConfigError(self.field, got, "give narrower bounds")
        if q:
            return [int(v) if q == int(q) else float(f"{v:.{_DIGITS}g}") for v in numbers.tolist()]
        return numbers.tolist()


def distribution(field: str, parameter: Mapping[str, Any]) -> Distribution:
    """Parse a parameter of a W&B sweep file.

    Args:
        field: The parameter's name, for messages.
        parameter: The parameter's fields.

    Raises:
        ConfigError: If there is no such distribution, or it does not accept a field.
    """
    name = parameter.get("distribution")
    name = _inferred_name(field, parameter) if name is None else name
    # W&B accepts this second name too.
    name = "categorical" if name == "categorical_w_probabilities" else name
    if not isinstance(name, str) or name not in _FIELDS:
        got = f"no such distribution {short_repr(name)}"
        raise ConfigError(f"{field}.distribution", got, suggest(str(name), _FIELDS))
    known = [*_FIELDS[name], *(["probabilities"] if name == "categorical" else []), "distribution"]
    for key in parameter:
        if key not in known:
            raise ConfigError(f"{field}.{key}", f"no field of {name}", suggest(str(key), known))
    if name in ("constant", "categorical"):
        return _discrete(field, name, parameter)
    numbers = tuple(_number(field, name, key, parameter) for key in _FIELDS[name])
    if "min" in _FIELDS[name] and numbers[0] >= numbers[1]:
        got = f"got min {numbers[0]!r} and max {numbers[1]!r}"
        raise ConfigError(field, got, "it takes a min below max")
    return Distribution(field, name, numbers=numbers)


def _inferred_name(field: str, parameter: Mapping[str, Any]) -> str:
    """Return the distribution that W&B infers for a parameter that names none."""
    if "value" in parameter:
        return "constant"
    if "values" in parameter:
        return "categorical"
    if "min" in parameter and "max" in parameter:
        return "int_uniform" if all(type(parameter[key]) is int for key in _BOUNDS) else "uniform"
    raise ConfigError(field, f"got {short_repr(dict(parameter))}", _TAKES)


def _discrete(field: str, name: str, parameter: Mapping[str, Any]) -> Distribution:
    (key,) = _FIELDS[name]
    values = [parameter[key]] if key == "value" and key in parameter else parameter.get(key)
    if not isinstance(values, list) or not values:
        takes = "it takes a list" if key == "values" else "it takes a value"
        raise ConfigError(f"{field}.{key}", f"got {short_repr(values)}", takes)
    for value in values:
        if isinstance(value, Mapping) or "${" in repr(value):
            takes = "it takes plain values; nested parameters belong under the key parameters"
            raise ConfigError(f"{field}.{key}", f"got {short_repr(value)}", takes)
    weights = parameter.get("probabilities")
    if weights is None:
        return Distribution(field, name, tuple(values))
    valid = isinstance(weights, list) and len(weights) == len(values)
    valid = valid and all(_is_exact_number(weight) and weight >= 0 for weight in weights)
    if not valid or not math.isclose(sum(weights), 1.0, abs_tol=1e-5):
        takes = f"it takes {len(values)} numbers of at least 0, as many as values, with a sum of 1"
        raise ConfigError(f"{field}.probabilities", f"got {short_repr(weights)}", takes)
    return Distribution(field, name, tuple(values), tuple(weights))


def _is_exact_number(value: Any) -> bool:
    """Return True for a number that float64 holds, if it is an integer, exactly."""
    return is_number(value) and (isinstance(value, float) or abs(value) < _EXACT)


def _number(field: str, name: str, key: str, parameter: Mapping[str, Any]) -> float:
    value = parameter.get(key, _DEFAULTS.get(key))
    integer = name == "int_uniform"
    if not _is_exact_number(value) or (integer and not isinstance(value, int)):
        got = f"got {short_repr(value)}" if key in parameter else "got nothing"
        raise ConfigError(f"{field}.{key}", got, f"it takes {'an integer' if integer else 'a number'}")
    positive = key in ("a", "b", "q") or (name.endswith("_values") and key == "min")
    if (positive and value <= 0) or (key == "sigma" and value < 0):
        takes = "it takes a number above 0" if positive else "it takes a number of at least 0"
        raise ConfigError(f"{field}.{key}", f"got {value!r}", takes)
    return value
