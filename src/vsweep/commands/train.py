"""From a study to its directory: plan, open the store, train what is missing, tell the trackers."""

import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from vsweep.commands.directory import config_of, load_sweep, open_store, os_error_text, record_of
from vsweep.config.schema import parse_field
from vsweep.config.spec import SweepSpec
from vsweep.engine.autotune import autotune, save_timings
from vsweep.engine.checks.verify import choose_trials_to_verify, summarize, verify, within_budget
from vsweep.engine.executor import TrainingStats, out_of_memory, train
from vsweep.engine.make_plan import plan_sweep
from vsweep.engine.plan import Plan
from vsweep.engine.plan_record import examples, training_record
from vsweep.engine.plan_text import as_text
from vsweep.engine.tuning.timings import TimingCache
from vsweep.engine.tuning.timings import load_timings as measurements
from vsweep.errors import Interrupted, StoreError
from vsweep.results import Sweep
from vsweep.store.atomic import write_json
from vsweep.store.blocks import PartialBlock
from vsweep.store.examples import keep_examples
from vsweep.store.reader import CONFIRMED, REPORT, VERIFIED, clear_pictures
from vsweep.store.writer import Store, read_curves, read_plan
from vsweep.trackers.console import ConsoleTracker
from vsweep.trackers.tracker import Tracker, Trackers
from vsweep.trackers.wandb.options import mode_of
from vsweep.trackers.wandb.tracker import WandbTracker, describe_logging, missing_runs_message
from vsweep.training.loop import recorded_steps

# The share of a sweep's time that its own check may take, and how many trials that draws.
_SHARE, _AT_RANDOM = 0.05, 2


def train_sweep(made: SweepSpec, directory: Path | None = None, *, quiet: bool) -> Sweep:
    """Train what is missing of a sweep, in the directory that its config says, or in this one."""
    begun = time.perf_counter()
    known = measurements()
    given = directory or (Path(made.raw["dir"]) if made.raw["dir"] else None)
    pictures = _pictures(made)
    before = read_plan(given) if given else {}
    plan, mesh = plan_sweep(made, known, before)
    store = open_store(made, plan, given)
    try:
        plan = autotune(plan, mesh, known) if not store.done.any() else plan
        missing = not store.done.all()
        # What is added to was not verified.
        if missing:
            for name in (VERIFIED, CONFIRMED):
                (store.directory / name).unlink(missing_ok=True)
        # They are of what there was.
        clear_pictures(store.directory, before.get("pictures"))
        store.describe(config_of(made), record_of(made, plan))
        for number, frame in examples(plan).items():
            keep_examples(store.directory, number, frame)
        with closing(Trackers(_trackers(made, plan, store, quiet=quiet, missing=missing))) as trackers:
            text = "\n".join([as_text(made.name, plan), *wandb_line(made, plan)])
            trackers.begin(made.name, len(store.done) - store.finished, "\n".join([text, *_found(store)]))
            _train(plan, mesh, known, store, trackers, time.perf_counter() - begun)
            trained = load_sweep(store.directory, made.own, made.raw.get("allow_targets") or ())
            if parse_field("verify", made.raw.get("verify")):
                _verify(plan, mesh, known, trained, time.perf_counter() - begun)
            if pictures:
                _draw(store, trained, pictures)
                # It was read before the store noted them.
                trained = load_sweep(store.directory, made.own, made.raw.get("allow_targets") or ())
            # One that is there would be of what there was.
            if parse_field("report", made.raw.get("report", False)) or (trained.directory / REPORT).exists():
                _report(trained)
            trackers.end(trained)
            trained.unsent = trackers.lacks
            if not (missing or quiet) and (line := missing_runs_message(trained)):
                print(line, file=sys.stderr)
    except KeyboardInterrupt as stop:
        raise Interrupted(f"stopped; {_kept(store)}", getattr(stop, "status", 130)) from None
    except OSError as error:
        raise StoreError(
            f"cannot write in {store.directory} ({os_error_text(error)}); {_kept(store)}"
        ) from error
    except Exception as error:
        if not out_of_memory(error):
            raise
        raise StoreError(f"a block of one trial a device does not fit the memory; {_kept(store)}") from error
    finally:
        store.close()
    return trained


