"""The charts of a sweep's task: what is drawn is what the tables and the parameters say."""

from functools import cache

import numpy as np
import plotly.graph_objects as go
import pytest
from vsweep.reports.charts.subplots import MOST_EXAMPLES, joined
from vsweep.reports.charts.trajectories import SAID, drawn_of
from vsweep.reports.task_charts import task_charts

import vsweep
from vsweep.analysis.minima import ending_labels
from vsweep.analysis.trajectories import Trajectory
from vsweep.plots.trajectories import LEAVES
from vsweep.reports.charts import subplots as panels_module

LR, WIDTH = "optimizer.lr", "model.width"
SEEDS = 2


def train(folder, *words, **own):
    common = ["tracker=none", "verify=false", f"dir='{folder / 'kept'}'"]
    return vsweep.sweep([*words, *common], quiet=True, **own)


def again(sweep):
    """The same sweep, read anew, to be changed."""
    return vsweep.load(sweep.directory)


def lost(sweep):
    """The same sweep, of which no parameters were kept."""
    sweep = again(sweep)
    sweep.params = lambda trial: (_ for _ in ()).throw(KeyError("not kept"))
    return sweep


@pytest.fixture(scope="module")
def spiral(tmp_path_factory):
    words = ["data=spirals", "data.arms=3", "data.rows=600", "grid.model.name=[logistic,mlp]"]
    more = ["grid.model.width=[2,3]", "grid.optimizer.lr=[0.1,1e6]", "model.init=normal", f"seeds={SEEDS}"]
    return train(tmp_path_factory.mktemp("spiral"), *words, *more, "steps=20", "keep.params=all")


@pytest.fixture(scope="module")
def line(tmp_path_factory):
    words = ["data=line", "model=linear", "model.init=normal", "grid.optimizer.lr=[0.03,0.1,1e6]"]
    more = [f"seeds={SEEDS}", "steps=12", "record_every=1", "record_params=true", "keep.params=all"]
    shown = "pictures=[fits,{fits:{by:optimizer.lr,where:{optimizer.lr:0.1}}},loss_surface]"
    return train(tmp_path_factory.mktemp("line"), *words, *more, shown)


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    words = [
        "data=food_water",
        "data.standardize=false",
        "model=logistic",
        "grid.optimizer.lr=[0.1,2.0]",
        "model.init=normal",
    ]
    more = [f"seeds={SEEDS}", "steps=12", "record_every=1", "record_params=true"]
    return train(tmp_path_factory.mktemp("plane"), *words, *more)


BASE = ["data=none", "model=point", "dtype=float64"]


@pytest.fixture(scope="module")
def quartic(tmp_path_factory):
    words = ["loss=quartic", "grid.model.x={linspace:[-5.0,5.0,11]}", "steps=300", "record_every=10"]
    rates = "grid.optimizer.lr=[1e-4,1e-3,1e-2,0.1]"
    return train(tmp_path_factory.mktemp("quartic"), *BASE, *words, rates)


@pytest.fixture(scope="module")
def field(tmp_path_factory):
    words = ["loss=gold_field", "grid.model.x=[-2.0,1.0]", "grid.model.y=[-2.0,0.5,2.0]", "steps=60"]
    return train(
        tmp_path_factory.mktemp("field"), *BASE, *words, "grid.optimizer.lr=[0.05,0.5]", "record_every=1"
    )


@cache
def charts(sweep):
    """By title; made once of each sweep."""
    return {chart.title: chart for chart in task_charts(sweep)}


def chart(sweep, words):
    return next(one for title, one in charts(sweep).items() if title.startswith(words))


def panels(figure):
    """What is drawn in each panel, with its title; what names only in the legend is left out."""
    names = [note.text for note in figure.layout.annotations if not note.text.startswith("x")]
    drawn = {}
    for trace in figure.data:
        # A trace of three dimensions has no axes of its own.
        if not trace.showlegend and "xaxis" in trace:
            drawn.setdefault(int((trace.xaxis or "x")[1:] or 1), []).append(trace)
    return [(names[place - 1] if names else "", drawn[place]) for place in sorted(drawn)]


