"""Print how often the cells that may be the best include the best one, and how often a loser leaves them.

Each number is a percentage of simulated sweeps. Run as `python scripts/simulate_ties.py [SIMULATIONS]`; 400
simulations a setting take about half an hour on one core.
"""

import sys
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np

from vsweep.analysis.significance import ALPHA, Results, compare

CELLS = 2, 5, 10, 40, 200
SEEDS = 2, 3, 4, 8, 16
# A loser is this many standard errors of the difference behind the best.
BEHIND = 6.0

Noise = Callable[[np.random.Generator, int, int], np.ndarray]


def even(rng: np.random.Generator, cells: int, seeds: int) -> np.ndarray:
    """Draw normal noise of one variance."""
    return rng.standard_normal((cells, seeds))


def uneven(rng: np.random.Generator, cells: int, seeds: int) -> np.ndarray:
    """Draw normal noise whose deviation differs between cells by a factor of e and more."""
    return even(rng, cells, seeds) * np.exp(rng.normal(0.0, 1.0, (cells, 1)))


def one_uneven(rng: np.random.Generator, cells: int, seeds: int) -> np.ndarray:
    """Draw noise that is six times as large in the best cell as in the others."""
    noise = even(rng, cells, seeds)
    noise[0] *= 6.0
    return noise


def seed_effects(rng: np.random.Generator, cells: int, seeds: int) -> np.ndarray:
    """Draw noise most of which a seed has in all cells."""
    return even(rng, cells, seeds) + 3.0 * rng.standard_normal((1, seeds))


def heavy_tails(rng: np.random.Generator, cells: int, seeds: int) -> np.ndarray:
    """Draw from Student's t distribution with 2.5 degrees of freedom."""
    return rng.standard_t(2.5, (cells, seeds)) / np.sqrt(5.0)


def bad_seeds(rng: np.random.Generator, cells: int, seeds: int) -> np.ndarray:
    """Draw noise with one bad seed in ten."""
    return 0.3 * even(rng, cells, seeds) - 5.0 * (rng.random((cells, seeds)) < 0.1)


def diverging(share: float) -> Noise:
    """Return noise with a share of trials that diverge, NaN."""

    def noise(rng: np.random.Generator, cells: int, seeds: int) -> np.ndarray:
        values = even(rng, cells, seeds)
        return np.where(rng.random((cells, seeds)) < share, np.nan, values)

    return noise


def constant(rng: np.random.Generator, cells: int, seeds: int) -> np.ndarray:
    """Draw noise for every other cell; the seeds of the others, the best among them, cannot differ."""
    return even(rng, cells, seeds) * (np.arange(cells) % 2)[:, None]


KINDS: dict[str, Noise] = {
    "even": even,
    "uneven": uneven,
    "one uneven": one_uneven,
    "seed effects": seed_effects,
    "heavy tails": heavy_tails,
    "one seed in ten bad": bad_seeds,
    "10 % diverge": diverging(0.1),
    "20 % diverge": diverging(0.2),
    "30 % diverge": diverging(0.3),
    "half without luck": constant,
}
# The true means of cells behind the best, in standard errors of a difference.
TRUTHS: dict[str, Callable[[np.random.Generator, int], np.ndarray]] = {
    "equal": lambda rng, cells: np.zeros(cells),
    "plateau": lambda rng, cells: -np.where(np.arange(cells) < cells // 2, 0.0, rng.exponential(5.0, cells)),
    "spread": lambda rng, cells: -np.abs(rng.normal(0.0, 1.0, cells)) * (np.arange(cells) > 0),
}


def mean_of(values: np.ndarray) -> np.ndarray:
    """Return the mean of the known values of each cell, NaN where there is none."""
    known = np.isfinite(values)
    total = np.where(known, values, 0.0).sum(axis=1)
    return np.divide(total, known.sum(axis=1), out=np.full(len(values), np.nan), where=known.any(axis=1))


def simulate(truth: np.ndarray, noise: Noise, seeds: int, rng: np.random.Generator) -> np.ndarray:
    """Return which cells of a simulated sweep may be the best, bool `(cells,)`.

    Args:
        truth: Float64 `(cells,)`, the true means in standard errors of a difference.
        noise: A draw of the noise over seeds.
        seeds: The number of seeds.
        rng: The generator.
    """
    values = noise(rng, len(truth), seeds)
    diverged = np.isnan(values)
    values = values + (truth * np.sqrt(2.0 / seeds))[:, None]
    fixed = np.ptp(values, axis=1) == 0.0
    order = np.lexsort((-np.nan_to_num(mean_of(values), nan=-np.inf), diverged.sum(axis=1)))
    counts = np.full(len(truth), seeds)
    p = compare(Results(values[order], counts, diverged.sum(axis=1)[order], fixed=fixed[order])).p
    kept = np.empty(len(truth), bool)
    kept[order] = np.isnan(p) | (p > ALPHA) | (np.arange(len(truth)) == 0)
    return kept


def coverage(kind: str, truth: str, cells: int, seeds: int, simulations: int) -> np.ndarray:
    """Return the share of sweeps in which the best cell is among those that may be, and their share."""
    rng = np.random.default_rng([cells, seeds, simulations])
    kept = [simulate(TRUTHS[truth](rng, cells), KINDS[kind], seeds, rng) for _ in range(simulations)]
    return np.array([np.mean([k[0] for k in kept]), np.mean(kept)])


def power(kind: str, cells: int, seeds: int, simulations: int) -> float:
    """Return the share of losers that leave; half of the cells are losers."""
    rng = np.random.default_rng([cells, seeds, simulations])
    truth = -BEHIND * (np.arange(cells) >= (cells + 1) // 2)
    left = [~simulate(truth, KINDS[kind], seeds, rng)[truth < 0.0] for _ in range(simulations)]
    return float(np.mean(left))


def tables(simulations: int) -> Iterator[str]:
    """Yield the lines of the tables as they are computed."""
    places = [(cells, seeds) for cells in CELLS for seeds in SEEDS]
    head = " | ".join(f"{cells} × {seeds}" for cells, seeds in places)
    rule = "|".join(["---"] * (len(places) + 2))
    yield f"Coverage / share of cells kept, in %, by cells × seeds\n\n| noise | truth | {head} |\n|{rule}|"
    for kind, truth in product(KINDS, TRUTHS):
        shares = [100.0 * coverage(kind, truth, *at, simulations) for at in places]
        numbers = " | ".join(f"{best:.0f} / {kept:.0f}" for best, kept in shares)
        yield f"| {kind} | {truth} | {numbers} |"
    places = [(cells, seeds) for cells, seeds in places if seeds >= SEEDS[2]]
    head = " | ".join(f"{cells} × {seeds}" for cells, seeds in places)
    rule = "|".join(["---"] * (len(places) + 1))
    yield f"\nLosers {BEHIND:g} standard errors behind that leave, in %\n\n| noise | {head} |\n|{rule}|"
    for kind in ("even", "seed effects"):
        numbers = " | ".join(f"{100.0 * power(kind, *at, simulations):.0f}" for at in places)
        yield f"| {kind} | {numbers} |"


if __name__ == "__main__":
    for line in tables(int(sys.argv[1]) if len(sys.argv) > 1 else 400):
        print(line, flush=True)
