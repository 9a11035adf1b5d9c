"""The pictures of a sweep's task in a report, and the data behind them against the tables and parameters."""

from base64 import b64decode
from functools import cache
from io import BytesIO

import numpy as np
import pytest
from PIL import Image

import vsweep
from vsweep.analysis.basins import basins_of
from vsweep.analysis.decision_boundary import boundaries_of, first_steps_of
from vsweep.analysis.minima import ending_labels
from vsweep.analysis.predictions import fits_of, parameter_curves, regions_of
from vsweep.analysis.trajectories import (
    ELSEWHERE,
    MINIMUM,
    OUTSIDE,
    Descent,
    descents_of,
    inside,
    loss_surface_of,
    surface_of,
)
from vsweep.plots.style import draw
from vsweep.plots.task import TASK_PICTURES
from vsweep.reports.task_section import task_sections

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


@cache
def pictures(sweep):
    """The pictures of a sweep's report by title; drawn once."""
    (section,) = task_sections(sweep)
    assert section.sentences == []
    return {picture.title: picture for picture in section.blocks}


def drawn(sweep):
    """The titles and captions of the pictures of a sweep, each drawn but not encoded."""
    captions = {}
    for name, picture in TASK_PICTURES.items():
        by = {"by": WIDTH if name == "regions" else LR} if name in ("regions", "fits") else {}
        try:
            data = picture.data(sweep, **by)
        except KeyError:
            continue
        assert draw(picture.render, data).axes
        captions[data.title] = data.caption
    return captions


def pixels(address):
    """An image as an array, `(height, width, 3)`."""
    kind, _, data = address.partition(",")
    assert kind == "data:image/png;base64"
    return np.asarray(Image.open(BytesIO(b64decode(data))).convert("RGB"))


def best_cell(sweep, axis, value):
    cells = sweep.cells()
    rows = cells[cells[axis].isna() if value is None else cells[axis] == value]
    return int(rows["cell"].iloc[0])


def ok_trials(sweep, cell):
    rows = sweep.trials[(sweep.trials["cell"] == cell) & (sweep.trials["status"] == "ok")]
    return rows["trial"].tolist()


def test_a_region_is_the_class_that_the_best_seed_predicts(spiral):
    regions = regions_of(spiral, WIDTH)
    assert [panel.title[0] for panel in regions.panels] == ["model=logistic lr=0.1", "width=2", "width=3"]
    (left, right), (low, high) = regions.examples.limits
    for panel, width in zip(regions.panels, (None, 2, 3), strict=True):
        cell = best_cell(spiral, WIDTH, width)
        rows = spiral.trials[spiral.trials["cell"] == cell]
        best = rows["trial"].to_numpy()[rows["final_val_accuracy"].to_numpy(float).argmax()]
        rows_up, columns = panel.classes.shape
        x, y = np.meshgrid(np.linspace(left, right, columns), np.linspace(low, high, rows_up))
        expected = spiral.predictor(int(best))(np.stack([x.ravel(), y.ravel()], axis=1))
        names = np.asarray(["arm 0", "arm 1", "arm 2"])
        np.testing.assert_array_equal(names[panel.classes].ravel(), expected)
        assert len(np.unique(panel.classes)) > 1
        assert panel.title[1].startswith(f"val_accuracy {rows['final_val_accuracy'].mean():#.4g}")


def test_a_picture_says_what_it_shows(spiral):
    picture = pictures(spiral)["Decision regions by model.width"]
    assert picture.note == (
        "The best cell for each model.width by val_accuracy, mean ± standard error over seeds and held-out "
        "examples. The regions are those of its best seed."
    )
    assert picture.alt.startswith("Decision regions by model.width: model=logistic lr=0.1 val_accuracy ")
    assert "; width=3 val_accuracy " in picture.alt


