"""The report's numbers against a few lines of pandas, and what it says where there is little to say."""

import json
import re
import subprocess
from base64 import b64decode
from html import unescape

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from report_helpers import made_up, written
from store_helpers import forge

import vsweep
from vsweep.analysis.convergence import downsample_steps
from vsweep.analysis.labels import format_with_error
from vsweep.analysis.marginals import effects, pairs
from vsweep.analysis.report_data import ReportData
from vsweep.reports.blocks import Rows
from vsweep.reports.page import page
from vsweep.reports.sections import sensitivity

LR, WIDTH = "optimizer.lr", "model.width"


def peaked(row):
    """Best at a learning rate of 0.1 and a large width; 10 diverges with the odd seeds."""
    if row[LR] > 5 and row["seed"] % 2:
        return None
    noise = ((row["seed"] * 7 + row["cell"] * 3) % 5 - 2) / 400
    return 0.9 - 0.1 * np.log10(row[LR] / 0.1) ** 2 + 0.02 * np.log2(row[WIDTH]) + noise


AXES = {WIDTH: [2, 4, 8], LR: [0.01, 0.1, 1.0, 10.0]}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory):
    return made_up(tmp_path_factory.mktemp("made") / "kept", AXES, peaked)


def text_of(html):
    """The body of a page, without its scripts and styles."""
    body = re.sub(r"<(script|style).*?</\1>", " ", html, flags=re.DOTALL)
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", body)).split())


