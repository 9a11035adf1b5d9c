"""Every test runs under strict rank and dtype promotion, with warnings as errors."""

import logging
import os
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import jax
import pytest
from caches import keep_compiled, new_folder
from hypothesis import HealthCheck, settings

from vsweep.engine.devices import prepare

os.environ["XDG_CACHE_HOME"] = os.environ["MPLCONFIGDIR"] = new_folder()

prepare()
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

settings.register_profile("vsweep", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vsweep")


def pytest_sessionfinish(exitstatus):
    # A run that fails, or is stopped, may leave half a program.
    if exitstatus == 0:
        keep_compiled()


class Done(NamedTuple):
    """The result of a command."""

    status: int
    out: str
    err: str


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to stand in; modules that are imported from it are forgotten with it."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        folders = [getattr(module, "__file__", None), *(getattr(module, "__path__", None) or ())]
        if any(folder and Path(folder).is_relative_to(tmp_path) for folder in folders):
            del sys.modules[name]


@pytest.fixture
def cli(here, monkeypatch):
    """The command line in this process, in an empty folder: `cli("run", "steps=2") -> Done`."""
    from vsweep.cli.main import main

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["vsweep", *words])
        monkeypatch.setattr(sys, "path", list(sys.path))
        monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
        # Hydra closes every handler of this process, and absl's would close the stream that it has.
        monkeypatch.setattr(logging, "_handlerList", [])
        status, out, err = 0, StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            try:
                main()
            except SystemExit as stop:
                status = stop.code
        return Done(status, out.getvalue(), err.getvalue())

    return call


@pytest.fixture(scope="session")
def environment():
    """The environment of a subprocess, which finds what others of this run have compiled."""
    return dict(os.environ)


@pytest.fixture(scope="session")
def command(environment):
    """The command line as a process of its own: `command(folder, "run", "steps=2") -> Done`."""

    def call(folder, *words, **more):
        ran = subprocess.run(
            [sys.executable, "-m", "vsweep", *words],
            cwd=folder,
            env={**environment, **more},
            capture_output=True,
            text=True,
            timeout=240,
        )
        return Done(ran.returncode, ran.stdout, ran.stderr)

    return call


@pytest.fixture(scope="session")
def wheel(tmp_path_factory):
    """The wheel of this checkout."""
    folder, root = tmp_path_factory.mktemp("wheel"), Path(__file__).parents[1]
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(root)]
    subprocess.run(build, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="session")
def small(tmp_path_factory):
    """A trained sweep of 12 trials in 2 programs, of which the trials with lr=1e6 diverged."""
    import vsweep

    words = [
        "data=iris",
        "tracker=none",
        "grid.model.name=[logistic,mlp]",
        "grid.model.width=[2,3]",
        "grid.optimizer.lr=[0.1,1e6]",
        "seeds=[5,3]",
        "steps=5",
        "record_every=2",
        f"dir='{tmp_path_factory.mktemp('small') / 'kept'}'",
    ]
    return vsweep.sweep(words, quiet=True)


def _pictured(factory, name, *words):
    """A trained sweep whose task has pictures."""
    import vsweep

    common = ["tracker=none", "verify=false", f"dir='{factory.mktemp(name) / 'kept'}'"]
    return vsweep.sweep([*words, *common], quiet=True)


@pytest.fixture(scope="session")
def spiral(tmp_path_factory):
    """Logistic regression, which has no width, and MLPs on three classes; the highest rate diverges."""
    words = ["data=spirals", "data.arms=3", "data.rows=300", "grid.model.name=[logistic,mlp]", "seeds=[7,4]"]
    more = ["grid.model.width=[2,3]", "grid.optimizer.lr=[0.1,1e6]", "model.init=normal", "steps=30"]
    return _pictured(tmp_path_factory, "spiral", *words, *more, "keep.params=all")


@pytest.fixture(scope="session")
def line(tmp_path_factory):
    """A straight line, its parameters recorded and kept; the highest rate diverges."""
    words = ["data=line", "model=linear", "model.start=[1.0,1.0]", "grid.optimizer.lr=[0.03,0.1,1e6]"]
    more = ["seeds=2", "steps=20", "record_every=1", "record_params=true", "keep.params=all"]
    shown = "pictures=[fits,{fits:{by:optimizer.lr,where:{optimizer.lr:0.1}}},loss_surface]"
    return _pictured(tmp_path_factory, "line", *words, *more, shown)


@pytest.fixture(scope="session")
def quartic(tmp_path_factory):
    """Descents on a function of one coordinate with two minima; the highest rate leaves for infinity."""
    words = ["data=none", "model=point", "dtype=float64", "loss=quartic", "steps=300", "record_every=10"]
    axes = ["grid.model.x={linspace:[-5.0,5.0,11]}", "grid.optimizer.lr=[1e-4,1e-3,1e-2,0.1]"]
    return _pictured(tmp_path_factory, "quartic", *words, *axes)


@pytest.fixture(scope="session")
def field(tmp_path_factory):
    """Descents on a function of two coordinates."""
    words = ["data=none", "model=point", "dtype=float64", "loss=gold_field", "steps=60", "record_every=1"]
    axes = ["grid.model.x=[-2.0,1.0]", "grid.model.y=[-2.0,0.5,2.0]", "grid.optimizer.lr=[0.05,0.5]"]
    return _pictured(tmp_path_factory, "field", *words, *axes)


@pytest.fixture(scope="session")
def zygote(environment, tmp_path_factory):
    """Starts sweeps as processes that can be killed: see `fault_helpers.Zygote`."""
    from fault_helpers import Zygote

    # A process that is killed may leave half a program in its cache, which nobody else should read.
    caches = {
        name: str(tmp_path_factory.mktemp("cache"))
        for name in ("XDG_CACHE_HOME", "JAX_COMPILATION_CACHE_DIR")
    }
    made = Zygote({**environment, **caches})
    yield made
    made.close()


@pytest.fixture(scope="session")
def undisturbed(zygote, tmp_path_factory):
    """The directory of the sweep of faults, trained with nothing in its way."""
    from fault_helpers import WORDS

    folder = tmp_path_factory.mktemp("undisturbed")
    assert zygote.run(folder, "run", *WORDS, "dir=kept") == 0, (folder / "err").read_text()
    return folder / "kept"


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium."""
    from report_helpers import CHROMIUM, FLAGS

    if CHROMIUM is None:
        pytest.skip("there is no Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        browser = started.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()