def test_fits_are_those_of_the_seeds_and_their_least_squares(line):
    fits = fits_of(line, LR)
    assert [panel.title[0] for panel in fits.panels] == ["lr=0.03", "lr=0.1"]
    assert f"lr=1e+06 (all {SEEDS} trials diverge)" in fits.caption
    slope, intercept = np.polyfit(*line.examples.query("part == 'train'")[["x", "target"]].to_numpy().T, 1)
    for panel, rate in zip(fits.panels, (0.03, 0.1), strict=True):
        trials = ok_trials(line, best_cell(line, LR, rate))
        expected = [line.predictor(trial)(panel.x[:, None]) for trial in trials]
        np.testing.assert_allclose(np.sort(panel.fits, axis=0), np.sort(expected, axis=0), rtol=1e-6)
        np.testing.assert_allclose(panel.least_squares, slope * panel.x + intercept, rtol=1e-4, atol=1e-6)


def test_each_picture_that_a_config_asks_for_is_one_of_its_part(line):
    titles = list(pictures(line))
    assert titles[:2] == ["Fits by optimizer.lr", "Fits by optimizer.lr, only optimizer.lr=0.1"]
    assert pictures(line)[titles[1]].alt.startswith(f"{titles[1]}: lr=0.1 ")


def test_paths_on_a_line_are_the_recorded_ones(quartic):
    descents = descents_of(quartic)
    assert [panel.title for panel in descents.panels] == [
        ["lr=0.0001"],
        ["lr=0.001"],
        ["lr=0.01"],
        ["lr=0.1"],
    ]
    assert "A point every 10 steps" in descents.caption
    for panel, rate in zip(descents.panels, (1e-4, 1e-3, 1e-2, 0.1), strict=True):
        own = quartic.trials[quartic.trials[LR] == rate]
        (x,) = panel.grid
        np.testing.assert_allclose(panel.heights, 2 * x**4 - 3 * x**3 - 9 * x**2 + 4 * x + 3, atol=1e-9)
        assert len(panel.descents) == 9
        (low, high), outside = panel.limits[0], 0
        for descent in panel.descents:
            (trial,) = own.loc[np.isclose(own["model.x"], descent.points[0, 0]), "trial"]
            recorded = quartic.curves[quartic.curves["trial"] == trial].iloc[: len(descent.points)]
            np.testing.assert_array_equal(descent.points[:, 0], recorded["param.x"])
            np.testing.assert_allclose(descent.heights, recorded["train_loss"], rtol=1e-3, atol=1e-3)
            shown = quartic.curves.loc[quartic.curves["trial"] == trial, "param.x"]
            assert (descent.end == OUTSIDE) == (not shown.between(low, high).all())
            outside += descent.end == OUTSIDE
        assert outside > 0 or rate < 0.1


def test_a_path_is_drawn_to_where_it_leaves():
    points = np.asarray([[0.0, 0.0], [0.5, 0.5], [0.9, 0.9], [2.0, 0.9], [0.9, 0.9]])
    path = Descent(points, MINIMUM)
    kept = inside(path, [(-1.0, 1.0), (-1.0, 1.0)])
    np.testing.assert_array_equal(kept.points, points[:3])
    assert kept.end == OUTSIDE
    kept = inside(path, [(-3.0, 3.0), (-3.0, 3.0)])
    np.testing.assert_array_equal(kept.points, points)
    assert kept.end == MINIMUM
    assert inside(path._replace(end=ELSEWHERE), [(-3.0, 3.0), (-3.0, 3.0)]).end == ELSEWHERE


def test_paths_on_a_plane_and_on_its_surface_are_the_recorded_ones(field):
    def height(x, y):
        return np.arctan(x) ** 2 + np.sin(y) ** 2

    descents = descents_of(field)
    assert [panel.title for panel in descents.panels] == [["lr=0.05"], ["lr=0.5"]]
    (surface,) = surface_of(field).panels
    for panel, rate in zip([*descents.panels, surface], (0.05, 0.5, None), strict=True):
        rate = float(surface.title[0].removeprefix("lr=")) if rate is None else rate
        own = field.trials.loc[field.trials[LR] == rate, "trial"]
        recorded = field.curves[field.curves["trial"].isin(own)]
        table = set(map(tuple, recorded[["param.x", "param.y"]].to_numpy(np.float64)))
        np.testing.assert_allclose(panel.heights, height(*np.meshgrid(*panel.grid)), atol=1e-9)
        assert len(panel.descents) == 6
        for descent in panel.descents:
            assert set(map(tuple, descent.points)) <= table
            assert len(descent.points) == 61
    for descent in surface.descents:
        np.testing.assert_allclose(descent.heights, height(*descent.points.T), atol=1e-9)