def of(traces, kind, name=None):
    return [each for each in traces if isinstance(each, kind) and name in (None, each.name)]


def split(*columns):
    """Lines that are joined with gaps, apart: of each its points."""
    points = np.stack(columns, axis=1)
    ends = np.flatnonzero(np.isnan(points[:, 0]))
    return [part[~np.isnan(part[:, 0])] for part in np.split(points, ends) if len(part) > 1]


def best_cell(sweep, axis, value):
    cells = sweep.cells()
    rows = cells[cells[axis].isna() if value is None else cells[axis] == value]
    return int(rows["cell"].iloc[0])


def ok_trials(sweep, cell):
    rows = sweep.trials[(sweep.trials["cell"] == cell) & (sweep.trials["status"] == "ok")]
    return rows["trial"].tolist()


def test_a_region_is_the_class_that_the_best_seed_sees(spiral):
    found = chart(spiral, "Decision regions by model.width")
    drawn = panels(found.figure)
    assert [title.split("<br>")[0] for title, _ in drawn] == ["model=logistic", "width=2", "width=3"]
    for (title, traces), width in zip(drawn, (None, 2, 3), strict=True):
        cell = best_cell(spiral, WIDTH, width)
        rows = spiral.trials[spiral.trials["cell"] == cell]
        best = rows["trial"].to_numpy()[rows["final_val_accuracy"].to_numpy(float).argmax()]
        (heat,) = of(traces, go.Heatmap)
        points = np.stack([each.ravel() for each in np.meshgrid(heat.x, heat.y)], axis=1)
        expected = spiral.predictor(int(best))(points).reshape(heat.z.shape)
        assert heat.z.dtype == np.uint8
        names = np.asarray(["arm 0", "arm 1", "arm 2"])
        # A grid in float32 may round over a boundary.
        assert np.mean(names[heat.z] == expected) > 0.999
        np.testing.assert_array_equal(np.asarray(heat.text), names[heat.z])
        assert len(np.unique(heat.z)) > 1
        assert title.split("<br>")[1].startswith(f"{rows['final_val_accuracy'].mean():.4g}")


def test_examples_differ_by_colour_and_shape_and_are_hollow_where_held_out(spiral):
    found = chart(spiral, "Decision regions")
    assert f"{MOST_EXAMPLES} of 600 examples" in found.note
    everything = {tuple(row) for row in spiral.examples[["x0", "x1"]].to_numpy(np.float32)}
    for _, traces in panels(found.figure):
        dots = of(traces, go.Scatter)
        assert sum(len(each.x) for each in dots) == MOST_EXAMPLES
        assert {point for each in dots for point in zip(each.x, each.y, strict=True)} <= everything
        for each in dots:
            i, is_train = ["arm 0", "arm 1", "arm 2"].index(each.name), "trained on" in each.hovertemplate
            examples = spiral.examples
            own = examples[(examples["target"] == i) & ((examples["part"] == "train") == is_train)]
            assert set(each.x) <= set(own["x0"].to_numpy(np.float32))
            assert each.marker.symbol.endswith("-open") != is_train
        looks = {(each.name, each.marker.color, each.marker.symbol.removesuffix("-open")) for each in dots}
        assert len(looks) == len({look[1] for look in looks}) == len({look[2] for look in looks}) == 3


