"""Print how often the cells that may be the best include the best one, by held-out examples and by splits.

Each number is a percentage of simulated sweeps whose truth is known: that over all examples. Run as
`python scripts/simulate_held_out.py [SIMULATIONS]`; 400 simulations a setting take about half an hour.
"""

import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtri

from vsweep.analysis.errors import overlap
from vsweep.analysis.ranking import rank_cells
from vsweep.analysis.significance import ALPHA, Results, compare
from vsweep.metrics import LR
from vsweep.tasks.leave_out import count_groups, grouped_order

# Cells, seeds and held-out examples.
SIZES = (
    (2, 4, 359),
    (5, 4, 30),
    (10, 2, 359),
    (10, 8, 100),
    (40, 3, 359),
    (40, 16, 2000),
    (180, 4, 359),
    (200, 2, 100),
)
# The rate of a right answer, and the deviations of a score over examples, over cells and examples, and over
# seeds as well. An answer is right if its score is positive.
KINDS = {
    "hard examples": (0.98, 1.0, 0.5, 0.5),
    "alike cells": (0.98, 1.0, 0.5, 0.2),
    "one unlike cell": (0.95, 1.0, 0.2, 0.2),
    "much luck": (0.7, 0.3, 0.6, 0.8),
}
# The unlike cell differs this many times as much as the others.
_UNLIKE = 5.0
# Cells, and splits or folds, with 2 seeds.
SPLITS = (5, 2), (5, 5), (20, 5), (20, 10), (100, 5)
_ROWS, _FEATURES = 100, 3
# Cells, splits and seeds.
SEEDED = (5, 5, 2), (20, 5, 2), (20, 5, 4), (20, 10, 3), (20, 5, 8)


