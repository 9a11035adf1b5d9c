"""Prompts about food and about water, as embeddings in two dimensions."""

import numpy as np

from vsweep.errors import ConfigError
from vsweep.tasks.data.dataset import Dataset
from vsweep.tasks.data.tabular import FetchError, csv

_FEATURES = ("Embedding_dim_1", "Embedding_dim_2")
_LABEL = "Label"
_CLASSES = ("food", "water")
# As a CSV file may say them: in words, as integers, or as floats.
_PLACES = {"food": 0, "0": 0, "0.0": 0, "water": 1, "1": 1, "1.0": 1}
_TAKES = f"it takes a CSV file with {', '.join(_FEATURES)} and {_LABEL} (food and water, or 0 and 1)"
# Of what is generated: the direction from food to water, the middle between them, how far each lies from
# it, and how far at least.
_AXIS, _MIDDLE, _DISTANCE, _MARGIN = np.asarray([0.8, -0.6]), np.asarray([0.5, 0.25]), 1.5, 0.4


def food_water(*, path: str | None, rows: int, seed: int) -> Dataset:
    """Embeddings of prompts in two dimensions, of food or of water, from a CSV file; or generated.

    path: the file's path or URL; its columns are Embedding_dim_1, Embedding_dim_2 and Label, which says food
    or water, or 0 or 1. Where it is None, or a URL that cannot be fetched, `rows` examples are drawn from
    `seed`, which a line can tell apart, and the note says so.

    Raises `ConfigError` where a file is not there, or holds something else.
    """
    if path is None:
        return _generated(rows, seed, "data.path is null")
    try:
        read = csv(path=path, target=_LABEL, features=_FEATURES, targets="classes")
    except FetchError as error:
        return _generated(rows, seed, error.got)
    except ConfigError as error:
        # The fields that it names are those of csv.
        if error.field == "data.path":
            raise
        raise ConfigError("data.path", error.got, _TAKES) from error
    labels = [label.strip().lower() for label in read.classes]
    for label in labels:
        if label not in _PLACES:
            raise ConfigError("data.path", f"column {_LABEL!r} holds {label!r}", _TAKES)
    places = np.asarray([_PLACES[label] for label in labels], np.int64)
    return Dataset(read.x, places[read.y], _CLASSES, _FEATURES)


def _generated(rows: int, seed: int, why: str) -> Dataset:
    """Two normal clouds of standard deviation 1 but for a band between them, which is empty.

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
