"""The console shows the progress of training, and a table of the best cells."""

import json
import re
from io import StringIO

import numpy as np
import pytest
from rich.console import Console

import vsweep
from vsweep.analysis.labels import format_p, format_with_error
from vsweep.analysis.ranking import describe_baseline
from vsweep.analysis.significance import describe_lead
from vsweep.reports.page import sweep_facts
from vsweep.store.checks import describe_verification
from vsweep.trackers import console
from vsweep.trackers.console import ConsoleTracker

ROW = re.compile(r"^ *(\S+) +([\d.]+) ± (\S+) +(\d+/\d+)(?: chaotic)? *(<?[\d.]+|–)? *(≈)?$")


def rows_of(text):
    """Return the rows of the table: the axis, the mean, its error, `diverged/seeds`, the chance, the mark."""
    return [found.groups() for line in text.splitlines() if (found := ROW.match(line.rstrip()))]


def again(sweep):
    """Return the text that is shown for a sweep that was complete before."""
    tracker = ConsoleTracker()
    tracker.console = Console(file=StringIO(), width=100, highlight=False)
    tracker.show(sweep, "all are there")
    return tracker.console.file.getvalue()


@pytest.fixture(scope="module", autouse=True)
def few():
    """Let a table of more than five cells be too long to be shown whole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(console, "_ALL", 5)
        yield


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A sweep of 7 cells × 2 seeds in blocks, and its standard error."""
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
    assert re.search(r"14/14 trials +[\d.,]+ trials/s +\S+ left 0:00:00", text)


def test_the_table_shows_the_five_best_cells(shown):
    sweep, text = shown
    assert "the best 5 of 7 cells, by val_accuracy at the last step" in text
    means = [float(mean) for _, mean, *_ in rows_of(text)]
    trials = sweep.trials
    ok = trials[trials["status"] == "ok"].groupby("cell")["final_val_accuracy"]
    whole = ok.mean()[ok.size() == 2].sort_values(ascending=False)
    assert means == pytest.approx(whole.head(5).round(4).tolist())
    assert means == sorted(means, reverse=True)
    assert [row[3] for row in rows_of(text)] == ["0/2"] * 5
    assert [float(row[0]) for row in rows_of(text)] == sweep.cells()["optimizer.lr"].head(5).tolist()


def test_of_few_cells_all_are_shown(shown, monkeypatch):
    monkeypatch.setattr(console, "_ALL", 7)
    text = again(shown[0])
    assert "7 cells, best first, by val_accuracy at the last step" in text
    assert len(rows_of(text)) == 6, "and one of which all seeds diverged, without a mean"


def test_the_columns_are_the_axes_and_what_is_known_of_a_cell(shown):
    _, text = shown
    (head,) = [line for line in text.splitlines() if "diverged  " in line]
    assert head.split() == ["lr", "mean", "±", "se", "diverged", "p"]


def test_the_error_is_that_of_the_mean_over_seeds(shown):
    sweep, text = shown
    for (_, mean, error, *_), (_, cell) in zip(rows_of(text), sweep.cells().head(5).iterrows(), strict=True):
        trials = sweep.trials[sweep.trials["cell"] == cell["cell"]]
        values = trials["final_val_accuracy"].to_numpy(np.float64)
        assert f"{mean} ± {error}" == format_with_error(values.mean(), cell["error"])
        assert cell["error"] >= values.std(ddof=1) / np.sqrt(2) * (1.0 - 1e-6)


def test_the_chance_and_the_marks_are_those_of_the_cells(shown):
    sweep, text = shown
    cells = sweep.cells().head(5)
    assert [row[4] for row in rows_of(text)] == [None, *map(format_p, cells["p"][1:])]
    marks = [row[5] == "≈" for row in rows_of(text)]
    assert marks == cells["tied"].tolist()
    assert any(marks)


def test_below_the_table_is_whether_it_is_luck_and_what_the_test_says(shown):
    sweep, text = shown
    lines = text.splitlines()
    last = lines.index(describe_lead(sweep.cells()))
    assert all(ROW.match(line.rstrip()) is None for line in lines[last:])
    assert lines[last - 1] == "targets: 3 classes: setosa 50, versicolor 50, virginica 50"
    assert dict(sweep_facts(sweep))["data"].endswith(lines[last - 1].removeprefix("targets: "))
    best = sweep.best()
    value = format_with_error(best["test_accuracy"], best["test_accuracy_error"])
    assert lines[last + 1].startswith("± is the standard error over seeds (")
    assert " and over held-out examples (" in lines[last + 1]
    assert lines[last + 1].endswith("), together")
    assert lines[last + 2] == "p is the p-value of the hypothesis that a cell is the best"
    assert lines[last + 3] == describe_baseline(sweep, "val_accuracy", sweep.cells())
    assert lines[last + 3].startswith("a constant guess")
    assert lines[last + 4] == (
        f"test set: the best cell has test_accuracy {value}; these examples had no part in choosing it"
    )
    assert lines[last + 5] == describe_verification(sweep.verified)
    assert len(lines) == last + 6


