"""Simulate tables of trials with a known truth, and print how often the statements about effects hold.

    python scripts/simulate_effects.py [simulations] [part …]

Parts: additive, crossover, first, shares, sensitivity, rates, confirm; all by default. A row is a setting,
with the share of simulations in which a statement holds, or is made. Two standard errors of 400 simulations
are 2 % at a true share of 95 %.
"""

import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pandas as pd
from scipy.special import expit, stdtrit

from vsweep.analysis.importance import describe, importance
from vsweep.analysis.lr_sensitivity import best_lr, lr_lines, lr_sensitivity
from vsweep.analysis.ranking import rank_cells
from vsweep.commands.confirm import shrinkage
from vsweep.metrics import LR

WIDTH = "model.width"
SEEDS = (3, 4, 8)
Shape = tuple[int, ...]
Rows = Iterator[dict[str, Any]]


def table_of(
    values: np.ndarray, axes: dict[str, Any] | None = None, metric: str = "val_loss"
) -> pd.DataFrame:
    """Make a table of trials from `values[axis 1, …, axis k, seed]`; NaN is a trial that diverged."""
    *sizes, seeds = values.shape
    places = np.indices(values.shape).reshape(values.ndim, -1)
    axes = axes or {f"model.a{i}": np.arange(size) for i, size in enumerate(sizes)}
    return pd.DataFrame(
        {
            "trial": np.arange(values.size),
            "cell": np.arange(values.size) // seeds,
            "seed": places[-1],
            **{
                name: np.asarray(axis)[place]
                for (name, axis), place in zip(axes.items(), places, strict=False)
            },
            "status": np.where(np.isnan(values.ravel()), "diverged", "ok"),
            f"final_{metric}": np.nan_to_num(values.ravel()),
        }
    )


def noise(rng: np.random.Generator, shape: Shape, kind: str = "normal") -> np.ndarray:
    """Draw noise: normal, of heavy tails, with one bad trial in ten, or uneven over the first axis."""
    if kind == "heavy tails":
        return rng.standard_t(2, shape)
    draws = rng.standard_normal(shape)
    if kind == "one in ten bad":
        draws = np.where(rng.random(shape) < 0.1, draws + 10.0, draws)
    if kind == "uneven":
        draws = draws * np.geomspace(0.3, 3.0, shape[0]).reshape(-1, *[1] * (len(shape) - 1))
    return draws


def contrast(rng: np.random.Generator, size: int, axis: int, ndim: int) -> np.ndarray:
    """Draw an effect of an axis with mean zero and variance one, shaped to be added to others."""
    effect = rng.standard_normal(size)
    effect = (effect - effect.mean()) / effect.std()
    return effect.reshape([size if i == axis else 1 for i in range(ndim)])


def additive(rng: np.random.Generator, sizes: Shape) -> np.ndarray:
    """Draw a sum of effects of the axes, each of variance one, with an axis for seeds."""
    return sum(contrast(rng, size, axis, len(sizes)) for axis, size in enumerate(sizes))[..., None]


# Each takes the effects, the noise, and a generator.
SCALES = {
    "the metric itself": lambda effects, luck, rng: effects + luck,
    "log loss": lambda effects, luck, rng: np.exp(1.5 * (effects + luck)),
    "log loss, even noise": lambda effects, luck, rng: np.exp(effects) + luck,
    "saturating": lambda effects, luck, rng: expit(3.0 * (effects + luck)),
    "saturating, even noise": lambda effects, luck, rng: expit(3.0 * effects) + 0.3 * luck,
    "20 % diverge": lambda effects, luck, rng: np.where(rng.random(luck.shape) < 0.2, np.nan, effects + luck),
    "the worst diverge": lambda effects, luck, rng: np.where(
        rng.random(luck.shape) < expit(4.0 * (effects - 1.0)), np.nan, effects + luck
    ),
}


def says_interaction(trials: pd.DataFrame) -> bool:
    """Return whether the report says that two axes interact."""
    return any(" interact: " in line for line in describe(importance(trials)))


