"""Train some trials of a sweep again, each alone, and compare their curves."""

from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from jax.sharding import Mesh

from vsweep.commands.directory import explained_failures, plan_again, recorded_spec
from vsweep.config.trust import of_record
from vsweep.engine.checks.verify import choose_trials_to_verify, summarize, within_budget
from vsweep.engine.checks.verify import verify as verify_trials
from vsweep.engine.plan import Plan
from vsweep.engine.tuning.timings import TimingCache
from vsweep.errors import StuckError
from vsweep.results import Sweep
from vsweep.store.files import VERIFIED
from vsweep.store.lock import Lock

# A sweep's own verification may take this share of its time, and draws this many trials at random.
_SHARE, _AT_RANDOM = 0.05, 2


def verify(
    directory: str | Path,
    *,
    k: int = 8,
    seed: int = 0,
    own: Mapping[str, Any] | None = None,
    allow_targets: Sequence[str] = (),
    allow_urls: Sequence[str] = (),
    max_bytes: int | None = None,
    quiet: bool = False,
) -> dict[str, Any]:
    """Train some trials of a sweep again, each alone, and compare their curves with the sweep's.

    The trials are the best one, one that diverged, the first and the last of the program with the most
    padding, and `k` random ones. Each is trained unpadded and alone, and so is its twin: the same trial, its
    initial weights and its learning rate moved by one unit in the last place of `dtype`. A trial whose twin's
    curve differs from its own by more than 1 % is chaotic: rounding decides its curve. A trial whose stored
    curve is off by far more than its twin's is wrong: the numbers of the sweep are not to be trusted.

    Args:
        directory: The sweep's directory.
        k: The number of random trials.
        seed: The seed that draws them.
        own: Your own `model`, `loss` and `data`, as they were given to `vsweep.sweep`.
        allow_targets: Modules whose functions the sweep's config may name.
        allow_urls: URLs that the sweep's config may name as `data.path`.
        max_bytes: The bound on what is read of a table, `data.max_bytes`; by default 4 GB.
        quiet: Show nothing.

    Returns:
        The content of `verify.json`; `wrong` lists the numbers of the trials whose curves are wrong.

    Raises:
        ConfigError: If there is no sweep, or its data or functions have changed.
        StoreError: If `verify.json` cannot be written.
        StuckError: As in `vsweep.sweep`.
    """
    sweep = Sweep(directory)
    spec = recorded_spec(sweep.directory, own, of_record(allow_targets, allow_urls, max_bytes))
    plan, mesh, timings = plan_again(spec, sweep, quiet=quiet)
    chosen = choose_trials_to_verify(plan, sweep.trials, k, seed)
    kept = f"the sweep in {directory} is as it was"
    with closing(Lock(sweep.directory)), explained_failures(sweep.directory, lambda: kept):
        result = verify_trials(plan, mesh, timings, sweep.trials, sweep.curves_of, chosen)
        sweep.files.write_json(VERIFIED, result)
    return result


def verify_some(sweep: Sweep, plan: Plan, mesh: Mesh, timings: TimingCache, elapsed_s: float) -> None:
    """Train a few trials of a new sweep again, in at most 5 % of its time, and write `verify.json`.

    Args:
        sweep: The sweep, whose directory is locked.
        plan: The plan of its trials.
        mesh: The devices.
        timings: The measured times of programs.
        elapsed_s: The seconds that the sweep took.
    """
    result = summarize([], len(sweep.trials))
    try:
        candidates = choose_trials_to_verify(plan, sweep.trials, _AT_RANDOM)
        chosen = within_budget(plan, timings, candidates, _SHARE * elapsed_s)
        if chosen:
            result = verify_trials(plan, mesh, timings, sweep.trials, sweep.curves_of, chosen)
    except StuckError:
        raise
    except Exception as error:
        # The trained trials are in the store, and a failed verification must not hide them.
        result |= {"failed": " ".join(f"{type(error).__name__}: {error}".split())}
    sweep.files.write_json(VERIFIED, result)
