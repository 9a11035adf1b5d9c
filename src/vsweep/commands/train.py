"""The stages that take a sweep from its spec to its directory: prepare, train, verify, publish."""

import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from vsweep.commands.directory import RecordedSweep, explained_failures, open_store, trial_table
from vsweep.commands.plan import describe
from vsweep.commands.tracker import check_environment
from vsweep.commands.verify import verify_some
from vsweep.config.schema import PERMISSIONS, SWEEP_FIELDS, parse_field
from vsweep.config.spec import SweepSpec
from vsweep.config.trust import Trust
from vsweep.config.validate import leaves
from vsweep.config.values import select
from vsweep.engine.autotune import autotune, save_timings
from vsweep.engine.executor import TrainingStats, train
from vsweep.engine.plan import Plan, plan_sweep
from vsweep.engine.plan_record import as_record, examples, training_record
from vsweep.engine.tuning.timings import TimingCache, load_timings
from vsweep.errors import show_message
from vsweep.results import Sweep
from vsweep.store.blocks import PartialBlock
from vsweep.store.files import CONFIRMED, REPORT, STUCK, VERIFIED
from vsweep.store.reader import clear_pictures
from vsweep.store.writer import Store, is_complete, read_plan
from vsweep.trackers.console import ConsoleTracker
from vsweep.trackers.tracker import Tracker, Trackers
from vsweep.trackers.wandb.options import DEFAULT_PROJECT, tracker_mode
from vsweep.trackers.wandb.tracker import WandbTracker, missing_runs_message

# Fields on what is done when all trials are trained; a finished sweep can have them done later.
_AFTERWARDS = ("pictures", "report", "verify")
_PROJECT = "tracker.wandb.project"


@dataclass(frozen=True)
class Prepared:
    """A planned sweep whose directory is open.

    Attributes:
        spec: The checked config.
        plan: The programs and their blocks.
        mesh: The devices.
        timings: The measured times of programs.
        store: The directory, whose lock is held.
        earlier: `plan.json` as it was before; empty for a new directory.
        pictures: The pictures to draw, each a name and its options.
        missing: Whether any trial is to be trained.
        started: When preparing began, in seconds of `time.perf_counter`.
    """

    spec: SweepSpec
    plan: Plan
    mesh: Any
    timings: TimingCache
    store: Store
    earlier: dict[str, Any]
    pictures: list[tuple[str, dict[str, Any]]]
    missing: bool
    started: float

    @property
    def elapsed(self) -> float:
        """Seconds since preparing began."""
        return time.perf_counter() - self.started

    def kept(self) -> str:
        """Describe the trials that the directory keeps, and how to continue."""
        store = self.store
        message = f"{store.finished:,} of {len(store.done):,} trials are kept in {store.directory}"
        if store.finished == len(store.done):
            return message
        resume = f"vsweep resume {shlex.quote(str(store.directory))}"
        return f"{message}, unfinished blocks are dropped; to continue: {resume}"


def train_sweep(spec: SweepSpec, directory: Path | None = None, *, quiet: bool) -> Sweep:
    """Train the missing trials of a sweep, verify a few of them, and publish the results.

    Args:
        spec: The checked config.
        directory: The sweep's directory; by default the config's `dir`, or a new one.
        quiet: Show nothing.

    Raises:
        ConfigError: If the sweep cannot be run; nothing was written.
        StoreError: If the directory can no longer be written, or one trial does not fit in memory.
        StuckError: If a block makes no progress for 20 times its predicted time, and for 10 minutes.
        Interrupted: On Ctrl-C or SIGTERM; finished trials are kept.
    """
    prepared = prepare(spec, directory)
    if isinstance(prepared, Sweep):
        return show_finished(prepared, _unused(spec, prepared), quiet=quiet)
    with closing(prepared.store), explained_failures(prepared.store.directory, prepared.kept):
        prepared = record(prepared)
        with closing(Trackers(_trackers(prepared, quiet=quiet))) as trackers:
            _announce(prepared, trackers)
            train_missing(prepared, trackers)
            sweep = RecordedSweep(prepared.store.directory, spec.own, spec.trust)
            if parse_field("verify", spec.raw.get("verify")) and sweep.verified is None:
                verify_some(sweep, prepared.plan, prepared.mesh, prepared.timings, prepared.elapsed)
            publish(prepared, sweep, trackers)
        if not (prepared.missing or quiet) and (line := missing_runs_message(sweep)):
            show_message(line)
    return sweep