def additive_rows(rng: np.random.Generator, count: int) -> Rows:
    """Return how often an additive truth is said to interact."""
    settings = [((5, 5), scale, 0.3, "normal") for scale in SCALES]
    settings += [(sizes, scale, 0.3, "normal") for sizes in ((2, 2), (4, 3, 2)) for scale in [*SCALES][::3]]
    settings += [((5, 5), "the metric itself", sigma, "normal") for sigma in (0.03, 3.0)]
    settings += [
        ((5, 5), "the metric itself", 0.3, kind) for kind in ("heavy tails", "one in ten bad", "uneven")
    ]
    for sizes, scale, sigma, kind in settings:
        row = {"grid": size_text(sizes), "additive on": scale, "noise": f"{sigma} {kind}"}
        for seeds in SEEDS:
            said = [
                says_interaction(
                    table_of(
                        SCALES[scale](additive(rng, sizes), sigma * noise(rng, (*sizes, seeds), kind), rng)
                    )
                )
                for _ in range(count)
            ]
            row[f"{seeds} seeds"] = np.mean(said)
        yield row


def crossover(rng: np.random.Generator, sizes: Shape) -> np.ndarray:
    """Add to two effects an interaction of the same variance, which changes the order of some values."""
    while True:
        pair = rng.standard_normal(sizes)
        pair = pair - pair.mean(axis=0) - pair.mean(axis=1, keepdims=True) + pair.mean()
        means = additive(rng, sizes)[..., 0] + pair / pair.std()
        steps = means[:, None] - means[None]
        other = (means[:, :, None] - means[:, None]).swapaxes(0, 1).swapaxes(1, 2)
        both = [np.minimum(d.max(axis=-1), -d.min(axis=-1)).max() for d in (steps, other)]
        # A change of order that is smaller than the effects themselves is no crossover of their size.
        if max(both) >= 1.0:
            return means


def crossover_rows(rng: np.random.Generator, count: int) -> Rows:
    """Return how often a crossover of the size of the main effects is said to interact."""
    for sizes in ((3, 3), (5, 5), (8, 4), (2, 5)):
        for sigma, kind in ((0.1, "normal"), (0.3, "normal"), (0.5, "normal"), (0.3, "heavy tails")):
            row = {"grid": size_text(sizes), "noise": f"{sigma} {kind}"}
            for seeds in SEEDS:
                said = [
                    says_interaction(
                        table_of(crossover(rng, sizes)[..., None] + sigma * noise(rng, (*sizes, seeds), kind))
                    )
                    for _ in range(count)
                ]
                row[f"{seeds} seeds"] = np.mean(said)
            yield row


def first_rows(rng: np.random.Generator, count: int) -> Rows:
    """Return how often an axis is said to matter most where the largest effects are equal."""
    for sizes, effects in (
        ((4, 4), (1, 1)),
        ((3, 3, 3), (1, 1, 0.5)),
        ((4, 4, 2), (1, 1, 0)),
        ((3, 3), (0, 0)),
    ):
        for sigma, kind in ((0.1, "normal"), (1.0, "normal"), (1.0, "heavy tails")):
            row = {"grid": size_text(sizes), "effects": str(effects), "noise": f"{sigma} {kind}"}
            for seeds in SEEDS:
                named = []
                for _ in range(count):
                    # The same shape on both axes makes their shares of ranks equal too.
                    means = sum(
                        size
                        * np.linspace(-1.2, 1.2, n).reshape(
                            [n if i == axis else 1 for i in range(len(sizes))]
                        )
                        for axis, (n, size) in enumerate(zip(sizes, effects, strict=True))
                    )[..., None]
                    draws = sigma * noise(rng, (*sizes, seeds), kind)
                    named.append(importance(table_of(means + draws)).first != "")
                row[f"{seeds} seeds"] = np.mean(named)
            yield row


def shares_of(
    rng: np.random.Generator, means: np.ndarray, sigma: float, kind: str, diverged: float, seeds: int
) -> pd.DataFrame:
    """Return the shares of a simulated table, sorted by their axes."""
    values = means + sigma * noise(rng, (*means.shape[:-1], seeds), kind)
    values = np.where(rng.random(values.shape) < diverged, np.nan, values)
    return importance(table_of(values)).effects.set_index("axes").sort_index()


