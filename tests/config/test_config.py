"""The schema, the config files, and what overrides make of them."""

import itertools
from functools import cache

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from vsweep.config.groups import CONF
from vsweep.config.schema import FIELDS, GROUPS, SWEEP_FIELDS, parse_field
from vsweep.config.spec import make_spec as study
from vsweep.config.validate import as_dict, check_config
from vsweep.errors import ConfigError
from vsweep.tasks.minimize import FUNCTIONS
from vsweep.tasks.task import fields

NAN, INF = float("nan"), float("inf")
NOT_WHOLE = ["three", 2.5, True, None, [1], NAN, INF]
NOT_NUMBER = ["fast", "0.1", True, None, [0.1], NAN, INF, -INF]
NOT_TEXT = [3, "", None, True, ["a"]]
# Values that each field must refuse.
REFUSED = {
    "data.path": NOT_TEXT,
    "data.target": NOT_TEXT,
    "data.features": ["a", [], [1], ["a", 2], 3],
    "data.max_bytes": [*NOT_WHOLE, 0, -1, 2**63],
    "data.targets": ["class", 1, None, ["numbers"]],
    "data.rows": [*NOT_WHOLE, 1, -5],
    "data.arms": [*NOT_WHOLE, 1],
    "data.noise": [*NOT_NUMBER, -0.1],
    "data.x": [
        3,
        "1",
        None,
        True,
        [],
        [[]],
        [[1], []],
        [[1, 2], [3]],
        [[1], 2],
        ["a"],
        [[True]],
        [NAN],
        [[INF]],
        [[[1]]],
    ],
    "data.y": [3, "1", None, True, [], ["a"], [[1]], [True], [NAN], [INF], [None]],
    "data.classes": ["no", [], ["no"], ["no", "no"], [0, 1], 3, [["no", "yes"]], True],
    "data.slope": NOT_NUMBER,
    "data.intercept": NOT_NUMBER,
    "data.fresh": ["yes", 1, 0, None],
    "data.seed": [*NOT_WHOLE, -1],
    "data.batch_size": ["half", 2.5, True, 0, -1],
    "data.val_fraction": ["fast", "0.1", True, [0.1], NAN, INF, -INF, -0.1, 1.0, 1, 20],
    "data.test_fraction": [*NOT_NUMBER, -0.1, 1.0, 1, 20],
    "data.split_seed": [*NOT_WHOLE, -1],
    "data.standardize": ["yes", 1, 0, None],
    "data.standardize_target": ["yes", 1, 0, None],
    "data.stratify": ["yes", 1, 0, None],
    "data.splits": ["three", 2.5, True, None, NAN, INF, 0, -1, [], [1, 1], [-1], [0.5]],
    "data.folds": [1, 0, -1, 2.5, True, "3", [3]],
    "data.fold": [-1, 0.5, True, "0", [0]],
    "model.width": [*NOT_WHOLE, 0, -1, 65537],
    "model.depth": [*NOT_WHOLE, 0, 5],
    "model.activation": ["rleu", 1, None, ["tanh"]],
    "model.init": ["he", 1, None, ["zeros"]],
    "model.init_scale": [*NOT_NUMBER, -1.0],
    "model.bias_init": ["he_normal", 1, None, ["zeros"]],
    "model.start": [3, "zeros", [], ["a"], [None], [[1.0]], [INF]],
    "model.spread": [*NOT_NUMBER, -1.0],
    "model.fixed": ["x", 3, [1]],
    "loss.delta": [*NOT_NUMBER, 0, -1.0],
    "loss.eps": [*NOT_NUMBER, 0, -1e-8],
    "optimizer.lr": [*NOT_NUMBER, 0, 0.0, -1],
    "optimizer.momentum": [*NOT_NUMBER, -0.1, 1.0],
    "optimizer.b1": [*NOT_NUMBER, -0.1, 1],
    "optimizer.b2": [*NOT_NUMBER, -0.1, 1],
    "optimizer.eps": [*NOT_NUMBER, 0, -1e-8],
    "optimizer.decay": [*NOT_NUMBER, -0.1, 1],
    "optimizer.weight_decay": [*NOT_NUMBER, -0.1],
    "schedule.final": [*NOT_NUMBER, -0.1, 1.1],
    "schedule.warmup_steps": [*NOT_WHOLE, -1],
    "schedule.decay_rate": [*NOT_NUMBER, 0, 1.1],
    "schedule.decay_steps": [*NOT_WHOLE, 0],
    "steps": [*NOT_WHOLE, 0, -1, 2**31],
    "record_every": [*NOT_WHOLE, 0, -1],
    "record_params": ["yes", 1, 0, None],
    "diverge_above": [*NOT_NUMBER, 1.0, 0],
    "dtype": ["float16", "f32", 32, None],
    "precision": ["best", 1, None],
    "dir": [3, "", True],
    "metric": ["accuracy", "test_loss", 3, True],
    "allow_targets": ["os", 3, [3], [""], ["a b"], ["a/b"], ["os."], True],
    "allow_urls": ["http://x/y.csv", 3, [3], [""], ["x.csv"], ["gopher://x/y"], True],
    "block": ["all", 2.5, True, 0],
    "segment": ["all", 2.5, True, 0],
    "kernel": ["fast", 1, True],
    "keep.params": [*NOT_WHOLE, -1, "none"],
    "keep.state": ["yes", 1, 0, None],
    "verify": ["yes", 1, 0, None],
    "report": ["yes", 1, 0, None],
    "pictures": [3, None, [3], [{"basin": 3}], [["basin"]]],
    "tracker.wandb.mode": ["on", True, None],
    "tracker.wandb.level": ["run", True, None],
    "tracker.wandb.rows": [*NOT_WHOLE, 1, -1],
    "tracker.wandb.patience": ["long", -1, True, None],
    "tracker.wandb.project": [value for value in NOT_TEXT if value is not None],
    "tracker.wandb.entity": [3, "", True],
}
EVERY_DATASET = (
    "targets",
    "batch_size",
    "val_fraction",
    "test_fraction",
    "split_seed",
    "standardize",
    "standardize_target",
    "stratify",
    "splits",
    "folds",
    "fold",
)
REGISTERED = [(group, name) for group in GROUPS for name in GROUPS[group]]


