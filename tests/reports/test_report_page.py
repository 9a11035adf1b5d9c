"""The report, opened in a browser from a file, without a network."""

import re
import shlex
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from report_helpers import Page, made_up

import vsweep
from vsweep.analysis.labels import format_with_error

NAMES = ("digits", "spiral", "field")


@pytest.fixture(scope="module")
def reports(tmp_path_factory, spiral, field):
    """Three sweeps and their reports."""
    folder = tmp_path_factory.mktemp("digits") / "kept"
    words = ["data=digits", "grid.model=[logistic,mlp]", "grid.optimizer.lr=[0.01,0.1,1.0]"]
    more = ["grid.model.width=[4,8]", "seeds=3", "steps=10", "record_every=2"]
    common = ["tracker=none", "verify=false", f"dir='{folder}'"]
    digits = vsweep.sweep([*words, *more, *common], quiet=True)
    sweeps = {"digits": digits, "spiral": spiral, "field": field}
    return {
        name: SimpleNamespace(sweep=sweep, path=sweep.report(folder.parent / f"{name}.html"))
        for name, sweep in sweeps.items()
    }


@pytest.mark.parametrize(
    ("name", "size"),
    [
        *((name, "phone") for name in NAMES),
        ("digits", "tablet"),
    ],
)
def test_it_opens_from_a_file_without_a_network_and_without_an_error(reports, chromium, name, size):
    path = reports[name].path
    with Page(chromium, path, size) as opened:
        opened.draw()
        assert opened.errors == []
        assert {url.partition(":")[0] for url in opened.asked} <= {"file", "data", "blob"}
        assert [url for url in opened.asked if url.startswith("file:")] == [path.as_uri()]
        wide = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
        assert opened.page.evaluate(wide) == 0
        titles = opened.page.locator("h2").all_inner_texts()
        assert titles[:5] == [
            "What is best, and is it sure?",
            "What matters?",
            "Where is the good region, and where does training break?",
            "How did it get there?",
            "How sensitive is it to the learning rate?",
        ]
        assert titles[-1] == "What happened?"
        assert ("What was learned?" in titles) == (name != "digits")
        assert "cannot be drawn" not in opened.page.locator("main").inner_text()


def finals(report, metric="val_accuracy"):
    """The table as any reader of Parquet has it, diverged trials without a value."""
    trials = pd.read_parquet(report.sweep.directory / "trials.parquet")
    return trials.assign(value=trials[f"final_{metric}"].where(trials["status"] == "ok").astype(float))


def test_the_table_is_that_of_the_trials(reports, chromium):
    trials = finals(reports["digits"])
    cells = trials.groupby("cell")["value"].agg(["mean"]).sort_values("mean", ascending=False)
    errors = reports["digits"].sweep.cells().set_index("cell")["error"]
    cells["sem"] = errors.loc[cells.index]
    with Page(chromium, reports["digits"].path) as opened:
        rows = opened.page.locator("#best tbody tr")
        shown = [row.split("\t") for row in rows.all_inner_texts()]
        assert len(shown) == len(cells) == 9
        for row, (mean, sem) in zip(shown, cells.to_numpy(), strict=True):
            assert row[4] == format_with_error(mean, sem)
        first = trials[trials["cell"] == cells.index[0]].iloc[0]
        assert shown[0][1] == first["model"]
        words = opened.page.locator("#best .answer").first.inner_text()
        assert f"lr={first['optimizer.lr']:.4g}" in words
        assert f"val_accuracy {format_with_error(*cells.iloc[0])}" in words


