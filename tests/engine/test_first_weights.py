"""The weights at step 0 of a trial are the same bits, whatever its block, its lanes and its devices."""

import subprocess
import sys

import jax
import numpy as np
import pytest
from core_helpers import INITS, examples, make_hparams, make_static, take
from jax.sharding import Mesh

from vsweep.engine.devices import trial_mesh
from vsweep.tasks.task import Data, Examples
from vsweep.training.vectorize import compile_block

# Each initializer at a width that is padded, and at the widest.
NAMES, WIDTHS, SEEDS = np.repeat(INITS, 2), np.tile([3, 17], len(INITS)), np.arange(2 * len(INITS))


def first_weights(devices, lanes, inits=INITS):
    """The first weights of the trials of these initializers, by name of the array."""
    members = np.flatnonzero(np.isin(NAMES, inits))
    static = make_static(width=17, depth=2, inits=inits)
    hparams = make_hparams(static, seed=SEEDS[members], width=WIDTHS[members], init=NAMES[members].tolist())
    part = examples("softmax_cross_entropy", features=3)
    part = Examples(part.x.astype(np.float32), part.y)
    unit = devices * lanes
    block = take(hparams, np.resize(np.arange(len(members)), -(-len(members) // unit) * unit))
    mesh = Mesh(trial_mesh().devices[:devices], ("trials",))
    start = compile_block(static, block, Data(part, None), vmap_size=lanes, mesh=mesh, only_start=True)
    state = jax.device_get(start(block, Data(part, None)))
    leaves = jax.tree_util.tree_leaves_with_path(state.params)
    return {jax.tree_util.keystr(path): leaf[: len(members)] for path, leaf in leaves}


@pytest.fixture(scope="module")
def alone():
    return first_weights(1, 1)


def assert_same(weights, expected, names=NAMES):
    assert weights.keys() == expected.keys()
    for path, leaf in expected.items():
        for i, name in enumerate(names):
            place = f"{name}, width {WIDTHS[i]}, {path}"
            np.testing.assert_array_equal(weights[path][i], leaf[i], err_msg=place, strict=True)


@pytest.mark.parametrize(
    ("devices", "lanes"),
    [(2, 8), *(pytest.param(*size, marks=pytest.mark.tail) for size in ((1, 14), (1, 64), (2, 1), (2, 64)))],
)
def test_first_weights_in_any_block_and_on_two_devices(alone, devices, lanes):
    if trial_mesh().devices.size < devices:
        pytest.skip("there is one core")
    assert_same(first_weights(devices, lanes), alone)


@pytest.mark.parametrize(
    "name", [name if name == "orthogonal" else pytest.param(name, marks=pytest.mark.tail) for name in INITS]
)
def test_first_weights_in_a_program_of_one_initializer(alone, name):
    members = np.flatnonzero(name == NAMES)
    expected = {path: leaf[members] for path, leaf in alone.items()}
    assert_same(first_weights(1, 2, (name,)), expected, NAMES[members])


CODE = """
import sys
import numpy as np
from vsweep.engine.devices import prepare
prepare()
from test_first_weights import first_weights
np.savez("weights.npz", **first_weights(8, int(sys.argv[1])))
"""


@pytest.mark.tail
@pytest.mark.parametrize("lanes", [1, 16])
def test_first_weights_on_eight_devices(alone, here, environment, lanes):
    folders = ":".join(path for path in sys.path if path)
    more = {"JAX_NUM_CPU_DEVICES": "8", "PYTHONPATH": folders}
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(lanes)],
        env={**environment, **more},
        capture_output=True,
        text=True,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr
    with np.load("weights.npz") as weights:
        assert_same(dict(weights), alone)