def draw(kind: str, cells: int, seeds: int, examples: int, rng: np.random.Generator) -> np.ndarray:
    """Draw standardised scores `(cells, seeds, examples)` of cells that are equally good."""
    _, hard, own, luck = KINDS[kind]
    of_cells = own * rng.standard_normal((cells, examples))
    variance = np.full((cells, 1, 1), hard**2 + own**2 + luck**2)
    if kind == "alike cells":
        # All cells differ in three directions.
        directions = rng.standard_normal((cells, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        of_cells = own * directions @ rng.standard_normal((3, examples))
    if kind == "one unlike cell":
        of_cells[0] *= _UNLIKE
        variance[0] += (_UNLIKE**2 - 1.0) * own**2
    drawn = luck * rng.standard_normal((cells, seeds, examples))
    return (hard * rng.standard_normal(examples) + of_cells[:, None] + drawn) / np.sqrt(variance)


def results_of(outcomes: np.ndarray, step: float) -> Results:
    """Return the results of outcomes `(cells, seeds, examples)`, higher is better, in the order of ranks."""
    cells, seeds, examples = outcomes.shape
    groups = count_groups(examples)
    size = examples // groups
    grouped = outcomes[:, :, grouped_order(examples)][:, :, : groups * size].reshape(
        cells, seeds, groups, size
    )
    parts = (outcomes.sum(axis=2, keepdims=True) - grouped.sum(axis=3)) / (examples - size)
    return Results(outcomes.mean(axis=2), np.full(cells, seeds), np.zeros(cells, int), parts, step, step)


def kept(results: Results) -> np.ndarray:
    """Return which cells may be the best, bool `(cells,)`."""
    order = np.argsort(-results.values.mean(axis=1), kind="stable")
    may_be = np.empty(len(order), bool)
    may_be[order] = (compare(results.of(order)).p > ALPHA) | (np.arange(len(order)) == 0)
    return may_be


def held_out(
    kind: str, size: tuple[int, int, int], rng: np.random.Generator, *, loss: bool, behind: float = 0.0
) -> np.ndarray:
    """Return which cells of a simulated sweep may be the best.

    Args:
        kind: How cells differ, see `KINDS`.
        size: The numbers of cells, of seeds and of held-out examples.
        rng: The generator.
        loss: Whether the metric is a loss, the exponential of the score, and no share of right answers.
        behind: How far the second half of the cells is behind the others, in units of the score.
    """
    scores = draw(kind, *size, rng)
    scores = scores - behind * (np.arange(len(scores)) >= (len(scores) + 1) // 2)[:, None, None]
    if loss:
        return kept(results_of(-np.exp(-scores), 0.0))
    return kept(results_of((scores > -ndtri(KINDS[kind][0])).astype(float), 1.0 / size[2]))


def splits(cells: int, count: int, rng: np.random.Generator, *, folds: bool) -> np.ndarray:
    """Return which cells of a sweep over splits may be the best, each a regression on features of its own.

    All features are equally good, so all cells are, over all sets of data.

    Args:
        cells: The number of cells.
        count: The number of splits, or of folds.
        rng: The generator.
        folds: Whether the splits are folds; otherwise a fifth is held out, and seven tenths are trained on.
    """
    features = rng.standard_normal((cells, _ROWS, _FEATURES))
    target = features.sum(axis=(0, 2)) / np.sqrt(cells) + rng.standard_normal(_ROWS)
    values = np.empty((cells, count))
    order = rng.permutation(_ROWS)
    for split in range(count):
        if folds:
            held = order[split * _ROWS // count : (split + 1) * _ROWS // count]
            trained = np.setdiff1d(order, held)
        else:
            held, trained, _ = np.split(rng.permutation(_ROWS), [_ROWS // 5, _ROWS * 9 // 10])
        x = features[:, trained]
        weights = np.linalg.solve(x.mT @ x, x.mT @ target[trained][None, :, None])
        values[:, split] = -((target[held] - (features[:, held] @ weights)[..., 0]) ** 2).mean(axis=1)
    counts = np.full(cells, 2 * count)
    return kept(Results(values, counts, np.zeros(cells, int), overlap=overlap(count)))


def seeds_of_splits(
    cells: int, count: int, seeds: int, rng: np.random.Generator, *, everywhere: float
) -> pd.DataFrame:
    """Draw the trials of a sweep over splits whose seeds have luck on each split, and on all of them.

    Args:
        cells: The number of cells, all of which have the mean 0.
        count: The number of splits, each of a fifth held out and seven tenths trained on.
        seeds: The number of seeds.
        rng: The generator.
        everywhere: The deviation of the luck that a seed has on every split.
    """
    shape, alike = (cells, count, seeds), 2.0 / 9.0
    values = everywhere * rng.standard_normal((cells, 1, seeds)) + 0.5 * rng.standard_normal(shape)
    values += np.sqrt(1.0 - alike) * rng.standard_normal((cells, count, 1))
    values += np.sqrt(alike) * rng.standard_normal((cells, 1, 1))
    cell, split, seed = (place.ravel() for place in np.indices(shape))
    places = {"trial": np.arange(values.size), "cell": cell, "split": split, "seed": seed}
    return pd.DataFrame({**places, LR: cell + 1.0, "status": "ok", "final_val_loss": values.ravel()})


def coverage(simulate: Any, simulations: int, *, first_alone: bool = False) -> float:
    """Return the share of sweeps in which a cell that is truly best is among those that may be.

    Args:
        simulate: A function of a generator that returns which cells may be the best.
        simulations: The number of sweeps.
        first_alone: Whether only the first cell counts, since it is unlike the others.
    """
    rng = np.random.default_rng(simulations)
    sweeps = [simulate(rng) for _ in range(simulations)]
    return float(np.mean([sweep[0] if first_alone else sweep.mean() for sweep in sweeps]))


def tables(simulations: int) -> Iterator[str]:
    """Yield the lines of the tables as they are computed."""
    head = " | ".join(f"{cells} × {seeds} × {examples}" for cells, seeds, examples in SIZES)
    yield f"Coverage in %, by cells × seeds × held-out examples\n\n| metric | cells | {head} |"
    yield "|".join(["", *["---"] * (len(SIZES) + 2), ""])
    for loss in (False, True):
        for kind in KINDS:
            first_alone = kind == "one unlike cell"
            shares = [
                coverage(partial(held_out, kind, size, loss=loss), simulations, first_alone=first_alone)
                for size in SIZES
            ]
            numbers = " | ".join(f"{100.0 * share:.1f}" for share in shares)
            yield f"| {'loss' if loss else 'accuracy'} | {kind} | {numbers} |"
    head = " | ".join(f"{cells} × {count}" for cells, count in SPLITS)
    yield f"\nCoverage in %, by cells × splits\n\n| splits | {head} |"
    yield "|".join(["", *["---"] * (len(SPLITS) + 1), ""])
    for folds in (False, True):
        shares = [
            coverage(lambda rng, at=at, folds=folds: splits(*at, rng, folds=folds), simulations)
            for at in SPLITS
        ]
        numbers = " | ".join(f"{100.0 * share:.1f}" for share in shares)
        yield f"| {'folds' if folds else 'repeated'} | {numbers} |"
    head = " | ".join(f"{cells} × {count} × {seeds}" for cells, count, seeds in SEEDED)
    yield "\nCoverage of the best / of intervals in %, by cells × splits × seeds\n"
    yield f"| luck on every split | {head} |"
    yield "|".join(["", *["---"] * (len(SEEDED) + 1), ""])
    for everywhere in (0.0, 0.5, 1.0):
        rng, numbers = np.random.default_rng(0), []
        for at in SEEDED:
            tables = [seeds_of_splits(*at, rng, everywhere=everywhere) for _ in range(simulations)]
            found = [rank_cells(trials, "val_loss") for trials in tables]
            kept_share = np.mean([(cells["p"] > ALPHA).mean() for cells in found])
            covered = np.mean([((cells["low"] <= 0.0) & (cells["high"] >= 0.0)).mean() for cells in found])
            numbers.append(f"{100.0 * kept_share:.1f} / {100.0 * covered:.1f}")
        yield f"| {everywhere:g} | {' | '.join(numbers)} |"


if __name__ == "__main__":
    for line in tables(int(sys.argv[1]) if len(sys.argv) > 1 else 400):
        print(line, flush=True)
