"""Targets are classes or numbers: what `data.targets` makes of them, for tables and arrays alike."""

from datetime import date
from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

import vsweep
from vsweep.errors import ConfigError
from vsweep.tasks.data.builtin import DATASETS, points
from vsweep.tasks.data.dataset import Dataset, own_dataset
from vsweep.tasks.data.tabular import csv, parquet

RNG = np.random.default_rng(0)
ROWS = 60
X = RNG.normal(size=(ROWS, 2))


def from_csv(y, targets):
    pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "y": y}).to_csv("t.csv", index=False)
    return csv(path="t.csv", target="y", features=None).as_targets(targets)


def from_parquet(y, targets):
    pd.DataFrame({"a": X[:, 0], "b": X[:, 1], "y": y}).to_parquet("t.parquet")
    return parquet(path="t.parquet", target="y", features=None).as_targets(targets)


def from_arrays(y, targets):
    return own_dataset((X, y), "data").as_targets(targets)


@pytest.fixture(params=[from_csv, from_parquet, from_arrays])
def read(request, here):
    """Reads targets from a source: `read(y, targets="auto")`."""

    def call(y, targets="auto"):
        return request.param(y, targets)

    return call


NUMBERS = {
    "floats": RNG.normal(size=ROWS),
    "whole numbers of many values": RNG.permutation(ROWS) + 1613,
    "whole numbers, more than 20 of them": np.arange(ROWS) % 21,
    "whole numbers that hardly repeat": np.arange(ROWS) // 2,
    "whole floats of many values": (RNG.permutation(ROWS) + 1613).astype(float),
    "few floats with fractions": np.arange(ROWS) % 2 + 0.5,
    "negative whole numbers": -RNG.permutation(ROWS),
}
CLASSES = {
    "integers": (np.arange(ROWS) % 3, ("0", "1", "2")),
    "integers of twenty values": (np.arange(ROWS) % 20, tuple(map(str, range(20)))),
    "signs": (np.where(X[:, 0] > 0, 1, -1), ("-1", "1")),
    "floats of zero and one": ((X[:, 0] > 0).astype(float), ("0.0", "1.0")),
    "booleans": (X[:, 0] > 0, ("False", "True")),
    "text": (np.where(X[:, 0] > 0, "b", "a"), ("a", "b")),
    "text of many values": (np.char.add("n", (np.arange(ROWS) % 30).astype(str)), None),
    "ranges": (np.where(X[:, 0] > 0, "<=50K", ">50K"), ("<=50K", ">50K")),
    "few values with a unit": (np.where(X[:, 0] > 0, "1 star", "5 stars"), ("1 star", "5 stars")),
    "few dates": (np.where(X[:, 0] > 0, "2026-01", "2026-02"), ("2026-01", "2026-02")),
    "codes": (np.asarray([f"A{i % 30}" for i in range(ROWS)]), None),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_numbers_are_numbers(read, case):
    made = read(NUMBERS[case])
    assert (made.classes, made.labels, made.y.dtype) == ((), None, np.float64)
    np.testing.assert_array_equal(made.y, NUMBERS[case])


@pytest.mark.parametrize("case", CLASSES)
def test_few_values_that_repeat_are_classes(read, case):
    y, classes = CLASSES[case]
    made = read(y)
    assert classes is None or made.classes == classes
    assert made.y.dtype == np.int64
    # The labels have the targets' own type, so that they can be compared with them.
    np.testing.assert_array_equal(made.labels[made.y], y)
    assert made.labels.dtype.kind == np.asarray(y).dtype.kind


def texts(odd, of=lambda i: f"{i + 0.5}", row=7):
    values = [of(i) for i in range(ROWS)]
    values[row] = odd
    return np.asarray(values)


REFUSED = {
    "thousands": (texts("1,234"), "holds numbers, but also '1,234' in row 7"),
    "all with thousands": (
        texts("1,234", lambda i: f"{i + 1},{i + 100}"),
        "numbers or dates as text, such as",
    ),
    "many with thousands": (np.asarray([f"1,{i % 30 + 100}" for i in range(ROWS)]), "holds numbers or dates"),
    "dollars": (texts("$12.00", lambda i: f"${i}.50"), "numbers or dates as text, such as '$0.50' in row 0"),
    "percent": (texts("1%", lambda i: f"{i + 1}.5 %"), "numbers or dates as text"),
    "a question mark": (texts("?"), "holds numbers, but also '?' in row 7; drop or fill such rows"),
    "a question mark among few": (texts("?", lambda i: str(i % 2)), "holds numbers, but also '?' in row 7"),
    "dates": (texts("2026-01-01", lambda i: f"2026-01-{i:02}"), "holds numbers or dates as text, such as"),
    "numbers of which most are missing": (
        np.asarray(["?" if i % 3 else f"{i}.5" for i in range(ROWS)]),
        "holds numbers, but also '?' in row 1",
    ),
    "a thousand among missing ones": (
        np.asarray(["-" if i % 3 else f"{i},500" for i in range(ROWS)]),
        "holds numbers or dates as text, such as '0,500' in row 0",
    ),
    "units": (np.asarray([f"{i % 30} kg" for i in range(ROWS)]), "as text, such as '0 kg' in row 0"),
    "units without a space": (np.asarray([f"{i % 30}.5km/h" for i in range(ROWS)]), "such as '0.5km/h'"),
    "currency codes": (np.asarray([f"USD {i % 30}.5" for i in range(ROWS)]), "such as 'USD 0.5' in row 0"),
    "reals": (np.asarray([f"R$ {i % 30}.5" for i in range(ROWS)]), "such as 'R$ 0.5' in row 0"),
    "another minus": (np.asarray([f"−{i % 30}.5" for i in range(ROWS)]), "such as '−0.5' in row 0"),
    "names of months": (
        np.asarray([f"Jan {i % 30 + 1}, 2026" for i in range(ROWS)]),
        "such as 'Jan 1, 2026'",
    ),
    "months behind days": (np.asarray([f"{i % 30 + 1}-Feb-26" for i in range(ROWS)]), "such as '1-Feb-26'"),
    "times": (np.asarray([f"10:{i % 30:02}" for i in range(ROWS)]), "such as '10:00' in row 0"),
    "many ranges": (np.asarray([f"{i % 30}-{i % 30 + 9}" for i in range(ROWS)]), "such as '0-9' in row 0"),
    "names": (texts("zoe", lambda i: f"name{i}"), "has 60 different texts in 60 rows; it takes classes that"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_auto_cannot_decide_is_refused_with_the_cure(read, case):
    y, message = REFUSED[case]
    with pytest.raises(ConfigError) as error:
        read(y)
    assert message in str(error.value)
    assert "data.targets=classes" in str(error.value)
    assert error.value.field in ("data", "data.target")
    assert len(read(y, "classes").classes) == len(set(y.tolist()))


@pytest.mark.parametrize("case", ["thousands", "dollars", "a question mark"])
def test_text_is_not_taken_for_numbers(read, case):
    with pytest.raises(ConfigError, match=r"holds text, such as '.*' in row \d; give data\.targets=classes"):
        read(REFUSED[case][0], "numbers")


@pytest.mark.parametrize("source", [from_parquet, from_arrays])
def test_numbers_that_are_text_or_decimals_are_numbers(here, source):
    wanted = np.arange(ROWS) * 1.25
    for values in (wanted.astype(str), np.asarray([Decimal(repr(v)) for v in wanted.tolist()], object)):
        np.testing.assert_array_equal(source(values, "auto").y, wanted)
    few = source((np.arange(ROWS) % 3).astype(str), "auto")
    assert few.labels.tolist() == ["0", "1", "2"]


@pytest.mark.parametrize("source", [from_parquet, from_arrays])
def test_dates_and_other_objects_are_refused(here, source):
    days = [date(2026, 1, 1 + i % 3) for i in range(ROWS)]
    moments = pd.date_range("2026-01-01", periods=ROWS)
    for values in (np.asarray(days, object), moments, moments - moments[0]):
        with pytest.raises(ConfigError, match=r"holds dates; it takes numbers or text"):
            source(values, "auto")
    with pytest.raises(ConfigError, match=r"holds values of the type bytes"):
        source(np.asarray([b"\xff"] * ROWS, object), "auto")
    with pytest.raises(ConfigError, match=r"holds .*complex"):
        from_arrays(np.ones(ROWS) * 1j, "auto")


@pytest.mark.parametrize("targets", ["auto", "classes"])
@pytest.mark.parametrize(
    "values",
    [
        pd.cut(pd.Series(X[:, 0]), 3),
        pd.Series(pd.period_range("2026-01", periods=3, freq="M").repeat(ROWS // 3)),
        np.asarray([1, "a"] * (ROWS // 2), object),
        [1, "a"] * (ROWS // 2),
    ],
    ids=["intervals", "periods", "numbers and text", "a list of numbers and text"],
)
def test_objects_that_labels_cannot_be_compared_with_are_refused(values, targets):
    """Their predictions would be text, which is equal to none of them."""
    with pytest.raises(ConfigError, match=r"^data: y holds values of the types? \w+.*; it takes numbers"):
        from_arrays(values, targets)


MISSING = {
    "None among text": np.asarray([None, "a", "b"] * 20, object),
    "NaN among text": np.asarray(["a", np.nan, "b"] * 20, object),
    "None in a list": [None, "a", "b"] * 20,
    "NaN in a list of text": [float("nan"), "a", "b"] * 20,
    "NA among booleans": pd.array([None, True, False] * 20, "boolean"),
    "NA among text": pd.Series([None, "a", "b"] * 20, dtype="string"),
    "a category": pd.Series([None, "a", "b"] * 20, dtype="category"),
    "a decimal": np.asarray([Decimal("NaN"), Decimal(1)] * 30, object),
}


@pytest.mark.parametrize("targets", ["auto", "classes"])
@pytest.mark.parametrize("case", MISSING)
def test_missing_values_are_no_class(case, targets):
    with pytest.raises(ConfigError, match=r"^data: y has \d+ missing values \(first in row [01]\); fill"):
        from_arrays(MISSING[case], targets)


def test_masked_values_are_not_taken():
    masked = np.ma.masked_array(np.arange(ROWS) % 3, mask=np.arange(ROWS) % 3 == 1)
    with pytest.raises(ConfigError, match=r"y has masked values"):
        from_arrays(masked, "auto")
    with pytest.raises(ConfigError, match=r"y has masked values"):
        from_arrays(masked[:, None], "auto")
    with pytest.raises(ConfigError, match=r"it has masked values"):
        own_dataset((masked, X[:, 0]), "data")
    whole = np.ma.masked_array(np.arange(ROWS) % 3, mask=False)
    assert from_arrays(whole, "auto").classes == ("0", "1", "2")


def test_other_dtypes_of_arrays_are_read():
    text = from_arrays(np.asarray(["b", "a"] * 30, np.dtypes.StringDType()), "auto")
    assert text.labels.tolist() == ["a", "b"]
    # A file cannot hold these labels as they are; as floats of 64 bits they are equal to them.
    long = from_arrays((np.arange(ROWS) % 2).astype(np.longdouble), "auto")
    assert (long.labels.dtype, long.classes) == (np.float64, ("0.0", "1.0"))


def test_categories_are_classes_however_many(here):
    values = pd.Series(np.arange(ROWS)).astype("category")
    assert len(from_arrays(values, "auto").classes) == ROWS


def test_words_decide(read):
    whole = np.arange(ROWS) % 3
    np.testing.assert_array_equal(read(whole, "numbers").y, whole.astype(float))
    many = read(np.arange(ROWS), "classes")
    assert len(many.classes) == ROWS
    flags = read(X[:, 0] > 0, "numbers")
    np.testing.assert_array_equal(flags.y, (X[:, 0] > 0).astype(float))


def test_by_type_is_the_rule_of_earlier_versions(read):
    assert len(read(np.arange(ROWS), "by_type").classes) == ROWS
    assert read((X[:, 0] > 0).astype(float), "by_type").classes == ()
    assert len(read(REFUSED["thousands"][0], "by_type").classes) == ROWS


def test_every_data_set_takes_the_words():
    digits = DATASETS["digits"]()
    numbers = digits.as_targets("numbers")
    assert (numbers.classes, numbers.labels) == ((), None)
    np.testing.assert_array_equal(numbers.y, digits.labels[digits.y])
    assert len(DATASETS["diabetes"]().as_targets("classes").classes) == 214
    flags = points(x=[(1.0,), (2.0,), (3.0,)], y=[1.0, 0.0, 1.0], classes=None)
    assert flags.as_targets("auto").classes == ()
    assert flags.as_targets("classes").labels.tolist() == [0.0, 1.0]
    with pytest.raises(ConfigError, match=r"^data\.targets: got classes, and steps draw other targets"):
        DATASETS["curve"](rows=4, noise=0.1, seed=0, fresh=True).as_targets("classes")
    assert DATASETS["none"]().as_targets("classes") is DATASETS["none"]()


@pytest.mark.parametrize("y", [X[:, :1], pd.DataFrame({"y": X[:, 0]})])
def test_a_column_of_targets_is_taken_as_targets(y):
    np.testing.assert_array_equal(from_arrays(y, "auto").y, X[:, 0])


def test_columns_of_a_frame_name_the_features():
    frame = pd.DataFrame(X, columns=["width", 7])
    assert own_dataset((frame, X[:, 0]), "data").features == ("width", "7")
    with pytest.raises(ConfigError, match=r"^data: two columns are called 'a'"):
        own_dataset((pd.DataFrame(X, columns=["a", "a"]), X[:, 0]), "data")


def test_labels_have_to_be_one_per_class():
    data = Dataset(X, np.arange(ROWS) % 2, ("a", "b"), ("u", "v"), labels=np.arange(3))
    with pytest.raises(ConfigError, match=r"^data: got 3 labels of 2 classes"):
        vsweep.sweep(["model=logistic", "steps=1", "tracker=none"], data=data, quiet=True)


def test_not_finite_targets_are_refused(read):
    with pytest.raises(ConfigError, match=r"^data\.target: not finite in row 3"):
        read(np.where(np.arange(ROWS) == 3, np.inf, 1.0), "classes")


@pytest.mark.parametrize(
    ("words", "own", "message"),
    [
        (
            ["model=linear"],
            {},
            "model: got linear, and data=own has 2 classes; it takes logistic or mlp; or give",
        ),
        (["loss=huber"], {}, "loss: got huber, and data=own has 2 classes"),
        (
            [],
            {"loss": lambda outputs, targets: outputs[0] * targets},
            "data.targets: got auto, and your own loss",
        ),
    ],
)
def test_a_guess_that_does_not_fit_names_the_word(words, own, message):
    y = (X[:, 0] > 0).astype(float)
    words = [*words, "steps=1", "tracker=none", "verify=false"]
    with pytest.raises(ConfigError) as error:
        vsweep.sweep(words, data=(X, y), quiet=True, **own)
    assert str(error.value).startswith(message)
    assert "data.targets" in str(error.value)


def test_a_function_whose_parameter_is_a_field_of_every_data_set_is_refused():
    def own(standardize=True):
        return X, X[:, 0] if standardize else X[:, 1]

    with pytest.raises(ConfigError, match=r"^data: your function has the parameter standardize"):
        vsweep.sweep(["steps=1", "tracker=none"], data=own, quiet=True)


@pytest.mark.parametrize(
    "x", [X * 1j, X.astype(str), X.astype(str).astype(object), (X * 100).astype("datetime64[s]")]
)
def test_features_that_are_not_numbers_are_refused(x):
    with pytest.raises(ConfigError, match=r"^data: got tuple \(it holds .*\); expected \(x, y\) of numbers"):
        own_dataset((x, X[:, 0]), "data")


@pytest.mark.parametrize(
    ("column", "why"),
    [
        (["x", "y"] * (ROWS // 2), "it holds text"),
        (pd.Categorical(["x", "y"] * (ROWS // 2)), "it holds text"),
        (pd.date_range("2026-01-01", periods=ROWS), "it holds datetime64"),
        (pd.to_timedelta(np.arange(ROWS), "s"), "it holds timedelta64"),
    ],
    ids=["text", "categories", "dates", "durations"],
)
def test_columns_that_are_not_numbers_are_refused_by_name(column, why):
    frame = pd.DataFrame(X, columns=["a", "b"]).assign(b=column)
    with pytest.raises(ConfigError, match=rf"^data: got tuple \(column 'b': {why}.*\); expected \(x, y\)"):
        own_dataset((frame, X[:, 0]), "data")


def test_columns_of_many_dtypes_are_numbers():
    frame = pd.DataFrame({"a": np.arange(ROWS, dtype="int8"), "b": X[:, 0] > 0, "c": X[:, 1].astype("f4")})
    frame["d"] = pd.array(range(ROWS), "Int64")
    frame["e"] = [Decimal(i) / 4 for i in range(ROWS)]
    made = own_dataset((frame, X[:, 0]), "data")
    np.testing.assert_array_equal(made.x, frame.astype(float).to_numpy())


@pytest.mark.parametrize("y", [[], X[:0, 0], np.asarray([], "U1"), pd.DataFrame({"y": []})])
def test_no_examples_are_refused(y):
    with pytest.raises(ConfigError, match=r"^data: got no examples; expected at least two"):
        own_dataset((X[:0], y), "data")
