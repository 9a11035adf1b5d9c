"""Pictures of descents: what is drawn is what the tables say."""

import jax.numpy as jnp
import matplotlib.colors
import numpy as np
import pandas as pd
import pytest

import vsweep
from vsweep.analysis.minima import ending_labels
from vsweep.analysis.trajectories import coordinates, split_trials

BASE = ["data=none", "model=point", "tracker=none", "dtype=float64", "verify=false"]


def sweep(folder, *words):
    return vsweep.sweep([*BASE, *words, f"dir='{folder / 'kept'}'"], quiet=True)


def tiles(figure, place=0):
    """The color of each tile of a basin, by row and column, as hexadecimal text."""
    mesh = figure.axes[place].collections[0]
    values = mesh.get_array().reshape(mesh.get_coordinates().shape[0] - 1, -1)
    return [[matplotlib.colors.to_hex(mesh.to_rgba(value)) for value in row] for row in np.asarray(values)]


def legend(figure):
    """Return what each color of the legend stands for."""
    return {
        matplotlib.colors.to_hex(patch.get_facecolor()): text.get_text()
        for patch, text in zip(figure.legends[0].get_patches(), figure.legends[0].get_texts(), strict=True)
    }


def test_a_basin_says_of_each_start_and_rate_where_it_led(quartic, tmp_path):
    figure = quartic.plot.basin(path=tmp_path / "a" / "basin.png")
    assert (tmp_path / "a" / "basin.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    names = legend(figure)
    ended = quartic.trials.assign(ended=ending_labels).pivot(
        index="optimizer.lr", columns="model.x", values="ended"
    )
    drawn = tiles(figure)
    assert len(drawn) == 4
    for row, rate in zip(drawn, sorted(ended.index), strict=True):
        want = [f"minimum {name}" if "=" in name else name for name in ended.loc[rate].sort_index()]
        assert [names[color] for color in row] == want
    assert {"minimum x=-1.168", "minimum x=2.088", "went to infinity"} <= set(names.values())
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("start, x", "learning rate")
    assert (axes.get_xscale(), axes.get_yscale()) == ("linear", "log")
    # A tile reaches halfway to its neighbors, by ratio on the log axis.
    corners = axes.collections[0].get_coordinates()
    np.testing.assert_allclose(corners[:, 0, 1], 10.0 ** np.array([-4.5, -3.5, -2.5, -1.5, -0.5]))
    np.testing.assert_allclose(corners[0, :, 0], np.arange(-5.5, 6.0))


def test_a_basin_of_two_coordinates_has_a_panel_for_each_rate(field):
    figure = field.plot.basin()
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == ["lr=0.05", "lr=0.5"]
    assert [(axes.get_xlabel(), axes.get_ylabel()) for axes in panels] == [("start, x", "start, y")] * 2
    names = legend(figure)
    for place, rate in enumerate((0.05, 0.5)):
        part = field.trials[field.trials["optimizer.lr"] == rate].assign(ended=ending_labels)
        want = part.pivot(index="model.y", columns="model.x", values="ended").to_numpy()
        drawn = [[names[color].removeprefix("minimum ") for color in row] for row in tiles(figure, place)]
        assert drawn == want.tolist()


def test_paths_lie_on_the_function_and_are_the_recorded_ones(quartic):
    figure = quartic.where({"optimizer.lr": 1e-3}).plot.paths()
    axes = figure.axes[0]
    curve, *rest = axes.lines
    x, height = curve.get_xydata().T
    np.testing.assert_allclose(height, 2 * x**4 - 3 * x**3 - 9 * x**2 + 4 * x + 3, rtol=1e-9, atol=1e-9)
    recorded = {
        tuple(np.round(part["param.x"].to_numpy(float), 9)) for _, part in quartic.curves.groupby("trial")
    }
    ways = [line.get_xydata() for line in rest if len(line.get_xydata()) > 1]
    assert len(ways) == 9
    for way in ways:
        assert tuple(np.round(way[:, 0], 9)) in recorded
    markers = [line.get_marker() for line in rest]
    arrived = quartic.trials.loc[quartic.trials["optimizer.lr"] == 1e-3, "minimum"].notna()
    assert markers.count("o") == 9
    assert markers.count("*") + markers.count("D") == 9
    assert markers.count("*") >= arrived.sum() - 2


def test_descents_that_leave_at_the_first_step_have_their_coordinates(quartic):
    left = quartic.restricted(quartic.trials, "")
    left.curves = quartic.curves.assign(
        **{"param.x": quartic.curves["param.x"].where(quartic.curves["step"] == 0)}
    )
    assert coordinates(left) == ["x"]


def test_a_path_that_leaves_is_drawn_up_to_where_it_does(quartic):
    axes = quartic.where({"optimizer.lr": 0.1}).plot.paths().axes[0]
    low, high = axes.get_xlim()
    for line in axes.lines[1:]:
        assert ((line.get_xdata() >= low) & (line.get_xdata() <= high)).all()
    assert "X" in [line.get_marker() for line in axes.lines]


def test_of_many_parts_six_are_shown_evenly():
    rates = np.geomspace(1e-4, 1.0, 11)
    columns = {"trial": range(22), "seed": 0, "model.x": [1, 2] * 11, "optimizer.lr": np.repeat(rates, 2)}
    parts = split_trials(pd.DataFrame({**columns, "status": "ok"}), ["model.x"])
    assert [title for title, _ in parts] == [f"lr={rate:.4g}" for rate in rates[::2]]
    assert [part["trial"].tolist() for _, part in parts][:2] == [[0, 1], [4, 5]]


def test_paths_over_contours_and_on_the_surface(field):
    figure = field.plot.paths()
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == ["lr=0.05", "lr=0.5"]
    starts = {
        tuple(line.get_xydata()[0])
        for line in panels[0].lines
        if line.get_marker() == "o" and len(line.get_xdata())
    }
    assert starts == {(x, y) for x in (-2.0, 1.0) for y in (-2.0, 0.5, 2.0)}
    surface = field.plot.surface().axes[0]
    assert surface.name == "3d"
    assert (surface.get_xlabel(), surface.get_ylabel(), surface.get_zlabel()) == ("x", "y", "f(x, y)")
    ways = [line for line in surface.lines if line.get_marker() == "None"]
    assert len(ways) == 6
    for line in ways:
        x, y, z = line.get_data_3d()
        lifted = z - (np.arctan(x) ** 2 + np.sin(y) ** 2)
        np.testing.assert_allclose(lifted, lifted[0], atol=1e-6)


def test_the_bowl_of_a_line_has_its_least_where_least_squares_are(line):
    figure = line.plot.loss_surface()
    axes = figure.axes[0]
    (least,) = [each for each in axes.lines if each.get_marker() == "P"]
    frame = line.examples
    solved = np.polyfit(frame["x"], frame["target"], 1)
    np.testing.assert_allclose(least.get_xydata()[0], solved[::-1], rtol=1e-6)
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("intercept b", "slope w")
    ways = [each.get_xydata() for each in axes.lines if len(each.get_xydata()) > 1]
    # The fastest lies below the other; each rate has two seeds.
    for way, trial in zip(ways, (2, 0), strict=True):
        curve = line.curves[line.curves["trial"] == trial]
        np.testing.assert_allclose(way, curve[["param.b", "param.w"]], rtol=1e-6)
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert names == ["lr=0.1", "start", "ends at a minimum", "lr=0.03", "ends elsewhere", "least squares"]


def test_what_a_picture_is_not_of_is_told(quartic, field, line, small):
    for draw, message in [
        (small.plot.basin, "expected a sweep of functions to minimize: model=point"),
        (small.plot.paths, "expected a sweep of functions to minimize: model=point"),
        (small.plot.loss_surface, "expected a line of one feature"),
        (quartic.plot.surface, "expected a function of two coordinates, and this one has x"),
        (lambda: quartic.plot.basin("model.y"), "no axis 'model.y': the axes are model.x, optimizer.lr"),
        (lambda: small.landscape(0), "expected a sweep of functions to minimize"),
    ]:
        with pytest.raises(KeyError) as error:
            draw()
        assert message in str(error.value)


def test_a_part_of_a_sweep_says_what_it_is_of(quartic, small):
    part = quartic.where({"optimizer.lr": 1e-3})
    assert set(part.trials["optimizer.lr"]) == {1e-3}
    assert set(part.curves["trial"]) == set(part.trials["trial"])
    assert len(part.cells()) == 11
    assert part.plot.paths().get_suptitle().splitlines() == [
        "Descents on the function",
        "A point every 10 steps.",
        "Only the cells with optimizer.lr=0.001.",
    ]
    both = small.where({"model": "mlp"}).where({"model.width": 3})
    assert set(both.trials["model"]) == {"mlp"}
    assert both.only == "model=mlp model.width=3"
    assert len(small.trials) == 12
    with pytest.raises(KeyError, match=r"no trial has model\.width=7: the values are –, 2, 3"):
        small.where({"model.width": 7})
    with pytest.raises(KeyError, match=r"no axis .model\.wdth"):
        small.where({"model.wdth": 3})


def test_more_minima_than_colors_are_others(quartic):
    """The most frequent have colors of their own."""
    many = vsweep.load(quartic.directory)
    many.trials = many.trials.assign(kind="minimum", status="ok", minimum=[f"x={i % 11}" for i in range(44)])
    many.trials.loc[many.trials.index[:11], "minimum"] = "x=10"
    names = list(legend(many.plot.basin()).values())
    assert names[-1] == "other minima"
    assert names[-2] == "minimum x=10"
    assert len(names) == 6


def test_one_start_is_drawn_all_the_way(tmp_path):
    """To the minimum far from where it starts, and past it, where steps are large."""
    words = ["loss=parabola", "model.x=5.0", "grid.optimizer.lr=[0.1,0.9]", "steps=60", "record_every=1"]
    figure = sweep(tmp_path, *words).plot.paths()
    for axes, lr in zip(figure.axes, (0.1, 0.9), strict=True):
        (way,) = [line.get_xydata() for line in axes.lines[1:] if len(line.get_xydata()) > 1]
        want = [5.0]
        for _ in range(60):
            want.append(want[-1] - lr * (2 * want[-1] + 3))
        np.testing.assert_allclose(way[:, 0], want, rtol=1e-5)
        assert [line.get_marker() for line in axes.lines[1:]][-1] == "*"


def test_functions_of_one_and_of_two_coordinates_together(tmp_path):
    words = ["grid.loss=[quartic,gold_field]", "grid.model.x=[0.5,1.5]", "model.y=0.4", "steps=50"]
    both = sweep(tmp_path, *words, "optimizer.lr=0.01", "record_every=1")
    names = [axes.get_xlabel() + axes.get_ylabel() for axes in both.plot.paths().axes if axes.get_title()]
    assert names == ["xf(x)", "xy"]
    assert both.plot.surface().axes[0].get_zlabel() == "f(x, y)"
    assert both.where({"loss": "quartic"}).plot.paths().axes[0].get_ylabel() == "f(x)"


def test_a_function_that_is_not_finite_everywhere(tmp_path):
    words = ["model.x=0.5", "optimizer.lr=0.05", "steps=40", "record_every=1"]
    own = vsweep.sweep(
        [*BASE, *words, f"dir='{tmp_path / 'kept'}'"], loss=lambda x: x - jnp.log(x), quiet=True
    )
    axes = own.plot.paths().axes[0]
    assert np.isfinite(axes.get_ylim()).all()


@pytest.mark.parametrize("name", ["curves", "basin", "paths", "parameters", "heatmap"])
def test_where_all_diverged_it_is_drawn_or_told(tmp_path_factory, everything_diverged, name):
    arguments = {
        "curves": ("optimizer.lr", "train_loss"),
        "heatmap": ("optimizer.lr", "model.x", "train_loss"),
    }
    path = tmp_path_factory.mktemp("picture") / "picture.png"
    figure = getattr(everything_diverged.plot, name)(*arguments.get(name, ()), path=path)
    assert figure.data if name in arguments else figure.axes
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def everything_diverged(tmp_path_factory):
    words = ["loss=quartic", "grid.model.x=[4.0,5.0]", "grid.optimizer.lr=[1.0,2.0]", "steps=20"]
    return sweep(tmp_path_factory.mktemp("away"), *words)


def test_a_line_that_diverged_has_no_loss_surface(line):
    gone = vsweep.load(line.directory)
    gone.trials["status"] = "diverged"
    with pytest.raises(KeyError, match="all trials diverged"):
        gone.plot.loss_surface()
    assert gone.plot.curves("optimizer.lr", "train_loss").data
    assert gone.plot.fits().axes