def test_fits_are_those_of_the_seeds_and_their_mean(line):
    found = chart(line, "Fits by optimizer.lr")
    drawn = panels(found.figure)
    assert [title.split("<br>")[0] for title, _ in drawn] == ["lr=0.03", "lr=0.1"]
    assert f"lr=1e+06 (all {SEEDS} seeds diverge)" in found.note
    for (_, traces), rate in zip(drawn, (0.03, 0.1), strict=True):
        trials = ok_trials(line, best_cell(line, LR, rate))
        (mean,) = of(traces, go.Scatter, "mean of the fits")
        fits = [line.predictor(trial)(np.asarray(mean.x, float)[:, None]) for trial in trials]
        np.testing.assert_allclose(mean.y, np.mean(fits, axis=0), rtol=1e-5, atol=1e-5)
        (thin,) = of(traces, go.Scatter, "fit of a seed")
        lines = sorted(each[:, 1].tolist() for each in split(thin.x, thin.y))
        np.testing.assert_allclose(lines, sorted(each.tolist() for each in fits), rtol=1e-5, atol=1e-5)
        (squares,) = of(traces, go.Scatter, "least squares")
        slope, intercept = np.polyfit(
            *line.examples.query("part == 'train'")[["x", "target"]].to_numpy().T, 1
        )
        np.testing.assert_allclose(squares.y, slope * squares.x + intercept, rtol=1e-4)
        assert squares.line.dash == "dash"
        (truth,) = of(traces, go.Scatter, "truth")
        assert (np.diff(truth.x) >= 0).all()
        assert sorted(truth.y) == sorted(line.examples["truth"].to_numpy(np.float32))


def test_each_picture_that_a_config_asks_for_is_a_chart_of_its_part(line):
    found = charts(line)
    assert list(found)[:2] == ["Fits by optimizer.lr", "Fits by optimizer.lr, of optimizer.lr=0.1"]
    ((title, _),) = panels(found["Fits by optimizer.lr, of optimizer.lr=0.1"].figure)
    assert title.startswith("lr=0.1<br>")


def test_paths_on_a_line_are_the_recorded_ones(quartic):
    found = chart(quartic, "Descents on the function")
    drawn = panels(found.figure)
    assert [title for title, _ in drawn] == ["lr=0.0001", "lr=0.001", "lr=0.01", "lr=0.1"]
    assert "A point every 10 steps" in found.note
    for (_, traces), rate in zip(drawn, (1e-4, 1e-3, 1e-2, 0.1), strict=True):
        own = quartic.trials[quartic.trials[LR] == rate]
        curve, *ways = [each for each in of(traces, go.Scatter) if each.customdata is not None]
        x, height = np.asarray(curve.x, float), curve.customdata[:, 0]
        np.testing.assert_allclose(height, 2 * x**4 - 3 * x**3 - 9 * x**2 + 4 * x + 3, rtol=1e-3, atol=1e-3)
        assert len(ways) == 9
        trials = []
        for way in ways:
            steps, first = way.customdata[:, 1].astype(int), np.float32(way.x[0])
            (trial,) = own.loc[np.isclose(own["model.x"], first), "trial"]
            trials.append(trial)
            recorded = quartic.curves[quartic.curves["trial"] == trial].set_index("step")
            np.testing.assert_array_equal(way.x, recorded.loc[steps, "param.x"])
            np.testing.assert_allclose(
                way.customdata[:, 0], recorded.loc[steps, "train_loss"], rtol=1e-3, atol=1e-3
            )
            assert steps[0] == 0
        marked = {name: sum(len(each.x) for each in of(traces, go.Scatter, name)) for name in SAID.values()}
        assert marked["start"] == 9 == sum(marked.values()) - 9
        low, high = found.figure.layout[f"xaxis{curve.xaxis[1:]}"].range
        shown = quartic.curves[quartic.curves["trial"].isin(trials)]
        assert marked[SAID[LEAVES]] == shown.loc[~shown["param.x"].between(low, high), "trial"].nunique()


