"""Own functions that call LAPACK are trained so that no call waits for another one for ever."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import pandas as pd
import pytest

from vsweep.commands.plan import describe
from vsweep.config.spec import make_spec
from vsweep.engine.devices import trial_mesh
from vsweep.engine.plan import make_plan, plan_sweep
from vsweep.engine.plan_record import as_record
from vsweep.engine.tuning.cost_model import UserLimits
from vsweep.engine.tuning.shape import Hardware
from vsweep.engine.tuning.timings import TimingCache
from vsweep.tasks.models import Model

OPERATIONS = {
    "qr": lambda a: jnp.linalg.qr(a)[0],
    "svd": lambda a: jnp.linalg.svd(a, compute_uv=False),
    "eigh": lambda a: jnp.linalg.eigh(a + a.mT)[1],
    "solve": lambda a: jnp.linalg.solve(a, a),
    "cholesky": lambda a: jnp.linalg.cholesky(a @ a.mT + jnp.eye(a.shape[-1])),
    "inv": jnp.linalg.inv,
}
WORDS = ["data=wine", "seeds=256", "steps=2", "record_every=2", "tracker=none", "verify=false", "block=256"]


def using(operation, *, within="init", shape=(13, 13)):
    """A model of one's own that calls a library in one of its functions."""

    def called(key):
        return 1e-6 * OPERATIONS[operation](jax.random.normal(key, shape)).sum()

    def model():
        def init(key, n_features, n_outputs):
            return {"w": jnp.zeros((n_outputs, n_features)) + (called(key) if within == "init" else 0.0)}

        def apply(params, x):
            return params["w"] @ x + (called(jax.random.key(0)) if within == "apply" else 0.0)

        return Model(init, apply)

    return model


def loss_with_library(outputs, y):
    return jnp.linalg.solve(jnp.eye(3) * 2.0, outputs)[0] ** 2


def planned(platform="cpu", before=None, **own):
    return make_plan(make_spec(WORDS, own), Hardware(platform, 2), UserLimits(256), before=before)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_call_of_a_library_is_made_by_one_trial_of_a_device_at_a_time(operation):
    (program,) = planned(model=using(operation)).programs
    assert program.shape.library == (True, False)
    assert program.arrangement == (256, 1, False)
    # An accelerator has libraries of its own.
    (program,) = planned("gpu", model=using(operation)).programs
    assert program.arrangement.vmap_size == 128


def test_other_functions_of_ones_own_train_side_by_side():
    def model():
        def init(key, n_features, n_outputs):
            return {"w": jnp.sort(jax.random.normal(key, (n_outputs, n_features)))}

        return Model(init, lambda params, x: jnp.abs(jnp.fft.fft(params["w"] @ x)))

    (program,) = planned(model=model).programs
    assert program.shape.library == (False, False)
    assert program.arrangement.vmap_size > 1


def test_calls_in_the_model_and_the_loss_are_found():
    for own in ({"model": using("inv", within="apply")}, {"loss": loss_with_library}):
        (program,) = planned(**own).programs
        assert program.shape.library.any
        assert program.arrangement.vmap_size == 1


def test_an_earlier_plan_that_would_wait_is_not_kept():
    """The directory of a sweep that hung has the lanes with which it hung."""
    before = as_record(planned(model=using("qr")))
    assert planned(model=using("qr"), before=before).pinned
    before["programs"][0]["lanes"] = 64
    (program,) = planned(model=using("qr"), before=before).programs
    assert program.arrangement == (256, 1, False)


def test_the_plan_says_so():
    for shape, devices, note in (
        ((13, 13), trial_mesh().devices.size, "LAPACK: trials run one after another on a CPU device"),
        ((20, 13, 13), 1, "LAPACK on batches of matrices, and run on one device: trials run one after"),
    ):
        spec = make_spec(WORDS, {"model": using("qr", shape=shape)})
        plan, mesh = plan_sweep(spec, TimingCache(), {})
        assert mesh.devices.size == plan.hardware.devices == devices
        assert f"note: your own functions call {note}" in describe(spec, plan)


HANGS = """
import os, sys
import jax, jax.numpy as jnp
import vsweep
from vsweep.tasks.models import Model

shape = tuple(map(int, sys.argv[1].split(",")))

def model():
    def init(key, n_features, n_outputs):
        drawn = jax.random.normal(key, shape)
        for _ in range(4):
            drawn = drawn + jnp.linalg.qr(drawn)[0]
        return {"w": jnp.zeros((n_outputs, n_features)) + 1e-6 * drawn.sum()}

    return Model(init, lambda params, x: params["w"] @ x)

vsweep.sweep(sys.argv[2:], model=model)
print(jax.local_device_count())
"""


@pytest.mark.parametrize(
    ("shape", "devices"),
    [
        ("50,50", 2),
        pytest.param("50,50", 8, marks=pytest.mark.tail),
        pytest.param("64,50,50", 2, marks=pytest.mark.tail),
    ],
)
def test_a_batch_of_factorizations_on_every_device_ends(here, environment, shape, devices):
    words = [*WORDS, f"block={64 * devices}", f"seeds={128 * devices}", "dir=kept"]
    done = subprocess.run(
        [sys.executable, "-c", HANGS, shape, *words],
        env={**environment, "JAX_NUM_CPU_DEVICES": str(devices)},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(devices)]
    assert len(pd.read_parquet("kept/trials.parquet")) == 128 * devices
