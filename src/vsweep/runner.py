"""From a study to its directory: plan, open the store, train what is missing, tell the trackers."""

import os
import platform
import shlex
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import yaml

from vsweep.config import as_dict
from vsweep.descent.program import NUMERICS
from vsweep.errors import ConfigError, Interrupted, StoreError
from vsweep.execution import describe
from vsweep.execution.costs import Hardware
from vsweep.execution.devices import prepare, shortcoming, trial_mesh
from vsweep.execution.identity import identities
from vsweep.execution.known import Known
from vsweep.execution.known import known as measurements
from vsweep.execution.measure import measured, remember
from vsweep.execution.pins import Asked
from vsweep.execution.plan import Plan, make_plan
from vsweep.execution.predict import predictor
from vsweep.execution.run import Spent, column_names, metric_names, out_of_memory, test_names, train
from vsweep.execution.verify import affordable, picks, summarised, verify
from vsweep.parts import name_of
from vsweep.results.examples import keep_examples
from vsweep.results.files import write_json
from vsweep.results.finished import Underway
from vsweep.results.store import Store, read_curves, read_plan, refuse_foreign
from vsweep.results.sweep import CONFIRMED, VERIFIED, Sweep
from vsweep.results.table import Table
from vsweep.schema import parse_field
from vsweep.study import Study, recorded_study
from vsweep.trackers.console import ConsoleTracker
from vsweep.trackers.tracker import Tracker, Trackers

# The share of a sweep's time that its own check may take, and how many trials that draws.
_SHARE, _AT_RANDOM = 0.05, 2


def run_study(made: Study, directory: Path | None = None, *, quiet: bool) -> Sweep:
    """Train what is missing of a sweep, in the directory that its config says, or in this one."""
    begun = time.perf_counter()
    known = measurements()
    given = directory or (Path(made.raw["dir"]) if made.raw["dir"] else None)
    pictures = _pictures(made)
    plan, mesh = planned(made, known, read_plan(given) if given else {})
    store = _open_store(made, plan, given)
    try:
        plan = measured(plan, mesh, known) if not store.done.any() else plan
        missing = not store.done.all()
        # What is added to was not verified.
        if missing:
            for name in (VERIFIED, CONFIRMED):
                (store.directory / name).unlink(missing_ok=True)
        store.describe(_config(made), _record(made, plan))
        for number, frame in describe.examples(plan).items():
            keep_examples(store.directory, number, frame)
        with closing(Trackers(_trackers(made, quiet=quiet, missing=missing))) as trackers:
            text = describe.as_text(made.name, plan)
            trackers.begin(made.name, len(store.done) - store.finished, "\n".join([text, *_found(store)]))
            _train(plan, mesh, known, store, trackers, time.perf_counter() - begun)
            trained = loaded(store.directory, made.own, made.raw.get("allow_targets") or ())
            if parse_field("verify", made.raw.get("verify")):
                _verify(plan, mesh, known, trained, time.perf_counter() - begun)
            if pictures:
                _draw(store, trained, pictures)
                # It was read before the store noted them.
                trained = loaded(store.directory, made.own, made.raw.get("allow_targets") or ())
            trackers.end(trained)
    except KeyboardInterrupt as stop:
        raise Interrupted(f"stopped; {_kept(store)}", getattr(stop, "status", 130)) from None
    except OSError as error:
        raise StoreError(f"cannot write in {store.directory} ({_why(error)}); {_kept(store)}") from error
    except Exception as error:
        if not out_of_memory(error):
            raise
        raise StoreError(f"a block of one trial a device does not fit the memory; {_kept(store)}") from error
    finally:
        store.close()
    return trained


def _pictures(made: Study) -> list[tuple[str, dict[str, Any]]]:
    """The pictures that are asked for. Raises `ConfigError`."""
    wanted = parse_field("pictures", made.raw.get("pictures"))
    if not wanted:
        return []
    # Only here: matplotlib takes half a second to import.
    from vsweep.results.pictures import asked

    return asked(wanted)


