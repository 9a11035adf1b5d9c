"""The distributions of W&B's sweeps: their names, fields and defaults, and values drawn from them.

As W&B's own controller has them: `log_uniform` and `inv_log_uniform` take natural logarithms as `min` and
`max`, their forms in `_values` the values themselves, and `q_` rounds to multiples of `q`.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import betaincinv, ndtri

from vsweep.errors import ConfigError, short_repr, suggest

_EXACT = 2**53
_MOST = 1_000_000
_DIGITS = 12
_TAKES = "it takes value, values, min and max, or a distribution and its fields"


def _uniform(u: np.ndarray, low: float, high: float) -> np.ndarray:
    return low + u * (high - low)


def _log_values(u: np.ndarray, low: float, high: float) -> np.ndarray:
    # Rounding of the logarithm goes beyond neither end.
    return np.clip(np.exp(_uniform(u, math.log(low), math.log(high))), low, high)


def _normal(u: np.ndarray, mu: float, sigma: float) -> np.ndarray:
    return mu + sigma * ndtri(u)


# From numbers in (0, 1), and two fields: the inverse of each distribution function.
_INVERSE: dict[str, Callable[[np.ndarray, float, float], np.ndarray]] = {
    "uniform": _uniform,
    "log_uniform": lambda u, low, high: np.exp(_uniform(u, low, high)),
    "log_uniform_values": _log_values,
    "inv_log_uniform": lambda u, low, high: np.exp(-_uniform(1.0 - u, low, high)),
    "inv_log_uniform_values": _log_values,
    "normal": _normal,
    "log_normal": lambda u, mu, sigma: np.exp(_normal(u, mu, sigma)),
    "beta": lambda u, a, b: betaincinv(a, b, u),
}
_DEFAULTS = {"mu": 0.0, "sigma": 1.0, "a": 1.0, "b": 1.0, "q": 1}
_BOUNDS = ("min", "max")
_FIELDS: dict[str, tuple[str, ...]] = {
    "constant": ("value",),
    "categorical": ("values",),
    "int_uniform": _BOUNDS,
    **{name: _BOUNDS for name in _INVERSE if "uniform" in name},
    "normal": ("mu", "sigma"),
    "log_normal": ("mu", "sigma"),
    "beta": ("a", "b"),
}
_FIELDS |= {f"q_{name}": (*_FIELDS[name], "q") for name in _INVERSE if not name.startswith("inv")}


@dataclass(frozen=True)
class Distribution:
    """What W&B draws a parameter from.

    field: what to name it by. name: as W&B calls it. values: of a constant or a categorical one.
    probabilities: of the values; None where all have the same. numbers: its fields, in the order of
    `_FIELDS`.
    """

    field: str
    name: str
    values: tuple[Any, ...] = ()
    probabilities: tuple[float, ...] | None = None
    numbers: tuple[float, ...] = ()

    def axis(self) -> list[Any] | dict[str, list[float]]:
        """Its values as an axis takes them, where W&B's grid search has it. Raises `ConfigError`."""
        if self.probabilities is not None:
            got = "probabilities under method: grid"
            raise ConfigError(self.field, got, "leave them out, or give method: random")
        if self.values:
            return list({repr(value): value for value in self.values}.values())
        if self.name in ("int_uniform", "q_uniform"):
            low, high, step = (*self.numbers, 1)[:3]
            count = (high - low) / step
            if count > _MOST:
                raise ConfigError(self.field, f"some {count:.3g} values", f"a grid takes up to {_MOST:,}")
            return {"range": [low, high + 1] if self.name == "int_uniform" else [low, high, step]}
        takes = "a grid takes values, int_uniform or q_uniform: give values, or method: random"
        raise ConfigError(self.field, f"{self.name} cannot be enumerated", takes)

    def draw(self, u: np.ndarray) -> list[Any]:
        """As many values as there are numbers. u: float64 `(draws,)`, in (0, 1). Raises `ConfigError`."""
        if self.values:
            weights = np.cumsum(self.probabilities or [1.0] * len(self.values))
            places = np.searchsorted(weights, u * weights[-1], side="right")
            return [self.values[min(i, len(self.values) - 1)] for i in places.tolist()]
        if self.name == "int_uniform":
            low, high = map(int, self.numbers)
            return [min(low + int(v), high) for v in (u * (high - low + 1)).tolist()]
        with np.errstate(over="ignore", invalid="ignore"):
            drawn = _INVERSE[self.name.removeprefix("q_")](u, *self.numbers[:2])
            q = self.numbers[2] if self.name.startswith("q_") else 0
            drawn = np.round(drawn / q) * q if q else drawn
        if not np.isfinite(drawn).all():
            raise ConfigError(self.field, f"{self.name} draws numbers beyond all bounds", "give others")
        if q:
            return [int(v) if q == int(q) else float(f"{v:.{_DIGITS}g}") for v in drawn.tolist()]
        return drawn.tolist()


