"""Verify a sweep: train some trials again, each alone, and compare their curves."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from jax.sharding import Mesh

from vsweep.engine.checks.compare import Retrained, at_precision_of, difference, is_chaotic, is_wrong
from vsweep.engine.executor import TrainingStats, train
from vsweep.engine.plan import Plan, Program, make_program
from vsweep.engine.plan_record import ranking_metric
from vsweep.engine.tuning.cost_model import NO_LIMITS, Arrangement, Costs
from vsweep.engine.tuning.timings import TimingCache, short_name
from vsweep.metrics import final_values, higher_is_better, strata, stratum_of
from vsweep.store.blocks import TrainedBlock
from vsweep.tasks.task import param_dtype
from vsweep.training.program import Static

# The reasons for which a trial is chosen.
BEST = "best"
DIVERGED = "diverged"
FIRST = "first of a padded program"
LAST = "last of one"
RANDOM = "random"


def choose_trials_to_verify(
    plan: Plan, trials: pd.DataFrame, at_random: int, seed: int = 0
) -> dict[int, str]:
    """Choose the trials to train again.

    Args:
        plan: The plan of the sweep.
        trials: The table of the trials that are done.
        at_random: The number of trials to draw beside the others.
        seed: The seed of the draw.

    Returns:
        The reason for each chosen trial, by its row in the order of `Grid.trials()`.
    """
    rows = np.searchsorted(plan.grid.trials()[0], trials["trial"])
    chosen: dict[int, str] = {}
    metric = ranking_metric(plan)
    values, stratum = signed(trials, metric), stratum_of(trials, strata(trials, metric))
    # Trials of two strata cannot be compared, and each stratum has a best one.
    for number in np.unique(stratum):
        members = np.flatnonzero(stratum == number)
        best = members[np.argmin(values[members])]
        if np.isfinite(values[best]):
            chosen[int(rows[best])] = BEST
    diverged = np.flatnonzero(trials["status"] == "diverged")
    if len(diverged):
        chosen.setdefault(int(rows[diverged[0]]), DIVERGED)
    padded = max(plan.programs, key=lambda program: program.padding_fraction)
    members = np.intersect1d(padded.rows, rows)
    if padded.padding_fraction and len(members):
        chosen.setdefault(int(members[0]), FIRST)
        chosen.setdefault(int(members[-1]), LAST)
    for row in np.random.default_rng(seed).permutation(rows).tolist():
        if list(chosen.values()).count(RANDOM) >= at_random:
            break
        chosen.setdefault(row, RANDOM)
    return chosen


def signed(trials: pd.DataFrame, metric: str) -> np.ndarray:
    """Return the values by which trials are ranked, the lowest first; infinite for those that diverged."""
    sign = -1.0 if higher_is_better(metric) else 1.0
    return (sign * final_values(trials, metric)).fillna(np.inf).to_numpy()


def within_budget(
    plan: Plan, known: TimingCache, chosen: Mapping[int, str], seconds: float
) -> dict[int, str]:
    """Return those of the chosen trials, in their order, that can be trained again in this many seconds."""
    costs, budget = Costs(plan.hardware, known), seconds
    compiled, affordable = set(), {}
    for row, reason in chosen.items():
        (program,) = lone_programs(plan, [row], costs)
        name = _name(program)
        cost = 2 * program.static.length.steps * costs.step_s(program.shape, 1)
        cost *= plan.hardware.devices
        if name not in compiled:
            cost += float(known.get(name).get("compile_s", costs.compile_s(program.shape)))
        if cost > budget:
            continue
        compiled.add(name)
        budget -= cost
        affordable[row] = reason
    return affordable


def verify(
    plan: Plan,
    mesh: Mesh,
    known: TimingCache,
    trials: pd.DataFrame,
    curves_of: Callable[[list[int]], pd.DataFrame],
    chosen: Mapping[int, str],
) -> dict[str, Any]:
    """Train the chosen trials again, each alone and beside its twin, and compare their curves.

    Args:
        plan: The plan of the sweep.
        mesh: The devices.
        known: The measurements of earlier sweeps; compile times are added.
        trials: The table of trials, as in the store.
        curves_of: A function that returns the stored curves of trials by their numbers.
        chosen: As `choose_trials_to_verify` returns them.

    Returns:
        The contents of `verify.json`.
    """
    stats = TrainingStats()
    programs = lone_programs(plan, list(chosen), Costs(plan.hardware, known))
    again = train_alone(plan, mesh, programs, stats)
    if stats.compiling:
        for program in programs:
            known.note(_name(program), compile_s=stats.compiling / len(programs))
        known.save()
    table: Any = trials.set_index("trial")
    metric = ranking_metric(plan)
    values = pd.Series(signed(trials, metric), table.index)
    stratum = pd.Series(stratum_of(trials, strata(trials, metric)), table.index)
    number = plan.grid.trials()[0]
    curves: Any = curves_of(number[list(again)].tolist()).groupby("trial")
    checked = []
    for row, reason in chosen.items():
        trial = int(number[row])
        alone, twin = again[row]
        recorded = _stored_curves(curves.get_group(trial), table.loc[trial], list(alone.metrics))
        unit = rounding_unit(next(program for program in programs if row in program.rows))
        off, where = max(difference(curve, alone) for curve in recorded)
        twin_off, _ = difference(alone, twin)
        checked.append(
            {
                "trial": trial,
                "cell": int(table.loc[trial, "cell"]),
                **{name: int(table.loc[trial, name]) for name in ("split", "seed") if name in table},
                "why": reason,
                "difference": off,
                "metric": where,
                "twin": twin_off,
                "chaotic": is_chaotic(alone, twin),
                "changed": _changed(recorded[0], alone, values[stratum == stratum[trial]], trial, metric),
                "wrong": any(is_wrong(curve, alone, twin, unit) for curve in recorded),
            }
        )
    return summarize(checked, len(trials))


def summarize(checked: Sequence[Mapping[str, Any]], trials: int) -> dict[str, Any]:
    """Collect the trials that were trained again, and a summary of them."""
    return {
        "checked": len(checked),
        "of": trials,
        "largest_difference": max((trial["difference"] for trial in checked), default=None),
        "largest_twin": max((trial["twin"] for trial in checked), default=None),
        "wrong": [trial["trial"] for trial in checked if trial["wrong"]],
        "changed": [trial["trial"] for trial in checked if trial["changed"]],
        "chaotic": [trial["trial"] for trial in checked if trial["chaotic"]],
        "trials": list(checked),
    }


def lone_programs(plan: Plan, rows: Sequence[int], costs: Costs) -> list[Program]:
    """Return the programs that train some trials alone.

    A program is compiled for a trial's own width, initializer and fields; trials with the same static values
    share one. The twins come after all of its trials, in the same order; their rows are beyond the grid's.

    Args:
        plan: The plan of the sweep.
        rows: Places in the order of `Grid.trials()`.
        costs: The costs of programs on the plan's hardware.
    """
    groups: dict[tuple[Static, str], list[Program]] = {}
    for row in sorted(rows):
        program = next(program for program in plan.programs if row in program.rows)
        # It has neither padding units nor padding examples.
        inputs = replace(program.inputs, shares_shape=False)
        lone = make_program(plan.grid, inputs, np.asarray([row]), costs)
        groups.setdefault((lone.static, lone.inputs.key), []).append(lone)
    programs: list[Program] = []
    for members in groups.values():
        count, devices = len(members), plan.hardware.devices
        member_rows, twin = np.concatenate([member.rows for member in members]), np.arange(2 * count) >= count
        both: Any = jax.tree.map(
            lambda *leaves: np.concatenate([*leaves, *leaves]), *(member.hparams for member in members)
        )
        # Weights of zero cannot be moved by a unit, so the rate of a twin's updates is moved as well.
        lr = both.optimizer["lr"] * np.where(twin, 1.0 + rounding_unit(members[0]), 1.0)
        block = -(-2 * count // devices) * devices
        programs.append(
            replace(
                members[0],
                number=len(programs),
                rows=np.concatenate([member_rows, member_rows + len(plan.grid)]),
                hparams=both._replace(
                    twin=twin, optimizer={**both.optimizer, "lr": lr.astype(both.optimizer["lr"].dtype)}
                ),
                arrangement=Arrangement(block, 1, members[0].shape.single_kernel),
                segment=0,
            )
        )
    return programs


def rounding_unit(program: Program) -> float:
    """Return the unit in the last place of 1 in the dtype of a program's products."""
    task = program.static.task(jax.tree.map(lambda leaf: leaf[0], program.hparams.task))
    return float(jnp.finfo(task.dtype or param_dtype(program.static.dtype)).eps)


