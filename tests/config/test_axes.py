"""Axes as they are written: all combinations under `grid`, side by side under `draws`."""

from itertools import product

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

import vsweep
from vsweep.config.axes import read_axes
from vsweep.config.grid import Axis, expand
from vsweep.config.spec import make_spec as study
from vsweep.engine.plan_record import as_text
from vsweep.errors import ConfigError

RATES, WIDTHS = [0.1, 0.3, 0.1, 0.03], [4, 2, 4, 2]
DRAWS = [f"draws.optimizer.lr={RATES}", f"draws.model.width={WIDTHS}"]
WORDS = ["data=iris", *DRAWS, "steps=4", "record_every=2", "tracker=none", "verify=false"]


def cells_of(made):
    """The values of each cell on the axes, as plain values."""
    columns = [made.grid.column(i) for i in range(len(made.grid.axes))]
    return list(zip(*(column.tolist() for column in columns), strict=True))


draws_lists = st.integers(1, 3).flatmap(
    lambda k: st.lists(st.lists(st.integers(0, 3), min_size=k, max_size=k), min_size=1, max_size=9)
)


@given(draws_lists, st.integers(1, 3), st.lists(st.integers(0, 99), min_size=1, max_size=3, unique=True))
def test_cells_are_the_draws_by_all_that_is_no_draw(draws, n, seeds):
    columns = list(zip(*draws, strict=True))
    raw = {
        "draws": {f"c{i}": list(column) for i, column in enumerate(columns)},
        "grid": {"steps": list(range(n))},
    }
    written = read_axes(raw)
    axes = [Axis(path, values) for path, values in written.axes]
    grid = expand(axes, seeds, draws=written.draws)

    expected = {}
    for cell, (draw, steps) in enumerate(product(draws, range(n))):
        expected.setdefault((*draw, steps), cell)
    found = zip(*(grid.column(i).tolist() for i in range(len(axes))), strict=True)
    assert dict(zip(found, grid.cells.tolist(), strict=True)) == expected
    assert grid.collapsed == len(draws) * n - len(expected)
    assert grid.drawn == len(columns)
    assert grid.trials()[0].tolist() == [
        c * len(seeds) + i for c in expected.values() for i in range(len(seeds))
    ]


def test_numbers_stay_small_however_many_values_there_are():
    draws = np.random.default_rng(0).random((1000, 8))
    raw = {"draws": {f"c{i}": column.tolist() for i, column in enumerate(draws.T)}}
    written = read_axes(raw)
    grid = expand([Axis(*axis) for axis in written.axes], range(4), draws=written.draws)
    assert grid.trials()[0].tolist() == list(range(4000))
    assert np.array_equal(np.stack([grid.column(i) for i in range(8)], axis=1).astype(float), draws)


def test_a_value_that_comes_again_is_the_same_however_it_is_written():
    made = study(["data=iris", "draws.model.width=[8,8.0,4]", "draws.optimizer.lr=[1,1.0,1]"])
    assert cells_of(made) == [(8, 1.0), (4, 1.0)]
    assert made.grid.cells.tolist() == [0, 2]


def test_a_group_can_be_drawn_and_only_what_is_drawn_is_composed():
    words = ["data=iris", "draws.model=[mlp,logistic,logistic]", "draws.optimizer=[sgd,adam,adam]"]
    made = study([*words, "draws.model.width=[4,8,2]", "draws.optimizer.lr=[0.1,0.2,0.3]"])
    assert set(made.variants) == {("mlp", "sgd"), ("logistic", "adam")}
    assert cells_of(made) == [
        ("mlp", 4, "sgd", 0.1),
        ("logistic", None, "adam", 0.2),
        ("logistic", None, "adam", 0.3),
    ]
    assert made.cell(1).optimizer.fields["lr"] == 0.2


