"""Compiled programs, which the processes of a run share, and which are kept for the next run.

A program is found by its code, its options and the version of XLA: sharing it hides no fault. Measured
speeds can go stale, and plans depend on them: each process measures its own.
"""

import atexit
import os
import platform
import re
import shutil
import tempfile
import time
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import jax
from platformdirs import user_cache_path

# A program is kept for so long, and compiled again afterwards.
_DAYS = 30
_FIRST = "VSWEEP_TESTS" not in os.environ


def new_folder() -> str:
    """Make a folder that goes when this process ends."""
    folder = tempfile.mkdtemp(prefix="vsweep-tests-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _kept() -> Path:
    """Find the folder of what earlier runs compiled, with this JAX and for this processor."""
    info = Path("/proc/cpuinfo")
    flags = re.search("^flags.*", info.read_text(), re.MULTILINE) if info.exists() else None
    processor = sha256(f"{platform.machine()} {flags and flags[0]}".encode()).hexdigest()[:8]
    return user_cache_path("vsweep-tests") / f"compiled-{jax.__version__}-{processor}"


def keep_compiled() -> None:
    """Keep what this run compiled; the first process of a run does it for all."""
    if not _FIRST:
        return
    with suppress(OSError):
        _KEPT.mkdir(parents=True, exist_ok=True)
        for file in (RUN / "compiled").iterdir():
            if not (_KEPT / file.name).exists():
                _link(file, _KEPT / file.name)


def _link(file: Path, name: Path) -> None:
    """Give a finished program a second name; copy it where the two folders are on different file systems."""
    try:
        os.link(file, name)
    except OSError:
        part = name.with_name(f"{name.name}.{os.getpid()}.part")
        shutil.copy2(file, part)
        part.replace(name)


# Workers and subprocesses inherit the variables from the process that starts them.
if _FIRST:
    os.environ["VSWEEP_TESTS"] = new_folder()
RUN = Path(os.environ["VSWEEP_TESTS"])
if _FIRST:
    (RUN / "compiled").mkdir()
    # Before the caches of the tests take the place of the user's.
    _KEPT = _kept()
    for _file in _KEPT.glob("*"):
        if time.time() - _file.stat().st_mtime < _DAYS * 86400:
            _link(_file, RUN / "compiled" / _file.name)
        else:
            _file.unlink(missing_ok=True)
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(RUN / "compiled")
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
# The folder of XLA's own caches would be part of each program's key, so no later run would find a program.
os.environ["JAX_PERSISTENT_CACHE_ENABLE_XLA_CACHES"] = "none"
jax.config.update("jax_compilation_cache_dir", str(RUN / "compiled"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
jax.config.update("jax_persistent_cache_enable_xla_caches", "none")