def train_alone(
    plan: Plan, mesh: Mesh, programs: Sequence[Program], stats: TrainingStats
) -> dict[int, tuple[Retrained, Retrained]]:
    """Train the programs of `lone_programs`, and return each trial and its twin, by its row."""
    results: dict[int, Retrained] = {}
    trials = len(plan.grid)
    lone = replace(plan, programs=tuple(programs), limits=NO_LIMITS)
    for block in train(lone, mesh, stats, done=np.zeros(2 * trials, bool), takes_block=False):
        assert isinstance(block, TrainedBlock)
        for i, row in enumerate(block.rows.tolist()):
            metrics = {name: values[i] for name, values in block.metrics.items()}
            results[row] = Retrained(metrics, int(block.diverged_at[i]))
    return {row: (first, results[row + trials]) for row, first in results.items() if row < trials}


def _stored_curves(part: pd.DataFrame, trial: pd.Series, metrics: Sequence[str]) -> list[Retrained]:
    """Return a trial's stored curve; where the table lists other final values, also one that ends in them."""
    step, part = trial["diverged_at"], part.sort_values("step")
    curve = Retrained({name: part[name].to_numpy() for name in metrics}, -1 if pd.isna(step) else int(step))
    listed = {name: np.append(v[:-1], trial[f"final_{name}"]) for name, v in curve.metrics.items()}
    same = all(np.array_equal(v, listed[name], equal_nan=True) for name, v in curve.metrics.items())
    return [curve] if same else [curve, curve._replace(metrics=listed)]


def _changed(recorded: Retrained, alone: Retrained, ranked: pd.Series, trial: int, metric: str) -> list[str]:
    """Return the verdicts on a trial that change when it is trained alone; ranked: its stratum's values."""
    changed, alone = [], at_precision_of(recorded, alone)
    if (recorded.diverged_at >= 0) != (alone.diverged_at >= 0):
        changed.append("diverged" if alone.diverged_at >= 0 else "not diverged")
    value = float(alone.metrics[metric][-1]) * (-1.0 if higher_is_better(metric) else 1.0)
    value = value if alone.diverged_at < 0 and np.isfinite(value) else np.inf
    best_other = ranked.drop(trial).min() if len(ranked) > 1 else np.inf
    best_before, best_now = ranked[trial] <= best_other, value <= best_other
    if best_before != best_now and np.isfinite(min(value, ranked[trial])):
        changed.append("best" if best_now else "not best")
    return changed


def _name(program: Program) -> str:
    return short_name(alone=program.name, width=program.width, fields=str(program.static.task.static))
