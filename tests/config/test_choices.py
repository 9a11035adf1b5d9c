"""Each kind of choice answers for itself: its label, its traced fields, its task."""

import numpy as np
import pytest

from vsweep.config.choices import ModelChoice, PointChoice, TaskInputs, UserData, UserFunction, UserModel
from vsweep.config.spec import make_spec
from vsweep.engine.hyperparams import cell_fields
from vsweep.errors import ConfigError
from vsweep.tasks.losses import own_loss
from vsweep.tasks.minimize import Minimize
from vsweep.tasks.task import Supervised

IRIS = ["data=iris", "tracker=none"]
POINT = ["data=none", "model=point", "loss=gold_field", "model.x=1", "model.y=[2,3]", "tracker=none"]


def net(*, width: int = 4, gain: float = 1.0, kind="a"):
    """A model of the user's; it is never trained here."""


def bowl(x, y, *, tilt: float = 1.0):
    return x**2 + tilt * y**2


def config(*words, **own):
    (variant,) = make_spec(list(words), own).variants.values()
    return variant


class OneTrial:
    """The columns of a program of one trial, whose dtype is float32."""

    def __init__(self, choice):
        self._fields = choice.fields

    def values(self, name):
        column = np.empty(1, object)
        column[0] = self._fields[name]
        return column

    def floats(self, name):
        return np.asarray([self._fields[name]], np.float32)


def test_the_kind_of_a_choice_follows_from_what_is_given():
    assert type(config(*IRIS).model) is ModelChoice
    assert type(config(*POINT).model) is PointChoice
    own = config("tracker=none", data=(np.zeros((8, 2)), np.zeros(8)), model=net, loss=bowl)
    assert [type(choice) for choice in (own.data, own.model, own.loss)] == [UserData, UserModel, UserFunction]
    assert own.user_functions == {"model": net, "loss": bowl}
    assert config(*IRIS).user_functions == {}


@pytest.mark.parametrize(
    ("words", "key", "values", "traced"),
    [
        (IRIS, "width", (4, 8), True),
        (IRIS, "depth", (1, 2), False),
        (POINT, "x", (1.0, 2.0), True),
        (POINT, "x", (1.0, (2.0, 3.0)), False),
        (POINT, "spread", (0.0, 1.0), True),
        (POINT, "fixed", ((), ("x",)), False),
    ],
)
def test_which_fields_of_a_registered_model_are_traced(words, key, values, traced):
    assert config(*words, *(["model=mlp"] if words is IRIS else [])).model.is_traced(key, values) is traced


@pytest.mark.parametrize(
    ("key", "values", "traced"),
    [
        ("width", (4, 8), False),
        ("width", (4, 8.5), True),
        ("gain", (1, 2), True),
        ("kind", ("a", "b"), False),
        ("gain", (True, False), False),
    ],
)
def test_which_fields_of_a_users_model_are_traced(key, values, traced):
    assert config(*IRIS, model=net).model.is_traced(key, values) is traced


def test_a_registered_model_binds_a_width_and_an_initializer_twice():
    choice = config(*IRIS, "model=mlp", "model.width=6").model
    traced, static = choice.bind(OneTrial(choice))
    assert traced["width"].tolist() == [static["width"]] == [6]
    assert static["init"] == (choice.fields["init"],)
    assert traced["init"].tolist() == [0]
    assert "init_scale" not in static


def test_a_point_binds_its_coordinates_and_makes_their_task():
    choice = config(*POINT).model
    assert choice.coordinates == ("x", "y")
    bound = choice.bind(OneTrial(choice))
    assert list(bound[0]) == ["spread", "x", "y"]
    one = {name: leaf[0] for name, leaf in bound[0].items()}
    task = choice.make_task((one, bound[1]), TaskInputs(own_loss(bowl, 0), {}, "float32"))
    assert isinstance(task, Minimize)
    assert task.numbers == ("x", "y.0", "y.1")
    assert choice.weights(1, 1, 0) == 3 + 3**2


def test_a_model_makes_a_supervised_task_of_as_many_outputs_as_its_loss_needs():
    chosen = config(*IRIS, "model=logistic")
    loss = chosen.model.make_loss(chosen.loss, chosen.data, 3)
    task = chosen.model.make_task(cell_fields(chosen), TaskInputs(loss, {}, "float32", 4, 3))
    assert isinstance(task, Supervised)
    assert (task.n_features, task.n_outputs) == (4, 3)


def test_a_choice_is_named_by_its_file_its_function_or_its_entry(tmp_path):
    file = tmp_path / "cells.csv"
    file.write_text("a,y\n1,0\n")
    table = config("data=csv", f"data.path={file}", "data.target=y", "model=linear", "tracker=none")
    assert table.model.labels(table.data, table.loss) == ("cells", "linear")
    own = config(*IRIS, model=net)
    assert own.model.labels(own.data, own.loss) == ("iris", "net")
    point = config(*POINT)
    assert point.model.labels(point.data, point.loss) == ("gold_field", "gold_field")


def test_a_users_function_is_recorded_by_its_dotted_path():
    recorded = config(*IRIS, model=net).model.as_dict()
    fields = {"width": 4, "gain": 1.0, "kind": "a"}
    assert recorded == {"name": "own", "_target_": f"{__name__}.net", **fields}


def test_data_for_another_kind_of_task_are_refused():
    supervised, point = config(*IRIS), config(*POINT)
    with pytest.raises(ConfigError, match="data: got iris, and model=point is trained without data"):
        point.model.check_data(supervised.data, point.loss)
    with pytest.raises(ConfigError, match="data: got none, and model="):
        supervised.model.check_data(point.data, supervised.loss)
    with pytest.raises(ConfigError, match="loss: got gold_field, a function of a point"):
        supervised.model.check_data(supervised.data, point.loss)