def taken(group, name):
    """The fields of a registered function, in its config file beside `name`."""
    entry = GROUPS[group][name]
    own = fields(getattr(entry, "value", entry))
    return [*(["lr"] if group == "optimizer" else []), *own, *(EVERY_DATASET if group == "data" else ())]


@cache
def written(group, name):
    return yaml.safe_load((CONF / group / f"{name}.yaml").read_text())


def composed(**chosen):
    """The config as the files of `conf/` give it, without Hydra."""
    top = yaml.safe_load((CONF / "config.yaml").read_text())
    defaults = [one for one in top.pop("defaults") if isinstance(one, dict)]
    chosen = {group: choice for one in defaults for group, choice in one.items()} | chosen
    raw = {key: value for key, value in top.items() if key != "hydra"}
    return raw | {group: dict(written(group, chosen[group])) for group in [*GROUPS, "tracker"]}


def with_field(path):
    """A valid config that has this field, and the mapping and key that hold it."""
    group, _, key = path.partition(".")
    chosen = next(({g: n} for g, n in REGISTERED if g == group and key in taken(g, n)), {})
    chosen |= {"loss": "quartic"} if chosen.get("model") == "point" else {}
    raw = composed(**chosen)
    # Fields without a default.
    for one, value in {"path": "some.csv", "target": "y", "x": [1, 2], "y": [1, 2]}.items():
        if "data" in chosen and one in taken("data", chosen["data"]):
            raw["data"][one] = value
    check_config(raw, {})
    holder = raw
    *parents, last = path.split(".")
    for parent in parents:
        holder[parent] = dict(holder[parent])
        holder = holder[parent]
    assert last in holder
    return raw, holder, last


def test_every_field_is_tried():
    assert set(REFUSED) == set(FIELDS) | set(SWEEP_FIELDS)


