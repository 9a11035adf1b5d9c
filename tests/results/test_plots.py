"""Pictures of a sweep."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

LR, WIDTH = "optimizer.lr", "model.width"


def tiles(figure):
    """The picture's values, and the text of each tile by (column, row)."""
    axes = figure.axes[0]
    texts = {tuple(map(round, text.get_position())): text.get_text() for text in axes.texts}
    return np.ma.filled(axes.images[0].get_array().astype(float), np.nan), texts


def test_a_heatmap_shows_the_best_mean_over_the_other_axes(small, tmp_path):
    figure = small.plot.heatmap(LR, "model", "val_loss", tmp_path / "map.png")
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
    values, _ = tiles(small.plot.heatmap(LR, "model", "val_accuracy"))
    ok = small.trials[small.trials["status"] == "ok"].astype({"final_val_accuracy": float})
    best = ok.groupby(["model", "cell"])["final_val_accuracy"].mean().groupby("model").max()
    np.testing.assert_allclose(values[:, 0], best)


def test_cells_without_the_axis_are_left_out(small):
    values, texts = tiles(small.plot.heatmap(LR, WIDTH, "val_loss"))
    assert values.shape == (2, 2)
    assert len(texts) == 4


def test_no_picture_stays_open(small):
    before = plt.get_fignums()
    small.plot.heatmap(LR, WIDTH)
    assert plt.get_fignums() == before


@pytest.mark.parametrize(("x", "y"), [("optimizer.rl", WIDTH), (LR, "model.depth")])
def test_an_axis_that_the_sweep_does_not_have_is_told(small, x, y):
    with pytest.raises(KeyError, match=r"no axis .*: there are model, model\.width, optimizer\.lr"):
        small.plot.heatmap(x, y)


def test_a_metric_that_was_not_recorded_is_told(small):
    with pytest.raises(KeyError, match="no metric"):
        small.plot.heatmap(LR, WIDTH, "val_acc")
