"""Sweep files that cannot be run, or that would say what is the person's to say."""

import sys

import pytest

BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}]\n"
    for a, b in zip("abcdefgh", "bcdefghi", strict=True)
)
# The content of `sweeps/odd.yaml`, and the start of the message.
UNREADABLE = {
    "": "sweep: cannot read sweeps/odd.yaml (it holds no fields)",
    "- 1\n- 2\n": "sweep: cannot read sweeps/odd.yaml (it holds no fields)",
    "{}": "sweep: cannot read sweeps/odd.yaml (it holds no fields)",
    "just text": "just text: no such field",
    "3": "sweep: cannot read sweeps/odd.yaml (",
    "grid: [1, 2\n  a: b: c": "sweep: cannot read sweeps/odd.yaml (",
    "steps: 3\n\tseeds: 1\n": "sweep: cannot read sweeps/odd.yaml (",
    "steps: 3\nsteps: 4\n": "sweep: cannot read sweeps/odd.yaml (",
    "steps: 'a\n": "sweep: cannot read sweeps/odd.yaml (",
    "steps: *nowhere\n": "sweep: cannot read sweeps/odd.yaml (",
    "steps: 3\n---\nsteps: 4\n": "sweep: cannot read sweeps/odd.yaml (",
    "steps: \x00\n": "sweep: cannot read sweeps/odd.yaml (",
    "? [1, 2]\n: 3\n": "sweep: cannot read sweeps/odd.yaml (",
    "? {a: 1}\n: 3\n": "sweep: cannot read sweeps/odd.yaml (",
    "steps: !!set {a, b}\n": "sweep: cannot read sweeps/odd.yaml (",
    "steps: !nosuch 3\n": "sweep: cannot read sweeps/odd.yaml (",
    "steps: ${model.width\n": "sweep: cannot read sweeps/odd.yaml (",
    "a: &a [*a]\n": "sweep: cannot read sweeps/odd.yaml (",
    "<<: 3\n": "sweep: cannot read sweeps/odd.yaml (<< takes mappings)",
    "<<: [[ab, cd]]\n": "sweep: cannot read sweeps/odd.yaml (<< takes mappings)",
    "a: &a\n  b: *a\n": "sweep: cannot read sweeps/odd.yaml (",
    BOMB: "sweep: cannot read sweeps/odd.yaml (it holds more than 500,000 values once",
    f"a: {'[' * 5000}": "sweep: cannot read sweeps/odd.yaml (it is nested more than 50 deep)",
    f"a: {'{b: ' * 400}": "sweep: cannot read sweeps/odd.yaml (it is nested more than 50 deep)",
    f"# {'x' * 10_000_000}\nsteps: 3\n": "sweep: cannot read sweeps/odd.yaml (it has more than",
    b"steps: 3\n# \xff\xfe\n": "sweep: cannot read sweeps/odd.yaml (",
    b"\x80\x04\x95\x0b": "sweep: cannot read sweeps/odd.yaml (",
    "steps: 3\n".encode("utf-16"): "sweep: cannot read sweeps/odd.yaml (",
    "!!python/object/apply:os.system ['touch $CANARY']\n": "sweep: cannot read sweeps/odd.yaml (",
    "steps: !!python/object/apply:os.system ['touch $CANARY']\n": "sweep: cannot read sweeps/odd.yaml (",
    "steps: !!python/object/new:os.system ['touch $CANARY']\n": "sweep: cannot read sweeps/odd.yaml (",
    "steps: !!python/name:os.system\n": "sweep: cannot read sweeps/odd.yaml (",
    "steps: !!python/module:this\n": "sweep: cannot read sweeps/odd.yaml (",
    "steps: !!python/object/apply:builtins.eval ['1']\n": "sweep: cannot read sweeps/odd.yaml (",
}
PERSONS = {
    "dir: /tmp/x\n": "dir: in sweeps/odd.yaml: got '/tmp/x'; in a sweep file it takes a folder below",
    "dir: ../x\n": "dir: in sweeps/odd.yaml: got '../x'",
    "dir: a/../../x\n": "dir: in sweeps/odd.yaml: got 'a/../../x'",
    "dir: ~/x\n": "dir: in sweeps/odd.yaml: got '~/x'",
    "dir: ''\n": "dir: in sweeps/odd.yaml: got ''",
    "dir: 3\n": "dir: in sweeps/odd.yaml: got 3",
    "dir: [a]\n": "dir: in sweeps/odd.yaml: got ['a']",
    "dir: C:\\x\n": "dir: in sweeps/odd.yaml: got 'C:",
    "dir: ..\\x\n": "dir: in sweeps/odd.yaml: got '..",
    "dir: ${tracker.wandb.project}\ntracker: {wandb: {project: ../x}}\n": "dir: in sweeps/odd.yaml: got '${",
    "dir: !!python/object/apply:pathlib.Path [/tmp/x]\n": "sweep: cannot read sweeps/odd.yaml (the tag",
    "allow_targets: [os]\n": "allow_targets: in sweeps/odd.yaml: a sweep file cannot allow modules",
    "allow_targets: []\n": "allow_targets: in sweeps/odd.yaml: a sweep file cannot",
    "allow_urls: ['http://x/y']\n": "allow_urls: in sweeps/odd.yaml: a sweep file cannot allow URLs",
    "hydra: {run: {dir: /tmp/x}}\n": "hydra: in sweeps/odd.yaml: a sweep file cannot configure Hydra",
    "hydra: {callbacks: {x: {_target_: os.system}}}\n": "hydra: in sweeps/odd.yaml",
    "hydra.run.dir: /tmp/x\n": "hydra.run.dir: in sweeps/odd.yaml",
    "hydra/launcher: joblib\n": "hydra/launcher: in sweeps/odd.yaml",
    "defaults: [override hydra/launcher: joblib]\n": "defaults: in sweeps/odd.yaml: got {'override",
    "defaults: [{override /hydra/launcher: joblib}]\n": "defaults: in sweeps/odd.yaml",
    "defaults: [digits@hydra]\n": "defaults: in sweeps/odd.yaml: got 'digits@hydra'",
    "defaults: [/data@hydra: iris]\n": "defaults: in sweeps/odd.yaml",
    "defaults: [/data: iris]\n": "defaults: in sweeps/odd.yaml: got {'/data': 'iris'}; an entry is",
    "defaults: [override /data: ../x]\n": "data: in sweeps/odd.yaml: no such choice '../x'",
    "defaults: [override /data: [iris]]\n": "data: in sweeps/odd.yaml: no such choice ['iris']",
    "defaults: [override /model: mpl]\n": "model: in sweeps/odd.yaml: no such choice 'mpl'; did you mean",
    "defaults: [override /nosuch: x]\n": "defaults: in sweeps/odd.yaml: got {'override /nosuch': 'x'}",
    "defaults: [nosuch]\n": "defaults: in sweeps/odd.yaml: got 'nosuch'",
    "defaults: [../../x]\n": "defaults: in sweeps/odd.yaml: got '../../x'",
    "defaults: [3]\n": "defaults: in sweeps/odd.yaml: got 3",
    "defaults: 3\n": "defaults: in sweeps/odd.yaml: got 3; it takes a list",
    "defaults: {a: b}\n": "defaults: in sweeps/odd.yaml: got {'a': 'b'}",
    "defaults: [odd]\n": "defaults: the sweep odd is in the defaults of its own",
    "sweep: digits\n": "sweep: in sweeps/odd.yaml: no field of a sweep file",
    "data: ../x\n": "data: in sweeps/odd.yaml: no such choice '../x'",
    "tracker: nosuch\n": "tracker: in sweeps/odd.yaml: no such choice 'nosuch'",
    "tracker: {wandb: {project: '${oc.env:CANARY}'}}\n": "tracker.wandb.project: ${oc.env:CANARY} is refused",
    "tracker: {wandb: {project: '${oc.${dtype}:CANARY}'}}\ndtype: env\n": "tracker.wandb.project: ${oc.env:",
    "tracker: {wandb: {project: '${oc.decode:${dtype}}'}}\ndtype: \"$\\\\{oc.env:HOME}\"\n": "tracker.wandb",
    "model: {name: own, _target_: os.system}\n": "model._target_: 'os.system' is in the module os",
    "model: {name: own, _target_: mine.os.system}\n": "model._target_: there is no module mine",
    "data: {name: own, _target_: numpy.load, file: x}\n": "data._target_: 'numpy.load' is in the",
    "x: {_target_: os.system}\n": "x._target_: no such field",
}
FIELDS = {
    "stpes: 3\n": "stpes: no such field; did you mean steps?",
    "3: 4\n": "3: no such field",
    "'a\\nb': 4\n": "a\\nb: no such field",
    '"a\\nb": 4\n': "a b: no such field",
    "null: 4\n": "sweep: cannot read sweeps/odd.yaml (Incompatible key type",
    "steps: '3'\n": "steps: got '3'; it takes an integer",
    "steps: [3]\n": "steps: got [3]",
    "steps:\n": "steps: got None",
    "steps: .inf\n": "steps: got inf",
    "steps: yes\n": "steps: got True",
    "steps: 2026-01-01\n": "steps: got '2026-01-01'",
    "steps: !!binary aGk=\n": "steps: got b'hi'",
    f"steps: 0x{'f' * 5000}\n": "sweep: cannot read sweeps/odd.yaml (Exceeds the limit",
    f"steps: {'9' * 5000}\n": "sweep: cannot read sweeps/odd.yaml (Exceeds",
    f"dtype: {'x' * 100_000}\n": "dtype: got 'xxx",
    f"{'x' * 5000}: 3\n": "sweep: cannot read sweeps/odd.yaml (",
    "model: 3\n": "model: in sweeps/odd.yaml: no such choice 3",
    "model: [mlp]\n": "model: in sweeps/odd.yaml: no such choice ['mlp']",
    "model: null\n": "model: in sweeps/odd.yaml: no such choice None",
    "seeds: {a: 1}\n": "seeds.a: no such field",
    "tracker: 3\n": "tracker: in sweeps/odd.yaml: no such choice 3",
    "tracker: {wandb: 3}\n": "tracker.wandb: no such field",
    "grid: 3\n": "grid: in sweeps/odd.yaml: got 3; it takes fields",
    "grid: [1]\n": "grid: in sweeps/odd.yaml: got [1]",
    "grid: ${steps}\n": "grid: in sweeps/odd.yaml: got '${steps}'",
    "grid: {steps: 3}\n": "grid.steps: got 3; it takes a list",
    "grid: {steps: }\n": "grid.steps: got None; it takes a list",
    "grid: {steps: {logspace: 3}}\n": "grid.steps: got {logspace: 3}",
    "grid: {steps: {nosuch: [1]}}\n": "grid.steps.nosuch: no such field",
    "grid: {model: {width: [3]}, model.width: [4]}\n": "grid.model.width: in sweeps/odd.yaml: given twice",
    "grid: {model.width: [3], model.width.x: [4]}\n": "grid.model.width.x: in sweeps/odd.yaml: given twice",
    "grid: {model.width.x: [4], model.width: [3]}\n": "grid.model.width: in sweeps/odd.yaml: given twice",
    "grid: {'': [1]}\n": "grid: got {'': [1]}",
    "grid: {'a..b': [1]}\n": "grid.a..b: no such field",
    "grid: {3: [1]}\n": "grid.3: no such field",
    "grid: {seeds: [1]}\n": "grid.seeds: not an axis",
    "grid: {optimizer.lr: [0.1, fast]}\n": "grid.optimizer.lr: got 'fast'",
    "grid: {optimizer.lr: ['${nosuch}']}\n": "grid.optimizer.lr[0]: Interpolation key 'nosuch' not found",
    "grid: {data.path: ['${oc.env:HOME}']}\n": "grid.data.path[0]: ${oc.env:HOME} is refused",
}