@pytest.mark.parametrize("path", REFUSED)
def test_a_refusal_names_the_field_what_came_and_what_it_takes(path):
    raw, holder, key = with_field(path)
    for value in REFUSED[path]:
        holder[key] = value
        with pytest.raises(ConfigError) as error:
            check_config(raw, {})
        takes = (FIELDS.get(path) or SWEEP_FIELDS[path]).text
        # A near name, or the way to an axis, may follow.
        said, _, more = str(error.value).partition(f"; it takes {takes}")
        assert said == f"{path}: got {value!r}"
        assert more in ("", f"; for an axis give grid.{path}=[…]") or more.startswith("; did you mean ")


@pytest.mark.parametrize("path", REFUSED)
def test_a_misspelt_field_is_told_the_nearest(path):
    raw, holder, key = with_field(path)
    middle = len(key) // 2
    misspelt = key[:middle] + key[middle + 1 :] if len(key) > 3 else f"{key}s"
    holder[misspelt] = holder[key]
    with pytest.raises(ConfigError) as error:
        check_config(raw, {})
    assert error.value.field == f"{path.removesuffix(key)}{misspelt}"
    assert str(error.value).endswith(f"no such field; did you mean {path}?")


def test_what_is_like_no_field_is_told_how_to_list_them():
    with pytest.raises(
        ConfigError, match=r"^zzz: no such field; it takes a group .* plan --cfg=job lists all$"
    ):
        check_config(composed() | {"zzz": 3}, {})


def test_a_field_of_another_choice_is_refused():
    raw = composed(optimizer="sgd")
    raw["optimizer"]["momentum"] = 0.9
    with pytest.raises(ConfigError, match=r"^optimizer\.momentum: optimizer=sgd has no such field; .*lr"):
        check_config(raw, {})


@pytest.mark.parametrize(("group", "name"), REGISTERED)
def test_every_registered_entry_has_its_config_file(group, name):
    assert written(group, name)["name"] == name
    assert set(written(group, name)) == {"name", *taken(group, name)}


@pytest.mark.parametrize("group", GROUPS)
def test_every_config_file_is_of_a_registered_entry(group):
    files = {file.stem for file in (CONF / group).glob("*.yaml")}
    extra = {"data": {"own"}, "model": {"own"}, "loss": {"own", "auto"}}.get(group, set())
    assert files == set(GROUPS[group]) | extra


NOT_ALONE = ("csv", "parquet", "points", "point", *FUNCTIONS)
CHOICES = [[(g, n) for n in GROUPS[g] if n not in NOT_ALONE] for g in GROUPS]


@pytest.mark.parametrize("chosen", list(itertools.zip_longest(*CHOICES)))
def test_every_registered_entry_composes_with_its_defaults(chosen):
    made = study(["tracker=none", *(f"{one[0]}={one[1]}" for one in chosen if one)])
    config = as_dict(made.variants[()])
    for group, name in filter(None, chosen):
        assert config[group] == written(group, name)


