"""The functions to minimize, and what is said of where a descent of one ends."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from vsweep.tasks.minimize import FUNCTIONS, Minimize, coordinates, gold_field, quartic

POINTS = np.linspace(-3.0, 3.0, 13)
EXACT = {
    "parabola": (lambda x: x**2 + 3 * x - 5, lambda x: 2 * x + 3),
    "narrow_parabola": (lambda x: 3 * x**2 + 4 * x - 2, lambda x: 6 * x + 4),
    "quartic": (
        lambda x: 2 * x**4 - 3 * x**3 - 9 * x**2 + 4 * x + 3,
        lambda x: 8 * x**3 - 9 * x**2 - 18 * x + 4,
    ),
}


@pytest.fixture(autouse=True)
def x64():
    with jax.enable_x64(True):
        yield


@pytest.mark.parametrize("name", EXACT)
def test_values_and_gradients_are_those_of_the_polynomials(name):
    value, slope = EXACT[name]
    np.testing.assert_allclose(jax.vmap(FUNCTIONS[name])(POINTS), value(POINTS), rtol=1e-13)
    np.testing.assert_allclose(jax.vmap(jax.grad(FUNCTIONS[name]))(POINTS), slope(POINTS), rtol=1e-13)


def test_every_polynomial_is_here():
    assert set(FUNCTIONS) == {*EXACT, "gold_field"}


@pytest.mark.parametrize(
    ("x", "slope", "bend"), [(3.0, 85.0, 144.0), (0.5, -6.25, -21.0), (-2.0, -60.0, 114.0)]
)
def test_the_quartics_derivatives(x, slope, bend):
    assert float(jax.grad(quartic)(x)) == slope
    assert float(jax.grad(jax.grad(quartic))(x)) == bend


def test_the_gold_field_and_its_gradient():
    x, y = (each.ravel() for each in np.meshgrid(POINTS, POINTS))
    np.testing.assert_allclose(
        jax.vmap(gold_field)(x, y), np.arctan(x) ** 2 + np.sin(y) ** 2, rtol=1e-13, atol=1e-15
    )
    along_x, along_y = jax.vmap(jax.grad(gold_field, argnums=(0, 1)))(x, y)
    np.testing.assert_allclose(along_x, 2 * np.arctan(x) / (1 + x**2), rtol=1e-13)
    np.testing.assert_allclose(along_y, np.sin(2 * y), rtol=1e-12, atol=1e-15)


def test_coordinates_are_the_first_parameters():
    assert coordinates(quartic) == ("x",)
    assert coordinates(gold_field) == ("x", "y")
    assert coordinates(lambda a, b, /, c, d=1.0, *, e=2.0: a) == ("a", "b", "c")
    assert coordinates(lambda *, e: e) == ()


def made(function, fixed=(), **starts):
    """The task of a point in float64, and its first parameters."""
    shapes = tuple((name, np.shape(start)) for name, start in starts.items())
    maker = Minimize(function, shapes, fixed, (), "float64")
    begin = {name: jnp.asarray(start, jnp.float64) for name, start in starts.items()}
    task = maker({"model": {**begin, "spread": jnp.zeros((), jnp.float64)}, "loss": {}})
    return maker, task, task.init(jax.random.key(0))


def concluded(function, fixed=(), **starts):
    """The conclusions about points, `(points,)` each."""
    count = max(np.shape(each)[0] for each in starts.values())
    ends = []
    for i in range(count):
        maker, task, params = made(function, fixed, **{name: each[i] for name, each in starts.items()})
        ends.append(task.end(params))
    return maker.conclude(jax.tree.map(lambda *leaves: np.stack(leaves), *ends), None, count)


def test_kinds_are_by_the_hessian():
    found = concluded(gold_field, x=[0.0, 0.0, 1e-3, 2.0], y=[0.0, np.pi / 2, np.pi, 0.3])
    assert found["kind"].tolist() == ["minimum", "saddle", "minimum", None]
    assert found["minimum"].tolist() == ["x=0, y=0", None, "x=0, y=3.142", None]
    # The Hessian is diag(2, 2) at the minimum and diag(2, -2) at the saddle.
    np.testing.assert_allclose(found["hessian_0"][:2], [2.0, -2.0], atol=1e-12)
    np.testing.assert_allclose(found["hessian_1"][:2], [2.0, 2.0], atol=1e-12)
    assert concluded(lambda x: -(x**2), x=[0.001])["kind"].tolist() == ["maximum"]
    assert concluded(lambda x, y: x**2 + 0.0 * y, x=[0.0], y=[5.0])["kind"].tolist() == ["flat"]


def test_eigenvalues_are_those_of_numpy_in_rising_order():
    rng = np.random.default_rng(0)
    half = rng.normal(size=(5, 5))
    matrix = half + half.T
    found = concluded(lambda v: 0.5 * v @ matrix @ v, v=[np.zeros(5)])
    values = [found[f"hessian_{i}"][0] for i in range(5)]
    np.testing.assert_allclose(values, np.linalg.eigvalsh(matrix), rtol=1e-10)
    assert found["kind"].tolist() == ["saddle"]


def test_of_many_dimensions_the_first_and_the_last_eigenvalue_are_kept():
    scales = np.arange(1.0, 21.0)
    found = concluded(lambda v: jnp.sum(scales * v**2), v=[np.zeros(20)])
    assert sorted(found) == ["hessian_0", "hessian_19", "kind", "minimum"]
    np.testing.assert_allclose([found["hessian_0"][0], found["hessian_19"][0]], [2.0, 40.0])
    assert made(lambda v: jnp.sum(v**2), v=np.zeros(600))[0].columns == ("kind", "minimum")


def test_a_minimum_is_named_by_where_newtons_method_leads():
    """From nearby on either side it has one name: the root of the gradient to four digits."""
    roots = np.roots([8.0, -9.0, -18.0, 4.0])
    for root, kind in zip(sorted(roots), ["minimum", "maximum", "minimum"], strict=True):
        found = concluded(quartic, x=[root - 0.01, root, root + 0.01])
        assert found["kind"].tolist() == [kind] * 3
        name = f"x={root:.4g}" if kind == "minimum" else None
        assert found["minimum"].tolist() == [name] * 3


def test_names_follow_the_functions_order_and_not_the_alphabets():
    found = concluded(lambda z, a: (z - 1.0) ** 2 + (a - 2.0) ** 2, z=[1.0], a=[2.0])
    assert found["minimum"].tolist() == ["z=1, a=2"]


def test_a_fixed_coordinate_is_no_parameter():
    maker, task, params = made(gold_field, ("x",), x=1.0, y=0.25)
    assert params.keys() == {"y"}
    (value, _), grads = jax.value_and_grad(task.loss, has_aux=True)(params, None)
    np.testing.assert_allclose(value, np.arctan(1.0) ** 2 + np.sin(0.25) ** 2, rtol=1e-14)
    np.testing.assert_allclose(grads["y"], np.sin(0.5), rtol=1e-14)
    assert {name: float(v) for name, v in task.path(params).items()} == {"x": 1.0, "y": 0.25}
    assert maker.recorded == ("x", "y")


def test_a_function_that_gives_no_scalar_is_told():
    _, task, params = made(lambda v: v**2, v=np.zeros(3))
    with pytest.raises(ValueError, match=r"the function returned the shape \(3,\), expected a scalar"):
        task.loss(params, None)
