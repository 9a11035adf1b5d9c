"""The command line, as a person uses it."""

import shlex
import signal
import subprocess
import sys
import time
import zipfile
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest
import yaml
from hydra.core.config_store import ConfigStore
from omegaconf import OmegaConf

import vsweep
from vsweep.cli.arguments import COMMANDS, parse

ROOT = Path(__file__).parents[2]
SMALL = ["data=iris", "model=logistic", "tracker=none", "steps=2"]


def test_run_trains_and_prints_the_directory(cli, here):
    words = [
        "sweep=digits",
        "steps=10",
        "seeds=1",
        "grid.model.width=[8]",
        "~grid.model.name",
        "~grid.model.init",
        "~grid.model.init_scale",
        "tracker=none",
    ]
    done = cli("run", *words)
    assert done.status == 0, done.err
    (line,) = done.out.splitlines()
    made = vsweep.load(here / line)
    assert line.startswith("outputs/digits/")
    assert made.config["steps"] == 10
    assert made.plan["command"] == shlex.join(["vsweep", "run", *words])
    assert made.trials["model.width"].unique().tolist() == [8]
    assert sorted(made.curves["step"].unique()) == [0, 5, 10]
    assert "val_accuracy" in done.err
    assert f"{made.best()['mean']:.4f}" in done.err
    assert "Traceback" not in done.err


def test_plan_trains_and_writes_nothing_and_finds_ones_own_sweep(cli, here):
    (here / "sweeps").mkdir()
    own = "# @package _global_\ndefaults:\n  - override /data: wine\n"
    own += "grid:\n  model: {width: [3, 4]}\nseeds: 5\n"
    (here / "sweeps" / "mine.yaml").write_text(own)
    done = cli("plan", "sweep=mine")
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("mine: 10 trials = 2 cells")
    assert "model.width: 3, 4" in done.out
    assert "wine" in done.out
    assert [path.name for path in here.rglob("*")] == ["sweeps", "mine.yaml"]


def stopped(of):
    """The last line of a sweep in `kept` that is stopped. of: how many trials of how many are done."""
    kept = f"vsweep: stopped; {of} trials are kept in kept"
    return f"{kept}, unfinished blocks are dropped; to continue: vsweep resume kept\n"


def test_ctrl_c_keeps_what_is_finished(environment, tmp_path):
    # A shell may have told its children to ignore the signal.
    code = "import signal, runpy; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "runpy.run_module('vsweep', run_name='__main__')"
    words = [*SMALL, "grid.optimizer.lr={logspace:[1e-3,1,20000]}", "block=4", "dir=kept"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, "run", *words],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        end = time.monotonic() + 120
        while not len(list((tmp_path / "kept" / "curves").glob("part-*"))) > 2:
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert out == ""
    assert "Traceback" not in err
    made = vsweep.load(tmp_path / "kept")
    assert err.endswith(stopped(f"{len(made.trials):,} of 20,000"))
    assert 12 <= len(made.trials) < 20_000
    assert set(made.trials["trial"]) == set(made.curves["trial"])
    assert (made.curves.groupby("trial").size() == 2).all()