# Values that each field takes, to draw from.
unit = st.floats(0, 0.999)
numbers = st.floats(0.001, 1000)
counts = st.integers(2, 4)
VALID = dict.fromkeys(FIELDS, numbers) | {
    "data.path": st.text(min_size=1),
    "data.target": st.text(min_size=1),
    "data.features": st.none() | st.lists(st.text(), min_size=1, max_size=3),
    "data.max_bytes": st.integers(1, 2**63 - 1),
    "data.targets": st.sampled_from(["auto", "classes", "numbers", "by_type"]),
    "data.standardize_target": st.sampled_from(["auto", True, False]),
    "data.rows": counts,
    "data.arms": counts,
    "data.x": st.integers(1, 3).flatmap(
        lambda n: st.lists(st.lists(numbers, min_size=n, max_size=n), min_size=1, max_size=3)
    ),
    "data.y": st.lists(numbers, min_size=1, max_size=3),
    "data.classes": st.none() | st.lists(st.text(), min_size=2, max_size=3, unique=True),
    "data.slope": st.floats(allow_nan=False, allow_infinity=False),
    "data.intercept": st.floats(allow_nan=False, allow_infinity=False),
    "data.fresh": st.booleans(),
    "data.seed": counts,
    "data.batch_size": st.none() | counts,
    "data.val_fraction": unit,
    "data.test_fraction": st.just("auto") | unit,
    "data.split_seed": counts,
    "data.standardize": st.booleans(),
    "data.stratify": st.booleans(),
    "data.splits": st.integers(1, 2**20) | st.lists(counts, min_size=1, max_size=3, unique=True),
    "data.folds": st.none(),
    "data.fold": st.none(),
    "model.width": st.integers(1, 65536),
    "model.depth": counts,
    "model.activation": st.sampled_from(["tanh", "relu", "gelu", "sigmoid", "identity"]),
    "model.init": st.sampled_from(["zeros", "orthogonal", "he_normal", "glorot_uniform"]),
    "model.bias_init": st.sampled_from(["zeros", "normal", "uniform"]),
    "model.start": st.none() | st.lists(numbers, min_size=1, max_size=3),
    "model.fixed": st.just([]),
    "optimizer.momentum": unit,
    "optimizer.b1": unit,
    "optimizer.b2": unit,
    "optimizer.decay": unit,
    "schedule.final": st.floats(0, 1),
    "schedule.warmup_steps": counts,
    "schedule.decay_rate": st.floats(0.001, 1),
    "schedule.decay_steps": counts,
    "steps": st.integers(1, 2**31 - 1),
    "record_every": counts,
    "record_params": st.booleans(),
    "diverge_above": st.floats(1.001, 1e30),
    "dtype": st.sampled_from(["float32", "float64", "bfloat16"]),
    "precision": st.sampled_from(["highest", "high", "default"]),
}


@st.composite
def given_configs(draw, text=None):
    """Nested fields that a person could give: a choice of each group, and some of its fields."""
    made = {}
    for group in GROUPS:
        names = sorted(GROUPS[group])
        if group == "loss":
            # A point goes down a function, and nothing else does.
            of_point = made["model"]["name"] == "point"
            names = [name for name in names if (name in FUNCTIONS) == of_point]
        name = draw(st.sampled_from(names))
        some = [
            key for key in taken(group, name) if key in ("path", "target", "x", "y") or draw(st.booleans())
        ]
        values = {key: draw(VALID[f"{group}.{key}"]) for key in some}
        made[group] = {"name": name, **values}
    for path in [path for path in FIELDS if "." not in path]:
        if draw(st.booleans()):
            made[path] = draw(VALID[path])
    return made


@given(given_configs())
def test_to_yaml_and_back(nested):
    raw = composed(**{group: nested[group]["name"] for group in GROUPS})
    for key, value in nested.items():
        raw[key] = {**raw[key], **value} if isinstance(value, dict) else value
    checked = check_config(raw, {})
    again = yaml.safe_load(yaml.safe_dump(raw))
    assert check_config(again, {}) == checked
    resolved = yaml.safe_load(yaml.safe_dump(as_dict(checked)))
    # Those that no cell differs in are no part of it.
    of_the_sweep = {path.partition(".")[0] for path in SWEEP_FIELDS}
    assert not of_the_sweep & set(resolved)
    assert check_config({key: raw[key] for key in of_the_sweep} | resolved, {}) == checked


@settings(max_examples=12)
@given(given_configs())
def test_nested_fields_are_what_they_were_after_hydra(nested):
    nested["data"] |= {key: "x y" for key in ("path", "target") if key in nested["data"]}
    for key, value in {"features": ["a b"], "classes": ["a b", "c"]}.items():
        nested["data"] |= {key: value} if key in nested["data"] else {}
    made = study({"tracker": "none", **nested})
    config = as_dict(made.variants[()])
    for group in GROUPS:
        assert {key: config[group][key] for key in nested[group]} == nested[group]
    tops = {key: value for key, value in nested.items() if key not in GROUPS}
    assert {key: config[key] for key in tops} == tops
    again = yaml.safe_load(yaml.safe_dump(dict(made.raw)))
    assert check_config(again, {}) == made.variants[()]


