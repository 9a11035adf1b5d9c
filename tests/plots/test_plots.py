"""Heat maps and curves as files for papers, from the data that the report shows by Plotly."""

import shutil

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from report_helpers import made_up

import vsweep
from vsweep.analysis.convergence import CurveLine, Curves, curves_by
from vsweep.analysis.marginals import heat_map
from vsweep.figures import requested_pictures, write_pictures
from vsweep.metrics import default_metric
from vsweep.plots.style import LIGHT, PAGE_DARK, draw, grid_shape
from vsweep.plots.tables import draw_curves, draw_heat_map

LR, WIDTH = "optimizer.lr", "model.width"


def heat_map_figure(sweep, x, y, metric=None, style=LIGHT):
    metric = metric or default_metric(sweep.trials)
    return draw(draw_heat_map, heat_map(sweep.trials, sweep.cells(metric), x, y, metric), style)


def curves_figure(sweep, by, metric=None):
    return draw(
        draw_curves, curves_by(sweep.trials, sweep.curves, metric or default_metric(sweep.trials), by)
    )


def tiles(figure):
    """The picture's values, and the text of each tile by (column, row)."""
    axes = figure.axes[0]
    texts = {tuple(map(round, text.get_position())): text.get_text() for text in axes.texts}
    return np.ma.filled(axes.images[0].get_array().astype(float), np.nan), texts


@pytest.mark.parametrize(
    ("count", "shape"),
    [(1, (1, 1)), (2, (1, 2)), (4, (2, 2)), (5, (2, 3)), (7, (2, 4)), (8, (2, 4)), (9, (3, 3)), (12, (4, 3))],
)
def test_panels_leave_few_gaps(count, shape):
    assert grid_shape(count) == shape


def test_a_heat_map_of_all_axes_has_no_others(tmp_path):
    axes = {LR: [0.1, 1.0], WIDTH: [4, 8]}
    two = made_up(tmp_path / "two", axes, lambda row: row["cell"] / 9)
    assert heat_map_figure(two, LR, WIDTH).get_suptitle() == "val_accuracy at the last step"
    three = made_up(tmp_path / "three", {**axes, "model.depth": [1, 2]}, lambda row: row["cell"] / 9)
    title = heat_map_figure(three, LR, WIDTH).get_suptitle().replace("\n", " ")
    assert title == "val_accuracy at the last step, best over all other axes"


@pytest.mark.parametrize(
    ("name", "arguments", "ending"),
    [
        ("heatmap", {"x": LR, "y": "model"}, ".png"),
        ("heatmap", {"x": LR, "y": "model", "show": "share that diverged"}, ".html"),
        ("curves", {"by": LR}, ".png"),
        ("rates", {}, ".html"),
        ("effect", {"axis": LR}, ".html"),
    ],
)
def test_a_config_asks_for_a_picture_in_a_file_that_it_can_be(small, tmp_path, name, arguments, ending):
    axes = ["model", WIDTH, LR]
    pictures = requested_pictures([{name: arguments}], axes)
    sweep = vsweep.load(shutil.copytree(small.directory, tmp_path / "kept"))
    ((file, reason),) = write_pictures(sweep, pictures).items()
    assert reason == ""
    assert (tmp_path / "kept" / "pictures" / file).suffix == ending
    assert (tmp_path / "kept" / "pictures" / file).is_file()


