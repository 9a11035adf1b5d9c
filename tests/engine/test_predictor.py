"""A predictor answers in the targets' own type, and finds the columns of a frame by their names."""

import jax.numpy as jnp
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import vsweep

RNG = np.random.default_rng(3)
ROWS = 90
FRAME = pd.DataFrame(RNG.normal(2.0, 3.0, (ROWS, 3)), columns=["width", "height", "age"])
SCORE = FRAME["width"] - FRAME["height"] + 0.5 * FRAME["age"]
THREE = np.digitize(SCORE, np.quantile(SCORE, [0.33, 0.66]))
WORDS = ["steps=30", "optimizer.lr=0.5", "tracker=none", "verify=false", "data.test_fraction=0"]


def trained(y, *words, x=FRAME, **own):
    return vsweep.sweep([*WORDS, *words], data=(x, y), quiet=True, **own)


TARGETS = {
    "integers": THREE,
    "small integers": THREE.astype(np.int8) * 10 - 5,
    "booleans": (SCORE > 0).to_numpy(),
    "text": np.asarray(["low", "middle", "high"])[THREE],
    "floats": (SCORE > 0).to_numpy(float),
    "a column": pd.Series(THREE).map({0: "a", 1: "b", 2: "c"}),
}


@pytest.mark.parametrize("case", TARGETS)
def test_predictions_are_of_the_targets_own_type(here, case):
    y = TARGETS[case]
    made = trained(y, "data.val_fraction=0", "dir=kept")
    for sweep in (made, vsweep.load("kept", data=(FRAME, y))):
        predict = sweep.predictor(0)
        labels = predict(FRAME)
        assert (labels == y).mean() == pytest.approx(made.trials["final_train_accuracy"][0], rel=1e-6)
        assert labels.dtype.kind == np.asarray(list(y)).dtype.kind
        assert sorted(set(y)) == predict.classes.tolist()
    if np.asarray(y).dtype.kind in "biuf":
        assert labels.dtype == np.asarray(y).dtype


def test_labels_of_a_table_are_its_own(here):
    FRAME.assign(grade=THREE + 7).to_csv("t.csv", index=False)
    words = ["data=csv", "data.path=t.csv", "data.target=grade", "data.val_fraction=0"]
    sweep = vsweep.sweep([*WORDS, *words], quiet=True)
    table = pd.read_csv("t.csv")
    right = (sweep.predictor(0)(table) == table["grade"]).mean()
    assert right == pytest.approx(sweep.trials["final_train_accuracy"][0], rel=1e-6)
    assert right > 0.5


def test_digits_are_integers(here):
    from sklearn.datasets import load_digits

    x, y = load_digits(return_X_y=True)
    sweep = vsweep.sweep([*WORDS, "data=digits", "model=logistic", "data.val_fraction=0"], quiet=True)
    right = (sweep.predictor(0)(x) == y).mean()
    assert right == pytest.approx(sweep.trials["final_train_accuracy"][0], rel=1e-6)
    assert right > 0.9