AWKWARD = ["a'b", 'a"b', "C:\\data\\x", "ends\\", "a, b", "[a]", "{a: 1}", "a=b", " a ", "ünï", "null", "1",
           "true", "1e3", "a:b", "\\'", "#a", "~/x", "a\tb", "nan", "café/1"]  # fmt: skip


def test_awkward_text_arrives_as_it_was_given():
    nested = {"name": "csv", "path": "p", "target": "t", "features": AWKWARD}
    made = study({"tracker": "none", "data": nested})
    assert made.raw["data"]["features"] == AWKWARD
    wrong = {}
    for text in ["C:\\data\\x", "null", "1", "true", "a'b"]:
        path = study({"tracker": "none", "data": nested | {"path": text}}).raw["data"]["path"]
        if path != text:
            wrong[text] = path
    assert not wrong


def axes(*words):
    return {axis.path: axis.values for axis in study(["tracker=none", *words]).grid.axes}


@pytest.fixture
def sweep_file(here):
    """A sweep of one's own in `./sweeps`, with an axis written in each way."""
    (here / "sweeps").mkdir()
    (here / "sweeps" / "mine.yaml").write_text(
        "# @package _global_\n"
        "grid:\n"
        "  model:\n"
        "    init: [he_normal, zeros]\n"
        "    width: {range: [4, 12, 4]}\n"
        "  optimizer:\n"
        "    lr: {logspace: [0.01, 1, 3]}\n"
        "steps: 7\n"
    )


def test_an_axis_on_the_command_line_stands_for_the_sweep_files(sweep_file):
    base = {"model.init": ("he_normal", "zeros"), "model.width": (4, 8), "optimizer.lr": (0.01, 0.1, 1.0)}
    assert axes("sweep=mine") == base
    # A list over a mapping, a mapping over a list, another kind of mapping, and one axis less.
    changed = axes(
        "sweep=mine",
        "grid.model.width=[16]",
        "grid.optimizer.lr={linspace:[1,3,3]}",
        "grid.model.init=[lecun_normal]",
    )
    expected = {"model.init": ("lecun_normal",), "model.width": (16,), "optimizer.lr": (1.0, 2.0, 3.0)}
    assert changed == expected
    assert list(changed) == list(base)
    fewer = axes("sweep=mine", "~grid.model.init", "grid.model.width={logspace:[2,8,3]}", "grid.steps=[3,2]")
    assert fewer == {"model.width": (2, 4, 8), "optimizer.lr": base["optimizer.lr"], "steps": (3, 2)}
    assert axes("sweep=mine", "~grid") == {}


def test_values_of_an_axis_have_the_fields_type():
    made = axes("grid.model.width={linspace:[2,6,3]}", "grid.optimizer.lr=[1,2]")
    assert made == {"model.width": (2, 4, 6), "optimizer.lr": (1.0, 2.0)}
    assert [type(v) for values in made.values() for v in values] == [int] * 3 + [float] * 2


def test_rows_of_one_number_may_be_numbers():
    assert parse_field("data.x", [1, 2.5]) == parse_field("data.x", [[1], [2.5]]) == ((1.0,), (2.5,))


def test_a_path_may_be_null_where_a_choice_has_it_so():
    raw = composed(data="food_water")
    assert check_config(raw, {}).data.fields["path"] is None
    assert axes("data=food_water", "grid.data.path=[null,a.csv]") == {"data.path": (None, "a.csv")}
    raw["data"]["path"] = 3
    with pytest.raises(ConfigError, match=r"^data\.path: got 3; it takes text, or null$"):
        check_config(raw, {})
    # One of the cells would be of csv, and without a path.
    words = ["grid.data=[food_water,csv]", "data.target=y", "grid.data.path=[a.csv,null]"]
    with pytest.raises(ConfigError, match=r"^grid\.data\.path: got None; it takes text$"):
        axes(*words)