def _draw(store: Store, trained: Sweep, pictures: Sequence[tuple[str, Mapping[str, Any]]]) -> None:
    from vsweep.results.pictures import make

    store.note(pictures=make(trained, pictures))


def _why(error: OSError) -> str:
    """What the system says; Arrow gives its number, and words of its own."""
    return os.strerror(error.errno) if error.errno else str(error)


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


def _train(plan: Plan, mesh: Any, known: Known, store: Store, trackers: Trackers, planning_s: float) -> None:
    """Train what a store lacks of a plan, and note where the time went, whatever ends it."""
    begun, writing, spent = time.perf_counter(), 0.0, Spent()
    try:
        for block in train(plan, mesh, spent, done=store.done.copy(), underway=store.underway()):
            stored = time.perf_counter()
            if isinstance(block, Underway):
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
            store.note(happened=describe.happened(plan, seconds, spent.device_bytes))
            remember(plan, spent, known)


def _verify(plan: Plan, mesh: Any, known: Known, trained: Sweep, seconds: float) -> None:
    """Train a few trials again, for a twentieth of the time that the sweep took."""
    path = trained.directory / VERIFIED
    if path.exists() or not seconds:
        return
    trials = trained.trials
    found = summarised([], len(trials))
    try:
        chosen = affordable(plan, known, picks(plan, trials, _AT_RANDOM), _SHARE * seconds)
        if chosen:
            found = verify(plan, mesh, known, trials, partial(read_curves, trained.directory), chosen)
    except Exception as error:
        # What was trained is there, whatever comes of this.
        found |= {"failed": " ".join(f"{type(error).__name__}: {error}".split())}
    write_json(path, found)


def loaded(
    directory: str | Path, own: Mapping[str, Any] | None = None, allow_targets: Sequence[str] = ()
) -> Sweep:
    """The sweep in a directory.

    own, allow_targets: as in `recorded`; its predictors need them. Raises `ConfigError` where there is none.
    """

    def make(sweep: Sweep, cell: int, params: dict[str, np.ndarray] | None) -> Any:
        made = recorded(sweep.directory, own, allow_targets)
        return predictor(made.cell(cell), sweep.plan, params)

    return Sweep(directory, make)


