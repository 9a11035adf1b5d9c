"""Number targets keep their digits: programs have them standardized, and what is shown is in their unit."""

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression
from sklearn.metrics import mean_absolute_error, r2_score, root_mean_squared_error

import vsweep
from vsweep.analysis.predictions import fits_of, parameter_curves
from vsweep.errors import ConfigError
from vsweep.tasks.data.splits import deviation, root_mean_square

RNG = np.random.default_rng(5)
ROWS = 120
Z = RNG.normal(size=ROWS)
X = Z[:, None] + 0.1 * RNG.normal(size=(ROWS, 1))
WORDS = [
    "model=linear",
    "optimizer.lr=0.1",
    "record_every=50",
    "keep.params=all",
    "tracker=none",
    "verify=false",
]


def trained(y, *words, x=X):
    return vsweep.sweep([*WORDS, "steps=150", *words], data=(x, y), quiet=True)


def parts_of(sweep):
    """The places of each part's examples, by its name; the examples are those of X."""
    part = sweep.examples["part"]
    return {name: np.flatnonzero(part == name) for name in ("train", "val", "test")}


@pytest.mark.parametrize("loss", ["squared_error", "huber"])
@pytest.mark.parametrize(("dtype", "rtol"), [("float32", 1e-5), ("float64", 1e-6), ("bfloat16", 0.02)])
def test_errors_are_those_of_the_predictions(here, loss, dtype, rtol):
    """A float32 of 1.7e9 is a multiple of 128, and the targets have a deviation of 10."""
    y = 1.7e9 + 10.0 * Z
    sweep = trained(y, f"loss={loss}", f"dtype={dtype}")
    (trial,) = sweep.trials.to_dict("records")
    for part, places in parts_of(sweep).items():
        predicted = sweep.predictor(0)(X[places])
        want = {
            "rmse": root_mean_squared_error(y[places], predicted),
            "mae": mean_absolute_error(y[places], predicted),
        }
        for name, value in want.items():
            assert trial[f"final_{part}_{name}"] == pytest.approx(value, rel=rtol)
        assert trial[f"final_{part}_r2"] == pytest.approx(r2_score(y[places], predicted), abs=rtol)


@pytest.mark.parametrize("shift", [0.0, 1.7e9, -1e12])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_lines_are_in_the_targets_unit(here, shift, dtype):
    y = shift + 10.0 * Z
    sweep = trained(y, "record_params=true", f"dtype={dtype}", "steps=250")
    train = parts_of(sweep)["train"]
    scaled = (X - X[train].mean(axis=0)) / X[train].std(axis=0)
    exact = LinearRegression().fit(scaled[train], y[train])
    (trial,) = sweep.trials.to_dict("records")
    # The digits of a float64 near the shift, which a float32 does not have.
    atol = 1e-4 + 8 * np.spacing(abs(shift))
    for prefix in ("final_param.", "least_squares_"):
        assert trial[f"{prefix}w"] == pytest.approx(exact.coef_[0], abs=1e-4)
        assert trial[f"{prefix}b"] == pytest.approx(exact.intercept_, abs=atol)
    last = sweep.curves.iloc[-1]
    assert (last["param.w"], last["param.b"]) == (trial["final_param.w"], trial["final_param.b"])
    shown = {panel.title[0]: panel for panel in parameter_curves(sweep).panels}
    assert shown["b"].trials[0][-1, 1] == pytest.approx(exact.intercept_, abs=atol)
    assert shown["b"].least_squares == pytest.approx([exact.intercept_], abs=atol)
    (fit,) = fits_of(sweep).panels
    np.testing.assert_allclose(fit.fits[0], fit.least_squares, atol=atol)


