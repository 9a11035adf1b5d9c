"""Identities stay what they were; a function's fingerprint is the same at every call, and its own."""

from hashlib import blake2b

import numpy as np
import pandas as pd
import pytest

from vsweep.config.spec import make_spec
from vsweep.engine.plan import make_plan
from vsweep.engine.trial_id import _data_digest, _sources, fingerprint, identities
from vsweep.engine.tuning.shape import Hardware
from vsweep.training.program import NUMERICS

SIZES = (1, 2, 3)
TABLE = {"a": [1, 2], "b": SIZES}


class State:
    def __init__(self, number):
        self.number = number


ONE, TWO = State(1), State(2)


def outer(x, sizes=SIZES):
    return middle(x) + sizes[0] + ONE.number


def middle(x, power=2, *, shift=5):
    return inner(x) + TABLE["a"][0] + TWO.number


def inner(x, pair=(4, 5)):
    return x + SIZES[1]


def loss(outputs, targets, power=1.0):
    return outer(outputs) + middle(outputs) + inner(targets)


def test_a_fingerprint_is_the_same_at_every_call():
    """Objects that are made on the way must not be taken for others that had their address."""
    first = fingerprint(loss)
    for _ in range(4):
        assert fingerprint(loss) == first
    # The state of both objects, and the defaults of every function, are there.
    assert first.count("'number'") == 2
    for default in ("1.0", "5", "4"):
        assert default in first.splitlines()


def closing_over(value):
    def own(outputs, targets):
        return outputs * value

    return own


@pytest.mark.parametrize(
    ("one", "other"),
    [(1.0, 2.0), ([1, [2]], [1, [3]]), ({"a": 1}, {"a": 2}), (np.zeros(3), np.ones(3)), (State(1), State(2))],
)
def test_a_fingerprint_has_the_values_that_a_function_closes_over(one, other):
    assert fingerprint(closing_over(one)) != fingerprint(closing_over(other))


def test_a_value_that_holds_itself_ends():
    cycle = [1]
    cycle.append(cycle)
    assert fingerprint(closing_over(cycle)) == fingerprint(closing_over(cycle))


# The fields of a trial as version 0.1 wrote them, in order.
FIELDS_OF_0_1 = """
data.batch_size=null
data.name="iris"
data.split_seed=0
data.standardize=true
data.test_fraction="auto"
data.val_fraction=0.2
diverge_above=1000.0
dtype="float32"
loss.name="auto"
model.bias_init="zeros"
model.init="lecun_normal"
model.name="logistic"
model.start=null
optimizer.lr=0.1
optimizer.name="sgd"
optimizer.weight_decay=0.0
precision="highest"
record_every=5
record_params=false
schedule.name="constant"
steps=2
model.init_scale=1.0
""".strip().splitlines()


def identity_of_0_1(fields, program):
    base = f"{NUMERICS} {_data_digest(program.inputs.split.dataset)} {_sources(program.inputs.config)}"
    cell = blake2b(base.encode() + "\n".join(fields).encode(), digest_size=16).digest()
    return blake2b(b"%b %d" % (cell, 0), digest_size=16).hexdigest()


def planned(*words, **own):
    spec = make_spec(
        ["model=logistic", "model.init=lecun_normal", "steps=2", "tracker=none", "record_every=5", *words],
        own,
    )
    return make_plan(spec, Hardware("cpu", 1))


def test_identities_are_those_that_trials_had_before_newer_fields():
    plan = planned("data=iris", "data.stratify=false", "data.targets=by_type")
    assert identities(plan).tolist() == [identity_of_0_1(FIELDS_OF_0_1, plan.programs[0])]
    new = identities(planned("data=iris"))
    assert new != identities(plan)


@pytest.mark.parametrize("targets", ["auto", "by_type"])
def test_trials_that_no_newer_field_changes_keep_their_identities(targets):
    for more in (["data=iris", "data.val_fraction=0.0"], ["data=diabetes", "model=linear"]):
        old, new = planned(*more, "data.stratify=false"), planned(*more, f"data.targets={targets}")
        assert identities(old) == identities(new)


def test_a_bound_on_what_is_read_is_no_part_of_a_trial(here):
    frame = pd.DataFrame({"a": np.arange(20.0), "y": ["p", "q"] * 10})
    frame.to_csv("t.csv", index=False)
    frame.to_parquet("t.parquet")
    for kind in ("csv", "parquet"):
        table = [f"data={kind}", f"data.path=t.{kind}", "data.target=y"]
        plans = [planned(*table, *more) for more in ([], ["data.max_bytes=100_000"], ["data.max_bytes=1e10"])]
        one, *others = [identities(plan).tolist() for plan in plans]
        assert others == [one, one]
        names = [list(plan.splits) for plan in plans]
        assert names == [names[0]] * 3
        assert "max_bytes" not in names[0][0]


def sized(max_bytes=3):
    x = np.arange(float(max_bytes * 10))
    return x, 2 * x


def test_a_function_of_ones_own_may_call_a_field_like_the_bound():
    plan = planned("model=linear", "model.init=zeros", "grid.data.max_bytes=[3,4]", data=sized)
    assert len(plan.splits) == 2
    assert len(set(identities(plan))) == 2


def test_a_table_is_known_by_the_field_that_it_always_had(here):
    pd.DataFrame({"a": np.arange(20.0), "y": ["p", "q"] * 10}).to_csv("t.csv", index=False)
    table = ["data=csv", "data.path=t.csv", "data.target=y", "data.features=[a]", "data.stratify=false"]
    fields = [field for field in FIELDS_OF_0_1 if not field.startswith(("data.name", "model.init_scale"))]
    fields += ['data.features=["a"]', 'data.name="csv"', 'data.target="y"', 'data.targets="auto"']
    fields = [*sorted(fields, key=lambda field: field.partition("=")[0]), FIELDS_OF_0_1[-1]]
    plan = planned(*table, "data.targets=by_type")
    assert identities(plan).tolist() == [identity_of_0_1(fields, plan.programs[0])]