def test_tiles_are_the_best_and_the_median_over_the_others(reports, chromium):
    trials = finals(reports["digits"])
    means = trials.groupby(["optimizer.lr", "model", "cell"])["value"].mean()
    with Page(chromium, reports["digits"].path) as opened:
        block = opened.block("where-0")
        block.scroll_into_view_if_needed()
        block.locator("select").nth(0).select_option("optimizer.lr × model")
        for show, how in (("best over the others", "max"), ("median over the others", "median")):
            block.locator("select").nth(1).select_option(show)
            expected = means.groupby(["model", "optimizer.lr"]).agg(how).unstack()
            np.testing.assert_allclose(opened.traces("where-0")[0]["z"], expected.to_numpy(), rtol=1e-6)
            assert show in block.locator("h3").inner_text()


def test_boxes_are_quantiles_over_trials(reports, chromium):
    trials = finals(reports["digits"])
    expected = trials.groupby("optimizer.lr")["value"].quantile([0.05, 0.25, 0.5, 0.75, 0.95]).unstack()
    with Page(chromium, reports["digits"].path) as opened:
        opened.block("matters-1").scroll_into_view_if_needed()
        opened.block("matters-1").locator("select").select_option("optimizer.lr")
        box = opened.traces("matters-1")[0]
        for i, name in enumerate(("lowerfence", "q1", "median", "q3", "upperfence")):
            np.testing.assert_allclose(box[name], expected.to_numpy()[:, i], rtol=1e-6)


def test_lines_are_medians_over_seeds(reports, chromium):
    report = reports["digits"]
    curves = pd.read_parquet(report.sweep.directory / "curves").merge(finals(report)[["trial", "cell"]])
    with Page(chromium, report.path) as opened:
        lines = [trace for trace in opened.traces("how-0") if trace.get("meta")]
        drawn = [trace for trace in lines if "band" not in trace["meta"]]
        assert len(drawn) == 3
        for trace in drawn:
            of = curves[curves["cell"] == trace["meta"]["cell"]]
            expected = of.groupby("step")["val_accuracy"].median()
            assert trace["x"] == expected.index.tolist()
            np.testing.assert_allclose(trace["y"], expected, rtol=1e-6)


def test_hovering_says_the_values_of_a_tile(reports, chromium):
    trials = finals(reports["digits"])
    with Page(chromium, reports["digits"].path) as opened:
        opened.draw()
        plot = opened.block("where-0").locator(".plot")
        plot.scroll_into_view_if_needed()
        tiles = plot.locator(".nsewdrag").bounding_box()
        # The tile at the lower left: the first learning rate, and the first value of the other axis.
        x, y = tiles["x"] + 0.1 * tiles["width"], tiles["y"] + 0.9 * tiles["height"]
        opened.page.mouse.move(x, y)
        said = plot.locator(".hoverlayer .hovertext").text_content()
        kept = trials[(trials["optimizer.lr"] == 0.01) & (trials["model"] == "logistic")]
        best = kept.groupby("cell")["value"].mean().max()
        assert f"{best:.4g}" in said
        assert "optimizer.lr = 0.01" in said
        assert "0% of 3 trials diverged" in said


def test_a_click_chooses_a_cell_whose_overrides_are_copied(reports, chromium):
    report = reports["digits"]
    with Page(chromium, report.path) as opened:
        row = opened.page.locator("#best tbody tr").nth(4)
        cell = int(row.get_attribute("data-cell"))
        row.locator("td").nth(1).click()
        opened.page.click("#copy")
        opened.until("document.getElementById('told').textContent.startsWith('copied')")
        assert shlex.split(opened.copied()) == report.sweep.overrides(cell)
        opened.page.click("#copy-command")
        opened.until("document.getElementById('told').textContent.includes('command')")
        assert shlex.split(opened.copied()) == ["vsweep", "run", *report.sweep.overrides(cell)]
        # A tile is of its best cell.
        opened.draw()
        plot = opened.block("where-0").locator(".nsewdrag")
        plot.scroll_into_view_if_needed()
        box = plot.bounding_box()
        opened.page.mouse.click(box["x"] + 0.1 * box["width"], box["y"] + 0.9 * box["height"])
        wanted = opened.traces("where-0")[0]["customdata"][0][0]
        shown = opened.page.locator("#overrides").text_content()
        assert shlex.split(shown) == report.sweep.overrides(int(wanted))