@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("integers", []),
        ("booleans", []),
        ("booleans", ["loss=softmax_cross_entropy"]),
        ("booleans", ["loss=clipped_cross_entropy", "loss.eps=1e-7"]),
    ],
)
def test_probabilities_are_those_of_the_logits(here, case, words):
    y = TARGETS[case]
    predict = trained(y, "model=logistic", *words).predictor(0)
    z = predict.outputs(FRAME).astype(np.float64)
    if z.shape[1] == 1:
        wanted = np.stack([1 / (1 + np.exp(z[:, 0])), 1 / (1 + np.exp(-z[:, 0]))], axis=1)
    else:
        wanted = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
    found = predict.predict_proba(FRAME)
    assert (found.dtype, found.shape) == (np.float64, (ROWS, len(set(y))))
    np.testing.assert_allclose(found, wanted, rtol=1e-12)
    np.testing.assert_allclose(found.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_array_equal(predict.classes[found.argmax(axis=1)], predict(FRAME))


def test_a_model_without_probabilities_says_so(here):
    def own(outputs, targets):
        return jnp.where(targets == 1, -outputs[0], outputs[1])

    with pytest.raises(ValueError, match=r"^predict_proba: .* your own loss does not say .*outputs\(x\)"):
        trained(THREE > 0, "model=logistic", loss=own).predictor(0).predict_proba(FRAME)
    with pytest.raises(ValueError, match=r"^predict_proba: .* it has numbers"):
        trained(SCORE, "model=linear", "optimizer.lr=0.01").predictor(0).predict_proba(FRAME)


@pytest.mark.parametrize("y", [THREE, SCORE.to_numpy()], ids=["classes", "numbers"])
def test_the_order_of_a_frames_columns_does_not_matter(here, y):
    predict = trained(y, "optimizer.lr=0.01").predictor(0)
    expected = predict.outputs(FRAME.to_numpy())
    for columns in (["width", "height", "age"], ["age", "width", "height"], ["height", "age", "width"]):
        np.testing.assert_array_equal(predict.outputs(FRAME[columns]), expected)
    np.testing.assert_array_equal(predict.outputs(FRAME.assign(name="x", y=y)), expected)


def altered(**columns):
    return FRAME.assign(**columns)


WRONG = {
    "renamed": (
        FRAME.rename(columns={"age": "years"}),
        "x lacks the features age; its other columns are years;",
    ),
    "missing": (FRAME[["age"]], "x lacks the features width, height; name its columns as in the data"),
    "twice": (pd.concat([FRAME, FRAME[["age"]]], axis=1), "x has two columns called 'age'"),
    "NaN": (
        altered(age=np.where(np.arange(ROWS) == 4, np.nan, 1.0)),
        "x: feature 'age' is nan in row 4, 1 such",
    ),
    "inf": (altered(height=np.inf).to_numpy(), "x: feature 'height' is inf in row 0, 90 such values in all"),
    "text": (altered(width="wide"), "x: feature 'width' is not of numbers"),
    "numbers as text": (altered(age=FRAME["age"].astype(str)), "x: feature 'age' is not of numbers"),
    "dates": (altered(age=pd.date_range("2026", periods=ROWS)), "x: feature 'age' is not of numbers"),
    "masked": (
        np.ma.masked_array(FRAME.to_numpy(), mask=FRAME.to_numpy() > 5),
        "x: feature 'width' is not of numbers (it has masked values)",
    ),
    "beyond a float32": (altered(height=1e300), "x: feature 'height' is too large for float32 in row 0"),
    "a row": (FRAME.iloc[0], "x lacks the features width, height, age; its other columns are 0"),
    "a column": (FRAME["age"], "x lacks the features width, height; name its columns as in the data"),
    "complex": (FRAME.to_numpy() * 1j, "x: feature 'width' is not of numbers (it holds complex128)"),
    "fewer": (
        FRAME.to_numpy()[:, :2],
        r"x has the shape (90, 2); expected (examples, 3): width, height, age",
    ),
}


@pytest.fixture(scope="module")
def predict(tmp_path_factory):
    return trained(THREE, f"dir={tmp_path_factory.mktemp('predict') / 'kept'}").predictor(0)


@pytest.mark.parametrize("case", WRONG)
def test_examples_that_do_not_fit_are_refused_by_name(predict, case):
    x, message = WRONG[case]
    for call in (predict, predict.outputs, predict.predict_proba):
        with pytest.raises(ValueError) as error:
            call(x)
        assert str(error.value).startswith(message)


def test_a_frame_for_features_without_names_is_refused(here):
    sweep = trained(THREE, x=FRAME.to_numpy())
    with pytest.raises(ValueError, match=r"^x lacks the features x0, x1, x2; .* or give an array"):
        sweep.predictor(0)(FRAME)


@pytest.mark.parametrize("y", [THREE, THREE > 0])
def test_a_model_that_diverged_predicts_no_class(here, y):
    """The largest of several NaN is the first: every example would be of the first class."""
    predict = trained(y).predictor(0)
    _set(predict, [leaf * np.nan for leaf in _leaves(predict)])
    with pytest.raises(
        ValueError,
        match=r"^no class: the model's outputs are NaN in row 0, as after a training",
    ):
        predict(FRAME)
    assert np.isnan(predict.outputs(FRAME)).all()
    assert np.isnan(predict.predict_proba(FRAME)).all()


def test_numbers_of_a_model_that_diverged_are_nan(here):
    predict = trained(SCORE, "model=mlp", "optimizer.lr=1e38", "keep.params=all").predictor(0)
    assert np.isnan(predict(FRAME)).all()


def test_a_column_is_known_by_its_name(here):
    sweep = trained(SCORE.to_numpy(), "model=linear", "optimizer.lr=0.1", x=FRAME["age"])
    predict = sweep.predictor(0)
    expected = predict(FRAME[["age"]])
    for x in (
        FRAME["age"],
        FRAME,
        FRAME["age"].rename(None),
        FRAME["age"].to_numpy(),
        FRAME[["age"]].to_numpy(),
    ):
        np.testing.assert_array_equal(predict(x), expected)
    with pytest.raises(ValueError, match=r"^x lacks the features age; its other columns are width; name"):
        predict(FRAME["width"])


def test_a_table_of_arrow_is_a_frame(here):
    table = pa.Table.from_pandas(FRAME[["age", "width", "height"]])
    predict = trained(THREE, x=table).predictor(0)
    assert predict(FRAME).tolist() == predict(table).tolist()


def test_labels_of_float64_models_are_of_all_their_digits(here):
    """Two outputs that are equal in float32 and differ in float64 have one largest."""
    y = np.arange(ROWS) % 2
    predict = trained(y, "dtype=float64", "loss=softmax_cross_entropy", "model=logistic").predictor(0)
    bias = next(i for i, leaf in enumerate(_leaves(predict)) if leaf.ndim == 1)
    _set(predict, [leaf * 0 + (np.asarray([1.0, 1.0 + 1e-12]) if i == bias else 0) for i, leaf in
                   enumerate(_leaves(predict))])  # fmt: skip
    assert (predict(FRAME) == 1).all()


def _leaves(predict):
    import jax

    return jax.tree.leaves(predict._params)


def _set(predict, leaves):
    import jax

    predict._params = jax.tree.unflatten(jax.tree.structure(predict._params), leaves)