@pytest.fixture
def odd(here):
    (here / "sweeps").mkdir()
    return here / "sweeps" / "odd.yaml"


@pytest.mark.parametrize("text", [*UNREADABLE, *PERSONS, *FIELDS], ids=lambda text: repr(text[:50]))
def test_a_sweep_file_that_cannot_be_run(refused, odd, text):
    odd.write_bytes(text if isinstance(text, bytes) else text.encode())
    begins = {**UNREADABLE, **PERSONS, **FIELDS}[text]
    tracker = [] if "tracker" in str(text) else ["tracker=none"]
    refused(begins, "run", "sweep=odd", *tracker)


def test_what_is_no_file_is_no_sweep(refused, odd):
    odd.mkdir()
    refused("sweep: cannot read sweeps/odd.yaml", "run", "sweep=odd")


def test_a_sweep_in_the_defaults_of_another_is_held_to_the_same(refused, odd, cli):
    odd.write_text("dir: ../x\n")
    odd.with_name("outer.yaml").write_text("defaults: [odd]\nsteps: 3\n")
    for words in (["sweep=outer"], ["-m", "sweep=outer,digits"], ["++sweep=odd"], ["sweep='odd'"]):
        refused("dir: in sweeps/odd.yaml: got '../x'", "run", *words)
    odd.write_text("data: iris\n")
    assert cli("plan", "sweep=outer", "tracker=none").out.startswith("outer: ")
    # It is no one's error where it is not chosen.
    odd.write_text("dir: ../x\n")
    assert cli("plan", "sweep=diabetes", "tracker=none").status == 0


def test_a_directory_below_is_a_sweep_files_to_name(cli, odd, here):
    odd.write_text("dir: kept/a\ndata: iris\nmodel: logistic\ntracker: none\nsteps: 2\n")
    done = cli("run", "sweep=odd")
    assert (done.status, done.out) == (0, "kept/a\n")
    assert (here / "kept" / "a" / "trials.parquet").is_file()


MINE = """
import os, functools, subprocess
import numpy as np
from vsweep import Model
(__import__("pathlib").Path(__file__).parent / "imported").write_text("")
runner = functools.partial(os.system, "touch $CANARY")
evaluate = eval
join = "".join
def line(start=0.0):
    return Model(lambda key, n, m: {"a": start}, lambda p, x: p["a"] * x[:1])
"""


@pytest.fixture
def mine(here, monkeypatch):
    (here / "mine.py").write_text(MINE)
    (here / "imported").write_text("")
    (here / "json").mkdir()
    (here / "json" / "__init__.py").write_text("1 / 0")
    (here / "random.py").write_text("def line(): 1 / 0")
    (here / "yaml.py").write_text("def line(): 1 / 0")
    (here / "nets").mkdir()
    (here / "nets" / "deep.py").write_text(MINE)
    (here / "nets" / "imported").write_text("")
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    yield here
    for name in ("mine", "nets", "nets.deep"):
        sys.modules.pop(name, None)


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("mine.os.system", "is a function of the module posix"),
        ("mine.subprocess.run", "is a function of the module subprocess"),
        ("mine.runner", "is a function of the module posix"),
        ("mine.evaluate", "is a function of the module builtins"),
        ("mine.join", "is a function of the module builtins"),
        ("mine.np.load", "is a function of the module numpy"),
        ("nets.deep.os.system", "is a function of the module posix"),
        ("mine.nosuch", None),
        ("json.loads", "is in the module json"),
        ("random.line", "is in the module random"),
        ("yaml.line", "is in the module yaml"),
        ("yaml.load", "is in the module yaml"),
    ],
)
def test_a_path_through_ones_own_module_is_held_to_the_same(refused, mine, target, message):
    begins = (
        f"model._target_: '{target}' {message}" if message else f"model._target_: cannot import '{target}'"
    )
    refused(begins, "run", "tracker=none", "data=iris", "model=own", f"model._target_={target}")


