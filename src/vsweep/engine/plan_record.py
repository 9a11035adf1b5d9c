"""Describe a plan: as plain values for `plan.json` and the store, and as text for the user."""

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np
import pandas as pd

from vsweep.analysis.labels import describe_target_scales, format_bytes, format_count
from vsweep.config.validate import as_dict, leaves
from vsweep.engine.inputs import Inputs
from vsweep.engine.plan import Plan, Program
from vsweep.metrics import chosen_metric, preferred_metric, with_derived
from vsweep.tasks.data.dataset import NOTHING
from vsweep.tasks.data.splits import Split, constant_guess, deviation
from vsweep.training.loop import curve_metrics, part_metrics, scored_parts

_PARTS = ("train", "val", "test")


def as_record(plan: Plan) -> dict[str, Any]:
    """Return the programs, blocks, devices and data as plain values."""
    inputs = {program.inputs.key: program.inputs for program in plan.programs}
    return {
        "trials": len(plan.grid),
        "cells": len(plan.grid.cells),
        "collapsed_cells": plan.grid.collapsed,
        "devices": plan.hardware._asdict(),
        "asked": list(plan.limits),
        "programs": [_program_record(program) for program in plan.programs],
        "data": {
            key: _data_record(inputs[key]) | ({"split": inputs[key].number} if plan.grid.splits > 1 else {})
            for key in plan.splits
        },
    }


def _program_record(program: Program) -> dict[str, Any]:
    static, arrangement = program.static, program.arrangement
    return {
        "name": program.name,
        "family": program.family,
        "model": program.inputs.config.model.name,
        "static": {n: list(v) if isinstance(v, tuple) else v for n, v in static.task.static},
        "data": program.inputs.key,
        "optimizer": static.optimizer,
        "schedule": static.schedule,
        "dtype": static.dtype,
        "precision": static.precision,
        **static.length._asdict(),
        "target": list(program.inputs.target),
        "trials": len(program.rows),
        "predicted": {
            "compile_s": round(program.compile_s, 3),
            "train_s": round(program.train_s, 3),
            "device_bytes": round(program.device_bytes),
        },
        "blocks": program.blocks,
        "block": arrangement.block,
        "lanes": arrangement.vmap_size,
        "fused": arrangement.single_kernel,
        "segment": program.segment,
        "padded_width": program.width or None,
        "padding_waste": round(program.padding_fraction, 4),
    }


def _data_record(inputs: Inputs) -> dict[str, Any]:
    split = inputs.split
    labels = split.dataset.labels
    fields = {path: value for path, value in leaves(as_dict(inputs.config)) if path.startswith("data.")}
    typed = {} if labels is None else {"labels": labels.tolist()}
    if labels is not None and labels.dtype.kind in "biuf":
        typed["label_type"] = labels.dtype.name
    return {
        **{f"{part}_rows": 0 if y is None else len(y) for part, y in zip(_PARTS, split.y, strict=True)},
        "features": list(split.dataset.features),
        "classes": list(split.dataset.classes),
        **typed,
        "target": describe_targets(split),
        "mean": split.mean.tolist(),
        "std": split.std.tolist(),
        "moments": list(split.moments),
        "is_table": split.dataset.is_table,
        # The fields find the data of a cell, which may be one of several.
        "fields": {"data": fields.pop("data.name"), **fields},
        "baseline": {} if split.dataset is NOTHING else constant_guess(split),
        "note": split.dataset.note,
        "fresh": split.dataset.draw is not None,
    }


# This many classes are named, and this many data sets are described.
_MOST_CLASSES, _MOST_SETS = 10, 5


