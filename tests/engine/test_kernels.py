"""A CPU program without library calls is one kernel, and one with them is none: it would crawl."""

import pytest
from core_helpers import examples, make_hparams, make_static

from vsweep.engine.devices import trial_mesh
from vsweep.tasks.layers import has_library_calls
from vsweep.tasks.task import Data
from vsweep.training.vectorize import compile_block

LOSS = "softmax_cross_entropy"
ONE_KERNEL = 'xla_cpu_small_call="true"'


@pytest.mark.parametrize("single_kernel", [True, False])
def test_one_kernel_where_it_is_asked_for(single_kernel):
    static = make_static(width=8, inits=("zeros",), steps=3)
    data = Data(examples(LOSS), None)
    text = compile_block(
        static,
        make_hparams(static, trials=2),
        data,
        vmap_size=1,
        mesh=trial_mesh(),
        single_kernel=single_kernel,
    ).as_text()
    assert (ONE_KERNEL in text) == single_kernel


@pytest.mark.parametrize(
    ("n_out", "n_in", "examples", "first", "has"),
    [
        (32, 2, 400, True, False),
        (4, 128, 400, False, False),
        (128, 64, 1797, True, True),
        (10, 64, 1797, True, True),
        (32, 32, 400, False, True),
        (32, 4, 400, False, True),
        (1, 30, 569, True, False),
    ],
)
def test_which_layers_have_library_calls(n_out, n_in, examples, first, has):
    assert has_library_calls(n_out, n_in, examples, first=first) is has