def test_overrides_are_of_the_same_trials(reports):
    from vsweep.engine.trial_id import identities

    for report in reports.values():
        trials = report.sweep.trials
        for cell in trials["cell"].unique()[[0, -1]].tolist():
            _, plan = vsweep.plan(report.sweep.overrides(cell))
            # Overrides list the seeds in ascending order.
            own = trials.loc[trials["cell"] == cell, "identity"]
            assert sorted(identities(plan).tolist()) == sorted(own.tolist())


def test_what_is_no_cell_chooses_none(reports, chromium):
    # Traces that are of no cell may have data of their own, which are no cells' numbers.
    with Page(chromium, reports["field"].path) as opened:
        opened.draw()
        before = opened.page.locator("#chosen-name").inner_text()
        clicked = opened.page.evaluate(
            """() => {
              let clicked = 0;
              for (const plot of document.querySelectorAll('.plot')) {
                plot._fullData.filter((trace) => !trace.meta).forEach((trace) => {
                  plot.emit('plotly_click', { points: [{ data: trace, customdata: 3, pointNumber: 0 }] });
                  clicked += 1;
                });
              }
              return clicked;
            }"""
        )
        assert clicked > 3
        assert opened.page.locator("#chosen-name").inner_text() == before


def test_a_place_chooses_a_cell(reports, chromium):
    with Page(chromium, reports["digits"].path) as opened:
        opened.page.click("#more")
        opened.page.locator("#axes input").fill("4")
        opened.page.keyboard.press("Tab")
        cell = int(reports["digits"].sweep.cells()["cell"].iloc[3])
        shown = opened.page.locator("#overrides").inner_text()
        assert shlex.split(shown) == reports["digits"].sweep.overrides(cell)


def test_axes_choose_a_cell_by_keyboard_alone(reports, chromium):
    report = reports["digits"]
    with Page(chromium, report.path) as opened:
        page = opened.page
        page.focus("#more")
        page.keyboard.press("Enter")
        assert page.get_attribute("#more", "aria-expanded") == "true"
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.tagName") == "SELECT"
        # The first axis is the model: choose the other one, and then the last learning rate.
        page.keyboard.press("ArrowUp")
        assert page.locator("#chosen-name").inner_text().startswith("model=logistic")
        page.keyboard.press("Tab")
        page.keyboard.press("End")
        assert "lr=1" in page.locator("#chosen-name").inner_text().split()
        chosen = report.sweep.trials[
            (report.sweep.trials["model"] == "logistic") & (report.sweep.trials["optimizer.lr"] == 1.0)
        ]["cell"].iloc[0]
        assert shlex.split(page.locator("#overrides").inner_text()) == report.sweep.overrides(chosen)


def test_every_control_is_reached_by_keyboard_and_has_a_name(reports, chromium):
    with Page(chromium, reports["digits"].path) as opened:
        found = opened.page.evaluate(
            """() => [...document.querySelectorAll('button, select, summary, input, a, [tabindex]')]
              .filter((each) => each.offsetParent !== null && !each.closest('.plot'))
              .filter((each) => each.tabIndex < 0
                || !(each.textContent.trim() || each.getAttribute('aria-label') || each.labels?.length))
              .map((each) => each.outerHTML.slice(0, 80))"""
        )
        assert found == []
        for name in opened.page.locator(".plot").all():
            for by in ("aria-labelledby", "aria-describedby"):
                assert opened.page.locator(f"#{name.get_attribute(by)}").text_content()


