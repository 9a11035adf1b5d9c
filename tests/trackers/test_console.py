"""What the person at the terminal sees."""

import re

import numpy as np
import pytest

import vsweep


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A sweep of 7 cells × 2 seeds in blocks, and what it wrote to standard error."""
    import contextlib
    import io

    directory = tmp_path_factory.mktemp("console") / "sweep"
    words = [
        "data=iris",
        "model=logistic",
        "grid.optimizer.lr=[0.001,0.003,0.01,0.03,0.1,0.3,1e30]",
        "seeds=2",
    ]
    words += ["steps=4", "block=8", "tracker=none", "model.init=normal", f"dir='{directory}'"]
    errors, out = io.StringIO(), io.StringIO()
    with contextlib.redirect_stderr(errors), contextlib.redirect_stdout(out):
        sweep = vsweep.sweep(words)
    assert out.getvalue() == ""
    return sweep, errors.getvalue()


def test_a_line_of_progress_without_a_terminal(shown):
    _, text = shown
    assert re.search(r"14/14 trials, [\d.,]+ trials/s, 0 s left", text)


def test_the_table_shows_the_five_best_cells(shown):
    sweep, text = shown
    assert "the best 5 of 7 cells, by val_accuracy at the last step" in text
    means = [float(m) for m in re.findall(r"([\d.]+) ± [\d.]+", text)]
    trials = sweep.trials
    ok = trials[trials["status"] == "ok"].groupby("cell")["final_val_accuracy"]
    whole = ok.mean()[ok.size() == 2].sort_values(ascending=False)
    assert means == pytest.approx(whole.head(5).round(4).tolist())
    assert means == sorted(means, reverse=True)
    assert text.count("0/2") == 5


def test_the_spread_is_over_seeds(shown):
    sweep, text = shown
    values = sweep.trials[sweep.trials["cell"] == sweep.best()["cell"]]["final_val_accuracy"].to_numpy(
        np.float64
    )
    assert f"{values.mean():.4g} ± {values.std(ddof=1):.2g}" in text