@pytest.mark.parametrize("name", ["quartic", "field"])
def test_a_tile_of_a_basin_says_where_its_trial_ended(name, request):
    sweep = request.getfixturevalue(name)
    basins = basins_of(sweep)
    ended = sweep.trials.assign(ended=ending_labels)
    assert len(basins.panels) == (1 if name == "quartic" else 2)
    tiles = 0
    for panel in basins.panels:
        for (row, column), place in np.ndenumerate(panel.places):
            first, second = panel.x[column], panel.y[row]
            if name == "quartic":
                part = ended[np.isclose(ended[LR], second)]
            else:
                rate = float(panel.title[0].removeprefix("lr="))
                part = ended[np.isclose(ended["model.y"], second) & (ended[LR] == rate)]
            (expected,) = part.loc[np.isclose(part["model.x"], first), "ended"]
            assert basins.places[int(place)].removeprefix("minimum ") == expected
            tiles += 1
    assert tiles == len(sweep.trials)


def test_descents_on_a_line_s_loss_are_the_recorded_ones(line):
    (panel,) = loss_surface_of(line).panels
    np.testing.assert_allclose(
        panel.best, line.trials[["least_squares_b", "least_squares_w"]].iloc[0].to_numpy(float)
    )
    assert [descent.label for descent in panel.descents] == ["lr=0.1", "lr=0.03"]
    for descent, rate in zip(panel.descents, (0.1, 0.03), strict=True):
        trial = line.trials.loc[line.trials[LR] == rate, "trial"].iloc[0]
        curve = line.curves[line.curves["trial"] == trial]
        np.testing.assert_array_equal(descent.points, curve[["param.b", "param.w"]])


def test_parameters_are_those_of_the_trials_that_did_not_diverge(line):
    curves = parameter_curves(line)
    ok = line.trials.loc[line.trials["status"] == "ok", "trial"]
    assert f"{len(ok)} trials; {SEEDS} more diverged" in curves.caption
    for panel in curves.panels:
        wide = line.curves.pivot(index="step", columns="trial", values=f"param.{panel.title[0]}")[ok]
        np.testing.assert_array_equal([trial[:, 1] for trial in panel.trials], wide.to_numpy().T)
        np.testing.assert_allclose(panel.mean, wide.astype(float).mean(axis=1), rtol=1e-6)


def test_boundaries_are_where_the_probability_is_a_half(plane):
    boundaries = boundaries_of(plane)
    assert [panel.title[0].split(":")[0] for panel in boundaries.panels] == ["best", "last of 2"]
    cells = plane.cells()["cell"]
    (left, right), (low, high) = boundaries.examples.limits
    for panel, cell in zip(boundaries.panels, (cells.iloc[0], cells.iloc[-1]), strict=True):
        rows = plane.trials[plane.trials["cell"] == cell]
        logit = rows[["final_param.w.0", "final_param.w.1", "final_param.b"]].to_numpy(float).mean(axis=0)
        points = np.stack([*panel.strong.T, np.ones(2)])
        np.testing.assert_allclose(logit @ points, 0.0, atol=1e-3)
        up, across = panel.probability.shape
        x, y = np.meshgrid(np.linspace(left, right, across), np.linspace(low, high, up))
        expected = 1 / (1 + np.exp(-(logit[0] * x + logit[1] * y + logit[2])))
        np.testing.assert_allclose(panel.probability, expected, atol=1e-4)


def test_first_steps_are_lines_of_the_recorded_parameters(plane):
    count = 0
    for panel in first_steps_of(plane).panels:
        words = dict(word.split("=") for word in panel.title[0].split())
        trials = plane.trials[
            (plane.trials[LR] == float(words["lr"])) & (plane.trials["seed"] == int(words["seed"]))
        ]
        curve = plane.curves[plane.curves["trial"] == trials["trial"].iloc[0]].set_index("step")
        for step, ends in enumerate(panel.ends):
            if ends is None:
                continue
            row = curve.loc[step]
            at = row["param.w.0"] * ends[:, 0] + row["param.w.1"] * ends[:, 1] + row["param.b"]
            np.testing.assert_allclose(at, 0.0, atol=1e-4)
            count += 1
    assert count >= 11