def test_the_reader_chooses_whose_curves_are_drawn(reports, chromium):
    with Page(chromium, reports["digits"].path) as opened:
        opened.draw()
        block = opened.block("how-0")
        block.scroll_into_view_if_needed()
        block.locator("summary").click()
        boxes = block.locator("input[type=checkbox]")
        boxes.nth(0).uncheck()
        boxes.nth(7).check()
        wanted = {int(boxes.nth(i).get_attribute("value")) for i in (1, 2, 7)}
        drawn = {trace["meta"]["cell"] for trace in opened.traces("how-0") if trace.get("meta")}
        assert drawn == wanted
        block.locator("select[data-scale]").select_option("log")
        kind = "document.querySelector('figure[data-block=how-0] .plot')._fullLayout.xaxis.type"
        assert opened.page.evaluate(kind) == "log"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_is_light_or_dark_as_the_reader_is(reports, chromium, scheme):
    brightness = """() => {
      const rgb = (of, name) => getComputedStyle(of)[name].match(/[0-9.]+/g).slice(0, 3)
        .reduce((a, b) => a + Number(b), 0);
      const text = document.querySelector('.plot .xtick text');
      return [rgb(document.body, 'backgroundColor'), rgb(document.body, 'color'), rgb(text, 'fill')];
    }"""
    with Page(chromium, reports["digits"].path, color_scheme=scheme) as opened:
        opened.draw()
        paper, text, ticks = opened.page.evaluate(brightness)
        assert (paper > 600) == (scheme == "light")
        assert abs(paper - text) > 400
        assert abs(paper - ticks) > 250
        opened.page.click("#theme")
        opened.page.wait_for_timeout(300)
        paper, text, ticks = opened.page.evaluate(brightness)
        assert (paper > 600) == (scheme == "dark")
        assert abs(paper - ticks) > 250


@pytest.mark.parametrize("name", NAMES[1:])
def test_pictures_are_light_or_dark_as_the_reader_is_and_can_be_read_on_a_telephone(reports, chromium, name):
    shown = """() => [...document.querySelectorAll('#task .frame')].map((frame) => {
      const images = [...frame.querySelectorAll('img')].filter((image) => image.offsetParent !== null);
      return images.map((image) => [image.className, image.naturalWidth > 0, image.alt.length > 20,
        image.clientWidth / Number(image.getAttribute('width')), frame.scrollWidth > frame.clientWidth]);
    })"""
    for size in ("laptop", "phone") if name == "spiral" else ("phone",):
        with Page(chromium, reports[name].path, size, color_scheme="dark") as opened:
            for theme in ("dark", "light"):
                opened.until("[...document.images].every((image) => image.complete)")
                found = opened.page.evaluate(shown)
                assert found
                for images in found:
                    ((which, loaded, described, scale, _),) = images
                    assert (which, loaded, described) == (f"in-{theme}", True, True)
                    # Letters are 8 points in the picture; half of that could not be read.
                    assert scale > 0.55
                opened.page.click("#theme")


def test_where_everything_diverged_it_says_so(tmp_path, chromium):
    gone = made_up(tmp_path / "kept", {"optimizer.lr": [30.0, 100.0]}, lambda row: None, seeds=2)
    with Page(chromium, gone.report()) as opened:
        opened.draw()
        assert opened.errors == []
        said = opened.page.locator("main").inner_text()
        assert re.search(r"all \d+ trials diverged", said)
        assert "4 of 4 trials diverged" in opened.page.locator("header").inner_text()


def test_what_stands_in_a_sweep_runs_nothing(tmp_path, chromium):
    takes = "document.title='taken'"
    bad = f'</script><script>{takes}</script><img src=x onerror="{takes}">'
    sweep = made_up(
        tmp_path / "kept", {"model.init": [bad, "b"], "optimizer.lr": [0.1, 1.0]}, lambda row: 0.5
    )
    with Page(chromium, sweep.report()) as opened:
        opened.draw()
        assert opened.page.title() == "made up: vsweep"
        assert opened.errors == []
        assert bad in opened.page.locator("#best tbody").inner_text()
        assert any(bad in name for name in opened.block("how-0").locator(".legendtext").all_text_contents())