def test_a_heatmap_shows_the_best_mean_over_the_other_axes(small, tmp_path):
    small.plot.heatmap(LR, "model", "val_loss", tmp_path / "map.png")
    figure = heat_map_figure(small, LR, "model", "val_loss")
    assert (tmp_path / "map.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    ok = small.trials[(small.trials["status"] == "ok")]
    means = ok.astype({"final_val_loss": float}).groupby("cell").agg(
        {"model": "first", LR: "first", "final_val_loss": "mean"}
    )  # fmt: skip
    pivot = means.pivot_table(index="model", columns=LR, values="final_val_loss", aggfunc="min")
    values, texts = tiles(figure)
    assert values.shape == (2, 2)
    np.testing.assert_allclose(values[:, 0], pivot[0.1])
    np.testing.assert_allclose([float(texts[0, row]) for row in (0, 1)], pivot[0.1], rtol=1e-2)
    # At lr=1e6 all diverged: there is no number, and the tile says why.
    assert np.isnan(values[:, 1]).all()
    assert all("diverges" in texts[1, row] for row in (0, 1))
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == (LR, "model")
    assert [label.get_text() for label in axes.get_xticklabels()] == ["0.1", "1e+06"]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["logistic", "mlp"]


def test_more_accuracy_is_better(small):
    values, _ = tiles(heat_map_figure(small, LR, "model", "val_accuracy"))
    ok = small.trials[small.trials["status"] == "ok"].astype({"final_val_accuracy": float})
    best = ok.groupby(["model", "cell"])["final_val_accuracy"].mean().groupby("model").max()
    np.testing.assert_allclose(values[:, 0], best)


def test_cells_without_the_axis_are_left_out(small):
    values, texts = tiles(heat_map_figure(small, LR, WIDTH, "val_loss"))
    assert values.shape == (2, 2)
    assert len(texts) == 4


def test_no_picture_stays_open(small, tmp_path):
    before = plt.get_fignums()
    small.plot.heatmap(LR, WIDTH, path=tmp_path / "map.png")
    assert plt.get_fignums() == before


@pytest.mark.parametrize(("x", "y"), [("optimizer.rl", WIDTH), (LR, "model.depth")])
def test_an_axis_that_the_sweep_does_not_have_is_told(small, x, y):
    with pytest.raises(KeyError, match=r"no axis .*: the axes are model, model\.width, optimizer\.lr"):
        small.plot.heatmap(x, y)


def test_a_metric_that_was_not_recorded_is_told(small):
    with pytest.raises(KeyError, match="no metric"):
        small.plot.heatmap(LR, WIDTH, "val_acc")


def lines(figure):
    """The curves of a picture, steps and values, by the names in its legend; and their bands, in order."""
    drawn = {line.get_label(): line.get_xydata().T for line in figure.axes[0].lines}
    return drawn, figure.axes[0].collections


def test_curves_are_the_median_and_middle_half_over_seeds_of_the_best_cells(small, tmp_path):
    small.plot.curves("model", "val_loss", tmp_path / "curves.png")
    figure = curves_figure(small, "model", "val_loss")
    assert (tmp_path / "curves.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    drawn, bands = lines(figure)
    cells = small.cells("val_loss").drop_duplicates("model").set_index("model")["cell"]
    assert sorted(drawn) == sorted(cells.index) == ["logistic", "mlp"]
    for (name, (steps, values)), band in zip(drawn.items(), bands, strict=True):
        trials = small.trials.loc[small.trials["cell"] == cells[name], "trial"]
        seeds = small.curves[small.curves["trial"].isin(trials)].pivot(
            index="step", columns="trial", values="val_loss"
        )  # fmt: skip
        assert steps.tolist() == seeds.index.tolist() == [0, 2, 4, 5]
        np.testing.assert_allclose(values, seeds.astype(float).median(axis=1))
        edge = band.get_paths()[0].vertices
        for step, row in seeds.iterrows():
            at = edge[edge[:, 0] == step, 1]
            np.testing.assert_allclose([at.min(), at.max()], np.percentile(row.astype(float), [25, 75]))
    axes = figure.axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == ("step", "val_loss", "log")


def test_a_value_whose_seeds_all_diverged_has_a_name_and_no_line(small):
    drawn, _ = lines(curves_figure(small, LR, "train_loss"))
    assert list(drawn) == ["0.1", "1e+06 (2/2 diverge)"]
    assert [len(steps) for steps, _ in drawn.values()] == [4, 0]


def test_accuracies_are_on_a_linear_scale(small):
    axes = curves_figure(small, WIDTH).axes[0]
    assert (axes.get_ylabel(), axes.get_yscale()) == ("val_accuracy", "linear")


def curves_by_hand(*medians):
    """Curves of a loss, each from its medians by step."""
    names = ("low", "median", "high")
    bands = [pd.DataFrame(dict.fromkeys(names, median), dtype=float) for median in medians]
    lines = [CurveLine(i, str(i), band, diverged=False) for i, band in enumerate(bands)]
    return Curves("train_loss", LR, list(range(len(lines))), lines)


def test_a_value_without_the_metric_has_a_name_and_no_line(small):
    trials, none = small.trials, small.trials["model"] == "logistic"
    gone = small.curves["trial"].isin(trials.loc[none, "trial"])
    curves = small.curves.assign(val_loss=small.curves["val_loss"].mask(gone))
    trials = trials.assign(final_val_loss=trials["final_val_loss"].mask(none), status="ok")
    drawn, _ = lines(draw(draw_curves, curves_by(trials, curves, "val_loss", "model")))
    assert {name: len(steps) for name, (steps, _) in drawn.items()} == {"logistic": 0, "mlp": 4}


def test_a_legend_of_many_values_names_some_and_both_ends():
    figure = draw(draw_curves, curves_by_hand(*([2.0, 1.0] for _ in range(30))))
    assert len(figure.axes[0].lines) == 30
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert (len(names), names[0], names[-1]) == (12, "0", "29")


def test_a_notebook_shows_a_picture(small):
    for figure in (small.plot.heatmap(LR, WIDTH), small.plot.curves(LR)):
        assert isinstance(figure, go.Figure)
        assert "plotly" in figure._repr_html_()
    assert heat_map_figure(small, LR, WIDTH)._repr_png_()[:8] == b"\x89PNG\r\n\x1a\n"


@pytest.mark.parametrize(("ending", "begins"), [("png", b"\x89PNG"), ("pdf", b"%PDF"), ("svg", b"<?xml")])
def test_a_paper_has_the_file_that_it_asks_for(small, tmp_path, ending, begins):
    for name, axes in (("heatmap", (LR, WIDTH)), ("curves", (LR,))):
        path = tmp_path / f"{name}.{ending}"
        assert isinstance(getattr(small.plot, name)(*axes, path=path), go.Figure)
        assert path.read_bytes().startswith(begins)


def test_a_page_of_its_own_has_the_interactive_picture(small, tmp_path):
    small.plot.curves(LR, path=tmp_path / "curves.html")
    assert "Plotly.newPlot" in (tmp_path / "curves.html").read_text(encoding="utf-8")
    with pytest.raises(ValueError, match=r"path: got '.*rates\.png', and this picture is written only"):
        small.plot.rates(path=tmp_path / "rates.png")
    assert not (tmp_path / "rates.png").exists()


def test_curves_take_an_axis_or_cells(small):
    by = small.plot.curves("model", "val_loss")
    best = small.cells("val_loss").drop_duplicates("model").sort_values("model")
    drawn = [trace for trace in by.data if trace.meta and "band" not in trace.meta]
    assert [trace.meta["cell"] for trace in drawn] == best["cell"].tolist()
    assert [trace.name for trace in drawn] == ["model = logistic", "model = mlp"]
    for trace, cell in zip(drawn, best["cell"], strict=True):
        trials = small.trials.loc[small.trials["cell"] == cell, "trial"]
        values = small.curves[small.curves["trial"].isin(trials)].groupby("step")["val_loss"].median()
        np.testing.assert_allclose(trace.y, values, rtol=1e-6)
    with pytest.raises(ValueError, match="got both by and cells"):
        small.plot.curves("model", cells=[1])


def test_a_dark_picture_is_dark_and_its_text_is_light(small):
    figure = heat_map_figure(small, LR, WIDTH, style=PAGE_DARK)
    assert sum(figure.get_facecolor()[:3]) < 0.5
    axes = figure.axes[0]
    for text in (axes.title, axes.xaxis.label, *axes.get_yticklabels()):
        assert text.get_color() == PAGE_DARK.ink
    # The settings of one picture are not those of the next.
    assert heat_map_figure(small, LR, WIDTH).get_facecolor() == (1.0, 1.0, 1.0, 1.0)


def test_curves_of_what_the_sweep_does_not_have_are_told(small):
    with pytest.raises(KeyError, match=r"no axis 'optimizer\.rl': the axes are model, model\.width"):
        small.plot.curves("optimizer.rl")
    with pytest.raises(KeyError, match="no metric"):
        small.plot.curves(LR, "val_acc")


def test_a_picture_appears_whole_or_not_at_all(small, tmp_path, monkeypatch):
    def half(self, path, **_):
        path.write_bytes(b"half")
        raise OSError("the disk is full")

    figure = curves_figure(small, LR)
    monkeypatch.setattr(type(figure), "savefig", half)
    with pytest.raises(OSError, match="full"):
        small.plot.curves(LR, path=tmp_path / "curves.png")
    assert list(tmp_path.iterdir()) == []


def test_a_heatmap_of_many_draws_is_a_picture_of_bounded_size(tmp_path):
    rates = np.linspace(0.01, 0.3, 300).round(4)
    made = made_up(tmp_path / "kept", {LR: rates.tolist()}, lambda row: row[LR], seeds=1)
    made.trials.insert(made.trials.columns.get_loc("status"), WIDTH, 2 + np.arange(300) % 5)
    figure = heat_map_figure(made, LR, WIDTH, "val_loss")
    values, texts = tiles(figure)
    assert values.shape == (5, 300)
    assert (np.isfinite(values).sum(axis=0) == 1).all()
    assert texts == {}
    assert max(figure.get_size_inches()) < 16
    assert len(figure.axes[0].get_xticks()) == 12


def test_curves_that_pass_zero_far_below_where_they_begin_can_be_told_apart():
    axes = draw(draw_curves, curves_by_hand([900.0, 30.0, -8.0], [850.0, 20.0, -20.0])).axes[0]
    assert axes.get_yscale() == "symlog"
    ends = [line.get_ydata()[-1] for line in axes.get_lines()]
    low, high = (axes.transData.transform((0, y))[1] for y in sorted(ends))
    assert high - low > 0.05 * axes.bbox.height