def test_parameters_that_were_not_kept_leave_the_examples_and_say_so(spiral, line):
    for sweep, data in ((lost(spiral), regions_of), (lost(line), fits_of)):
        shown = data(sweep, WIDTH if data is regions_of else LR)
        assert shown.caption.startswith("No model can be drawn, so the examples stand alone.")
        assert "keep.params=all" in shown.caption
        (panel,) = shown.panels
        assert panel.title == []
        assert not (panel.fits if data is fits_of else panel.classes is not None)
    assert "Fits" in drawn(lost(line))


def test_where_only_the_best_was_kept_it_is_drawn_alone(spiral):
    sweep = again(spiral)
    kept, best = sweep.params, ok_trials(sweep, int(sweep.best()["cell"]))
    sweep.params = lambda trial: (
        kept(trial) if trial in best[:1] else (_ for _ in ()).throw(KeyError("not kept"))
    )
    regions = regions_of(sweep, WIDTH)
    assert len(regions.panels) == 1
    others = {"model=logistic lr=0.1", "width=2", "width=3"} - {regions.panels[0].title[0]}
    assert all(f"{name} (parameters not kept; use keep.params=all)" in regions.caption for name in others)


@pytest.mark.parametrize("name", ["spiral", "line", "plane", "quartic", "field"])
def test_where_all_diverged_nothing_raises(name, request):
    sweep = again(request.getfixturevalue(name))
    sweep.trials["status"] = "diverged"
    found = drawn(sweep)
    if name in ("spiral", "line"):
        assert f"all {SEEDS} trials diverge" in next(iter(found.values()))
    if name == "line":
        assert not any(title.startswith("The training loss") for title in found)
    if name in ("quartic", "field"):
        assert "Where each descent ends" in found
        assert basins_of(sweep).places == ["went to infinity"]


@pytest.mark.parametrize("name", ["spiral", "line", "plane", "quartic", "field"])
def test_an_unfinished_sweep_has_the_same_pictures_of_what_is_done(name, request):
    whole, part = request.getfixturevalue(name), again(request.getfixturevalue(name))
    part.trials = part.trials.head(1)
    part.curves = part.curves[part.curves["trial"].isin(part.trials["trial"])]
    names = [{title.split(" by ")[0] for title in drawn(sweep)} for sweep in (whole, part)]
    assert names[0] == names[1]


def test_a_picture_that_fails_is_named(field):
    sweep = again(field)
    sweep.curves = sweep.curves.drop(columns="step")
    (section,) = task_sections(sweep)
    assert any("paths cannot be drawn (" in sentence for sentence in section.sentences)


def test_other_data_have_no_pictures(small):
    assert task_sections(small) == []


_TAIL = [pytest.param(name, marks=pytest.mark.tail) for name in ("plane", "quartic", "field")]


@pytest.mark.parametrize("name", ["spiral", "line", *_TAIL])
def test_pictures_are_small_and_have_the_colors_of_both_pages(name, request):
    for picture in pictures(request.getfixturevalue(name)).values():
        images = picture.images
        light, dark = pixels(images.light), pixels(images.dark)
        assert light.shape[1] / light.shape[0] == pytest.approx(images.width / images.height, rel=0.01)
        # An image has more than a pixel for each of the page's, and its border is in the page's color.
        assert light.shape[1] > 1.4 * images.width
        for image, paper in ((light, [0xFF, 0xFF, 0xFF]), (dark, [0x11, 0x14, 0x18])):
            assert (image[[0, -1]] == paper).all()
            assert (image[:, [0, -1]] == paper).all()
        assert len(images.light) + len(images.dark) < 400_000
        # Text is dark on light and light on dark.
        assert light.min() < 60
        assert dark.max() > 200
