"""Embeddings of prompts about food and about water, in two dimensions."""

import numpy as np

from vsweep.errors import ConfigError
from vsweep.tasks.data.dataset import Dataset
from vsweep.tasks.data.tabular import FetchError, csv

_FEATURES = ("Embedding_dim_1", "Embedding_dim_2")
_LABEL = "Label"
_CLASSES = ("food", "water")
# A CSV file may have the labels in words, as integers, or as floats.
_PLACES = {"food": 0, "0": 0, "0.0": 0, "water": 1, "1": 1, "1.0": 1}
_TAKES = f"it takes a CSV file with {', '.join(_FEATURES)} and {_LABEL} (food and water, or 0 and 1)"
# The direction from food to water of generated examples.
_AXIS = np.asarray([0.8, -0.6])
# The point between both classes.
_MIDDLE = np.asarray([0.5, 0.25])
# The mean distance of each class from that point, along the direction.
_DISTANCE = 1.5
# The least distance.
_MARGIN = 0.4


def food_water(*, path: str | None, rows: int, seed: int) -> Dataset:
    """Load embeddings of prompts about food or water from a CSV file, or generate some.

    Args:
        path: The file's path or URL; its columns are Embedding_dim_1, Embedding_dim_2 and Label, which is
            food or water, or 0 or 1. Examples that a line can separate are generated instead if it is None,
            or a URL that cannot be fetched; the note says so.
        rows: The number of examples that are generated.
        seed: The seed of generated examples.

    Raises:
        ConfigError: If there is no such file, or its columns are others.
    """
    if path is None:
        return _generated(rows, seed, "data.path is null")
    try:
        table = csv(path=path, target=_LABEL, features=_FEATURES).as_targets("classes")
    except FetchError as error:
        return _generated(rows, seed, error.got)
    except ConfigError as error:
        # The error may name fields of `csv` that this data set does not have.
        if error.field == "data.path":
            raise
        raise ConfigError("data.path", error.got, _TAKES) from error
    labels = [label.strip().lower() for label in table.classes]
    for label in labels:
        if label not in _PLACES:
            raise ConfigError("data.path", f"column {_LABEL!r} holds {label!r}", _TAKES)
    classes = np.asarray([_PLACES[label] for label in labels], np.int64)
    return Dataset(table.x, classes[table.y], _CLASSES, _FEATURES)


def _generated(rows: int, seed: int, why: str) -> Dataset:
    """Draw two normal clouds of standard deviation 1, with an empty band between them.

    A point that would lie nearer than the margin to the line between the clouds, or beyond it, is mirrored
    at the margin.
    """
    rng = np.random.default_rng(seed)
    y = np.arange(rows) % 2
    away, along = _DISTANCE + rng.standard_normal(rows), rng.standard_normal(rows)
    away = (_MARGIN + np.abs(away - _MARGIN)) * np.where(y == 1, 1.0, -1.0)
    across = np.asarray([-_AXIS[1], _AXIS[0]])
    x = _MIDDLE + away[:, None] * _AXIS + along[:, None] * across
    return Dataset(x, y.astype(np.int64), _CLASSES, _FEATURES, note=f"data=food_water is generated: {why}")