def _pictures(made: SweepSpec) -> list[tuple[str, dict[str, Any]]]:
    """The pictures that are asked for. Raises `ConfigError`."""
    wanted = parse_field("pictures", made.raw.get("pictures"))
    if not wanted:
        return []
    # Only here: matplotlib takes half a second to import.
    from vsweep.reports.from_config import asked

    return asked(wanted, [axis.path for axis in made.grid.axes])


def _draw(store: Store, trained: Sweep, pictures: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    from vsweep.reports.from_config import make

    store.note(pictures=make(trained, pictures))


def _report(trained: Sweep) -> None:
    """Write the report; what was trained is there, whatever comes of it."""
    try:
        trained.report()
    except OSError:
        raise
    except Exception as error:
        print(f"no report ({type(error).__name__}: {error})", file=sys.stderr)


def _found(store: Store) -> list[str]:
    """What a directory held already, in words."""
    lines = [f"  {note}" for note in store.notes]
    if store.finished:
        lines.append(f"  {store.finished:,} of {len(store.done):,} trials are in {store.directory} already")
    return lines


def _kept(store: Store) -> str:
    left = len(store.done) - store.finished
    kept = f"{store.finished:,} of {len(store.done):,} trials are kept in {store.directory}"
    if not left:
        return kept
    again = f"vsweep resume {shlex.quote(str(store.directory))}"
    return f"{kept}, blocks under way are dropped; to go on: {again}"


def _train(
    plan: Plan, mesh: Any, known: TimingCache, store: Store, trackers: Trackers, planning_s: float
) -> None:
    """Train what a store lacks of a plan, and note where the time went, whatever ends it."""
    begun, writing, spent, before = time.perf_counter(), 0.0, TrainingStats(), store.finished
    try:
        for block in train(plan, mesh, spent, done=store.done.copy(), underway=store.underway()):
            stored = time.perf_counter()
            if isinstance(block, PartialBlock):
                store.save(block)
            else:
                store.add(block)
                trackers.trained(len(block.rows))
            writing += time.perf_counter() - stored
            # It holds parameters on the devices.
            del block
    finally:
        store.write_trials()
        seconds = {
            "total": time.perf_counter() - begun,
            "planning": planning_s,
            "compiling": spent.compiling,
            "training": spent.training,
            "writing": writing,
        }
        if spent.training:
            store.note(happened=training_record(plan, seconds, spent.device_bytes, store.finished - before))
            save_timings(plan, spent, known)


def _verify(plan: Plan, mesh: Any, known: TimingCache, trained: Sweep, seconds: float) -> None:
    """Train a few trials again, for a twentieth of the time that the sweep took."""
    path = trained.directory / VERIFIED
    if path.exists() or not seconds:
        return
    trials = trained.trials
    found = summarize([], len(trials))
    try:
        chosen = within_budget(
            plan, known, choose_trials_to_verify(plan, trials, _AT_RANDOM), _SHARE * seconds
        )
        if chosen:
            found = verify(plan, mesh, known, trials, partial(read_curves, trained.directory), chosen)
    except Exception as error:
        # What was trained is there, whatever comes of this.
        found |= {"failed": " ".join(f"{type(error).__name__}: {error}".split())}
    write_json(path, found)


def wandb_line(made: SweepSpec, plan: Plan) -> list[str]:
    """How W&B will show it, for the plan; nothing where it is not to."""
    options = made.raw["tracker"]["wandb"]
    if mode_of(options) == "disabled":
        return []
    longest = max(len(recorded_steps(program.static.length)) for program in plan.programs)
    rows = min(options["rows"], longest)
    return [f"  {describe_logging(options, len(plan.grid), len(plan.grid.cells), rows)}"]


def _trackers(made: SweepSpec, plan: Plan, store: Store, *, quiet: bool, missing: bool) -> list[Tracker]:
    console = ConsoleTracker()
    trackers: list[Tracker] = [] if quiet else [console]
    options = made.raw["tracker"]["wandb"]
    # Of a sweep that was finished before, W&B has what it was sent.
    if mode_of(options) != "disabled" and missing:
        beside = None if quiet else console.beside
        trials, cells = len(plan.grid), len(plan.grid.cells)
        trackers.append(WandbTracker(store.directory, options, trials, cells, quiet=quiet, beside=beside))
    return trackers
