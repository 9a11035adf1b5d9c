"""The imports of the package: the rooms, their levels, and what the core needs."""

import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import grimp
import pytest
from importlinter.cli import EXIT_STATUS_SUCCESS, lint_imports

# Dependencies of vsweep that are absent where a machine has JAX, optax, NumPy and scikit-learn alone.
ABSENT = ("hydra", "omegaconf", "matplotlib", "pandas", "platformdirs", "pyarrow", "yaml", "rich", "wandb")
ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("module", ["vsweep", "vsweep.tasks.data.builtin", "vsweep.training.vectorize"])
def test_the_core_needs_jax_optax_numpy_and_scikit_learn_alone(module):
    assert_imports_without(module, (*ABSENT, "pydantic"))


def test_the_bench_needs_pydantic_beside_these():
    assert_imports_without("bench", ABSENT)


def assert_imports_without(module, absent):
    blocked = f"import sys; sys.modules.update(dict.fromkeys({absent}))"
    script = f"{blocked}; sys.path.insert(0, {str(ROOT / 'scripts')!r}); import {module}"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120)
    assert ran.returncode == 0, ran.stderr


def test_the_contracts_of_the_import_linter_hold():
    assert lint_imports(str(ROOT / "pyproject.toml"), cache_dir=None) == EXIT_STATUS_SUCCESS


@pytest.fixture(scope="module")
def graph():
    """The imports among the modules, those for type checkers alone included."""
    return grimp.build_graph("vsweep", cache_dir=None, exclude_type_checking_imports=False)


def test_no_modules_import_one_another_in_a_circle(graph):
    # The public names are looked up in the package when they are first used.
    modules = graph.modules - {"vsweep"}
    imports = {name: graph.find_modules_directly_imported_by(name) & modules for name in modules}
    assert len(list(TopologicalSorter(imports).static_order())) == len(modules)


def test_the_rooms_stand_on_at_most_nine_levels(graph):
    def room(module):
        return ".".join(module.split(".")[:2])

    modules = graph.modules - {"vsweep"}
    below = {room(name): set() for name in modules}
    for name in modules:
        below[room(name)] |= {
            room(other) for other in graph.find_modules_directly_imported_by(name) & modules
        }
    level = {}
    for name in TopologicalSorter({name: others - {name} for name, others in below.items()}).static_order():
        level[name] = 1 + max((level[other] for other in below[name] - {name}), default=0)
    assert max(level.values()) <= 9, level