@pytest.mark.parametrize(
    "words", [["model.start=[10.0,0.0,3.0,100.0]"], ["grid.model.start=[[10,0,3,100],[0,0,0,0]]"]]
)
@pytest.mark.parametrize("more", [[], ["loss=huber"], ["data.standardize_target=false"]])
def test_a_line_starts_at_the_parameters_that_are_given(here, words, more):
    x = RNG.normal(size=(ROWS, 3))
    y = 100.0 + 10.0 * x[:, 0] + 3.0 * x[:, 2]
    sweep = trained(y, *words, *more, "record_params=true", "steps=1", "optimizer.lr=1e-9", x=x)
    first = sweep.curves[(sweep.curves["trial"] == 0) & (sweep.curves["step"] == 0)].iloc[0]
    found = [first[f"param.{name}"] for name in ("w.0", "w.1", "w.2", "b")]
    np.testing.assert_allclose(found, [10.0, 0.0, 3.0, 100.0], rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("value", [0.1, 1 / 3, -7.7e9 - 0.1, 1e-3, 12345.678])
@pytest.mark.parametrize("loss", ["squared_error", "huber"])
def test_equal_targets_have_no_deviation(here, value, loss):
    """The rounded mean of equal numbers differs from them, by an error that is no unit of theirs."""
    sweep = trained(np.full(ROWS, value), f"loss={loss}")
    (trial,) = sweep.trials.to_dict("records")
    (data,) = sweep.plan["data"].values()
    assert data["moments"][1] == 1.0
    assert "± 0 (mean ± sd)" in data["target"]
    for part in ("train", "val", "test"):
        assert np.isnan(trial[f"final_{part}_r2"])
        assert np.isnan(data["baseline"][f"{part}_r2"])
        assert trial[f"final_{part}_rmse"] == pytest.approx(0.0, abs=1e-5)
    assert sweep.predictor(0)(X) == pytest.approx(np.full(ROWS, value), rel=1e-6, abs=1e-5)


@pytest.mark.parametrize("unit", [1e300, 1e160, 1e-200, 1e30, 1e-30])
def test_targets_of_any_size_are_trained_like_others(here, unit):
    """The squares of large targets overflow, and those of small ones vanish."""
    words = [] if 1e-30 <= unit <= 1e30 else ["dtype=float64"]
    sweep, plain = trained(unit * Z, *words), trained(Z, *words)
    scales = {"rmse": unit, "mae": unit, "r2": 1.0, "loss": 1.0}
    for part in ("train", "val", "test"):
        for name, scale in scales.items():
            column = f"final_{part}_{name}"
            assert sweep.trials[column][0] == pytest.approx(scale * plain.trials[column][0], rel=1e-4)
            if name != "loss":
                guess = f"{part}_{name}"
                assert sweep.baseline[guess] == pytest.approx(scale * plain.baseline[guess], rel=1e-9)
    np.testing.assert_allclose(sweep.predictor(0)(X) / unit, plain.predictor(0)(X), atol=1e-5)


@pytest.mark.parametrize(
    ("y", "words", "message"),
    [
        (
            1e-200 * Z,
            [],
            r"the standard deviation is .*e-20\d; float32 holds numbers from 1\.2e-38; scale them",
        ),
        (1e39 * Z, [], r"got .*e\+39; float32 holds numbers up to 3\.4e\+38"),
        (1.6e308 + 1e306 * Z, ["dtype=float64"], "the sum of the numbers overflows; scale them"),
    ],
)
def test_targets_that_the_dtype_cannot_hold_are_refused(y, words, message):
    with pytest.raises(ConfigError, match=rf"^data\.target: {message}"):
        trained(y, *words)


@pytest.mark.parametrize("unit", [1.0, 1e200, 1e-200])
def test_deviations_are_numpys(unit):
    values = RNG.normal(3.0, 2.0, 50)
    assert deviation(unit * values) == pytest.approx(unit * values.std(), rel=1e-14)
    assert root_mean_square(unit * values) == pytest.approx(unit * np.sqrt((values**2).mean()), rel=1e-14)
    assert deviation(np.full(7, 0.1 * unit)) == root_mean_square(np.zeros(3)) == 0.0