def shares_rows(rng: np.random.Generator, count: int) -> Rows:
    """Return how often the 95 % interval of each share holds the share over very many seeds."""
    for sizes in ((2, 2), (4, 5)):
        means = sum(
            size * np.linspace(-1.6, 1.6, n).reshape([n if i == axis else 1 for i in range(len(sizes))])
            for axis, (n, size) in enumerate(zip(sizes, (1.0, 0.5), strict=True))
        )[..., None]
        for sigma, kind, diverged in (
            (0.3, "normal", 0.0),
            (1.0, "normal", 0.0),
            (3.0, "normal", 0.0),
            (1.0, "heavy tails", 0.0),
            (1.0, "one in ten bad", 0.0),
            (1.0, "normal", 0.2),
        ):
            shares = partial(shares_of, rng, means, sigma, kind, diverged)
            truth = np.mean([shares(1000)["share"].to_numpy() for _ in range(4)], axis=0)
            row = {"grid": size_text(sizes), "noise": f"{sigma} {kind}, {diverged:.0%} diverge"}
            row["true shares"] = " / ".join(f"{share:.2f}" for share in truth)
            for seeds in SEEDS:
                hits = [
                    (found["share"] - truth).abs() <= stdtrit(seeds - 1, 0.975) * found["sem"]
                    for found in (shares(seeds) for _ in range(count))
                ]
                row[f"{seeds} seeds"] = " / ".join(f"{hit:.3f}" for hit in np.mean(hits, axis=0))
            yield row


def sensitivity_rows(rng: np.random.Generator, count: int) -> Rows:
    """Compare the sensitivity's mean and 95 % interval with the truth."""
    shapes = {"parabola": (1.0, 0.0), "at the edge": (1.0, 2.5), "flat": (0.0, 0.0)}
    settings = [
        ("parabola", lines, n, s, "normal") for lines in (1, 4) for n in (5, 20) for s in (0.02, 0.1, 0.3)
    ]
    settings += [("at the edge", 1, 10, 0.1, "normal"), ("flat", 1, 10, 0.1, "normal")]
    settings += [("parabola", 1, 10, 0.1, kind) for kind in ("heavy tails", "uneven", "diverging")]
    for shape, lines, rates, sigma, kind in settings:
        curvature, at = shapes[shape]
        x = np.linspace(-2.0, 2.0, rates)
        mean = 0.3 + np.minimum(curvature * (x - at) ** 2 / 4.0, 1.7)
        lost = expit(4.0 * (x - 1.2)) if kind == "diverging" else np.zeros(rates)
        curve = (1.0 - lost) * mean + lost * 2.5
        truth = np.trapezoid(curve, x) / 4.0 - curve.min()
        row = {
            "curve": shape,
            "lines": lines,
            "rates": rates,
            "noise": f"{sigma} {kind}",
            "truth": round(truth, 3),
        }
        for seeds in (2, 4, 8, 16):
            # Each width is a simulation of its own: its lines have no part in the others.
            draws = noise(rng, (rates, lines, count, seeds), "normal" if kind == "diverging" else kind)
            values = mean[:, None, None, None] + sigma * (draws + rng.standard_normal((count, seeds)))
            values = np.where(rng.random(values.shape) < lost[:, None, None, None], np.nan, values)
            axes = {LR: np.exp(x), "data.batch_size": np.arange(lines), WIDTH: np.arange(count)}
            trials = table_of(values, axes)
            found = lr_sensitivity(trials, pd.Series(2.5, trials["trial"]), "val_loss", WIDTH)
            off = found["sensitivity"] - truth
            hit = off.abs() <= stdtrit(seeds - 1, 0.975) * found["sem"]
            row[f"{seeds} seeds: bias, coverage"] = f"{off.mean():+.3f}, {hit.mean():.3f}"
        yield row


def rates_rows(rng: np.random.Generator, count: int) -> Rows:
    """Return how often a range holds the truly best rate, all of a table do, and an edge is told."""
    settings = [
        (widths, rates, slope, 0.3, "normal")
        for slope in (0.0, -0.5, -1.0)
        for widths, rates in ((3, 5), (3, 20), (6, 5), (6, 20))
    ]
    kinds = ("heavy tails", "one in ten bad", "uneven", "10 % diverge", "the largest diverge")
    settings += [(4, 10, -0.5, 0.3, kind) for kind in kinds]
    settings += [(4, 10, -4.0, 0.3, "normal"), (4, 10, -4.0, 0.3, "10 % diverge")]
    for widths, rates, slope, sigma, kind in settings:
        x, width = np.linspace(-3.5, 2.5, rates), 2.0 ** np.arange(widths)
        at = 0.3 + slope * np.log(width)
        mean = 0.3 + 0.25 * np.minimum((x[:, None] - at) ** 2, 6.0)
        truth = np.tile(np.exp(x[mean.argmin(axis=0)]), count)
        beyond = np.tile((at < x[0]) | (at > x[-1]), count)
        row = {"slope": slope, "widths": widths, "rates": rates, "noise": f"{sigma} {kind}"}
        for seeds in (2, 4, 8, 16):
            shape = (rates, count, widths, seeds)
            values = mean[:, None, :, None] + sigma * noise(
                rng, shape, "normal" if "diverge" in kind else kind
            )
            lost = np.full(mean.shape, 0.1 if kind == "10 % diverge" else 0.0)
            if kind == "the largest diverge":
                lost = expit(5.0 * (x[:, None] - at - 1.5))
            values = np.where(rng.random(shape) < lost[:, None, :, None], np.nan, values)
            # Each line is compared within itself, so the widths of all simulations are values of one axis.
            lines = values.reshape(rates, -1, seeds)
            trials = table_of(lines, {LR: np.exp(x), WIDTH: np.arange(lines.shape[1])})
            best = best_lr(lr_lines(trials, None, WIDTH)).set_index("by").reindex(np.arange(lines.shape[1]))
            hit = ((best["low"] <= truth * 1.001) & (truth <= best["high"] * 1.001)).to_numpy()
            length = np.log(best["high"] / best["low"]).mean() / np.diff(x)[0] + 1.0
            edge = f", {best['at_edge'][beyond].astype(float).mean():.3f}" if beyond.any() else ""
            together = hit.reshape(count, widths).all(axis=1).mean()
            row[f"{seeds} seeds: each, all, length, edge"] = (
                f"{hit.mean():.3f}, {together:.3f}, {length:.1f}{edge}"
            )
        yield row