def test_a_path_is_drawn_to_where_it_leaves_and_through_both_of_its_ends():
    points = np.asarray([[0.0, 0.0], [0.1, 0.0], [0.1, 1e-4], [0.5, 0.5], [0.9, 0.9], [2.0, 0.9], [0.9, 0.9]])
    way = Trajectory(points, arrived=True, steps=np.arange(0, 70, 10))
    drawn = drawn_of(way, [(-1.0, 1.0), (-1.0, 1.0)], 100)
    assert (drawn.steps.tolist(), drawn.end) == ([0, 10, 30, 40], LEAVES)
    np.testing.assert_array_equal(drawn.points, points[[0, 1, 3, 4]])
    assert drawn_of(way, [(-1.0, 1.0), (-1.0, 1.0)], 2).steps.tolist() == [0, 40]
    assert drawn_of(way, [(-3.0, 3.0), (-3.0, 3.0)], 100).steps.tolist() == [0, 10, 30, 40, 50, 60]


def test_paths_on_a_plane_and_on_its_surface_are_the_recorded_ones(field):
    found = charts(field)
    drawn = panels(found["Descents on the function"].figure)
    assert [title for title, _ in drawn] == ["lr=0.05", "lr=0.5"]
    for (_, traces), rate in zip(drawn, (0.05, 0.5), strict=True):
        own = field.trials.loc[field.trials[LR] == rate, "trial"]
        recorded = field.curves[field.curves["trial"].isin(own)]
        table = set(map(tuple, recorded[["step", "param.x", "param.y"]].to_numpy(np.float32)))
        (contour,) = of(traces, go.Contour)
        x, y = np.meshgrid(contour.x, contour.y)
        np.testing.assert_allclose(contour.z, np.arctan(x) ** 2 + np.sin(y) ** 2, rtol=1e-4, atol=1e-5)
        lines = [each for each in of(traces, go.Scatter) if each.customdata is not None]
        ways = [way for each in lines for way in split(each.x, each.y, each.customdata)]
        assert len(ways) == 6
        assert {(step, px, py) for way in ways for px, py, step in way} <= table
        assert all(way[0, 2] == 0 and way[-1, 2] == 60 for way in ways)
    (hill,) = [one for title, one in found.items() if title.startswith("The function as a surface")]
    surface = of(hill.figure.data, go.Surface)[0]
    lift = 0.015 * (surface.z.max() - surface.z.min())
    lines = [each for each in of(hill.figure.data, go.Scatter3d) if each.mode == "lines"]
    ways = [way for each in lines for way in split(each.x, each.y, each.z)]
    assert len(ways) == 6
    for x, y, z in np.concatenate(ways):
        assert z == pytest.approx(np.arctan(x) ** 2 + np.sin(y) ** 2 + lift, abs=1e-4)


@pytest.mark.parametrize("name", ["quartic", "field"])
def test_a_tile_of_a_basin_says_where_its_trial_ended(name, request):
    sweep = request.getfixturevalue(name)
    found = chart(sweep, "Where each descent ends")
    names = [trace.name for trace in found.figure.data if trace.showlegend]
    keys = {trace.name: trace.marker.color for trace in found.figure.data if trace.showlegend}
    ended = sweep.trials.assign(ended=ending_labels)
    drawn = panels(found.figure)
    assert len(drawn) == (1 if name == "quartic" else 2)
    seen = 0
    for title, (heat,) in drawn:
        for (row, column), code in np.ndenumerate(heat.z):
            first, second = heat.customdata[row, column]
            if name == "quartic":
                part = ended[np.isclose(ended[LR], second)]
            else:
                part = ended[np.isclose(ended["model.y"], second) & (ended[LR] == float(title[3:]))]
            (want,) = part.loc[np.isclose(part["model.x"], first), "ended"]
            assert names[code].removeprefix("minimum ") == want
            assert heat.text[row][column] == names[code]
            assert heat.colorscale[2 * code][1] == heat.colorscale[2 * code + 1][1] == keys[names[code]]
            seen += 1
    assert seen == len(sweep.trials)


