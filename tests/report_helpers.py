"""A sweep's directory made up from tables, and pages of reports in a browser without a network."""

import json
import shutil
import time

import numpy as np
import pandas as pd
import yaml

from vsweep.results import Sweep

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# A browser in a container has no sandbox of its own, and asks for nothing in the background.
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
SIZES = {"laptop": (1280, 800), "tablet": (768, 1024), "phone": (390, 844)}


def made_up(folder, axes, value, seeds=4, steps=(0, 10, 20, 30), metrics=("val_accuracy", "val_loss")):
    """A directory of the full product of the axes, as a sweep leaves it.

    value: of a row of axes and a seed the final metric, or None where it diverged.
    """
    cells = pd.MultiIndex.from_product(list(axes.values()) or [[0]], names=list(axes) or ["_"])
    frame = cells.to_frame(index=False)[list(axes)]
    trials = frame.loc[np.repeat(np.arange(len(frame)), seeds)].reset_index(drop=True)
    trials.insert(0, "trial", np.arange(len(trials)))
    trials.insert(1, "cell", trials["trial"] // seeds)
    trials.insert(2, "seed", trials["trial"] % seeds)
    final = [value(row) for row in trials.to_dict("records")]
    lost = np.asarray([each is None for each in final])
    trials["status"] = np.where(lost, "diverged", "ok")
    trials["diverged_at"] = pd.array(np.where(lost, 10, 0), "Int64")
    trials.loc[~lost, "diverged_at"] = pd.NA
    known = np.asarray([np.nan if each is None else each for each in final], np.float32)
    curves = pd.DataFrame(
        {"trial": np.repeat(trials["trial"], len(steps)), "step": np.tile(steps, len(trials))}
    ).reset_index(drop=True)
    along = np.asarray(steps) / max(steps[-1], 1)
    for name in metrics:
        ends = known if name.endswith("accuracy") else 1.0 - known
        start = np.float32(0.1 if name.endswith("accuracy") else 0.9)
        rows = start + (ends[:, None] - start) * along[None, :]
        curves[name] = rows.astype(np.float32).ravel()
        trials[f"final_{name}"] = rows[:, -1].astype(np.float32)
        better = np.fmax if name.endswith("accuracy") else np.fmin
        trials[f"best_{name}"] = better.reduce(rows, axis=1).astype(np.float32)
    trials["identity"] = [f"{i:016x}" for i in trials["trial"]]
    return written(folder, trials, curves)


def written(folder, trials, curves, **plan):
    """A directory of these tables."""
    (folder / "curves").mkdir(parents=True)
    trials.to_parquet(folder / "trials.parquet", index=False)
    curves.to_parquet(folder / "curves" / "part-000000.parquet", index=False)
    data = {
        "features": ["a", "b", "c"],
        "classes": ["0", "1"],
        "mean": [0.0] * 3,
        "std": [1.0] * 3,
        "note": "",
    }
    record = {
        "name": "made up",
        "command": "vsweep run",
        "started": "2026-01-31T12:00:00+00:00",
        "versions": {"jax": "0.0"},
        "python": "3.11",
        "devices": {"devices": 1, "kind": "cpu", "platform": "cpu"},
        "programs": [],
        "trials": len(trials),
        "cells": int(trials["cell"].nunique()),
        "data": {"made up": data},
        **plan,
    }
    (folder / "plan.json").write_text(json.dumps(record))
    (folder / "config.yaml").write_text(yaml.safe_dump({"model": {"name": "mlp"}, "pictures": []}))
    return Sweep(folder)


class Page:
    """A report that is open, and what went wrong in it."""

    def __init__(self, browser, path, size="laptop", **context):
        width, height = SIZES[size]
        # A browser that is offline still opens files.
        self.context = browser.new_context(
            viewport={"width": width, "height": height},
            offline=True,
            has_touch=size == "phone",
            permissions=["clipboard-read", "clipboard-write"],
            **context,
        )
        self.page = self.context.new_page()
        self.errors, self.asked = [], []
        self.page.on("console", lambda said: self.errors.append(said.text) if said.type == "error" else None)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", lambda request: self.asked.append(request.url))
        self.page.goto(path.as_uri())
        self.until("document.getElementById('chosen-name').textContent")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.context.close()

    def until(self, true):
        """Wait until an expression is true; the page itself allows no evaluation of text."""
        ends = time.monotonic() + 20.0
        while not self.page.evaluate(true):
            assert time.monotonic() < ends, true
            self.page.wait_for_timeout(20)

    def draw(self):
        """Draw all charts, as for printing."""
        self.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        self.until("[...document.querySelectorAll('.plot')].every((plot) => plot.querySelector('.main-svg'))")

    def block(self, key):
        """A figure by its key."""
        return self.page.locator(f"figure[data-block={key}]")

    def traces(self, key):
        """The traces that Plotly has drawn in a figure, arrays as lists."""
        self.block(key).scroll_into_view_if_needed()
        self.until(f"document.querySelector('figure[data-block={key}] .main-svg')")
        return json.loads(
            self.page.evaluate(
                """(key) => JSON.stringify(
                  document.querySelector(`figure[data-block=${key}] .plot`)._fullData.map((trace) => ({
                    name: trace.name, type: trace.type, x: trace.x, y: trace.y, z: trace.z, meta: trace.meta,
                    customdata: trace.customdata, lowerfence: trace.lowerfence, q1: trace.q1,
                    median: trace.median, q3: trace.q3, upperfence: trace.upperfence,
                  })),
                  (_, value) => (ArrayBuffer.isView(value) ? [...value] : value))""",
                key,
            )
        )

    def copied(self):
        """The content of the clipboard."""
        return self.page.evaluate("navigator.clipboard.readText()")