@pytest.mark.parametrize("target", ["mine.line", "nets.deep.line", "nets.deep:line"])
def test_ones_own_module_is_allowed(cli, mine, target):
    done = cli("plan", "tracker=none", "data=diabetes", "model=own", f"model._target_={target}")
    assert (done.status, done.err) == (0, "")


def test_nothing_is_imported_before_it_is_allowed(refused, tmp_path_factory, here, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "theirs.py").write_text(MINE)
    monkeypatch.syspath_prepend(elsewhere)
    words = ["run", "tracker=none", "data=diabetes", "model=own", "model._target_=theirs.line"]
    refused("model._target_: 'theirs.line' is in the module theirs", *words)
    assert "theirs" not in sys.modules
    assert [path.name for path in elsewhere.iterdir()] == ["theirs.py"]


def test_what_is_allowed_on_the_command_line_is_taken(cli, tmp_path_factory, here, monkeypatch):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "theirs.py").write_text(MINE)
    monkeypatch.syspath_prepend(elsewhere)
    words = ["tracker=none", "data=diabetes", "model=own", "model._target_=theirs.line"]
    done = cli("plan", *words, "allow_targets=[theirs]")
    assert (done.status, done.err) == (0, "")


def test_what_a_sweep_is_called_is_one_folder(here, cli):
    (here / "..a\\b\t.csv").write_text("a,y\n" + "1,x\n2,z\n" * 10)
    words = [
        "data=csv",
        "data.path='..a\\b\t.csv'",
        "data.target=y",
        "tracker=none",
        "model=logistic",
        "steps=1",
    ]
    done = cli("run", *words)
    assert (done.status, done.err.count("Traceback")) == (0, 0)
    assert [path.name for path in (here / "outputs").iterdir()] == ["a_b_-logistic"]
