"""Bad input grown from good: whatever comes, a sweep is planned, or refused in one line."""

import io
import string

import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vsweep.config.grid import axis_values, seed_list
from vsweep.config.groups import CONF
from vsweep.config.overrides import to_hydra_literal
from vsweep.config.schema import FIELDS, GROUPS, SWEEP_FIELDS, parse_field
from vsweep.config.validate import check_config
from vsweep.errors import ConfigError

few = settings(max_examples=8, suppress_health_check=list(HealthCheck))
many = settings(max_examples=60, suppress_health_check=list(HealthCheck))


@pytest.fixture(
    autouse=True, params=[1, *(pytest.param(part, marks=pytest.mark.tail) for part in range(2, 6))]
)
def part(request):
    """Draw the examples in five parts, of which all but the first are in the tail."""
    return request.param


PATHS = [*FIELDS, *SWEEP_FIELDS, *GROUPS, "tracker", "seeds", "grid", *(f"{group}.name" for group in GROUPS)]
NUMBERS = [0, 1, 2, 3, -1, 0.5, 1.5, 1e-60, 1e60, 1e308, float("nan"), float("inf"), 2**31, 2**63, 10**40]
TEXTS = ["", " ", "mlp", "sgd", "own", "zeros", "../x", "${steps}", "${nosuch}", "${oc.env:HOME}", "???",
         "a\nb", "ü", "'", '"', "\\", "{", "[1", "\x00", "\u2028", "\u202e", "x" * 400, "os.system", "hydra",
         "null", "1e3"]  # fmt: skip
scalars = st.sampled_from([*NUMBERS, *TEXTS, None, True, False]) | st.text(max_size=8) | st.integers()
keys = st.sampled_from(["logspace", "linspace", "range", "name", "_target_", "width", "a", ""]) | st.text(
    max_size=4
)
junk = st.recursive(
    scalars, lambda part: st.lists(part, max_size=3) | st.dictionaries(keys, part, max_size=3), max_leaves=6
)
spaces = st.dictionaries(
    st.sampled_from(["logspace", "linspace", "range"]),
    st.lists(st.sampled_from(NUMBERS), max_size=4),
    min_size=1,
    max_size=2,
)


@pytest.fixture
def settled(cli, here, monkeypatch, tmp_path_factory):
    """`settled("plan", …)`: planned with nothing to say, or refused in one line; the status."""
    outside = tmp_path_factory.mktemp("outside")
    monkeypatch.setenv("HOME", str(outside))

    def call(*words):
        before = sorted(here.rglob("*"))
        done = cli("plan", *words)
        assert "Traceback" not in done.err
        if done.status == 0:
            assert done.err == ""
        else:
            assert (done.status, done.out) == (2, "")
            assert len(done.err.splitlines()) == 1, done.err
            field = done.err.removeprefix("vsweep: ").partition(": ")[0]
            assert done.err.startswith("vsweep: ")
            assert field
        assert sorted(here.rglob("*")) == before
        assert list(outside.iterdir()) == []
        return done.status

    return call


def refuses_or_takes(call, *given):
    refused = None
    try:
        call(*given)
    except ConfigError as error:
        refused = error
    assert refused is None or (refused.field and str(refused).isprintable() and len(str(refused)) < 2000)


@many
@given(st.sampled_from([*FIELDS, *SWEEP_FIELDS]), junk)
def test_any_value_of_any_field(path, value):
    refuses_or_takes(parse_field, path, value)


@many
@given(junk | spaces | st.lists(scalars, max_size=4))
def test_any_value_of_an_axis_and_of_seeds(value):
    refuses_or_takes(axis_values, "optimizer.lr", value)
    refuses_or_takes(seed_list, value)


BASE = yaml.safe_load((CONF / "config.yaml").read_text())
CHOSEN = {
    group: choice
    for one in BASE.pop("defaults")
    for group, choice in (one.items() if isinstance(one, dict) else ())
}
BASE = {key: value for key, value in BASE.items() if key != "hydra"} | {
    group: yaml.safe_load((CONF / group / f"{CHOSEN[group]}.yaml").read_text())
    for group in [*GROUPS, "tracker"]
}


@st.composite
def changed(draw, tree):
    """A tree with one of its parts out, in anew, or in another's place."""
    made = yaml.safe_load(yaml.safe_dump(tree))
    place, name = made, None
    while isinstance(place, dict) and place:
        name = draw(st.sampled_from(sorted(place, key=str)))
        if not isinstance(place[name], dict) or not place[name] or draw(st.integers(0, 3)) == 0:
            break
        place = place[name]
    how = draw(st.sampled_from(["replace", "replace", "remove", "add"]))
    if how == "remove":
        del place[name]
    else:
        place[name if how == "replace" else draw(keys)] = draw(junk | spaces)
    return made