def describe_targets(split: Split) -> str:
    """Describe the targets of all examples: the size of each class, or the mean and standard deviation.

    Classes that a part lacks are named; the text is empty if there are no data.
    """
    dataset = split.dataset
    if not dataset.features:
        return ""
    if not dataset.classes:
        with np.errstate(over="ignore", invalid="ignore"):
            return f"number, {dataset.y.mean():.4g} ± {deviation(dataset.y):.4g} (mean ± sd)"
    names = dataset.classes
    counts = np.bincount(dataset.y, minlength=len(names))
    sizes = [f"{name} {count:,}" for name, count in zip(names, counts.tolist(), strict=True)]
    text = f"{len(names):,} classes: {_listed(sizes)}"
    for part, y in zip(_PARTS, split.y, strict=True):
        absent = [] if y is None else np.flatnonzero(np.bincount(y, minlength=len(names)) == 0).tolist()
        if absent:
            text += f"; absent from {part}: {_listed([names[i] for i in absent])}"
    return text


def _listed(items: list[str]) -> str:
    """Return items with commas between them, without those in the middle if there are many."""
    return ", ".join(items if len(items) <= _MOST_CLASSES else [*items[: _MOST_CLASSES - 1], "…", items[-1]])


def _data_lines(plan: Plan) -> list[str]:
    """Return a line on the targets of each data set, without repetitions."""
    sets = {program.inputs.key: program.inputs for program in plan.programs}.values()
    texts = [(inputs.config.data.label, describe_targets(inputs.split)) for inputs in sets]
    lines = _distinct(f"  data {label}: {text}" for label, text in texts if text)
    more = [f"  and {len(lines) - _MOST_SETS} more data sets"] if len(lines) > _MOST_SETS else []
    return [*lines[:_MOST_SETS], *more]


# Pictures show at most this many features, and more rows would take too long to write.
_MAX_FEATURES = 2
_MAX_ROWS = 100_000


def examples(plan: Plan) -> dict[int, pd.DataFrame]:
    """Return the raw examples of each data set that can be drawn, by its place in the plan.

    Returns:
        A table for each data set, with a column per feature (`x.NAME` if the name is taken), `target` (a
        number, or a class by its place among the labels), `part` and, where it is known, `truth`.
    """
    return {
        i: _examples(split)
        for i, split in enumerate(plan.splits.values())
        if 1 <= len(split.dataset.features) <= _MAX_FEATURES and len(split.dataset.y) <= _MAX_ROWS
    }


def _examples(split: Split) -> pd.DataFrame:
    dataset = split.dataset
    taken = ("target", "part", "truth")
    names = [f"x.{name}" if name in taken else name for name in dataset.features]
    frame = pd.DataFrame(dataset.x, columns=names)
    part = np.empty(len(dataset.y), object)
    for name, places in zip(_PARTS, split.places, strict=True):
        part[places] = name
    more = {} if dataset.truth is None else {"truth": dataset.truth}
    return pd.concat([frame, pd.DataFrame({"target": dataset.y, "part": part, **more})], axis=1)


def training_record(
    plan: Plan, seconds: Mapping[str, float], device_bytes: int, trials: int
) -> dict[str, Any]:
    """Return the seconds and bytes of a sweep beside their predictions, for `plan.json`.

    Args:
        plan: The plan of the sweep.
        seconds: The seconds of each phase.
        device_bytes: The largest number of bytes that the compiler predicted for a call.
        trials: The number of trials that were trained in these seconds.
    """
    return {
        "trials": trials,
        "seconds": {purpose: round(s, 3) for purpose, s in seconds.items()},
        "predicted": {
            "total": round(plan.predicted_s, 3),
            "compiling": round(plan.compiling_s, 3),
            "training": round(plan.training_s, 3),
        },
        "device_bytes": device_bytes,
        "predicted_device_bytes": round(max(program.device_bytes for program in plan.programs)),
    }


def metric_names(plan: Plan) -> list[str]:
    """Return the metrics that any program of the plan records, in the order of a curve's columns."""
    return _distinct(name for program in plan.programs for name in _curve_metrics(program))


def ranking_metric(plan: Plan) -> str:
    """Return the metric that ranks: the one that the config names, or the preferred one of all programs."""
    chosen = chosen_metric({"metric": plan.programs[0].inputs.config.metric})
    return chosen or preferred_metric(set.intersection(*map(set, map(_curve_metrics, plan.programs))))