def recorded(
    directory: Path, own: Mapping[str, Any] | None = None, allow_targets: Sequence[str] = ()
) -> Study:
    """The sweep that a directory was made for.

    own: a person's own functions by group. allow_targets: modules that they trust; what the directory itself
    says of it counts for nothing, since it may come from others. Raises `ConfigError`.
    """
    record = read_plan(directory)
    refuse_foreign(directory, record, NUMERICS)
    if Path.cwd().resolve().is_relative_to(directory.resolve()):
        # Functions are imported from where one stands, and a sweep's directory may come from others.
        raise ConfigError("dir", "you stand in the sweep's own directory", "go out of it: cd ..")
    try:
        raw = yaml.safe_load((directory / "config.yaml").read_text(encoding="utf-8"))
        return recorded_study({**raw, "allow_targets": list(allow_targets)}, record["study"], own)
    except (OSError, KeyError, TypeError, yaml.YAMLError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        got = f"cannot read the sweep in {str(directory)!r} ({reason})"
        raise ConfigError("dir", got, "it takes a sweep's directory") from error


def recorded_words(directory: Path, record: Mapping[str, Any]) -> list[str]:
    """The words that a directory's sweep was composed from. Raises `ConfigError`."""
    try:
        return list(map(str, record["study"]["words"]))
    except (KeyError, TypeError) as error:
        got = f"cannot read the sweep in {str(directory)!r} (its plan.json has no words)"
        raise ConfigError("dir", got, "it takes a sweep's directory") from error


def planned(made: Study, known: Known, before: Mapping[str, Any]) -> tuple[Plan, Any]:
    """What is to be trained, and the devices to do it. before: the record of an earlier plan of it."""
    mesh = trial_mesh()
    device = mesh.devices.flat[0]
    hardware = Hardware(device.platform, mesh.devices.size, device.device_kind, prepare())
    asked = Asked(
        parse_field("block", made.raw.get("block")),
        parse_field("segment", made.raw.get("segment")),
        parse_field("keep.state", made.raw["keep"]["state"]),
    )
    made_plan = make_plan(made.grid, made.variants, made.group_axes, hardware, asked, known, before)
    return replace(made_plan, note=shortcoming(mesh)), mesh


def _open_store(made: Study, planned: Plan, directory: Path | None) -> Store:
    table = _table(planned)
    keep = parse_field("keep.params", made.raw["keep"]["params"])
    at_steps = partial(identities, planned)
    place = directory or _new_directory(made.name)
    try:
        described = _config(made), _record(made, planned)
        return Store(place, table, keep=keep, numerics=NUMERICS, at_steps=at_steps, described=described)
    except KeyboardInterrupt as stop:
        raise Interrupted(f"stopped; what {place} holds is kept", getattr(stop, "status", 130)) from None
    except OSError as error:
        raise StoreError(f"cannot write in {place} ({_why(error)}); what is in it is kept") from error


def _table(planned: Plan) -> Table:
    grid = planned.grid
    number, row, seed = grid.trials()
    columns: dict[str, Any] = {"trial": number, "cell": grid.cells[row], "seed": seed}
    for i, axis in enumerate(grid.axes):
        columns[axis.path] = _column(grid.column(i))[row]
    names = metric_names(planned), test_names(planned), column_names(planned)
    return Table(pd.DataFrame(columns), identities(planned), *names)


def _config(made: Study) -> dict[str, Any]:
    """The resolved config, with a person's own functions by name."""
    own = {group: {**made.raw[group], "_target_": name_of(part)} for group, part in made.own.items()}
    return {**made.raw, **own}


def _record(made: Study, planned: Plan) -> dict[str, Any]:
    return {
        "name": made.name,
        "command": shlex.join(["vsweep", "run", *(word.removeprefix("++") for word in made.words)]),
        "started": datetime.now().astimezone().isoformat(timespec="seconds"),
        "versions": {name: version(name) for name in ("vsweep", "jax", "jaxlib", "optax", "numpy")},
        "python": platform.python_version(),
        "study": made.record(),
        **describe.as_record(planned),
    }


def _column(values: np.ndarray) -> Any:
    """Values as the pandas array that holds them and what is missing; what is no scalar as text."""
    kinds = {type(v) for v in values if v is not None}
    missing = any(v is None for v in values)
    if kinds == {bool}:
        return pd.array(values, "boolean")
    if kinds == {int}:
        return pd.array(values, "Int64" if missing else "int64")
    if kinds and kinds <= {int, float}:
        return pd.array([np.nan if v is None else float(v) for v in values], "float64")
    return pd.array([v if v is None else str(v) for v in values], "str")


def _new_directory(name: str) -> Path:
    """`outputs/NAME/TIME`, made here, so that sweeps which start together do not meet."""
    parent = Path("outputs") / name
    time = datetime.now().strftime("%Y-%m-%d_%H-%M-%S")
    for suffix in ("", *(f"_{i}" for i in range(2, 1000))):
        try:
            (parent / f"{time}{suffix}").mkdir(parents=True)
        except FileExistsError:
            continue
        except OSError as error:
            reason = f"cannot make a directory in {str(parent)!r} ({error.strerror})"
            raise ConfigError("dir", reason, "give dir=…, where it can be written") from error
        return parent / f"{time}{suffix}"
    raise ConfigError("dir", f"a thousand sweeps began in one second in {str(parent)!r}", "give dir=…")


def _trackers(made: Study, *, quiet: bool, missing: bool) -> list[Tracker]:
    trackers: list[Tracker] = [] if quiet else [ConsoleTracker()]
    options = made.raw["tracker"]["wandb"]
    # Of a sweep that was finished before, W&B has all.
    if options["mode"] != "disabled" and missing:
        from vsweep.trackers.wandb import WandbTracker

        trackers.append(WandbTracker(lambda cell: as_dict(made.cell(cell)), quiet=quiet, **options))
    return trackers