def test_ctrl_c_before_anything_is_finished_ends_at_once(environment, tmp_path):
    code = "import signal, runpy; signal.signal(signal.SIGINT, signal.default_int_handler); "
    code += "runpy.run_module('vsweep', run_name='__main__')"
    words = ["data=moons", "model.width=512", "seeds=64", "steps=100000", "tracker=none", "dir=kept"]
    process = subprocess.Popen(
        [sys.executable, "-c", code, "run", *words],
        cwd=tmp_path,
        env=environment,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        end = time.monotonic() + 120
        while not (tmp_path / "kept" / "plan.json").exists():
            assert process.poll() is None
            assert time.monotonic() < end
            time.sleep(0.05)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert err.endswith(stopped("0 of 64"))


@pytest.mark.parametrize("words", [["--help"], ["-h"], ["help"], []])
def test_help(cli, words):
    done = cli(*words)
    assert (done.status, done.err) == (0, "")
    assert "vsweep run" in done.out
    assert "vsweep plan" in done.out
    for command in COMMANDS:
        assert f"\n    {command}" in done.out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_each_command(cli, command):
    shown = cli(command, "--help")
    assert (shown.status, shown.err) == (0, "")
    assert shown.out.startswith(f"usage: vsweep {command} ")
    about, _, options, _ = COMMANDS[command]
    assert about[1:] in shown.out
    for option in options:
        assert f"[{option}=" in shown.out
        assert f"--{option.replace('_', '-')} " in shown.out
    assert cli(command, "x", "-h") == shown


@pytest.mark.parametrize("command", ["run", "plan"])
def test_help_of_what_hydra_runs_names_hydras_own(cli, command):
    shown = cli(command, "--help").out
    for text in ("--hydra-help", "--multirun", "--cfg", "grid.optimizer.lr=", "optimizer="):
        assert text in shown


def test_help_and_version_import_nothing_that_takes_long(command, tmp_path):
    code = "import sys; sys.argv = ['vsweep', sys.argv[1]]; from vsweep.cli.main import main; main(); "
    code += (
        "heavy = {'jax', 'hydra', 'numpy', 'pandas', 'matplotlib', 'wandb', 'shtab', 'filelock', 'rich'}; "
    )
    code += "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    for word, text in (("--help", "usage: vsweep"), ("--version", f"vsweep {version('vsweep')}\n")):
        ran = subprocess.run([sys.executable, "-c", code, word], capture_output=True, text=True)
        assert (ran.returncode, ran.stderr) == (0, "")
        assert ran.stdout.startswith(text)


@pytest.mark.parametrize(
    "words",
    [
        ["verify", "DIR", "k=3", "seed=7", "allow_targets=[a,b]"],
        ["verify", "DIR", "--k", "3", "--seed=7", "--allow-targets", "a,b"],
        ["verify", "--k=3", "seed=7", "--allow-targets=[a,b]", "DIR"],
    ],
)
def test_options_are_words_or_flags(words):
    expected = {"k": 3, "seed": 7, "allow_targets": ["a", "b"]}
    assert parse(words[0], words[1:]) == (["DIR"], expected)


def test_options_that_are_not_given_are_left_to_the_function():
    assert parse("confirm", ["DIR"]) == (["DIR"], {})
    assert parse("resume", ["DIR", "seeds=3", "~grid.model.init"]) == (
        ["DIR", "seeds=3", "~grid.model.init"],
        {},
    )
    assert parse("check", []) == ([], {})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["confirm", "x", "--tpo", "3"], "--tpo: no such flag; did you mean --top?"),
        (["confirm", "x", "--to", "3"], "--to: no such flag; did you mean --top?"),
        (["confirm", "x", "--top"], "--top: got nothing; it takes a value: --top VALUE"),
        (["confirm", "x", "--top", "none"], "top: got 'none'; it takes an integer of at least 1"),
        (["confirm", "x", "--top=0"], "top: got '0'; it takes an integer of at least 1"),
        (["confirm", "--top=2"], "confirm: got no directory; vsweep confirm DIR takes a sweep's directory"),
        (["resume", "--seeds", "3"], "--seeds: no such flag; it takes one of --help"),
        (["completion", "tcsh"], "completion: got 'tcsh'; it takes one of bash, zsh, fish"),
        (["completion"], "completion: got nothing; it takes one of bash, zsh, fish"),
        (["run", "trial=3"], "from: got nothing; trial=N from=DIR takes a sweep's directory"),
        (["run", "from=x"], "trial: got nothing; it takes an integer of at least 0"),
        (["run", "from=x", "trial=y"], "trial: got 'y'; it takes an integer of at least 0"),
    ],
)
def test_bad_options_are_one_clear_line(cli, words, message):
    assert cli(*words) == (2, "", f"vsweep: {message}\n")


COMPLETE = """
source ./script
COMP_LINE="$1" COMP_POINT=${#1}
read -ra COMP_WORDS <<< "${1//=/ = }"
[[ "$1" == *" " ]] && COMP_WORDS+=("")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_shtab_vsweep
echo "${COMPREPLY[*]}"
"""