def _curve_metrics(program: Program) -> list[str]:
    held_out = program.inputs.split.x[1] is not None
    return with_derived(curve_metrics(program.static.task, held_out=held_out))


def column_names(plan: Plan) -> list[str]:
    """Return the further columns that any program of the plan adds to the table of trials."""
    names = _distinct(name for program in plan.programs for name in program.static.task.columns)
    # Functions of different dimension have different numbers of eigenvalues, which are sorted by number.
    return sorted(names, key=lambda name: (0, int(name[8:])) if name.startswith("hessian_") else (1, 0))


def final_names(plan: Plan) -> list[str]:
    """Return the metrics that any program of the plan computes after the last step alone."""
    return _distinct(name for program in plan.programs for name in _final_metrics(program))


def part_names(plan: Plan) -> list[str]:
    """Return the metrics of which any program of the plan computes leave-out values."""
    return _distinct(name for program in plan.programs for name in _part_metrics(program))


def _part_metrics(program: Program) -> list[str]:
    sizes = dict(zip(_PARTS, program.inputs.grouped, strict=True))
    return with_derived(part_metrics(program.static.task, sizes))


def _final_metrics(program: Program) -> list[str]:
    task, parts = program.static.task, scored_parts(dict(zip(_PARTS, program.inputs.split.x, strict=True)))
    tested = [f"test_{name}" for name in task.metrics if "test" in parts]
    return [*with_derived(tested), *(f"{part}_{name}" for part in parts for name in task.final_metrics)]


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def as_text(name: str, plan: Plan) -> str:
    """Describe what would run: the trials, the axes, the targets, and a line for each program."""
    grid, hardware = plan.grid, plan.hardware
    total = len(grid.cells) + grid.collapsed
    same = f" ({total:,} combinations, {grid.collapsed:,} of them repetitions)" * bool(grid.collapsed)
    lines = [
        f"{name}: {format_count(len(grid), 'trial')} = {format_count(len(grid.cells), 'cell')}{same}"
        f"{_times_splits(plan)} × {format_count(len(grid.seeds), 'seed')}"
        f", in {format_count(len(plan.programs), 'program')}{_compilations(plan)}"
        f" on {format_count(hardware.devices, hardware.platform.upper() + ' device')}"
    ]
    for i, axis in enumerate(grid.axes):
        values = [_value_text(v) for v in axis.values]
        shown = values if len(values) <= 8 else [*values[:3], "…", values[-1]]
        without = int((grid.index[:, i] < 0).sum())
        note = "" if not without else f", absent in {without:,} of the cells"
        note = note if without < len(grid.cells) else ", collapsed: no cell has this field"
        note = f", drawn{note}" if i < grid.drawn else note
        if i in grid.followers:
            note = f", follows {' and '.join(grid.follows[grid.followers.index(i)])}{note}"
        lines.append(f"  {axis.path}: {', '.join(shown)} ({len(values)}){note}")
    notes = [*plan.notes, *_notes_on_classes(plan), *(splits[0].dataset.note for splits in _by_dataset(plan))]
    lines = [*(f"note: {note}" for note in reversed(notes) if note), *lines]
    lines += _data_lines(plan)
    scales = describe_target_scales(program.inputs.target.scale for program in plan.programs)
    notes = [*map(_baseline_text, _by_dataset(plan)), scales]
    lines += [f"  {note}" for note in notes if note]
    lines += _program_lines(plan)
    lines.append(f"  predicted: {_prediction(plan)}")
    return "\n".join(lines)


def _program_lines(plan: Plan) -> list[str]:
    """Describe each program; those of further splits, which take the executables of others, share a line."""
    lines = []
    for compiled, group in groupby(plan.programs, lambda program: program.compile_s > 0.0):
        programs = list(group)
        first, last = programs[0].number + 1, programs[-1].number + 1
        if compiled or first == last:
            lines += [f"  program {program.number + 1}: {_program_text(program)}" for program in programs]
            continue
        seconds = _seconds(sum(program.train_s for program in programs))
        lines.append(f"  programs {first} to {last}: the same on other splits, {seconds} to train")
    return lines