def test_the_same_value_written_in_two_ways_is_given_twice():
    with pytest.raises(ConfigError, match=r"^grid\.optimizer\.lr: .*given twice"):
        study(["tracker=none", "grid.optimizer.lr=[1,1.0]"])


def test_a_group_as_an_axis():
    made = study(["tracker=none", "grid.model=[logistic,mlp]", "model.depth=2", "grid.steps=[3,4]"])
    cells = [as_dict(made.cell(number)) for number in range(4)]
    assert [(cell["model"], cell["steps"]) for cell in cells] == [
        *((written("model", "logistic"), steps) for steps in (3, 4)),
        *((written("model", "mlp") | {"depth": 2}, steps) for steps in (3, 4)),
    ]


def test_a_group_and_its_fields_as_axes():
    words = ["grid.model.name=[logistic,mlp]", "grid.model.width=[4,8]", "model.depth=2"]
    made = study(["tracker=none", *words])
    assert [axis.path for axis in made.grid.axes] == ["model", "model.width"]
    assert len(made.grid.cells) == 3
    assert made.grid.collapsed == 1
    cells = [as_dict(made.cell(number))["model"] for number in made.grid.cells]
    assert cells[0] == written("model", "logistic")
    assert cells[1:] == [written("model", "mlp") | {"width": width, "depth": 2} for width in (4, 8)]


def test_a_list_of_a_groups_choices_stands_beside_axes_over_its_fields():
    short = study(["tracker=none", "grid.model=[logistic,mlp]", "grid.model.width=[4,8]"])
    long = study(["tracker=none", "grid.model.name=[logistic,mlp]", "grid.model.width=[4,8]"])
    assert short.grid.axes == long.grid.axes
    assert short.grid.index.tolist() == long.grid.index.tolist()


def test_zeros_have_no_scale():
    made = study(["tracker=none", "grid.model.init=[zeros,he_normal]", "grid.model.init_scale=[0.5,1,2]"])
    assert made.grid.cells.tolist() == [0, 3, 4, 5]
    assert made.grid.column(1).tolist() == [None, 0.5, 1.0, 2.0]


def test_data_as_an_axis():
    made = study(["tracker=none", "grid.data=[iris,moons]", "data.val_fraction=0.25", "data.rows=50"])
    cells = [as_dict(made.cell(number))["data"] for number in range(2)]
    assert cells[0] == written("data", "iris") | {"val_fraction": 0.25}
    assert cells[1] == written("data", "moons") | {"val_fraction": 0.25, "rows": 50}


def test_optimizers_as_an_axis_take_what_they_have():
    made = study(["tracker=none", "grid.optimizer=[sgd,momentum,nesterov]", "optimizer.momentum=0.5"])
    cells = [as_dict(made.cell(number))["optimizer"] for number in range(3)]
    assert "momentum" not in cells[0]
    assert [cell["momentum"] for cell in cells[1:]] == [0.5, 0.5]
    with pytest.raises(ConfigError, match=r"^optimizer\.momentum: "):
        study(["tracker=none", "grid.optimizer=[sgd,adam]", "optimizer.momentum=0.5"])


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("grid.seeds=[1,2]", "grid.seeds: not an axis; give `seeds` for the sweep as a whole"),
        ("grid.dir=[a,b]", "grid.dir: not an axis"),
        ("grid.block=[1,2]", "grid.block: not an axis"),
        ("grid.segment=[1,2]", "grid.segment: not an axis"),
        ("grid.keep.params=[1,all]", "grid.keep.params: not an axis"),
        ("grid.keep.state=[true,false]", "grid.keep.state: not an axis"),
        ("grid.verify=[true,false]", "grid.verify: not an axis"),
        ("grid.tracker.wandb.mode=[online]", "grid.tracker.wandb.mode: not an axis"),
        ("grid.model=[mlp,mpl]", "grid.model: no such choice 'mpl'; did you mean mlp?"),
        ("grid.model.widht=[3]", "grid.model.widht: no such field; did you mean model.width?"),
        ("grid.model.width=[3,0]", "grid.model.width: got 0; it takes an integer from 1 to 65536"),
        ("grid=3", "grid: got 3; it takes fields and their values"),
    ],
)
def test_what_cannot_vary_is_refused(word, message):
    with pytest.raises(ConfigError) as error:
        study(["tracker=none", word])
    assert str(error.value).startswith(message)