@many
@given(changed(BASE))
def test_any_change_of_a_composed_config(raw):
    refuses_or_takes(check_config, raw, {})


@few
@given(
    st.sampled_from(PATHS), junk, st.sampled_from(["", "grid."]), st.sampled_from(sorted(GROUPS["optimizer"]))
)
def test_any_words(settled, path, value, prefix, optimizer):
    word = f"{prefix}{path}={to_hydra_literal(value)}"
    settled("tracker=none", "data=iris", f"optimizer={optimizer}", word)


@few
@given(st.text(string.printable, max_size=12), st.sampled_from(PATHS), st.data())
def test_any_characters_in_a_word(settled, text, path, data):
    word = f"{path}=[0.1,{{a:1}}]"
    start = data.draw(st.integers(0, len(word)))
    end = data.draw(st.integers(start, len(word)))
    settled("data=iris", "tracker=none", word[:start] + text.lstrip("-") + word[end:])


SWEEP = {
    "defaults": [{"override /data": "iris"}, {"override /model": "mlp"}],
    "grid": {
        "model": {"init": ["he_normal", "zeros"], "width": [4, 8]},
        "optimizer.lr": {"logspace": [0.1, 1, 3]},
    },
    "optimizer": {"lr": 0.3},
    "tracker": {"wandb": {"mode": "disabled"}},
    "seeds": 2,
    "steps": 10,
}


@few
@given(changed(SWEEP), st.none() | st.tuples(st.floats(0, 1), st.floats(0, 1), st.text(max_size=6)))
def test_any_change_of_a_sweep_file(settled, here, tree, cut):
    text = yaml.safe_dump(tree, allow_unicode=True)
    if cut:
        start, end = (int(part * len(text)) for part in sorted(cut[:2]))
        text = text[:start] + cut[2] + text[min(end, start + 5) :]
    (here / "sweeps").mkdir(exist_ok=True)
    (here / "sweeps" / "odd.yaml").write_text(text, encoding="utf-8")
    settled("sweep=odd")


def as_bytes(kind):
    frame = pd.DataFrame({"a": range(20), "b": [i * i % 7 for i in range(20)], "y": ["x", "z"] * 10})
    if kind == "csv":
        return frame.to_csv(index=False).encode()
    kept = io.BytesIO()
    frame.to_parquet(kept, index=False)
    return kept.getvalue()


@few
@pytest.mark.parametrize("kind", ["csv", "parquet"])
@given(st.data())
def test_any_bytes_as_a_data_file(settled, here, kind, data):
    good = as_bytes(kind)
    start = data.draw(st.integers(0, len(good)))
    cut = data.draw(st.integers(0, 8))
    text = data.draw(
        st.binary(max_size=8)
        | st.sampled_from([b"inf", b"1e300", b",", b"\n", b'"', b"", b"nan", b"9" * 400])
    )
    content = data.draw(st.sampled_from([good[:start] + text + good[start + cut :], text * 20]))
    (here / "own.dat").write_bytes(content)
    settled("tracker=none", "model=logistic", f"data={kind}", "data.path=own.dat", "data.target=y")


PARTS = st.sampled_from(
    ["os", "sys", "system", "mine", "numpy", "load", "vsweep", "tasks", "tables", "api", "sweep", "__main__",
     "cli", "main", "builtins", "eval", "json", "posix", "subprocess", "run", "__class__", "", "line"]
)  # fmt: skip


@few
@given(
    st.sampled_from(["model", "loss", "data"]), st.lists(PARTS, min_size=1, max_size=4), st.sampled_from(".:")
)
def test_any_function_by_name(settled, here, group, parts, mark):
    mine = "import os, sys, json, subprocess\nimport numpy\nfrom numpy import load\n__builtins__['x'] = 1\n"
    (here / "mine.py").write_text(mine)
    (here / "__pycache__").mkdir(exist_ok=True)
    target = f"{'.'.join(parts[:-1])}{mark}{parts[-1]}"
    before = sorted((here / "__pycache__").iterdir())
    status = settled("tracker=none", f"{group}=own", f"{group}._target_='{target}'")
    assert status == 2
    assert sorted((here / "__pycache__").iterdir()) == before
