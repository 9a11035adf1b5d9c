"""Every program of the shipped sweeps lowers for each kind of device, on a machine that has none."""

import re

import jax
import numpy as np
import pytest
from core_helpers import examples, make_hparams, make_static, take
from jax.sharding import Mesh

from vsweep.config.groups import CONF
from vsweep.config.spec import make_spec
from vsweep.engine.plan import make_plan
from vsweep.engine.tuning.shape import Hardware
from vsweep.tasks.task import Data, Examples
from vsweep.training.vectorize import lower_block

FILES = sorted((CONF.parent / "sweeps").glob("*.yaml"))
PLATFORMS = ("cpu", "cuda", "tpu")
# The Hessian at the end of a descent of a function has its eigenvalues computed.
EIGENVALUES = {"lapack_dsyevd_ffi", "cusolver_syevd_ffi", "Eigh"}


def lowered(static, hparams, data):
    """The text of a block of four trials, side by side."""
    mesh = Mesh(jax.local_devices()[:1], ("trials",))
    hparams = take(hparams, np.resize(np.arange(len(hparams.seed)), 4))
    return lower_block(static, hparams, data, vmap_size=4, mesh=mesh, platforms=PLATFORMS).as_text()


def custom_calls(text):
    """Calls of a program that the compiler does not know; a call of the host is one."""
    return set(re.findall(r"custom_call @([\w.]+)", text))


def assert_for_all_platforms(text):
    """It is told which platform it runs on, and may choose between forms by that."""
    assert '{jax.global_constant = "_platform_index"}' in text
    assert text.count("stablehlo.while") >= 2


# Other sweeps have programs of the same kinds.
TAIL = {"diabetes", "digits_lr_width", "goldfield", "gradient_check", "spiral"}


@pytest.mark.parametrize(
    "file",
    [pytest.param(file, marks=pytest.mark.tail if file.stem in TAIL else (), id=file.stem) for file in FILES],
)
def test_the_programs_of_a_sweep_lower_for_all_platforms(file):
    made = make_spec([f"sweep={file.stem}", "tracker=none"])
    plan = make_plan(made, Hardware("gpu", 1))
    distinct = {program.static: program for program in plan.programs}
    assert distinct
    for static, program in distinct.items():
        # Adam's own arithmetic mixes dtypes.
        with jax.numpy_dtype_promotion("standard"):
            text = lowered(static, program.hparams, program.inputs.arrays)
        assert_for_all_platforms(text)
        # A callback would be one, and would have the device wait for the host.
        of_point = program.inputs.config.model.name == "point"
        assert custom_calls(text) == (EIGENVALUES if of_point else set())


@pytest.mark.parametrize("dtype", ["bfloat16", pytest.param("float64", marks=pytest.mark.tail)])
def test_other_dtypes_all_initializers_and_minibatches_lower_for_all_platforms(dtype):
    static = make_static(dtype=dtype, batch_size=8)
    part = examples("softmax_cross_entropy")
    hparams = make_hparams(static, trials=4)
    part = Examples(part.x.astype(hparams.diverge_above.dtype), part.y)
    text = lowered(static, hparams, Data(part, part))
    assert_for_all_platforms(text)
    # A library's factorization could wait for threads that all CPU devices share.
    assert custom_calls(text) == set()