def test_ways_down_a_line_s_loss_end_where_they_did(line):
    found = chart(line, "The training loss of a line")
    ((_, traces),) = panels(found.figure)
    (squares,) = of(traces, go.Scatter, "least squares")
    np.testing.assert_allclose(
        [squares.x[0], squares.y[0]], line.trials[["least_squares_b", "least_squares_w"]].iloc[0]
    )
    lines = [each for each in of(traces, go.Scatter) if each.customdata is not None]
    named = {trace.name: trace.line.color for trace in found.figure.data if trace.showlegend}
    for rate in (0.03, 0.1):
        (way,) = [each for each in lines if each.line.color == named[f"lr={rate}"]]
        points = split(way.x, way.y, way.customdata)[0]
        trial = line.trials.loc[line.trials[LR] == rate, "trial"].iloc[0]
        curve = line.curves[line.curves["trial"] == trial].set_index("step")
        np.testing.assert_array_equal(
            points[:, :2], curve.loc[points[:, 2].astype(int), ["param.b", "param.w"]]
        )


def test_parameters_are_those_of_the_trials_that_did_not_diverge(line):
    found = chart(line, "Parameters against the step")
    ok = line.trials.loc[line.trials["status"] == "ok", "trial"]
    assert f"{len(ok)} trials; {SEEDS} more diverged" in found.note
    for name, traces in panels(found.figure):
        wide = line.curves.pivot(index="step", columns="trial", values=f"param.{name}")[ok]
        (faint,), (mean,) = of(traces, go.Scatter, "a trial"), of(traces, go.Scatter, "mean of the trials")
        np.testing.assert_array_equal([each[:, 1] for each in split(faint.x, faint.y)], wide.to_numpy().T)
        np.testing.assert_allclose(mean.y, wide.astype(float).mean(axis=1), rtol=1e-6)


def test_boundaries_are_where_the_probability_is_a_half(plane):
    found = chart(plane, "Logistic regression: where the probability")
    drawn = panels(found.figure)
    assert [title.split("<br>")[0].split(":")[0] for title, _ in drawn] == ["best", "last of 2"]
    cells = plane.cells()["cell"]
    for (_, traces), cell in zip(drawn, (cells.iloc[0], cells.iloc[-1]), strict=True):
        rows = plane.trials[plane.trials["cell"] == cell]
        logit = rows[["final_param.w.0", "final_param.w.1", "final_param.b"]].to_numpy(float).mean(axis=0)
        (strong,) = of(traces, go.Scatter, "line of the mean logit")
        points = np.stack([strong.x, strong.y, np.ones(2)])
        np.testing.assert_allclose(logit @ points, 0.0, atol=1e-3)
        (heat,) = of(traces, go.Heatmap)
        x, y = np.meshgrid(heat.x, heat.y)
        p = 100 / (1 + np.exp(-(logit[0] * x + logit[1] * y + logit[2])))
        assert np.abs(heat.z - p).max() < 0.51


def test_first_steps_are_lines_of_the_recorded_parameters(plane):
    found = chart(plane, "Logistic regression: the line after each of the first steps")
    count = 0
    for title, traces in panels(found.figure):
        words = dict(word.split("=") for word in title.replace("<br>", " ").split())
        trials = plane.trials[
            (plane.trials[LR] == float(words["lr"])) & (plane.trials["seed"] == int(words["seed"]))
        ]
        curve = plane.curves[plane.curves["trial"] == trials["trial"].iloc[0]].set_index("step")
        for line in (each for each in traces if each.mode == "lines"):
            row = curve.loc[int(line.name.removeprefix("step "))]
            at = row["param.w.0"] * line.x + row["param.w.1"] * line.y + row["param.b"]
            np.testing.assert_allclose(at, 0.0, atol=1e-4)
            count += 1
    assert count >= 11


def test_parameters_that_were_not_kept_leave_the_examples_and_say_so(spiral, line):
    for sweep, words, kind in ((lost(spiral), "Decision regions", go.Heatmap), (lost(line), "Fits", go.Bar)):
        found = next(one for one in task_charts(sweep) if one.title.startswith(words))
        assert found.note.startswith("The examples alone, without a model.")
        assert "keep.params=all" in found.note
        ((_, traces),) = panels(found.figure)
        assert not of(traces, kind)
        assert not of(traces, go.Scatter, "mean of the fits")
        assert sum(len(each.x) for each in of(traces, go.Scatter) if each.mode == "markers") > 0


def test_where_only_the_best_was_kept_it_is_drawn_alone(spiral):
    sweep = again(spiral)
    kept, best = sweep.params, ok_trials(sweep, int(sweep.best()["cell"]))
    sweep.params = lambda trial: (
        kept(trial) if trial in best[:1] else (_ for _ in ()).throw(KeyError("not kept"))
    )
    (found,) = [one for one in task_charts(sweep) if one.title.startswith("Decision regions")]
    ((title, _),) = panels(found.figure)
    assert title
    others = {"model=logistic", "width=2", "width=3"} - {title.split("<br>")[0]}
    assert all(f"{name} (not kept: keep.params=all)" in found.note for name in others)


@pytest.mark.parametrize("name", ["spiral", "line", "plane", "quartic", "field"])
def test_where_all_diverged_nothing_raises(name, request):
    sweep = again(request.getfixturevalue(name))
    sweep.trials["status"] = "diverged"
    found = charts(sweep)
    if name in ("spiral", "line"):
        assert all(one.note for one in found.values())
        assert f"all {SEEDS} seeds diverge" in next(iter(found.values())).note
    if name == "line":
        assert not any(title.startswith("The training loss") for title in found)
    if name in ("quartic", "field"):
        basin = found["Where each descent ends"].figure
        assert [trace.name for trace in basin.data if trace.showlegend] == ["left for infinity"]


@pytest.mark.parametrize("name", ["spiral", "line", "plane", "quartic", "field"])
def test_of_an_unfinished_sweep_what_is_done_is_drawn(name, request):
    sweep = again(request.getfixturevalue(name))
    sweep.trials = sweep.trials.head(1)
    sweep.curves = sweep.curves[sweep.curves["trial"].isin(sweep.trials["trial"])]
    found = charts(sweep)
    for one in found.values():
        assert len(panels(one.figure)) <= 1 or one.title.startswith("Parameters")
    # Everything that the whole sweep has.
    short = [title.split(" by ")[0].split(",")[0] for title in charts(request.getfixturevalue(name))]
    assert {title.split(" by ")[0].split(",")[0] for title in found} == set(short)


def test_other_data_have_no_charts(tmp_path):
    words = ["data=iris", "model=logistic", "steps=2", "record_every=1"]
    assert task_charts(train(tmp_path, *words)) == []


@pytest.mark.parametrize("name", ["spiral", "line", "plane", "quartic", "field"])
def test_charts_are_small_and_leave_colours_of_paper_and_text_to_the_page(name, request):
    found = charts(request.getfixturevalue(name))
    assert found
    for one in found.values():
        assert len(one.figure.to_json()) < 400_000
        layout = one.figure.layout
        assert not any((layout.title.text, layout.paper_bgcolor, layout.plot_bgcolor, layout.font.color))
        assert layout.height >= 300


def test_lines_are_joined_with_gaps():
    found = joined([np.ones((2, 2)), np.zeros((1, 2))])
    np.testing.assert_array_equal(found, [[1, 1], [1, 1], [np.nan, np.nan], [0, 0], [np.nan, np.nan]])
    assert found.dtype == np.float32


def test_long_titles_break_at_spaces_and_underscores():
    figure = panels_module.panels([["loss=sigmoid_cross_entropy lr=1e-05"], ["b"], ["c"]], "x", "y")
    assert figure.layout.annotations[0].text == "loss=sigmoid_cross_<br>entropy lr=1e-05"
    assert figure.layout.xaxis3.matches == "x"
    assert [figure.layout[f"xaxis{i}"].showticklabels for i in ("", 2, 3)] == [False, True, True]