def prepare(spec: SweepSpec, directory: Path | None) -> Prepared | Sweep:
    """Plan a sweep and open its directory; return the sweep itself if the directory lacks nothing of it.

    Raises as `train_sweep` does.
    """
    started, timings = time.perf_counter(), load_timings()
    check_environment(spec.raw["tracker"]["wandb"])
    directory = directory or (Path(spec.raw["dir"]) if spec.raw["dir"] else None)
    pictures = _requested_pictures(spec)
    earlier = read_plan(directory) if directory else {}
    plan, mesh = plan_sweep(spec, timings, earlier)
    if directory and earlier.get("table") == trial_table(plan).digest():
        sweep = finished(directory, earlier, spec.own, spec.trust)
        config = sweep.config if sweep else {}
        if sweep and all(not spec.raw.get(key) or spec.raw[key] == config.get(key) for key in _AFTERWARDS):
            return sweep
    store = open_store(spec, plan, directory)
    missing = not store.done.all()
    return Prepared(spec, plan, mesh, timings, store, earlier, pictures, missing, started)


def finished(
    directory: Path, record: Mapping[str, Any], own: Mapping[str, Any], trust: Trust
) -> Sweep | None:
    """Return the sweep in a directory if it lacks no trial and no picture; change nothing.

    Args:
        directory: The sweep's directory.
        record: The content of its `plan.json`.
        own: The user's own functions by group.
        trust: The permissions of the command.

    Raises:
        ConfigError: If another process is writing the directory.
    """
    if not is_complete(directory, record):
        return None
    sweep = RecordedSweep(directory, own, trust)
    return None if sweep.lacks_pictures else sweep


def show_finished(sweep: Sweep, unused: Sequence[str] = (), *, quiet: bool) -> Sweep:
    """Show a finished sweep as it is, and name the fields that change nothing without training."""
    if not quiet:
        line = f"all {len(sweep.trials):,} trials are already in {sweep.directory}"
        if unused:
            line = f"{line}; nothing is trained, so these fields have no effect: {', '.join(unused)}"
        if "metric" in unused:
            line = f"{line}; to rank by another metric give vsweep report {sweep.directory} metric=…"
        ConsoleTracker().show(sweep, line, missing_runs_message(sweep))
    return sweep


def _unused(spec: SweepSpec, sweep: Sweep) -> list[str]:
    """Return the fields of the sweep as a whole that differ from those of a finished sweep, in vain."""
    fields = [path for path in SWEEP_FIELDS if path not in (*_AFTERWARDS, "dir", *PERMISSIONS)]
    # Directories of an earlier version lack some of the fields.
    recorded = dict(leaves(sweep.config))
    if recorded.get(_PROJECT) == DEFAULT_PROJECT and select(spec.raw, _PROJECT) is None:
        # An earlier version wrote the default project down.
        fields.remove(_PROJECT)
    return [path for path in fields if path in recorded and select(spec.raw, path) != recorded[path]]


def record(prepared: Prepared) -> Prepared:
    """Tune the plan of a new sweep, and replace the files that describe its former trials."""
    plan, store = prepared.plan, prepared.store
    if not store.done.any():
        plan = autotune(plan, prepared.mesh, prepared.timings)
        store.note(**as_record(plan))
    # The trials that are added were neither verified nor confirmed, and a damaged result is found again.
    for name in (VERIFIED, CONFIRMED):
        if prepared.missing or not store.files.is_intact(name):
            store.files.delete(name)
    clear_pictures(store.files, prepared.earlier.get("pictures"))
    for number, frame in examples(plan).items():
        store.write_examples(number, frame)
    return replace(prepared, plan=plan)