def distribution(field: str, given: Mapping[str, Any]) -> Distribution:
    """A parameter of a W&B sweep file. field: what to name it by. Raises `ConfigError`."""
    said = given.get("distribution")
    name = _inferred(field, given) if said is None else said
    # The name that W&B's own table has for it.
    name = "categorical" if name == "categorical_w_probabilities" else name
    if not isinstance(name, str) or name not in _FIELDS:
        raise ConfigError(
            f"{field}.distribution", f"no such distribution {short_repr(name)}", _near(name, _FIELDS)
        )
    known = [*_FIELDS[name], *(["probabilities"] if name == "categorical" else []), "distribution"]
    for key in given:
        if key not in known:
            raise ConfigError(f"{field}.{key}", f"no field of {name}", _near(key, known))
    if name in ("constant", "categorical"):
        return _discrete(field, name, given)
    numbers = tuple(_number(field, name, key, given) for key in _FIELDS[name])
    _refuse_bounds(field, name, numbers)
    return Distribution(field, name, numbers=numbers)


def _near(word: Any, known: Any) -> str:
    return suggest(str(word), known)


def _inferred(field: str, given: Mapping[str, Any]) -> str:
    """What W&B takes a parameter for that does not say it."""
    if "value" in given:
        return "constant"
    if "values" in given:
        return "categorical"
    if "min" in given and "max" in given:
        whole = all(isinstance(given[key], int) and not isinstance(given[key], bool) for key in _BOUNDS)
        return "int_uniform" if whole else "uniform"
    raise ConfigError(field, f"got {short_repr(dict(given))}", _TAKES)


def _discrete(field: str, name: str, given: Mapping[str, Any]) -> Distribution:
    (key,) = _FIELDS[name]
    values = [given.get(key)] if key == "value" and key in given else given.get(key)
    if not isinstance(values, list) or not values:
        takes = "it takes a list" if key == "values" else "it takes a value"
        raise ConfigError(f"{field}.{key}", f"got {short_repr(values)}", takes)
    for value in values:
        if isinstance(value, Mapping) or "${" in repr(value):
            takes = "it takes plain values: nest parameters under parameters"
            raise ConfigError(f"{field}.{key}", f"got {short_repr(value)}", takes)
    weights = given.get("probabilities")
    if weights is None:
        return Distribution(field, name, tuple(values))
    fine = isinstance(weights, list) and len(weights) == len(values)
    fine = fine and all(_is_number(one) and one >= 0 for one in weights)
    if not fine or not math.isclose(sum(weights), 1.0, abs_tol=1e-5):
        takes = f"it takes {len(values)} numbers of at least 0, as many as values, with a sum of 1"
        raise ConfigError(f"{field}.probabilities", f"got {short_repr(weights)}", takes)
    return Distribution(field, name, tuple(values), tuple(weights))


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) < (_EXACT if isinstance(value, int) else 1e300)


def _number(field: str, name: str, key: str, given: Mapping[str, Any]) -> float:
    value = given.get(key, _DEFAULTS.get(key))
    whole = name == "int_uniform"
    if not _is_number(value) or (whole and not isinstance(value, int)):
        got = f"got {short_repr(value)}" if key in given else "got nothing"
        raise ConfigError(f"{field}.{key}", got, f"it takes {'an integer' if whole else 'a number'}")
    positive = key in ("a", "b", "q") or (name.endswith("_values") and key == "min")
    if (positive and value <= 0) or (key == "sigma" and value < 0):
        takes = "it takes a number above 0" if positive else "it takes a number of at least 0"
        raise ConfigError(f"{field}.{key}", f"got {value!r}", takes)
    return value


def _refuse_bounds(field: str, name: str, numbers: tuple[float, ...]) -> None:
    if "min" in _FIELDS[name] and numbers[0] >= numbers[1]:
        got = f"got min {numbers[0]!r} and max {numbers[1]!r}"
        raise ConfigError(field, got, "min is less than max")
