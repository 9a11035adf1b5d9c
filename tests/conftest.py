"""Every test runs under strict rank and dtype promotion, with warnings as errors."""

import jax
import pytest
from hypothesis import HealthCheck, settings

from vsweep.execution.devices import prepare

prepare()
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")

settings.register_profile("vsweep", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("vsweep")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """An empty folder to stand in."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