def test_a_sweep_file_can_list_draws(here):
    (here / "sweeps").mkdir()
    text = "data: iris\ndraws: {optimizer: {lr: [0.1, 0.2]}, model: [mlp, logistic]}\n"
    (here / "sweeps" / "drawn.yaml").write_text(text)
    assert cells_of(study(["sweep=drawn"])) == [(0.1, "mlp"), (0.2, "logistic")]


def test_a_plan_says_what_is_drawn():
    _, planned = vsweep.plan(WORDS)
    text = as_text("x", planned)
    assert "3 trials = 3 cells (4 combinations, 1 of them repetitions)" in text
    assert "optimizer.lr: 0.1, 0.3, 0.03 (3), drawn" in text


def test_draws_are_trained_kept_and_grown(here):
    sweep = vsweep.sweep([*WORDS, "dir=kept", "seeds=2"], quiet=True)
    table = sweep.trials
    columns = ["trial", "cell", "seed", "optimizer.lr", "model.width"]
    assert table[columns].to_numpy().tolist() == [
        [2 * cell + seed, cell, seed, RATES[cell], WIDTHS[cell]] for cell in (0, 1, 3) for seed in (0, 1)
    ]
    raw = yaml.safe_load((here / "kept" / "config.yaml").read_text())
    assert raw["draws"] == {"optimizer": {"lr": RATES}, "model": {"width": WIDTHS}}
    alone = vsweep.sweep([*WORDS[:1], *WORDS[3:], "optimizer.lr=0.3", "model.width=2"], quiet=True)
    found = table.loc[table["trial"] == 2, "final_train_loss"].item()
    assert found == pytest.approx(alone.trials["final_train_loss"].item(), rel=1e-5)

    more = [f"draws.optimizer.lr={[*RATES, 0.2]}", f"draws.model.width={[*WIDTHS, 8]}", "seeds=3"]
    grown = vsweep.resume("kept", more, quiet=True).trials
    assert len(grown) == 12
    both = grown.merge(table, on=["cell", "seed"], suffixes=("", "_before"))
    assert both["identity"].tolist() == both["identity_before"].tolist() == table["identity"].tolist()
    assert both["final_train_loss"].tolist() == table["final_train_loss"].tolist()
    # The trials have other numbers now.
    with pytest.raises(vsweep.ConfigError, match=r"was extended since it was opened; load it again"):
        sweep.plot.curves("optimizer.lr")
    sweep = vsweep.load("kept")
    sweep.plot.heatmap("optimizer.lr", "model.width", path=here / "map.png")
    sweep.plot.curves("optimizer.lr", path=here / "curves.png")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["draws.steps=[1,2]", "draws.optimizer.lr=[1]"],
            r"draws.optimizer.lr: got 1 values; .* draws.steps has 2",
        ),
        (["draws.steps=[1,2]", "grid.steps=[1]"], r"grid.steps: given twice; .* ~draws.steps removes it"),
        (["draws.steps=[1,0]"], r"draws.steps: got 0; it takes an integer of at least 1"),
        (["draws.steps=3"], r"draws.steps: got 3; it takes a list: the value of every draw"),
        (["draws.steps=[]"], r"draws.steps: got \[\]"),
        (["draws.steps={range:[1,3]}"], r"draws.steps: got \[\{'range': \[1, 3\]\}\]; it takes a list"),
        (["draws=3"], r"draws: got 3"),
        (["draws.seeds=[1]"], r"draws.seeds: not an axis"),
        (["draws.model=[mpl]"], r"draws.model: no such choice 'mpl'; did you mean mlp\?"),
        (["draws.model.widht=[1]"], r"draws.model.widht: no such field; did you mean model.width\?"),
        (["draws.model.width=[a]", "grid.optimizer.name=[sgd,adam]"], r"draws.model.width: got 'a'"),
    ],
)
def test_draws_that_cannot_be(words, message):
    with pytest.raises(ConfigError, match=message):
        study(["data=iris", *words])