def test_bash_completes_commands_flags_choices_and_sweep_files(cli, here):
    (here / "sweeps").mkdir()
    (here / "sweeps" / "mine.yaml").write_text("")
    (here / "script").write_text(cli("completion", "bash").out)

    def complete(line):
        ran = subprocess.run(["bash", "-c", COMPLETE, "bash", line], capture_output=True, text=True)
        assert (ran.returncode, ran.stderr) == (0, "")
        return ran.stdout.split()

    assert complete("vsweep ") == list(COMMANDS)
    flags = ["--help", "--top", "--seeds", "--metric", "--allow-targets", "--allow-urls", "--max-bytes"]
    assert complete("vsweep confirm x --") == flags
    # Bash takes what is behind "=" for a word of its own.
    assert complete("vsweep run data=ir") == ["iris"]
    assert complete("vsweep plan seeds=3 sweep=mi") == ["mine"]
    assert "digits" in complete("vsweep plan sweep=")
    assert complete("vsweep run schedule=c") == ["constant", "cosine"]
    assert "model=mlp" in complete("vsweep resume x mod")
    assert complete("vsweep report swe") == ["sweeps"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_of_the_other_shells_has_the_choices(cli, shell):
    done = cli("completion", shell)
    assert (done.status, done.err) == (0, "")
    assert "data=iris" in done.out
    assert done.out.count("_vsweep_words") == 5


def test_an_unknown_command(cli, here):
    done = cli("rnu", "sweep=digits")
    assert (done.status, done.out) == (2, "")
    assert done.err == "vsweep: command: no such command 'rnu'; did you mean run?\n"


def refused(done, begins, folder, files=()):
    """One line that begins so, status 2, and nothing written."""
    assert done.status == 2
    assert done.out == ""
    lines = done.err.splitlines()
    assert len(lines) == 1, done.err
    assert lines[0].startswith(f"vsweep: {begins}")
    assert [path.name for path in folder.iterdir()] == list(files)


BAD = {
    "modle.width=3": "modle.width: no such field; did you mean model.width?",
    "model.widht=3": "model.widht: no such field; did you mean model.width?",
    "+model.widht=3": "model.widht: no such field; did you mean model.width?",
    "optimizer.momentum=0.9": "optimizer.momentum: optimizer=sgd has no such field; its fields are lr",
    "optimizer.lr=fast": "optimizer.lr: got 'fast'; it takes a number above 0",
    "optimizer.lr=-1": "optimizer.lr: got -1; it takes a number above 0",
    "model.width=0": "model.width: got 0; it takes an integer from 1",
    "steps=null": "steps: got None; it takes an integer of at least 1",
    "grid.model.width=[]": "grid.model.width: the axis is empty; it takes a list",
    "grid.optimizer.lr={logspace:[0,1,3]}": "grid.optimizer.lr: got {logspace: [0, 1, 3]}; {logspace",
    "grid.optimizer.lr={logspce:[1,2,3]}": "grid.optimizer.lr: got {'logspce': [1, 2, 3]}; it takes a list",
    "grid.optimizer.lr=0.1": "grid.optimizer.lr: got 0.1; it takes a list",
    "grid.model.init=[he_norml]": "grid.model.init: got 'he_norml'; it takes one of",
    "seeds=[1,2,1]": "seeds: 1 is given twice",
    "seeds=0": "seeds: got 0; it takes a count",
    "data.val_fraction=0.0001": "data.val_fraction: 0.0001 of 1797 rows leaves no held-out rows",
    "data.test_fraction=0.0001": "data.test_fraction: 0.0001 of 1797 rows leaves no test rows",
    "data.test_fraction=0.8": "data.test_fraction: 0.8 of 1797 rows leaves no training rows",
    "data.test_fraction=some": "data.test_fraction: got 'some'; it takes a number from 0 to below 1, or auto",
    "data.batch_size=1259": "data.batch_size: got 1259, and there are 1258 training rows",
    "data.test_fraction=0 data.batch_size=1439": "data.batch_size: got 1439, and there are 1438 training",
    "keep.params=some": "keep.params: got 'some'; it takes an integer of at least 0, or all",
    "segment=0": "segment: got 0; it takes an integer of at least 1, or null",
    "model=mpl": "model: no such choice 'mpl'; did you mean mlp?",
    "grid.model=[mpl]": "grid.model: no such choice 'mpl'; did you mean mlp?",
    "sweep=digit": "sweep: no such choice 'digit'; did you mean digits?",
    "tracker=wandbb": "tracker: no such choice 'wandbb'; did you mean wandb?",
    "optimizer.lr==": "override: cannot parse 'optimizer.lr=='",
    "grid.model.width=[8": "override: cannot parse 'grid.model.width=[8'",
    "hello": "override: cannot parse 'hello'",
    "~grid.model.init": "grid.model.init: ",
    "model=own": "model._target_: got nothing; it takes a function's dotted path",
    "model=linear": "model: got linear, and data=digits has 10 classes; it takes logistic or mlp",
    "loss=huber": "loss: got huber, and data=digits has 10 classes",
    "data=csv": "data.path: got None; it takes text",
    "model.width=${nosuch}": "model.width: ",
    "dir=/proc/no/such": "dir: cannot make '/proc/no/such'",
    "model=own model._target_=nosuch.x allow_targets=[nosuch]": "model._target_: cannot import 'nosuch.x'",
    "model=own model._target_=os.nosuch allow_targets=[os]": "model._target_: cannot import 'os.nosuch'",
    "model=own model._target_=os.getcwd allow_targets=[os,posix]": "model._target_: cannot be trained",
    "data=csv data.path=nosuch.csv data.target=y": "data.path: no file at 'nosuch.csv'",
    "data=diabetes model=logistic": "model: got logistic, and its target is a number",
    "data=diabetes loss=softmax_cross_entropy": "loss: got softmax_cross_entropy",
}


@pytest.mark.parametrize("words", BAD)
def test_bad_words_are_one_clear_line(cli, here, words):
    refused(cli("run", "tracker=none", *words.split()), BAD[words], here)


def test_a_directory_that_is_not_empty_is_refused(cli, here):
    (here / "kept").mkdir()
    (here / "kept" / "mine.txt").write_text("")
    message = "dir: 'kept' is not empty; it takes a new directory, or that of a sweep"
    refused(cli("run", *SMALL, "dir=kept"), message, here, ["kept"])
    assert [path.name for path in (here / "kept").iterdir()] == ["mine.txt"]


def test_a_sweep_file_that_is_no_yaml_is_told(cli, here):
    (here / "sweeps").mkdir()
    (here / "sweeps" / "odd.yaml").write_text("grid: [1, 2\n  a: b: c")
    refused(cli("plan", "sweep=odd"), "sweep: cannot read sweeps/odd.yaml", here, ["sweeps"])


def test_a_sweep_file_of_an_unknown_field_is_told(cli, here):
    (here / "sweeps").mkdir()
    (here / "sweeps" / "odd.yaml").write_text("# @package _global_\nstpes: 3\n")
    refused(cli("plan", "sweep=odd"), "stpes: no such field; did you mean steps?", here, ["sweeps"])


def test_a_sweep_file_of_an_unknown_choice_is_told(cli, here):
    (here / "sweeps").mkdir()
    text = "# @package _global_\ndefaults:\n  - override /model: mpl\n"
    (here / "sweeps" / "odd.yaml").write_text(text)
    done = cli("plan", "sweep=odd")
    refused(done, "model: ", here, ["sweeps"])
    assert "mlp" in done.err


@pytest.mark.tail
def test_bad_words_in_a_process_of_its_own(command, tmp_path):
    done = command(tmp_path, "run", "optimizer.lr=-1", "data=iris")
    refused(done, "optimizer.lr: got -1; it takes a number above 0", tmp_path)
    done = command(tmp_path, "run", "-m", "data=iris,wine", "model=mlp,logistic", "optimizer.lr=-1")
    refused(done, "optimizer.lr: got -1; it takes a number above 0", tmp_path)


def jobs(folder):
    """The data and the number of trials of each job of a multirun."""
    return sorted(
        (
            yaml.safe_load((kept.parent / "config.yaml").read_text())["data"]["name"],
            len(pd.read_parquet(kept)),
        )
        for kept in folder.rglob("trials.parquet")
    )


MULTIRUN = ["run", "-m", "data=iris,wine", *SMALL[1:]]


def test_multirun_is_a_sweep_per_job(cli, here):
    done = cli(*MULTIRUN, "seeds=1,2")
    assert done.status == 0, done.err
    assert jobs(here / "outputs") == [("iris", 1), ("iris", 2), ("wine", 1), ("wine", 2)]
    lines = done.out.splitlines()
    assert len(lines) == 4
    assert all((here / line / "trials.parquet").is_file() for line in lines)


@pytest.mark.tail
@pytest.mark.parametrize("launcher", ["joblib", "submitit_local"])
def test_multirun_in_processes_of_a_launcher(command, tmp_path, launcher):
    more = ["hydra.launcher.n_jobs=2"] if launcher == "joblib" else []
    done = command(tmp_path, *MULTIRUN, f"hydra/launcher={launcher}", *more)
    assert done.status == 0, done.err
    assert jobs(tmp_path / "outputs") == [("iris", 1), ("wine", 1)]


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """A folder with vsweep as its wheel installs it."""
    folder = tmp_path_factory.mktemp("site")
    assert {"vsweep/conf/config.yaml", "vsweep/sweeps/digits.yaml"} <= set(zipfile.ZipFile(wheel).namelist())
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--quiet", "--target", str(folder)]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    return folder


def test_an_installed_wheel_works_from_anywhere(environment, installed, tmp_path):
    shipped = {
        str(path.relative_to(ROOT)) for top in ("conf", "sweeps") for path in (ROOT / top).rglob("*.yaml")
    }
    kept = {str(path.relative_to(installed / "vsweep")) for path in (installed / "vsweep").rglob("*.yaml")}
    assert kept == shipped
    code = "from vsweep.config.groups import CONF; print(CONF); from vsweep.cli.main import main; main()"
    ran = subprocess.run(
        [sys.executable, "-c", code, "plan", "sweep=digits", "tracker=none"],
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr
    conf, text = ran.stdout.split("\n", 1)
    assert conf == str(installed / "vsweep" / "conf")
    assert text.startswith("digits: ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("rows", "words", "message"),
    [
        (None, [], "data.path: no file at 'own.csv'"),
        ("a,y\n1,x\n2,z\n", ["data.target=why"], "data.target: no column 'why'; it takes one of a, y"),
        ("a,y\n1,x\ntwo,z\n", [], "data.features: column 'a' holds text"),
        ("a,y\n1,x\n,z\n", [], "data.features: column 'a' has 1 missing value (first in row 1, "),
        ("a,y\n1,x\n2,x\n", [], "data.target: one class only ('x')"),
        ("y\nx\nz\n", [], "data.features: no column beside 'y'"),
        (
            "a,y\n1,x\n2,z\n3,x\n",
            ["data.batch_size=9"],
            "data.batch_size: got 9, and there are 2 training rows",
        ),
        ("a,y\n1,x\n2,z\n", ["model=linear"], "model: got linear, and data=csv has 2 classes"),
        (
            "a,y\n1,x\n2,z\n",
            ["data.val_fraction=0.9"],
            "data.val_fraction: 0.9 of 2 rows leaves",
        ),
    ],
)
def test_a_file_that_cannot_be_trained_on(cli, here, rows, words, message):
    if rows is not None:
        (here / "own.csv").write_text(rows)
    before = sorted(here.rglob("*"))
    target = [] if any(word.startswith("data.target=") for word in words) else ["data.target=y"]
    more = ["data.val_fraction=0.34"] if not any("val_fraction" in word for word in words) else []
    done = cli("run", "data=csv", "data.path=own.csv", "tracker=none", *target, *more, *words)
    assert done.status == 2
    assert done.err.startswith(f"vsweep: {message}")
    assert done.err.count("\n") == 1
    assert sorted(here.rglob("*")) == before


SHORT_JOBS = ["tracker=none", "steps=2", "data=iris"]


@pytest.mark.parametrize(
    ("words", "jobs"),
    [
        (["model=glob(*st*)"], 1),
        (["optimizer=glob(*,exclude=[a*,r*,l*])"], 3),
        (["seeds=range(1,4)"], 3),
        (["model=choice(logistic,mlp)"], 2),
    ],
)
def test_multirun_takes_every_list_of_hydras_grammar(cli, words, jobs):
    done = cli("plan", "-m", *SHORT_JOBS, *words)
    assert done.status == 0, done.err
    assert done.out.count("predicted: ") == jobs


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["-m", "data=glob(*)"], "data.path: got None; it takes text (in the job of data=csv)"),
        (["-m", "data=glob(q*)"], "data: got glob(q*), which has no values; it takes one of breast_cancer"),
        (["-m", "optimizer.lr=glob(*)"], "optimizer.lr: got glob(*), which has no values"),
        (
            ["-m", "optimizer.lr=interval(1,3)"],
            "optimizer.lr: got interval(1,3), whose values are not listed",
        ),
        (["-m", "--cfg", "job", "data=iris,wine"], "--cfg: cannot be combined with --multirun"),
        (["--info", "config", "-m", "data=iris,wine"], "--multirun: cannot be combined with --info"),
        (["--cfg=job", "--info"], "--info: cannot be combined with --cfg"),
        (["-m", "--hydra-help"], "--hydra-help: cannot be combined with --multirun"),
        (["--resolve"], "--resolve: got no --cfg; it takes --cfg=job --resolve"),
        (["data=glob(*)"], "data: got several values, 'glob(*)'; give -m"),
    ],
)
def test_flags_and_lists_of_hydra_end_in_an_answer(cli, words, says):
    done = cli("plan", "tracker=none", *words)
    assert done.status == 2
    (line,) = done.err.splitlines()
    assert line.startswith(f"vsweep: {says}")