def _times_splits(plan: Plan) -> str:
    """Describe the splits that every cell is trained on, if there are several."""
    folds = plan.programs[0].inputs.config.folds
    return (
        f" × {format_count(plan.grid.splits, 'fold' if folds else 'split')}" if plan.grid.splits > 1 else ""
    )


def _compilations(plan: Plan) -> str:
    """Describe how many times programs of several splits are compiled."""
    count = plan.compilations
    return f" that share {format_count(count, 'compilation')}" if count < len(plan.programs) else ""


def _notes_on_classes(plan: Plan) -> list[str]:
    """Return a note for each data set of classes whose targets a config asks to scale."""
    asked = [p.inputs for p in plan.programs if p.inputs.config.standardize_target is True]
    names = {inputs.config.data.label for inputs in asked if inputs.split.dataset.classes}
    return [
        f"data.standardize_target=true changes nothing, since data={n} has classes" for n in sorted(names)
    ]


def _by_dataset(plan: Plan) -> list[list[Split]]:
    """Return the splits of each data set."""
    groups: dict[int, list[Split]] = {}
    for split in plan.splits.values():
        groups.setdefault(id(split.dataset), []).append(split)
    return list(groups.values())


def _baseline_text(splits: Sequence[Split]) -> str:
    """Describe the constant guess on a data set, the mean over its splits; every model should beat it."""
    dataset = splits[0].dataset
    if dataset is NOTHING:
        return ""
    guesses = [constant_guess(split) for split in splits]
    metric = preferred_metric(guesses[0])
    value = np.mean([metrics[metric] for metrics in guesses])
    guess = "the most frequent class" if dataset.classes else "the mean"
    over = f", the mean over {len(splits)} splits" if len(splits) > 1 else ""
    return f"baseline: guessing {guess} gives {metric} {value:.4g}{over}"


def _prediction(plan: Plan) -> str:
    compiling, training = _seconds(plan.compiling_s), _seconds(plan.training_s)
    new = sum(not program.measured for program in plan.programs)
    parts = f"compiling {compiling} (two programs at a time, while others train), training {training}"
    guess = f"; a guess, since {new} of {len(plan.programs)} programs were not measured before" if new else ""
    return f"about {_seconds(plan.predicted_s)}: {parts}{guess}"


def _program_text(program: Program) -> str:
    config = program.inputs.config
    block, lanes, fused = program.arrangement
    lane_text = format_count(lanes, "lane") + " fused" * fused
    parts = [
        f"{program.inputs.subject} {config.optimizer.name}",
        f"{format_count(len(program.rows), 'trial')} × {format_count(config.steps, 'step')}",
        f"{format_count(program.blocks, 'block')} of {block}, {lane_text}",
    ]
    if program.segment:
        parts.append(f"state saved every {format_count(program.segment * config.record_every, 'step')}")
    if program.padding_fraction:
        waste = f"{program.padding_fraction:.0%} of the work is padding"
        parts.append(f"padded to width {program.width}: {waste}")
    parts.append(
        f"{_seconds(program.compile_s)} to compile and {_seconds(program.train_s)} to train,"
        f" {format_bytes(program.device_bytes)} of memory per device"
    )
    return ", ".join(parts)


def _seconds(s: float) -> str:
    for unit, length in (("days", 86400), ("h", 3600), ("min", 60)):
        if s >= 2 * length:
            return f"{s / length:.1f} {unit}"
    return "under 0.1 s" if s < 0.1 else f"{s:.0f} s" if s >= 9.5 else f"{s:.1f} s"


def _value_text(value: Any) -> str:
    if value is None:
        return "null"
    return f"{value:.4g}" if isinstance(value, float) else str(value)
