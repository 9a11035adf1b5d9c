"""Fields given as values: they mean what they mean as words, and Hydra's grammar never reads them."""

import math

import numpy as np
import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import OverrideParseException
from hypothesis import example, given
from hypothesis import strategies as st

from vsweep.config.overrides import from_value, from_word, spell
from vsweep.config.spec import make_spec
from vsweep.config.user_input import UserConfig, as_overrides
from vsweep.config.values import resolve
from vsweep.errors import ConfigError

AWKWARD = ["", " ", "null", "1", "1e3", "true", "nan", "a'b", 'a"b', "C:\\x", "ends\\", "${steps}", "\\${x}",
           "\\\\${oc.env:HOME}", "$", "{a: 1}", "[a]", "a, b", "a=b", "ünï", "a\tb"]  # fmt: skip
# Hydra's text has no line ends of its own, and ??? stands for no value in words and mappings alike.
texts = st.sampled_from(AWKWARD) | st.text(st.characters(exclude_characters="\r\n\x00", codec="utf-8"))
texts = texts.filter(lambda text: text != "???")
scalars = st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats() | texts
values = scalars | st.recursive(st.lists(scalars, max_size=4), lambda inner: st.lists(inner, max_size=3))


def read(override):
    """The value that an override gives its field, once interpolations are resolved."""
    return resolve({"x": override.value})["x"]


@given(values)
@example("A¹")
def test_a_value_is_what_its_word_is_and_stays_what_it_was(value):
    assert repr(read(from_value("x.y", value))) == repr(value)
    assert repr(read(from_word(spell("x.y", value)))) == repr(value)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.float64(0.1), 0.1),
        (np.arange(3), [0, 1, 2]),
        (np.array([[0.5], [1.5]]), [[0.5], [1.5]]),
        ((1, 2), [1, 2]),
        (range(3), [0, 1, 2]),
        (np.str_("null"), "null"),
        ([np.bool_(True), np.int32(3)], [True, 3]),
    ],
)
def test_what_python_holds_becomes_plain(value, plain):
    found = read(from_value("x.y", value))
    assert found == plain
    assert type(found) is type(plain)
    assert read(from_word(spell("x.y", value))) == plain


items = st.sampled_from(
    ["0", "-1", "+3", "007", "1_000", "1.", ".5", "1.5e-3", "1e5", "1E+05", "-2.25", "a", "a1", "_a", "a b",
     "a-b", "true", "False", "NULL", "nan", "-inf", "inf", "'a'", '"b c"', "'a,b'", "''", "'a\\'b'", "'${x}'",
     "${x}", "[1]", "{a:1}", "", "1e400", "9" * 30, "é", "'é'", "$", "x:y", "'[1]'", "'1'"]
) | st.floats().map(repr) | st.integers().map(str)  # fmt: skip
gaps = st.sampled_from(["", "", " ", "  ", "\t"])


@given(st.lists(st.tuples(gaps, items, gaps).map("".join), max_size=5), gaps)
@example(["1", "2"], "").via("the plainest")
def test_a_list_in_a_word_is_what_hydras_grammar_reads(parts, gap):
    text = f"[{gap}{','.join(parts)}{gap}]"
    try:
        (parsed,) = OverridesParser.create().parse_overrides([f"++x.y={text}"])
        expected = repr(parsed.value())
    except (OverrideParseException, ValueError):
        expected = None
    try:
        found = repr(from_word(f"x.y={text}").value)
    except ConfigError:
        found = None
    assert found == expected


@pytest.fixture
def parsed(monkeypatch):
    """The texts that Hydra's grammar has parsed."""
    seen = []
    parse = OverridesParser.parse_overrides

    def count(self, overrides):
        seen.extend(overrides)
        return parse(self, overrides)

    monkeypatch.setattr(OverridesParser, "parse_overrides", count)
    return seen


BASE = {"data": "iris", "model": "logistic", "tracker": "none"}
RATES, DECAYS = (np.random.default_rng(0).permutation(100_000) + 1.0).reshape(2, -1).tolist()


@pytest.mark.parametrize("group", ["grid", "draws"])
def test_values_of_a_mapping_are_never_parsed(parsed, group):
    made = make_spec(BASE | {group: {"optimizer": {"lr": RATES}}, "steps": 7})
    assert made.grid.axes[0].values == tuple(RATES)
    assert set(parsed) <= {"data=iris", "model=logistic", "tracker=none"}