def data_of(html):
    """The data of the cells in a page."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', html)[1])


def unpacked(packed):
    return np.frombuffer(b64decode(packed["data"]), f"<{packed['kind']}")


def test_effects_are_those_of_the_trials(sweep):
    table = effects(sweep.trials, sweep.cells(), LR, "val_accuracy")
    ok = sweep.trials[sweep.trials["status"] == "ok"]
    for row in table.to_dict("records"):
        values = ok.loc[ok[LR] == row["value"], "final_val_accuracy"].to_numpy(float)
        assert row["median"] == pytest.approx(np.median(values))
        assert row["low"] == pytest.approx(np.percentile(values, 5))
        assert row["high"] == pytest.approx(np.percentile(values, 95))
        # With a tie in diverged seeds, the best mean; here they tie within a learning rate.
        means = ok[ok[LR] == row["value"]].groupby("cell")["final_val_accuracy"].mean()
        assert row["best"] == pytest.approx(means.max())
        assert row["cell"] == means.idxmax()
        assert row["trials"] == 12
        assert row["diverged"] == (0.5 if row["value"] == 10.0 else 0.0)
    with pytest.raises(KeyError, match="no axis"):
        effects(sweep.trials, sweep.cells(), "model.depth", "val_accuracy")


def test_values_that_lack_an_axis_come_last(tmp_path):
    axes = {"model": ["logistic", "mlp"], WIDTH: [8, 2]}
    made = made_up(tmp_path / "kept", axes, lambda row: 0.5 + row["cell"] / 10)
    trials = made.trials.astype({WIDTH: "Int64"})
    trials.loc[trials["model"] == "logistic", WIDTH] = pd.NA
    made.trials = trials
    table = effects(trials, made.cells(), WIDTH, "val_accuracy")
    assert table["value"].tolist()[:2] == [2, 8]
    assert pd.isna(table["value"].iloc[2])


def test_pairs_are_the_best_and_the_median_of_cells(tmp_path):
    def value(row):
        if row[LR] == 10.0 and row["model.depth"] < 3:
            return None
        return 0.5 + (row["cell"] * 37 % 11) / 30 + row["seed"] / 100

    axes = {LR: [0.1, 10.0], WIDTH: [2, 4], "model.depth": [1, 2, 3]}
    made = made_up(tmp_path / "kept", axes, value)
    table = pairs(made.trials, made.cells(), LR, WIDTH, "val_accuracy")
    assert table[["x", "y"]].to_numpy().tolist() == [[0.1, 2], [0.1, 4], [10.0, 2], [10.0, 4]]
    for row in table.to_dict("records"):
        of = made.trials[(made.trials[LR] == row["x"]) & (made.trials[WIDTH] == row["y"])]
        ok = of[of["status"] == "ok"]
        means = ok.groupby("cell")["final_val_accuracy"].mean().astype(float)
        assert row["best"] == pytest.approx(means.max())
        assert row["cells"] == 3
        assert row["diverged"] == pytest.approx(1 - len(ok) / len(of))
        if row["x"] == 10.0:
            # Two of three cells diverged, so the middle one did.
            assert np.isnan(row["median"])
        else:
            assert row["median"] == pytest.approx(means.median())


def test_of_many_steps_some_are_kept_with_both_ends():
    curves = pd.DataFrame({"trial": 0, "step": np.arange(0, 5000, 5), "val_loss": 1.0})
    few = downsample_steps(curves, 60)
    assert len(few) <= 60
    assert few["step"].iloc[[0, -1]].tolist() == [0, 4995]
    assert np.diff(few["step"])[0] == 5


def test_the_page_knows_every_cell(sweep):
    data = data_of(page(sweep))
    cells = sweep.cells()
    assert unpacked(data["cell"]).tolist() == cells["cell"].tolist()
    np.testing.assert_allclose(unpacked(data["mean"]), cells["mean"], rtol=1e-6)
    np.testing.assert_allclose(unpacked(data["error"]), cells["error"], rtol=1e-6)
    assert unpacked(data["diverged"]).tolist() == cells["diverged"].tolist()
    for axis in data["axes"]:
        values = np.asarray(axis["values"])[unpacked(axis["place"])]
        assert [float(value) for value in values] == cells[axis["path"]].tolist()


def test_it_says_what_is_best_and_what_that_rests_on(sweep):
    said = text_of(page(sweep))
    means = sweep.trials.groupby("cell")["final_val_accuracy"].agg(["mean", "sem"])
    first = means.loc[sweep.cells()["cell"].iloc[0]]
    assert f"width=8 lr=0.1: val_accuracy {format_with_error(*first)} at the last step" in said
    assert "at the last step, the mean over 4 seeds" in said
    assert "± is the standard error over seeds" in said
    assert "6 of 48 trials diverged (12 %)." in said
    assert "lr matters most" in said


def test_no_axis_matters_most_where_all_is_noise(tmp_path):
    rng = np.random.default_rng(0)
    made = made_up(tmp_path / "kept", AXES, lambda row: 0.5 + 0.1 * rng.random())
    said = text_of(page(made))
    assert "matters most:" not in said
    assert "is luck" in said


@pytest.mark.parametrize(
    ("axes", "seeds", "value", "words"),
    [
        (
            {},
            3,
            lambda row: 0.5 + row["seed"] / 10,
            ["There is only one cell", "No axis varies", "does not vary"],
        ),
        (AXES, 1, peaked, ["for one seed.", "Too few seeds to show", "ewer than three seeds"]),
        (
            {LR: [0.1, 1.0]},
            3,
            lambda row: 0.5 + row["seed"] / 10,
            ["There is no map: it needs two axes that vary.", "optimizer.lr"],
        ),
        (
            AXES,
            3,
            lambda row: None,
            ["all 36 trials diverged", "36 of 36 trials diverged", "importance of the axes is unknown"],
        ),
        (AXES, 2, lambda row: np.nan, ["it was not recorded, or is not finite"]),
        ({"model.init": ["a", "b"]}, 2, lambda row: 0.5, ["The learning rate does not vary"]),
    ],
    ids=["one cell", "one seed", "one axis", "all diverged", "no metric", "no learning rate"],
)
def test_where_there_is_little_to_say_it_says_so(tmp_path, axes, seeds, value, words):
    made = made_up(tmp_path / "kept", axes, value, seeds=seeds)
    said = text_of(page(made))
    for each in words:
        assert each in said
    assert not re.search(r"\bnan\b", said)


def test_a_sweep_that_is_not_finished_is_reported_as_far_as_it_is(tmp_path, sweep):
    some = sweep.trials.iloc[5:40].reset_index(drop=True)
    made = written(tmp_path / "kept", some, sweep.curves[sweep.curves["trial"].isin(some["trial"])])
    record = json.loads((made.directory / "plan.json").read_text()) | {"trials": 48}
    (made.directory / "plan.json").write_text(json.dumps(record))
    forge(made.directory)
    said = text_of(page(vsweep.Sweep(made.directory)))
    assert "13 of 48 trials are not finished; the report leaves them out" in said
    assert "35 trials: " in said


def test_another_metric_ranks_if_it_is_asked_for(sweep):
    said = text_of(page(sweep, "val_loss"))
    assert "val_loss 0.0" in said
    with pytest.raises(KeyError, match="no metric 'foo'"):
        page(sweep, "foo")


def test_of_many_cells_some_have_curves_and_the_file_stays_small(tmp_path):
    axes = {LR: np.geomspace(1e-4, 1, 40).tolist(), WIDTH: list(range(1, 26)), "model.depth": [1, 2]}
    made = made_up(tmp_path / "kept", axes, lambda row: 0.5 + (row["cell"] * 7 % 100) / 300, seeds=2)
    html = page(made)
    assert "The curves of 80 of 2,000 cells are shown" in text_of(html)
    # Plotly's own script is 5 MB of it.
    assert len(html.encode()) < 8e6
    subject = ReportData(made)
    assert subject.shown_cells[:40] == made.cells()["cell"].tolist()[:40]
    assert subject.shown_cells[-1] == made.cells()["cell"].iloc[-1]
    shown = made.trials["cell"].isin(subject.shown_cells)
    assert set(subject.curves["trial"]) == set(made.trials.loc[shown, "trial"]) | set(subject.faint_trials)
    # Those behind are of all cells alike, and not of the shown ones.
    assert len(subject.faint_trials) == 150
    assert made.trials.loc[shown, "trial"].isin(subject.faint_trials).sum() < 20
    faint = made.plot.curves().data[0]
    assert np.isnan(np.asarray(faint.x)).sum() == 149


def test_the_same_pictures_and_tables_come_from_python(sweep, tmp_path):
    for made in (
        sweep.plot.importance(),
        sweep.plot.effect(LR),
        sweep.plot.heatmap(LR, WIDTH),
        sweep.plot.curves(),
        sweep.plot.rates(WIDTH),
    ):
        assert isinstance(made, go.Figure)
        assert len(made.data) > 0
        assert made.layout.title.text
    one = sweep.plot.curves(cells=[3], metric="val_loss", path=tmp_path / "one.html")
    assert {trace.meta["cell"] for trace in one.data if trace.meta} == {3}
    assert (tmp_path / "one.html").stat().st_size > 3e6
    tile = sweep.plot.heatmap(LR, WIDTH, show="share that diverged").data[0]
    assert np.asarray(tile.z)[:, -1].tolist() == [0.5, 0.5, 0.5]
    with pytest.raises(KeyError, match="no map"):
        sweep.plot.heatmap(LR, WIDTH, show="worst")
    assert sweep.tables.effects(LR)["value"].tolist() == AXES[LR]
    assert len(sweep.tables.pairs(LR, WIDTH)) == 12
    assert sweep.tables.importance().first == LR
    assert sweep.tables.best_lr(WIDTH)["lr"].tolist() == [0.1, 0.1, 0.1]
    assert sweep.tables.lr_sensitivity(WIDTH)["by"].tolist() == [2, 4, 8]


def test_the_trainability_boundary_is_where_half_diverge(tmp_path):
    made = made_up(tmp_path / "kept", AXES, lambda row: None if row[LR] > 0.5 else 0.5 + row["cell"] / 100)
    heat, border = made.plot.heatmap(LR, WIDTH).data
    assert border.contours.start == border.contours.end == 0.5
    assert np.asarray(border.z).tolist() == [[0.0, 0.0, 1.0, 1.0]] * 3
    assert np.isnan(np.asarray(heat.z)[:, 2:]).all()


def test_the_command_writes_it_and_says_where(cli, small):
    done = cli("report", str(small.directory))
    assert (done.status, done.out) == (0, f"{small.directory / 'report.html'}\n")
    assert "iris" in (small.directory / "report.html").read_text(encoding="utf-8")
    done = cli("report", str(small.directory), "path=other.html", "metric=val_loss")
    assert (done.status, done.out) == (0, "other.html\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "got no directory"),
        (["nowhere"], "no sweep in 'nowhere'"),
        (["{}", "metric=foo"], "metric: no metric 'foo': this sweep recorded train_loss"),
        (["{}", "color=red"], "got 'color=red'"),
    ],
)
def test_what_it_cannot_do_is_said_in_a_line(cli, small, words, says):
    before = sorted(small.directory.rglob("*"))
    done = cli("report", *(word.format(small.directory) for word in words))
    assert done.status == 2
    assert says in done.err
    assert "Traceback" not in done.err
    assert sorted(small.directory.rglob("*")) == before


def test_a_place_that_cannot_be_written_is_said_in_a_line(cli, small, here):
    (here / "file").write_text("")
    done = cli("report", str(small.directory), "path=file/report.html")
    assert done.status == 1
    assert "cannot write" in done.err
    assert "Traceback" not in done.err


def test_a_sweep_writes_it_at_its_end_and_again_when_it_grows(here):
    words = ["data=iris", "model=logistic", "grid.optimizer.lr=[0.1,1.0]", "steps=2", "tracker=none"]
    words.append("dir=kept")
    vsweep.sweep([*words, "report=true"], quiet=True)
    first = text_of((here / "kept" / "report.html").read_text(encoding="utf-8"))
    assert "2 trials: 2 cells × 1 seed " in first
    vsweep.resume("kept", ["seeds=2"], quiet=True)
    second = text_of((here / "kept" / "report.html").read_text(encoding="utf-8"))
    assert "4 trials: 2 cells × 2 seeds" in second


def test_every_cell_is_spelt_as_its_config_is(small):
    from vsweep.commands.directory import recorded_spec
    from vsweep.config.overrides import spell
    from vsweep.config.to_overrides import cell_values

    made = recorded_spec(small.directory)
    for cell in made.grid.cells.tolist():
        words = [spell(*field) for field in cell_values(made.cell(cell)).items()]
        assert small.overrides(cell) == [*words, "seeds=[3,5]"]
    with pytest.raises(KeyError, match="no cell"):
        small.overrides(10_000)


def test_a_report_of_functions_that_are_not_here_says_that_overrides_cannot_be_told(tmp_path):
    made = made_up(tmp_path / "kept", AXES, peaked)
    assert data_of(page(made))["spelling"].startswith("the overrides are unknown")


def test_a_null_that_is_a_value_has_a_name(tmp_path):
    """As a batch of all examples has; a width that a model lacks has none."""
    axes = {"model": ["logistic", "mlp"], WIDTH: [2, 4], "data.batch_size": [10, 20]}
    made = made_up(tmp_path / "kept", axes, lambda row: 0.5 + row["cell"] / 100)
    trials = made.trials.astype({"data.batch_size": "Int64", WIDTH: "Int64"})
    trials.loc[trials["data.batch_size"] == 20, "data.batch_size"] = pd.NA
    trials.loc[trials["model"] == "logistic", WIDTH] = pd.NA
    made.trials = trials
    of = ReportData(made)
    assert sorted(of.trials["data.batch_size"].unique()) == ["10", "null"]
    assert of.trials[WIDTH].isna().sum() == 16
    table = made.plot.heatmap("data.batch_size", "model").data[0]
    assert np.isfinite(np.asarray(table.z)).all()
    assert "model=mlp width=4 batch_size=null: val_accuracy" in text_of(page(made))


def test_many_values_of_an_axis_are_taken_together(tmp_path):
    rng = np.random.default_rng(0)
    drawn = {LR: np.sort(rng.uniform(0, 1, 300)).tolist()}
    made = made_up(tmp_path / "kept", drawn, lambda row: 0.5 + row[LR] / 3, seeds=2)
    table = effects(made.trials, made.cells(), LR, "val_accuracy")
    assert len(table) == 64
    assert table["trials"].sum() == 600
    np.testing.assert_allclose(table["median"], 0.5 + table["value"] / 3, atol=2e-3)
    names = {"model.init": [f"init{i}" for i in range(70)], LR: [0.1, 1.0]}
    said = text_of(page(made_up(tmp_path / "names", names, lambda row: 0.5 + row["seed"] / 9)))
    assert "Axes with too many names to be drawn: init." in said


def test_values_that_read_alike_are_told_apart(tmp_path):
    made = made_up(tmp_path / "kept", {"optimizer.b2": [0.99991, 0.99992, 1.0]}, lambda row: row["cell"] / 9)
    data = data_of(page(made))
    assert data["axes"][0]["values"] == ["0.99991", "0.99992", "1"]
    assert made.plot.effect("optimizer.b2").layout.xaxis.ticktext == ("0.99991", "0.99992", "1")


def test_a_metric_that_is_no_loss_has_lines_and_no_sensitivity(tmp_path):
    made = made_up(tmp_path / "kept", AXES, peaked, metrics=("val_accuracy", "val_loss", "grad_norm"))
    said = text_of(page(made, "grad_norm"))
    assert "grad_norm against the learning rate, by model.width" in said
    assert ReportData(made, "grad_norm").loss is None
    assert ReportData(made, "val_accuracy").loss == "val_loss"


def test_a_single_cell_needs_no_median_and_no_range(tmp_path):
    said = page(made_up(tmp_path / "two", {LR: [0.1, 1.0], "model.width": [4, 8]}, peaked))
    assert "best of 1 cells" not in said
    assert "\u2013 stands for" not in said
    assert "0.1 to 0.1" not in text_of(said)


@pytest.mark.parametrize("axis", [{"loss": ["huber", "squared_error"]}, {"loss.delta": [0.1, 1.0]}])
def test_losses_that_differ_have_sensitivities_of_their_own(tmp_path, axis):
    """The cells are ranked by accuracy, which all losses share."""
    (name,) = axis
    made = made_up(tmp_path / "kept", {**axis, LR: [0.1, 1.0], "model.width": [4, 8]}, peaked)
    (rows,) = (block for block in sensitivity(ReportData(made)) if isinstance(block, Rows))
    known = {row[0].split(" = ")[0]: bool(row[4]) for row in rows.rows}
    assert known == {name.split(".")[-1]: True, "width": False, "any values": False}
    assert "rows that mix them have no sensitivity." in text_of(page(made))
    with pytest.raises(KeyError, match=re.escape(f"sweep.where({axis | {name: axis[name][0]}})")):
        made.tables.lr_sensitivity("model.width")


def test_an_axis_of_one_learning_rate_leaves_the_others_their_lines(tmp_path):
    def value(row):
        return None if peaked(row) is None else peaked(row) - row["optimizer.momentum"] / 10

    made = made_up(tmp_path / "kept", {**AXES, "optimizer.momentum": [0.0, 0.9]}, value)
    trials = made.trials
    made.trials = trials[(trials["optimizer.momentum"] == 0.0) | (trials[LR] == 0.1)].reset_index(drop=True)
    said = text_of(page(made))
    assert "The learning rate does not vary" not in said
    assert "The best learning rate, and the sensitivity to it" in said
    assert "width = 4" in said
    assert said.count("Wortsman et al. 2023, arXiv:2309.14322") == 1


def test_no_axis_matters_most_where_a_pair_does(tmp_path):
    axes = {"model.init": ["a", "b"], LR: [0.1, 1.0]}

    def value(row):
        return 0.5 + 0.3 * ((row["model.init"] == "a") == (row[LR] == 0.1)) + row["seed"] / 1000

    said = text_of(page(made_up(tmp_path / "kept", axes, value)))
    assert "matters most:" not in said
    assert "interact: " in said


def test_where_the_seed_changes_nothing_there_is_no_luck(tmp_path):
    made = made_up(tmp_path / "kept", AXES, lambda row: 0.5 + (row[WIDTH] > 2) / 10)
    said = text_of(page(made))
    assert "All seeds give the same result" in said
    assert "how sure the order is, and 8 cells share the best value." in said
    assert "luck, which differs" not in said
    assert "≈ marks" in said
    assert "statistically tied" not in said.partition("P(worse) is")[0]


def test_a_verdict_that_changed_is_warned_of(sweep, tmp_path):
    made = written(tmp_path / "kept", sweep.trials, sweep.curves)
    found = {"checked": 2, "of": 48, "chaotic": [], "changed": [3]}
    found["trials"] = [{"chaotic": False, "difference": 0.1, "twin": 1e-6}]
    (made.directory / "verify.json").write_text(json.dumps(found))
    forge(made.directory)
    assert text_of(page(made)).count("the verdict changed for trial 3") == 2
    (made.directory / "verify.json").write_text(json.dumps({**found, "failed": "RuntimeError: no"}))
    forge(made.directory)
    assert text_of(page(made)).count("verification failed (RuntimeError: no)") == 2


def test_names_are_neither_markup_nor_variables(tmp_path):
    axes = {"model.init": ["a<b>", "%{x}"], LR: [0.1, 1.0]}
    made = made_up(tmp_path / "kept", axes, lambda row: 0.5 + row["cell"] / 9)
    (_, _, line, *_) = made.plot.curves().data
    assert line.name == "init=%&#123;x} lr=1"
    assert made.plot.heatmap(LR, "model.init").layout.yaxis.ticktext == ("%&#123;x}", "a&lt;b&gt;")


def test_a_part_of_a_sweep_does_not_take_the_place_of_the_whole(sweep, tmp_path):
    part = sweep.where({WIDTH: 4})
    with pytest.raises(ValueError, match="needs a path"):
        part.report()
    said = text_of(part.report(tmp_path / "part.html").read_text(encoding="utf-8"))
    assert "made up, model.width=4" in said
    assert "16 trials: 4 cells × 4 seeds over lr (4)" in said


def test_functions_that_were_given_as_objects_have_no_words(here):
    x = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    made = vsweep.sweep(
        ["model=logistic", "grid.optimizer.lr=[0.1,1.0]", "steps=2", "tracker=none", "dir=kept"],
        data=(x, (x[:, 0] > 0).astype(np.int64)),
        quiet=True,
    )
    with pytest.raises(vsweep.ConfigError, match="data: it was given as an object in Python"):
        made.overrides(0)
    assert data_of(page(made))["spelling"].startswith("the overrides are unknown: data:")


def test_the_commit_is_that_of_where_one_stands(here):
    from vsweep.engine.git import commit

    assert commit() is None
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    for words in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "first"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True).stdout.strip()
    assert commit() == head
    (here / "file").write_text("one")
    subprocess.run(["git", "add", "file"], check=True)
    assert commit() == f"{head} and changes"
    # Commands that a repository's own settings name are not run.
    (here / "spy").write_text("#!/bin/sh\ntouch ran\n")
    (here / "spy").chmod(0o755)
    subprocess.run(["git", "config", "core.fsmonitor", str(here / "spy")], check=True)
    commit()
    assert not (here / "ran").exists()