def test_a_sweep_that_was_verified_says_so(shown, monkeypatch):
    sweep, _ = shown
    first = int(sweep.best()["cell"])
    steady = {"trial": 3, "cell": first + 1, "difference": 2e-7, "twin": 4e-6, "chaotic": False}
    chaotic = {"trial": 5, "cell": first, "difference": 0.3, "twin": 0.4, "chaotic": True}
    found = {"checked": 2, "of": 14, "changed": [5], "chaotic": [5], "trials": [steady, chaotic]}
    monkeypatch.setattr(type(sweep), "verified", property(lambda self: found))
    text = again(sweep)
    last = text.splitlines()[-1]
    assert len(rows_of(text)) == 5
    assert ["chaotic" in line for line in text.splitlines() if ROW.match(line.rstrip())] == [True] + [
        False
    ] * 4
    assert last == describe_verification(found)
    assert last == (
        "verified: 2 of 14 trials retrained alone; their curves differ by at most 2e-07, and their twins' by"
        " 4e-06; the verdict changed for trial 5; chaotic, so that rounding decides the curve: trial 5"
    )
    exact = describe_verification({**found, "trials": [{**steady, "difference": 0.0}, chaotic]})
    assert "their curves differ by at most 0, and" in exact


def test_of_one_seed_and_no_test_nothing_is_claimed(shown, monkeypatch):
    sweep, _ = shown
    monkeypatch.setattr(type(sweep), "verified", None)
    trials = sweep.trials[(sweep.trials["seed"] == 0) & sweep.trials["optimizer.lr"].between(0.05, 1)]
    trials = trials.drop(columns=[name for name in trials if "test" in name or "parts_" in name])
    part = sweep.restricted(trials.reset_index(drop=True), "one seed")
    text = again(part)
    rows = [line.split() for line in text.splitlines() if line.rstrip().endswith("–")]
    assert len(rows) == 1, "the first is held against nothing"
    assert "±" not in text.replace("mean ± se", "")
    assert "≈" not in text
    assert text.splitlines()[-2] == describe_lead(part.cells())
    assert text.splitlines()[-2].startswith("too few seeds to show")


def test_one_cell_has_no_column_of_chance(shown):
    sweep, _ = shown
    text = again(sweep.restricted(sweep.trials[sweep.trials["cell"] == 3].reset_index(drop=True), "one cell"))
    assert "one cell, by val_accuracy at the last step:" in text
    assert "diverged  p" not in text
    assert "≈" not in text
    assert "test set: the best cell has test_accuracy " in text


def test_a_file_gets_whole_names(tmp_path, capsys, monkeypatch):
    """The table of `make sweep`, whose names need more than the 80 columns that a file has by default."""
    monkeypatch.delenv("COLUMNS", raising=False)
    words = ["data=iris", "grid.model.name=[logistic,mlp]", "grid.model.init=[lecun_normal,glorot_uniform]"]
    words += ["grid.model.init_scale=[0.5,1.0]", "grid.model.width=[16,32]", "grid.optimizer.lr=[0.1,1.0]"]
    vsweep.sweep([*words, "seeds=2", "steps=2", "tracker=none", f"dir='{tmp_path / 'kept'}'"])
    (header,) = (line for line in capsys.readouterr().err.splitlines() if "mean ± se" in line)
    assert header.split("mean")[0].split() == ["model", "init", "init_scale", "width", "lr"]


# Text of a person, a file or a directory is shown as it is: neither markup nor emoji nor control characters.


@pytest.mark.parametrize(
    "name", ["q[red]", "[/x]", "[bold]a[/bold]", ":smile:", "\x1b[31mred", "a\tb", "\x07"]
)
def test_names_are_shown_as_they_are(cli, here, name):
    shown = name.encode("unicode_escape").decode()
    rows = "\n".join(f"{i % 7},{i % 3},{'ab'[i % 2]}" for i in range(40))
    for file in (f"{name}.csv", "other.csv"):
        (here / file).parent.mkdir(exist_ok=True)
        (here / file).write_text(f"u,v,{name}\n{rows}")
    config = {
        "data": {"name": "csv", "target": name, "features": ["u", "v"]},
        "grid": {"data": {"path": [f"{name}.csv", "other.csv"]}},
        "model": "logistic",
        "steps": 5,
        "verify": False,
        "tracker": "none",
        "dir": f"kept {name}",
    }
    (here / "sweeps").mkdir()
    (here / "sweeps" / "odd.yaml").write_text(json.dumps(config))
    planned = cli("plan", "sweep=odd")
    done = cli("run", "sweep=odd")
    assert (planned.status, done.status) == (0, 0), done.err
    assert done.out == f"kept {name}\n"
    for text in (planned.out, done.err):
        assert f"{shown}.csv" in text.replace("\n", "")
        assert not set(text) & {"\x1b", "\t", "\x07"}


@pytest.mark.parametrize("error", ["error", "interrupt"])
def test_messages_move_no_cursor(cli, here, error):
    done = cli("report", "no\x1b[2Jsuch") if error == "error" else cli("report\x1b[2J")
    assert done.status == 2
    assert "\x1b" not in done.err


def test_a_long_value_is_cut():
    out = StringIO()
    console.print_table(Console(file=out, width=60), ["name"], [["x" * 10_000]])
    assert out.getvalue().count("x") == 119
    assert "…" in out.getvalue()