def test_an_axis_given_twice_is_refused():
    with pytest.raises(ConfigError, match=r"^grid\.model: given twice"):
        study(["tracker=none", "grid={model:{name:[mlp]},model.name:[logistic]}"])


# Values that each field of the sweep takes, unless they are text.
OF_THE_SWEEP = {
    "block": [3, None],
    "segment": [3, None],
    "kernel": ["fused", "xla", "auto", None],
    "keep.params": [0, 3, "all"],
    "keep.state": [True, False],
    "verify": [True, False],
    "report": [True, False],
    "allow_targets": [["a.b"]],
    "allow_urls": [["https://x/y.csv?z=1", "http://x", "ftp://x/y", "file:///x"]],
    "metric": ["auto", "val_f1", "train_r2", None],
    "pictures": [[]],
    "tracker.wandb.level": ["auto", "trial", "cell", "sweep"],
    "tracker.wandb.rows": [2, 100_000],
    "tracker.wandb.patience": [0.0, 45.0],
    "tracker.wandb.project": ["p", None],
}


@pytest.mark.parametrize("path", SWEEP_FIELDS)
def test_fields_of_the_sweep_are_read_as_their_type(path):
    for value in OF_THE_SWEEP.get(path, ["online"]):
        kept = tuple(value) if isinstance(value, list) else value
        assert parse_field(path, value) == kept
        assert type(parse_field(path, value)) is type(kept)


@pytest.mark.parametrize("groups", ["data: iris\nmodel: mlp\n", "data: {name: iris}\nmodel: {name: mlp}\n"])
def test_a_sweep_file_may_name_its_groups(here, groups):
    (here / "sweeps").mkdir()
    text = groups + "grid:\n  model.width: {range: [2, 6, 2]}\n  optimizer: [sgd, adam]\n"
    (here / "sweeps" / "plain.yaml").write_text(text)
    made = study(["sweep=plain", "tracker=none", "grid.model.width=[3]"])
    assert [config.data.name for config in made.variants.values()] == ["iris", "iris"]
    assert [(axis.path, axis.values) for axis in made.grid.axes] == [
        ("model.width", (3,)),
        ("optimizer", ("sgd", "adam")),
    ]


def test_the_name_in_a_mapping_of_a_sweep_file_chooses_the_group_with_its_fields(here):
    (here / "sweeps").mkdir()
    (here / "sweeps" / "named.yaml").write_text("data: {name: spirals, rows: 50}\nmodel: {name: logistic}\n")
    (config,) = study(["sweep=named", "tracker=none"]).variants.values()
    assert (config.data.name, config.data.fields["rows"], config.data.fields["arms"]) == ("spirals", 50, 4)
    assert (config.model.name, "width" in config.model.fields) == ("logistic", False)


def test_a_sweep_file_replaces_what_those_in_its_defaults_say(here):
    (here / "sweeps").mkdir()
    files = {
        "inner": "data: iris\nsteps: 5\ngrid: {model.width: [3], optimizer: [sgd]}\n",
        "outer": "defaults: [inner, override /data: wine]\nsteps: 7\ngrid.model.width: {range: [4, 8, 2]}\n",
        "early": "defaults: [_self_, inner]\nsteps: 7\n",
    }
    for name, text in files.items():
        (here / "sweeps" / f"{name}.yaml").write_text(text)
    outer, early = (study([f"sweep={name}", "tracker=none"]) for name in ("outer", "early"))
    assert (outer.name, outer.raw["data"]["name"], outer.raw["steps"]) == ("outer", "wine", 7)
    assert {axis.path: axis.values for axis in outer.grid.axes} == {
        "model.width": (4, 6),
        "optimizer": ("sgd",),
    }
    assert (early.raw["data"]["name"], early.raw["steps"]) == ("iris", 5)
