"""Plans learn from earlier sweeps, and nothing odd among these spoils a later one."""

import jax.numpy as jnp
import pytest

from vsweep.config.spec import make_spec
from vsweep.engine import autotune
from vsweep.engine.executor import TrainingStats
from vsweep.engine.plan import make_plan
from vsweep.engine.tuning.cost_model import Costs
from vsweep.engine.tuning.shape import Hardware
from vsweep.engine.tuning.timings import TimingCache
from vsweep.tasks.models import Model

IRIS = ["data=iris", "model=logistic", "steps=50"]


def plan(*words, own=None, known=None):
    return make_plan(make_spec(["tracker=none", *words], own), Hardware("cpu", 2), known=known)


def measure(known, times, *words, own=None):
    """Note a sweep whose steps take this many times as long as guessed."""
    planned = plan(*words, own=own, known=known)
    costs = Costs(planned.hardware, TimingCache())
    spent = {
        each.name: (times * costs.guess_step_s(each.shape, len(each.rows)) * 1e9, 10**9)
        for each in planned.programs
    }
    autotune.save_timings(planned, TrainingStats(by_program=spent), known)


def times(known, *words, own=None):
    """By how much a plan's steps are predicted to take longer than guessed."""
    return plan(*words, own=own, known=known).programs[0].step_s / plan(*words, own=own).programs[0].step_s


def slow(offset=1.0):
    """A model of one's own."""

    def init(key, n_features, n_outputs):
        return {"w": jnp.zeros((n_outputs, n_features))}

    return Model(init, lambda params, x: params["w"] @ x + offset)


def other(offset=1.0):
    return slow(offset)


def slow_loss(outputs, y):
    return outputs[0] ** 2


def other_loss(outputs, y):
    return outputs[0] ** 2


def test_predictions_come_from_what_was_measured(tmp_path):
    known = TimingCache(tmp_path / "measured.json")
    planned = plan(*IRIS, known=known)
    (program,) = planned.programs
    assert not program.measured
    spent = TrainingStats(by_program={program.name: (9.6, 96)}, cold_compiles=[(program, 7.0)])
    autotune.save_timings(planned, spent, known)
    later = plan(*IRIS, known=TimingCache(tmp_path / "measured.json")).programs[0]
    assert later.step_s == pytest.approx(0.1)
    # In the same block it is in the cache, however short its training was.
    assert later.measured
    assert later.compile_s < 2.0
    # A program that was not seen is scaled by how wrong the guess was, within bounds.
    known = TimingCache(tmp_path / "measured.json")
    unseen, guess = (plan("data=wine", "model=logistic", known=table).programs[0] for table in (known, None))
    assert unseen.step_s == pytest.approx(30 * guess.step_s)
    assert unseen.compile_s == pytest.approx(guess.compile_s * 7.0 / program.compile_s)


def test_an_odd_model_of_ones_own_spoils_no_later_plan():
    """It is measured apart: only its own plans know how slow it is."""
    known = TimingCache()
    measure(known, 5000.0, "data=wine", own={"model": slow})
    assert times(known, *IRIS) == 1.0
    assert times(known, "data=iris", own={"model": other}) == 1.0
    assert times(known, "data=iris", own={"model": slow}) == pytest.approx(5000.0)
    measure(known, 2.0, "data=digits", "model=logistic")
    assert times(known, *IRIS) == pytest.approx(2.0)
    assert times(known, "data=iris", own={"model": slow}) == pytest.approx(5000.0)
    # A training of some seconds is not saved every few steps.
    assert plan("data=iris", "steps=20000", "record_every=10", known=known).programs[0].segment == 0


def test_losses_of_ones_own_are_measured_apart():
    """The config calls each of them `own`, and the same training would have the same name."""
    words, known = ["data=diabetes", "model=linear", "steps=50"], TimingCache()
    measure(known, 5000.0, *words, own={"loss": slow_loss})
    assert times(known, *words) == 1.0
    assert times(known, *words, own={"loss": other_loss}) == 1.0
    assert times(known, *words, own={"loss": slow_loss}) == pytest.approx(5000.0)


def test_fresh_examples_are_measured_apart():
    """Drawing them takes longer than a step on stored examples of the same shape."""
    x = jnp.linspace(0.0, 1.0, 100)[:, None]
    words = ["model=linear", "data.batch_size=10", "steps=50"]
    stored, drawn = plan(*words, own={"data": (x, x[:, 0])}), plan(*words, "data=curve", "data.rows=100")
    assert len({each.programs[0].name for each in (stored, drawn)}) == 2


def test_one_kind_of_program_does_not_speak_for_another():
    known = TimingCache()
    measure(known, 1.5, "data=iris", "model=mlp", "steps=50")
    measure(known, 20.0, *IRIS)
    assert times(known, "data=iris", "model=mlp", "steps=60") == pytest.approx(1.5)
    assert times(known, "data=wine", "model=logistic") == pytest.approx(20.0)


def test_one_sweep_on_a_busy_machine_is_forgotten():
    known = TimingCache()
    for measured, median in ((1.5, 1.5), (25.0, 1.5), (1.4, 1.5), (25.0, 1.5), (1.6, 1.6), (1.6, 1.6)):
        measure(known, measured, *IRIS)
        # The same program, and another of its kind.
        assert times(known, *IRIS) == pytest.approx(median)
        assert times(known, "data=iris", "model=logistic", "steps=51") == pytest.approx(median)


def test_an_entry_of_an_earlier_table_counts_as_one_measurement():
    known = TimingCache()
    known.note("a", step_s=5.0)
    for value, median in ((1.0, 1.0), (2.0, 2.0), (1.5, 1.5)):
        known.sample("a", step_s=value)
        assert known.get("a")["step_s"] == median


@pytest.mark.parametrize(
    ("few", "more"),
    [
        (["data=none", "model=point", "loss=parabola", "model.x=1.0"], ["data=iris", "model=mlp"]),
        (["data=iris", "model=mlp"], ["data=iris", "model=mlp", "model.depth=2"]),
        (["data=iris", "model=mlp"], ["data=iris", "model=mlp", "grid.model.init=[he_normal,normal]"]),
        (["data=line", "model=linear", "model.start=[1.0,1.0]"], ["data=line", "model=linear"]),
        (["data=iris"], ["data=iris", "data.batch_size=10"]),
        (["data=digits", "model=logistic", "seeds=1"], ["data=digits", "model=logistic", "seeds=50"]),
    ],
)
def test_what_is_compiled_decides_how_long_it_takes(few, more):
    guesses = [plan(*words).programs[0].compile_s for words in (few, more)]
    assert guesses[0] + 0.5 < guesses[1]