def draw_cells(
    rng: np.random.Generator, level: np.ndarray, seeds: int, kind: str, metric: str
) -> pd.DataFrame:
    """Draw the trials of cells with these levels, a row of them for each data set."""
    values = level[..., None] + noise(rng, (*level.shape, seeds), kind)
    if "accuracy" in kind:
        values = rng.binomial(100, expit(3.0 + 0.1 * values)) / 100.0
    if "diverge" in kind:
        values = np.where(rng.random(values.shape) < 0.2, np.nan, values)
    return table_of(values, {"data": np.arange(level.shape[0]), LR: np.arange(level.shape[1])}, metric)


def confirm_rows(rng: np.random.Generator, count: int) -> Rows:
    """Compare the best cell's mean in the sweep and on fresh seeds with the truth."""
    kinds = ("heavy tails", "one in ten bad", "accuracy of 100", "20 % diverge")
    settings = [(n, s, "normal") for n in (2, 10, 100) for s in (0.0, 1.0)] + [
        (30, 0.3, kind) for kind in kinds
    ]
    for cells, spread, kind in settings:
        metric = "val_accuracy" if "accuracy" in kind else "val_loss"
        row = {"cells": cells, "spread of cells": spread, "noise": kind}
        for seeds in (2, 4, 8, 16):
            # A data set is a simulation of its own: cells are ranked within each.
            level = spread * rng.standard_normal((count, cells))
            draw = partial(draw_cells, rng, level, seeds, kind, metric)
            before = rank_cells(draw(), metric)
            before = before[before["rank"] == 1]
            fresh = draw()
            best = shrinkage(before, fresh[fresh["cell"].isin(before["cell"])], ["data", LR], metric)
            truth = level.ravel()[best["cell"]] + (1.0 if "bad" in kind else 0.0)
            if "accuracy" in kind:
                truth = expit(3.0 + 0.1 * (truth[:, None] + rng.standard_normal(4000))).mean(axis=1)
            hit = (best["confirmed_low"] <= truth) & (truth <= best["confirmed_high"])
            hit = hit[best["confirmed_low"].notna()]
            swept, again = ((best[name] - truth).mean() for name in ("mean", "confirmed"))
            row[f"{seeds} seeds: bias before, bias and coverage after"] = (
                f"{swept:+.3f}, {again:+.3f}, {hit.mean():.3f}"
            )
        yield row


def size_text(sizes: Shape) -> str:
    return " × ".join(map(str, sizes))


PARTS = {
    "additive": additive_rows,
    "crossover": crossover_rows,
    "first": first_rows,
    "shares": shares_rows,
    "sensitivity": sensitivity_rows,
    "rates": rates_rows,
    "confirm": confirm_rows,
}


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 400
    for name in sys.argv[2:] or PARTS:
        print(f"\n## {name}: {PARTS[name].__doc__[0].lower()}{PARTS[name].__doc__[1:]}\n")
        for number, row in enumerate(PARTS[name](np.random.default_rng(0), count)):
            if number == 0:
                print(f"| {' | '.join(row)} |\n|{'---|' * len(row)}")
            texts = [f"{value:.3f}" if isinstance(value, float) else str(value) for value in row.values()]
            print(f"| {' | '.join(texts)} |", flush=True)


if __name__ == "__main__":
    main()