def test_draws_of_groups_compose_choices_and_parse_no_values(parsed):
    names = ["logistic", "mlp"] * (len(RATES) // 2)
    fields = {"optimizer": {"lr": RATES, "weight_decay": DECAYS}, "model": names}
    made = make_spec({"data": "iris", "tracker": "none", "draws": fields})
    assert len(made.grid) == len(RATES)
    assert set(parsed) <= {"data=iris", "tracker=none", "model=logistic", "model=mlp"}


def test_a_long_list_in_a_word_is_not_parsed_by_the_grammar(parsed):
    words = ["data=iris", "model=logistic", "tracker=none"]
    made = make_spec([*words, f"grid.optimizer.lr={RATES}"])
    assert made.grid.axes[0].values == tuple(RATES)
    assert set(parsed) == set(words)


def test_a_wandb_sweep_files_draws_are_never_parsed(parsed, here):
    text = "method: random\nrun_cap: 5000\nparameters: {lr: {min: 0.1, max: 1.0}}\n"
    (here / "wandb.yaml").write_text(text)
    made = make_spec(["wandb_sweep=wandb.yaml", "data=iris", "tracker=none"])
    assert len(made.grid) == 5000
    assert set(parsed) <= {"data=iris", "tracker=none"}


def test_a_sweep_file_of_a_hundred_thousand_values(here):
    (here / "sweeps").mkdir()
    columns = f"lr: {RATES + DECAYS}, weight_decay: {DECAYS + RATES}"
    (here / "sweeps" / "large.yaml").write_text(f"data: iris\ndraws: {{optimizer: {{{columns}}}}}\n")
    made = make_spec(["sweep=large", "tracker=none"])
    assert len(made.grid) == 100_000
    assert made.raw["draws"]["optimizer"] == {"lr": RATES + DECAYS, "weight_decay": DECAYS + RATES}


def test_later_overrides_stand_for_earlier_ones_whether_words_or_values():
    tree = from_word("grid={optimizer:{lr:[0.1],weight_decay:[0.0]}}")
    value, out = from_value("grid.optimizer.lr", [0.5, 1.0]), from_word("~grid.optimizer")
    lists = [
        {axis.path: axis.values for axis in make_spec(UserConfig([*order])).grid.axes}
        for order in ([tree, value], [value, tree])
    ]
    assert lists[0] == {"optimizer.lr": (0.5, 1.0), "optimizer.weight_decay": (0.0,)}
    assert lists[1] == {"optimizer.lr": (0.1,), "optimizer.weight_decay": (0.0,)}
    assert make_spec(UserConfig([value, out])).grid.axes == ()
    with pytest.raises(ConfigError, match=r"^grid\.optimizer: is not in the config, so it cannot be deleted"):
        make_spec(UserConfig([out, value]))


def test_interpolations_of_a_sweep_file_see_the_values(here):
    (here / "sweeps").mkdir()
    grid = "{optimizer: {lr: [0.1, 0.2]}, model.width: '${grid.steps}'}"
    text = f"data: iris\nsteps: ${{record_every}}\ngrid: {grid}\n"
    (here / "sweeps" / "mine.yaml").write_text(text)
    config = {"sweep": "mine", "tracker": "none", "record_every": 7, "grid": {"steps": [3, 4]}}
    made = make_spec(config)
    axes = {axis.path: axis.values for axis in made.grid.axes}
    assert axes == {"optimizer.lr": (0.1, 0.2), "model.width": (3, 4), "steps": (3, 4)}
    assert made.raw["steps"] == 7


def test_what_is_recorded_of_values_composes_to_the_same():
    config = BASE | {
        "draws": {"optimizer": {"lr": [0.1, math.pi], "weight_decay": np.array([0.0, 1e-5])}},
        "grid": {"steps": {"range": [1, 9, 2]}},
        "data": {"name": "csv", "path": "it's ${HOME}\\", "target": "null", "features": ["1", "a, b"]},
    }
    read = as_overrides(config).overrides
    again = as_overrides([override.word for override in read]).overrides
    assert [(one.kind, one.key, one.value) for one in again] == [
        (one.kind, one.key, one.value) for one in read
    ]


@pytest.mark.parametrize(
    ("config", "begins"),
    [
        ({"a b": 3}, "override: cannot parse 'a b=3'"),
        ({"hydra": {"run": {"dir": "/x"}}}, "hydra.run.dir: is not a field of a sweep"),
        ({"hydra.verbose": True}, "hydra.verbose: cannot be set here"),
        ({"model@x": "mlp"}, "model@x: no such field"),
        ({"model": "mpl"}, "model: no such choice 'mpl'; did you mean mlp?"),
        ({"model": None}, "model: no such choice 'None'"),
        ({"model": {"x": {"_target_": "os.system"}}}, "model.x._target_: no such field"),
        ({"x" * 201: 3}, "xxx"),
        ({"grid": [1]}, "grid: got 'grid=[1]'; a list and a mapping cannot replace each other"),
        ({"steps": "???"}, "steps: got ???, which marks a missing value"),
        ({"grid": {"steps": [1, "???"]}}, "grid.steps[1]: got ???, which marks a missing value"),
        ({"steps": object}, "steps: Value 'object' is not a supported primitive type; give plain values"),
    ],
    ids=str,
)
def test_a_mapping_that_cannot_be(config, begins):
    with pytest.raises(ConfigError) as error:
        make_spec(config)
    assert str(error.value).startswith(begins)


def test_a_sweep_file_takes_over_the_entries_of_merged_mappings(here):
    (here / "sweeps").mkdir()
    text = "optimizer: {<<: {lr: 0.2, weight_decay: 0.1}, lr: 0.3}\n"
    (here / "sweeps" / "merged.yaml").write_text(text)
    raw = make_spec(["sweep=merged", "data=iris"]).raw
    # The mapping's own entry comes before a merged one.
    assert (raw["optimizer"]["lr"], raw["optimizer"]["weight_decay"]) == (0.3, 0.1)