@pytest.fixture
def sweepers():
    """Sweepers of plugins that are installed, by their configs."""
    store = ConfigStore.instance()
    names = ["optuna", "ax", "nevergrad", "custom"]
    for name in names:
        node = {"_target_": f"hydra_plugins.{name}.Sweeper", "params": None, "study_name": None}
        store.store(name, OmegaConf.create(node), group="hydra/sweeper", provider="a plugin")
    yield names
    for name in names:
        del store.repo["hydra"]["sweeper"][f"{name}.yaml"]


@pytest.mark.parametrize(
    "word", ["optimizer.lr=choice(0.1,0.2)", "steps=range(1,3)", "optimizer.lr=interval(0.1,1)", "steps=1,2"]
)
def test_other_sweepers_are_refused_where_their_plugins_are_installed_too(cli, here, sweepers, word):
    """They would train every job, and find no value to search by at the end of the first."""
    for name in sweepers:
        for choice in (f"hydra/sweeper={name}", f"+hydra/sweeper={name}"):
            for command in ("run", "plan"):
                done = cli(command, "-m", choice, word, "data=iris", "model=logistic", "tracker=none")
                assert done.status == 2
                assert f"vsweep: hydra/sweeper: got {name}, and jobs are whole sweeps" in done.err
                assert done.err.count("\n") == 1
    for target in ("hydra.sweeper._target_=hydra_plugins.optuna.Sweeper", "hydra.sweeper={_target_:x.y}"):
        done = cli("run", "-m", target, word, "data=iris", "model=logistic", "tracker=none")
        assert done.status == 2
        assert "cannot be set here" in done.err
    with pytest.raises(vsweep.ConfigError, match="hydra/sweeper: got optuna"):
        vsweep.sweep({"hydra/sweeper": "optuna", "data": "iris"})
    (here / "sweeps").mkdir()
    for text in (
        "defaults: [{override /hydra/sweeper: optuna}]\n",
        "hydra: {sweeper: {_target_: x.y}}\n",
        "hydra/sweeper: optuna\n",
    ):
        (here / "sweeps" / "odd.yaml").write_text(f"# @package _global_\n{text}")
        assert cli("run", "sweep=odd", "-m", word).status == 2
    assert {path.name for path in here.iterdir()} == {"sweeps"}


def test_the_sweeper_of_hydra_itself_may_be_named(cli):
    words = ["hydra/sweeper=basic", "steps=1,2", "data=iris", "model=logistic", "tracker=none", "seeds=1"]
    assert cli("plan", "-m", *words).status == 0