def train_missing(prepared: Prepared, trackers: Trackers) -> None:
    """Train the trials that the store lacks, and note where the time went, however training ends."""
    plan, store = prepared.plan, prepared.store
    planning, started, before = prepared.elapsed, time.perf_counter(), store.finished
    writing, stats = 0.0, TrainingStats()
    try:
        blocks = train(plan, prepared.mesh, stats, done=store.done.copy(), underway=store.underway())
        for block in blocks:
            received = time.perf_counter()
            if isinstance(block, PartialBlock):
                store.save(block)
            else:
                store.add(block)
                trackers.trained(len(block.rows))
            writing += time.perf_counter() - received
            # The block would keep its parameters on the devices.
            del block
    finally:
        store.write_trials()
        seconds = {
            "total": time.perf_counter() - started,
            "planning": planning,
            "compiling": stats.compiling,
            "training": stats.training,
            "writing": writing,
        }
        if stats.training:
            trained = store.finished - before
            store.note(happened=training_record(plan, seconds, stats.device_bytes, trained))
            save_timings(plan, stats, prepared.timings)


def publish(prepared: Prepared, sweep: Sweep, trackers: Trackers) -> None:
    """Draw the requested pictures, write the report, and tell the trackers that the sweep is done."""
    if prepared.pictures:
        from vsweep.figures import write_pictures

        drawn = write_pictures(sweep, prepared.pictures)
        prepared.store.note(pictures=drawn)
        # The sweep was read before its plan named the pictures.
        sweep.plan["pictures"] = drawn
    # An existing report describes the old trials.
    if parse_field("report", prepared.spec.raw.get("report", False)) or sweep.files.exists(REPORT):
        _write_report(sweep)
    # The stacks of a process that had stopped say nothing of a sweep that is complete.
    prepared.store.files.delete(STUCK)
    trackers.end(sweep)
    sweep.unsent = trackers.unsent


def _write_report(sweep: Sweep) -> None:
    try:
        sweep.report()
    except OSError:
        raise
    except Exception as error:
        # The trained trials are in the store, and a failed report must not hide them.
        show_message(f"report skipped: {type(error).__name__}: {error}")


def _requested_pictures(spec: SweepSpec) -> list[tuple[str, dict[str, Any]]]:
    """Return the pictures that the config asks for. Raises `ConfigError`."""
    entries = parse_field("pictures", spec.raw.get("pictures"))
    if not entries:
        return []
    # Matplotlib takes half a second to import.
    from vsweep.figures import requested_pictures

    return requested_pictures(entries, [axis.path for axis in spec.grid.axes])


def _announce(prepared: Prepared, trackers: Trackers) -> None:
    """Show the plan, and the number of trials that the directory already has."""
    spec, store = prepared.spec, prepared.store
    lines = [describe(spec, prepared.plan), *(f"  {note}" for note in store.notes)]
    if store.finished:
        lines.append(f"  {store.finished:,} of {len(store.done):,} trials are already in {store.directory}")
    trackers.begin(spec.name, len(store.done) - store.finished, "\n".join(lines))


def _trackers(prepared: Prepared, *, quiet: bool) -> list[Tracker]:
    console = ConsoleTracker()
    trackers: list[Tracker] = [] if quiet else [console]
    options, grid = prepared.spec.raw["tracker"]["wandb"], prepared.plan.grid
    # A sweep that was finished before has already been sent to W&B.
    if tracker_mode(options) != "disabled" and prepared.missing:
        bar, folder = None if quiet else console.bar, prepared.store.directory
        trackers.append(WandbTracker(folder, options, len(grid), len(grid.cells), quiet=quiet, bar=bar))
    return trackers
