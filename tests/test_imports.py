"""What can be imported where there is JAX, optax, NumPy and scikit-learn alone."""

import subprocess
import sys
from pathlib import Path

import pytest

# What else vsweep depends on.
ABSENT = "hydra", "omegaconf", "matplotlib", "pandas", "platformdirs", "pyarrow", "yaml", "rich", "wandb"
SCRIPTS = Path(__file__).parents[1] / "scripts"


@pytest.mark.parametrize(
    "module", ["vsweep", "vsweep.tasks.data.builtin", "vsweep.training.vectorize", "bench"]
)
def test_the_core_and_the_bench_need_jax_optax_numpy_and_scikit_learn_alone(module):
    blocked = f"import sys; sys.modules.update(dict.fromkeys({ABSENT}))"
    script = f"{blocked}; sys.path.insert(0, {str(SCRIPTS)!r}); import {module}"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr
