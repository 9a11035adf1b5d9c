"""Pictures of what models predict: what is drawn is what the tables and the parameters say."""

import numpy as np
import pytest
from matplotlib.collections import LineCollection

import vsweep
from vsweep.analysis import cells as cells_module
from vsweep.analysis import predictions as parameters_module
from vsweep.analysis.decision_boundary import describe_hidden, line_ends
from vsweep.analysis.labels import format_with_error
from vsweep.plots.style import LIGHT
from vsweep.tasks.data.dataset import Dataset

LR, WIDTH = "optimizer.lr", "model.width"
SEEDS = 3


def train(directory, words, **own):
    common = ["tracker=none", "verify=false", f"dir='{directory}'"]
    return vsweep.sweep([*words, *common], quiet=True, **own)


def again(sweep, **own):
    """The same sweep, read anew, to be changed."""
    return vsweep.load(sweep.directory, **own)


def bend():
    """Examples of one feature, in no order, whose truth is known."""
    rng = np.random.default_rng(3)
    x = rng.uniform(2.0, 9.0, 40)
    truth = np.sin(x)
    return Dataset(x[:, None], truth + 0.1 * rng.standard_normal(40), (), ("height",), truth=truth)


def clouds():
    """Two classes over two features of other places and sizes."""
    rng = np.random.default_rng(4)
    y = np.arange(60) % 2
    x = rng.standard_normal((60, 2)) * [0.5, 3.0] + [4.0, -7.0] + y[:, None] * [0.8, 4.0]
    return x, y


@pytest.fixture(scope="module")
def curve(tmp_path_factory):
    """Linear, and MLPs of two widths, of which the highest rate diverges; all parameters kept."""
    words = ["grid.model.name=[linear,mlp]", "grid.model.width=[2,5]", "grid.optimizer.lr=[0.05,0.2,1e6]"]
    more = ["model.init=normal", f"seeds={SEEDS}", "steps=20", "keep.params=all"]
    shown = ["pictures=[fits,{fits:{by:model.width}},regions_of]"]
    with pytest.raises(vsweep.ConfigError, match="regions_of"):
        train(tmp_path_factory.mktemp("none") / "kept", [*words, *more, *shown], data=bend())
    shown = ["pictures=[fits,{fits:{by:model.width}},boundaries]"]
    return train(tmp_path_factory.mktemp("curve") / "kept", [*words, *more, *shown], data=bend())


@pytest.fixture(scope="module", params=["standardized", "softmax"])
def plane(request, tmp_path_factory):
    """Logistic regression on two features; everything recorded and kept; the highest rate diverges."""
    words = ["model=logistic", "model.init=normal", "grid.optimizer.lr=[0.1,0.01,1e5]", f"seeds={SEEDS}"]
    more = ["steps=12", "record_every=1", "record_params=true", "keep.params=all", "diverge_above=20"]
    kind = {
        "standardized": [],
        "softmax": ["loss=softmax_cross_entropy", "data.standardize=false"],
    }[request.param]
    return train(tmp_path_factory.mktemp("plane") / "kept", [*words, *more, *kind], data=clouds())


one_plane = pytest.mark.parametrize("plane", ["standardized"], indirect=True)


def score(sweep, cell, metric):
    """A cell's metric as a title says it, of the seeds that did not diverge."""
    rows = sweep.trials[(sweep.trials["cell"] == cell) & (sweep.trials["status"] == "ok")]
    values = rows[f"final_{metric}"].to_numpy(float)
    error = sweep.cells(metric).set_index("cell").loc[cell, "error"]
    return f"{metric} {format_with_error(values.mean(), error)}"


def ok_trials(sweep, cell):
    found = sweep.trials[(sweep.trials["cell"] == cell) & (sweep.trials["status"] == "ok")]
    return found["trial"].tolist()


def named(axes):
    """The lines of a panel by their names in the legend, and those without one."""
    drawn = {line.get_label(): line for line in axes.lines if not line.get_label().startswith("_")}
    return drawn, [line for line in axes.lines if line.get_label().startswith("_")]


def best_cells(sweep, metric, by):
    cells = sweep.cells(metric)
    return cells.drop_duplicates(by).set_index(by)["cell"]


# fits


def test_fits_are_the_predictions_of_all_seeds_and_their_mean(curve):
    panels = curve.plot.fits(WIDTH).axes
    cells = best_cells(curve, "val_rmse", WIDTH)
    rate = curve.trials.set_index("cell").loc[cells[cells.index.isna()].iloc[0], LR].iloc[0]
    titles = [panel.get_title().splitlines()[0] for panel in panels]
    assert titles == [f"model=linear lr={rate}", "width=2", "width=5"]
    for panel, width in zip(panels, (np.nan, 2, 5), strict=True):
        cell = cells[cells.index.isna()].iloc[0] if np.isnan(width) else cells[width]
        assert panel.get_title().splitlines()[1:] == [score(curve, cell, "val_rmse")]
        drawn, rest = named(panel)
        thin = [drawn["fit of a seed"], *rest]
        x = thin[0].get_xdata()
        expected = {trial: curve.predictor(trial)(x[:, None]) for trial in ok_trials(curve, cell)}
        assert len(thin) == len(expected) == SEEDS
        found = sorted(line.get_ydata().tolist() for line in thin)
        np.testing.assert_allclose(found, sorted(fit.tolist() for fit in expected.values()), rtol=1e-6)
        np.testing.assert_allclose(
            drawn["mean of the fits"].get_ydata(), np.mean(list(expected.values()), axis=0), rtol=1e-6
        )
        assert (panel.get_xlabel(), panel.get_ylabel()) == ("height", "target")


def test_the_truth_rises_along_the_feature_and_examples_are_all_there(curve):
    (panel,) = curve.plot.fits().axes
    data = bend()
    order = np.argsort(data.x[:, 0])
    truth = named(panel)[0]["truth"]
    np.testing.assert_allclose(truth.get_xydata(), np.stack([data.x[order, 0], data.truth[order]], axis=1))
    parts = {each.get_label(): each.get_offsets() for each in panel.collections}
    assert list(parts) == ["training examples", "held-out examples"]
    points = np.concatenate(list(parts.values()))
    np.testing.assert_allclose(sorted(points.tolist()), sorted(np.column_stack([data.x, data.y]).tolist()))
    held_out = sum(next(iter(curve.plan["data"].values()))[part] for part in ("val_rows", "test_rows"))
    assert len(parts["held-out examples"]) == held_out == 12
    assert not panel.collections[1].get_facecolor().size


def test_without_an_axis_the_best_cell_is_drawn(curve):
    (panel,) = curve.plot.fits().axes
    best = curve.best()
    words = f"model={best['model']} width={best[WIDTH]} lr={best[LR]}"
    assert panel.get_title().splitlines() == [words, score(curve, best["cell"], "val_rmse")]


def caption(figure):
    """The title of a figure in one line."""
    return " ".join(figure.get_suptitle().split())


def test_values_of_which_all_seeds_diverged_are_named(curve):
    figure = curve.plot.fits(LR)
    assert [panel.get_title().splitlines()[0] for panel in figure.axes] == ["lr=0.05", "lr=0.2"]
    assert caption(figure).endswith(f"Not shown: lr=1e+06 (all {SEEDS} trials diverge).")


def test_least_squares_are_those_of_the_training_examples(line):
    (panel,) = line.plot.fits().axes
    drawn = named(panel)[0]["least squares"]
    train = line.examples[line.examples["part"] == "train"]
    slope, intercept = np.polyfit(train["x"], train["target"], 1)
    np.testing.assert_allclose(drawn.get_ydata(), slope * drawn.get_xdata() + intercept, rtol=1e-4, atol=1e-6)
    assert drawn.get_linestyle() == "--"


def test_seeds_that_were_not_kept_are_left_out_and_named(curve):
    few = again(curve, data=bend())
    kept, lost = few.params, ok_trials(few, few.best()["cell"])[:1]

    def params(trial):
        if trial in lost:
            raise KeyError("not kept")
        return kept(trial)

    few.params = params
    (panel,) = few.plot.fits().axes
    assert panel.get_title().splitlines()[2] == f"{SEEDS - 1} of {SEEDS} seeds kept"
    drawn, rest = named(panel)
    assert len([drawn["fit of a seed"], *rest]) == SEEDS - 1
    lost += few.trials["trial"].tolist()
    best = f"model={few.best()['model']} width={few.best()[WIDTH]} lr={few.best()[LR]}"
    figure = few.plot.fits(WIDTH)
    assert caption(figure).endswith(
        "No model can be drawn, so the examples stand alone."
        f" Not shown: {best} (parameters not kept; use keep.params=all)."
    )
    assert list(named(figure.axes[0])[0]) == ["truth"]


def test_where_everything_diverged_a_picture_says_so(curve, spiral):
    for sweep, name, arguments in (
        (again(curve, data=bend()), "fits", ()),
        (again(spiral), "regions", (LR,)),
    ):
        sweep.trials["status"] = "diverged"
        figure = getattr(sweep.plot, name)(*arguments)
        seeds = len(sweep.trials["seed"].unique())
        assert caption(figure).endswith(f"(all {seeds} trials diverge).")
        (panel,) = figure.axes
        assert not panel.images
        assert len(panel.collections) > 1


def test_of_many_values_both_ends_are_chosen(curve, monkeypatch):
    monkeypatch.setattr(cells_module, "MOST_PANELS", 2)
    rows = cells_module.best_by(curve.trials, "val_loss", LR)
    assert [name for name, _ in rows] == ["lr=0.05", "lr=1e+06"]
    monkeypatch.undo()
    assert [name for name, _ in cells_module.best_by(curve.trials, "val_loss", LR)][1] == "lr=0.2"


def test_one_seed_has_a_fit_and_the_error_of_the_examples(curve):
    sweep = again(curve, data=bend())
    sweep.trials = sweep.trials[sweep.trials["status"] == "ok"].head(1)
    (panel,) = sweep.plot.fits().axes
    assert list(named(panel)[0]) == ["truth", "fit"]
    value, error = sweep.trials["final_val_rmse"].iloc[0], sweep.cells()["examples_sem"].iloc[0]
    assert panel.get_title().splitlines()[1:] == [f"val_rmse {format_with_error(value, error)}"]


# regions


def test_regions_are_the_predictions_of_the_best_seed(spiral):
    figure = spiral.plot.regions(WIDTH)
    cells = best_cells(spiral, "val_accuracy", WIDTH)
    rate = spiral.trials.set_index("cell").loc[cells[cells.index.isna()].iloc[0], LR].iloc[0]
    titles = [a.get_title().splitlines()[0] for a in figure.axes]
    assert titles == [f"model=logistic lr={rate:g}", "width=2", "width=3"]
    for panel, cell in zip(figure.axes, cells[[np.nan, 2, 3]], strict=True):
        rows = spiral.trials[spiral.trials["cell"] == cell]
        best = rows["trial"].to_numpy()[rows["final_val_accuracy"].to_numpy(float).argmax()]
        image = panel.images[0]
        assert image.origin == "lower"
        left, right, low, high = image.get_extent()
        places = image.get_array()
        x, y = np.linspace(left, right, places.shape[1]), np.linspace(low, high, places.shape[0])
        points = np.stack([each.ravel() for each in np.meshgrid(x, y)], axis=1)
        expected = spiral.predictor(best)(points).reshape(places.shape)
        np.testing.assert_array_equal(np.asarray(["arm 0", "arm 1", "arm 2"])[places], expected)
        assert len(np.unique(expected)) > 1
        assert panel.get_title().splitlines()[1:] == [score(spiral, cell, "val_accuracy")]


def test_examples_lie_on_regions_hollow_where_held_out(spiral):
    panel = spiral.plot.regions("model").axes[0]
    examples = spiral.examples
    drawn = [each for each in panel.collections if len(each.get_offsets())]
    assert len(drawn) == 6
    for i, each in enumerate(drawn):
        is_train = examples["part"].eq("train") == (i < 3)
        expected = examples.loc[is_train & (examples["target"] == i % 3), ["x0", "x1"]]
        np.testing.assert_allclose(each.get_offsets(), expected)
        assert bool(each.get_facecolor().size) == (i < 3)
    shapes = {each.get_paths()[0].vertices.tobytes() for each in drawn[:3]}
    assert len(shapes) == 3
    assert shapes == {each.get_paths()[0].vertices.tobytes() for each in drawn[3:]}
    drawn_in = {tuple(each.get_facecolor()[0]) for each in drawn[:3]}
    palette = panel.images[0].get_cmap()(np.arange(3) / 2)
    assert drawn_in == {tuple(color) for color in palette}
    assert (panel.get_xlabel(), panel.get_ylabel()) == ("x0", "x1")
    names = [text.get_text() for text in panel.figure.legends[0].get_texts()]
    assert names == ["arm 0", "arm 1", "arm 2", "held out"]


def test_regions_that_were_not_kept_are_named(spiral):
    sweep = again(spiral)
    sweep.params = lambda trial: (_ for _ in ()).throw(KeyError("not kept"))
    figure = sweep.plot.regions(WIDTH)
    assert "(parameters not kept; use keep.params=all)" in caption(figure)
    assert not figure.axes[0].images


# boundaries


def logit(sweep, trial, points):
    """The logit of the second class, by the predictor."""
    outputs = sweep.predictor(trial).outputs(points)
    return outputs[:, -1] - (outputs[:, 0] if outputs.shape[1] == 2 else 0.0)


def slope(sweep, trial):
    """How fast the logit changes, to say what counts as 0."""
    steps = np.asarray([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    return np.abs(np.diff(logit(sweep, trial, steps))).max()


def faint(panel):
    found = [each for each in panel.collections if isinstance(each, LineCollection)]
    return np.asarray(found[0].get_segments()) if found else np.zeros((0, 2, 2))


def test_the_lines_are_where_the_logit_of_a_seed_is_0(plane):
    cells, panels = plane.cells(), plane.plot.boundaries().axes[:2]
    assert cells["diverged"].iloc[-1] == SEEDS
    for panel, cell in zip(panels, (cells["cell"].iloc[0], cells["cell"].iloc[-1]), strict=True):
        trials = plane.trials.loc[plane.trials["cell"] == cell, "trial"].tolist()
        outside = [line for line in panel.get_title().splitlines() if line.startswith("line outside: ")]
        segments, of = faint(panel), set()
        for segment in segments:
            # Each is the line of one of the seeds: there both of its ends have the logit 0.
            off = [np.abs(logit(plane, trial, segment)).max() / slope(plane, trial) for trial in trials]
            assert min(off) < 1e-4
            assert np.linalg.norm(segment[1] - segment[0]) > 0.1
            of.add(int(np.argmin(off)))
        assert len(of) == len(segments) == SEEDS - sum(int(line.split()[2]) for line in outside) > 0


def test_the_strong_line_is_of_the_mean_logit_and_so_is_the_shade(plane):
    panel = plane.plot.boundaries().axes[0]
    trials = ok_trials(plane, plane.best()["cell"])
    end = named(panel)[0]["line of the mean logit"].get_xydata()
    mean = np.mean([logit(plane, trial, end) for trial in trials], axis=0)
    assert np.abs(mean).max() < 1e-4 * max(slope(plane, trial) for trial in trials)
    image = panel.images[0]
    assert image.origin == "lower"
    left, right, low, high = image.get_extent()
    corners = np.asarray([[left, low], [right, low], [left, high], [right, high]])
    expected = 1.0 / (1.0 + np.exp(-np.mean([logit(plane, trial, corners) for trial in trials], axis=0)))
    p = image.get_array()
    np.testing.assert_allclose([p[0, 0], p[0, -1], p[-1, 0], p[-1, -1]], expected, rtol=1e-3, atol=1e-6)


@one_plane
def test_titles_name_the_best_and_the_last_cell(plane):
    best, last = (panel.get_title().splitlines() for panel in plane.plot.boundaries().axes[:2])
    cells = plane.cells()
    assert best[:2] == [f"best: lr={cells[LR].iloc[0]}", score(plane, cells["cell"].iloc[0], "val_accuracy")]
    assert last[:2] == [f"last of {len(cells)}: lr=1e+05", f"all {SEEDS} trials diverge"]
    values = plane.trials.loc[plane.trials["cell"] == cells["cell"].iloc[-1], "final_val_accuracy"]
    assert last[2] == f"val_accuracy at their end {values.mean():.4g}"


def test_recorded_parameters_do_where_none_were_kept(plane):
    recorded, kept = again(plane), again(plane)
    recorded.params = lambda trial: (_ for _ in ()).throw(KeyError("not kept"))
    kept.trials = kept.trials.drop(columns=[name for name in kept.trials if "param." in name])
    for one, other in zip(recorded.plot.boundaries().axes, kept.plot.boundaries().axes, strict=True):
        np.testing.assert_allclose(faint(one), faint(other), rtol=1e-5)
    kept.params = recorded.params
    with pytest.raises(KeyError, match=r"keep\.params=all or record_params=true"):
        kept.plot.boundaries()


@one_plane
def test_parameters_that_are_not_finite_are_said_to_be_so(plane):
    sweep = again(plane)
    sweep.trials = sweep.trials.drop(columns=[name for name in sweep.trials if "param." in name])
    original, last = sweep.params, sweep.cells()["cell"].iloc[-1]
    gone = sweep.trials.loc[sweep.trials["cell"] == last, "trial"].tolist()

    def params(trial):
        return {name: leaf * (np.nan if trial in gone else 1.0) for name, leaf in original(trial).items()}

    sweep.params = params
    best, panel = sweep.plot.boundaries().axes[:2]
    assert panel.get_title().splitlines()[-1] == f"not finite: {SEEDS} of {SEEDS} seeds"
    assert not panel.lines
    assert not panel.images
    assert best.images
    gone.pop()
    panel = sweep.plot.boundaries().axes[1]
    assert f"not finite: {SEEDS - 1} of {SEEDS} seeds" in panel.get_title()
    assert panel.images


def test_a_line_ends_where_it_leaves_what_is_shown():
    limits = ((0.0, 4.0), (-1.0, 1.0))
    np.testing.assert_allclose(line_ends(np.asarray([1.0, 0.0, -3.0]), limits), [[3, -1], [3, 1]])
    np.testing.assert_allclose(line_ends(np.asarray([0.0, 2.0, -1.0]), limits), [[0, 0.5], [4, 0.5]])
    np.testing.assert_allclose(line_ends(np.asarray([1.0, -2.0, -2.0]), limits), [[0, -1], [4, 1]])
    for nowhere in ([1.0, 0.0, -5.0], [0.0, 0.0, 0.0], [0.0, 0.0, 1.0], [np.nan, 1.0, 0.0]):
        assert line_ends(np.asarray(nowhere), limits) is None
    logits = np.asarray([[0, 0, 0], [1, 0, -5], [1, 0, -6], [1, 0, -3], [np.inf, 0, 0], [1, 0, -7.0]])
    assert describe_hidden(logits, limits, "step") == [
        "not finite: 1 of 6 steps",
        "no line, all weights 0: 1 of 6 steps",
        "line outside: 3 of 6 steps",
    ]
    assert describe_hidden(logits[3:4], limits, "step") == []


# first_steps


def test_first_steps_are_the_recorded_lines_of_a_trial_for_each_rate(plane):
    figure = plane.plot.first_steps(4)
    *panels, bar = figure.axes
    rates = [panel.get_title().split()[0] for panel in panels]
    assert rates == ["lr=0.01", "lr=0.1", "lr=1e+05"]
    assert bar.get_ylabel() == "step"
    data = next(iter(plane.plan["data"].values()))
    for panel in panels:
        words = panel.get_title().splitlines()[0].replace("=", " ").split()
        trials = plane.trials[(plane.trials[LR] == float(words[1])) & (plane.trials["seed"] == int(words[3]))]
        curve = plane.curves[plane.curves["trial"] == trials["trial"].iloc[0]].set_index("step").astype(float)
        seen = []
        for line in panel.lines:
            z = (line.get_xydata() - data["mean"]) / data["std"]
            off = [logit_of(curve.loc[step], z) for step in range(5)]
            assert min(off) < 1e-9
            seen.append(int(np.argmin(off)))
        left_out = [line for line in panel.get_title().splitlines() if line.startswith("line outside: ")]
        assert seen == sorted(set(seen)) != []
        assert (len(seen) < 5) == bool(left_out)
        drawn = [line.get_color() for line in panel.lines]
        np.testing.assert_allclose(drawn, LIGHT.colors(range(5))[seen])


def logit_of(row, z):
    """The largest logit of recorded parameters at standardized points, relative to the weights."""
    if "param.w.0.0" in row:
        w = np.asarray([row[f"param.w.1.{i}"] - row[f"param.w.0.{i}"] for i in (0, 1)])
        b = row["param.b.1"] - row["param.b.0"]
    else:
        w, b = np.asarray([row["param.w.0"], row["param.w.1"]]), row["param.b"]
    return np.abs(z @ w + b).max() / np.abs(w).max()


def test_the_trial_of_a_rate_is_the_best_seed(plane):
    for panel in plane.plot.first_steps(1).axes[:2]:
        words = panel.get_title().splitlines()[0].replace("=", " ").split()
        rows = plane.trials[plane.trials[LR] == float(words[1])].set_index("seed")
        values = rows["final_val_accuracy"].astype(float).where(rows["status"] == "ok")
        assert values[int(words[3])] == values.max()


@one_plane
def test_steps_that_were_not_recorded_are_an_error(plane):
    sweep = again(plane)
    sweep.curves = plane.curves[plane.curves["step"] % 2 == 0]
    with pytest.raises(KeyError, match=r"record_params=true and record_every=1"):
        sweep.plot.first_steps()
    sweep.curves = plane.curves[["trial", "step", "train_loss"]]
    with pytest.raises(KeyError, match=r"record_params=true and record_every=1"):
        sweep.plot.first_steps()


# parameters


def test_parameters_are_the_curves_of_trials_that_did_not_diverge(line):
    figure = line.plot.parameters()
    ok = line.trials[line.trials["status"] == "ok"]
    assert 0 < len(ok) < len(line.trials)
    assert {panel.get_title() for panel in figure.axes} == {"w", "b"}
    for panel in figure.axes:
        name = panel.get_title()
        wide = line.curves.pivot(index="step", columns="trial", values=f"param.{name}").astype(float)
        wide = wide[ok["trial"]]
        segments = faint(panel)
        np.testing.assert_allclose(segments[:, :, 0], np.tile(wide.index, (len(ok), 1)))
        np.testing.assert_allclose(segments[:, :, 1], wide.to_numpy().T)
        drawn = named(panel)[0]
        np.testing.assert_allclose(drawn["mean of the trials"].get_ydata(), wide.mean(axis=1))
        known = drawn["least squares"].get_ydata()
        np.testing.assert_allclose(known, ok[f"least_squares_{name}"].iloc[0])
        assert panel.get_xlabel() == "step"
    text = f"{len(ok)} trials; {len(line.trials) - len(ok)} more diverged"
    assert text in caption(figure)
    assert "standardized" not in caption(figure)


def test_of_many_trials_some_are_drawn_and_the_mean_is_of_all(line, monkeypatch):
    monkeypatch.setattr(parameters_module, "_MOST_TRIALS", 2)
    figures = [line.plot.parameters() for _ in range(2)]
    ok = line.trials.loc[line.trials["status"] == "ok", "trial"]
    assert f"2 of {len(ok)} trials, drawn at random" in caption(figures[0])
    for panels in zip(*(figure.axes for figure in figures), strict=True):
        assert len(faint(panels[0])) == 2
        np.testing.assert_array_equal(faint(panels[0]), faint(panels[1]))
        curves = line.curves[line.curves["trial"].isin(ok)].astype(float)
        mean = curves.groupby("step")[f"param.{panels[0].get_title()}"].mean()
        np.testing.assert_allclose(named(panels[0])[0]["mean of the trials"].get_ydata(), mean)


@one_plane
def test_of_many_parameters_the_first_are_drawn(plane, monkeypatch):
    monkeypatch.setattr(parameters_module, "_MOST_PARAMETERS", 2)
    figure = plane.plot.parameters()
    names = [name.removeprefix("param.") for name in plane.curves if name.startswith("param.")]
    assert [panel.get_title() for panel in figure.axes] == names[:2]
    assert f"The first 2 of {len(names)} parameters" in caption(figure)
    assert "The parameters are those of standardized features." in caption(figure)


def test_the_coordinates_of_a_function_are_parameters(field):
    figure = field.plot.parameters()
    assert [panel.get_title() for panel in figure.axes] == ["x", "y"]
    assert "standardized" not in figure.get_suptitle()
    for panel in figure.axes:
        expected = field.curves[f"param.{panel.get_title()}"].to_numpy(float).reshape(len(field.trials), -1)
        np.testing.assert_allclose(faint(panel)[:, :, 1], expected)
    with pytest.raises(KeyError, match=r"fits shows numbers over 1 feature, .* numbers over 0 features"):
        field.plot.fits()


def test_parameters_of_which_all_trials_diverged_say_so(line):
    sweep = again(line)
    sweep.trials["status"] = "diverged"
    figure = sweep.plot.parameters()
    assert f"All {len(line.trials)} trials diverged" in figure.get_suptitle()
    assert not any(len(faint(panel)) for panel in figure.axes)


# Sweeps that have no such pictures.


@one_plane
def test_data_that_a_picture_cannot_show_are_told(curve, spiral, line, plane):
    with pytest.raises(
        KeyError, match=r"boundaries shows two classes over 2 features, .* are 3 classes over 2"
    ):
        spiral.plot.boundaries()
    with pytest.raises(
        KeyError, match=r"first_steps shows two classes over 2 features, .* numbers over 1 feature"
    ):
        line.plot.first_steps()
    with pytest.raises(KeyError, match=r"regions shows classes over 2 features, .* numbers over 1 feature"):
        curve.plot.regions(WIDTH)
    with pytest.raises(KeyError, match=r"no parameters were recorded: .*record_params=true"):
        curve.plot.parameters()
    with pytest.raises(
        KeyError, match=r"no axis 'model\.depth': the axes are model, model\.width, optimizer\.lr"
    ):
        spiral.plot.regions("model.depth")
    several, other = again(spiral), again(plane)
    several.plan["data"] |= {"more": next(iter(several.plan["data"].values()))}
    with pytest.raises(KeyError, match="regions shows one data set, and this sweep has 2"):
        several.plot.regions("model")
    other.config["model"]["name"] = "mlp"
    with pytest.raises(KeyError, match="boundaries shows model=logistic, and this sweep has none"):
        other.plot.boundaries()


def test_a_sweep_makes_them_at_its_end(curve):
    # Read anew: they are noted after it was read to be drawn.
    made = again(curve).plan["pictures"]
    assert made["fits.png"] == made["fits-model.width.png"] == ""
    assert made["boundaries.png"].startswith("boundaries shows two classes over 2 features")
    for name in ("fits.png", "fits-model.width.png"):
        assert (curve.directory / "pictures" / name).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


@one_plane
def test_pictures_are_written(plane, spiral, line, tmp_path):
    for i, draw in enumerate(
        (
            plane.plot.boundaries,
            plane.plot.first_steps,
            line.plot.parameters,
            lambda path: spiral.plot.regions(WIDTH, path),
        )
    ):
        draw(path=tmp_path / f"{i}.png")
        assert (tmp_path / f"{i}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
