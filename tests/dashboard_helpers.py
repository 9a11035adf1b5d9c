"""A made-up sweep to make a dashboard of, and a stand-in for W&B's server to save it in."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd

from vsweep.metrics import default_metric


class MadeUp(SimpleNamespace):
    """A sweep that was not trained."""

    @property
    def metric(self):
        return default_metric(self.trials)


def made_up(axes, metrics=("train_loss", "val_loss", "val_accuracy"), seeds=2, steps=(0, 5, 10), config=None):
    """A sweep of these axes' full product, each metric rising with the trial and the step."""
    cells = pd.MultiIndex.from_product(list(axes.values()) or [[0]], names=list(axes) or ["_"])
    frame = cells.to_frame(index=False)[list(axes)]
    trials = frame.loc[np.repeat(np.arange(len(cells)), seeds)].reset_index(drop=True)
    trials.insert(0, "trial", np.arange(len(trials)))
    trials.insert(1, "cell", trials["trial"] // seeds)
    trials.insert(2, "seed", trials["trial"] % seeds)
    trials["status"], trials["diverged_at"] = "ok", pd.NA
    curves = pd.DataFrame(
        {"trial": np.repeat(trials["trial"], len(steps)), "step": np.tile(steps, len(trials))}
    ).reset_index(drop=True)
    for name in metrics:
        trials[f"final_{name}"] = trials[f"best_{name}"] = 0.5 + trials["trial"]
        curves[name] = (0.5 + curves["trial"] + curves["step"]).astype("float32")
    plan = {"name": "made up", "started": "2026-11-25T07:22:28+00:00", "id": "0123abcd"}
    plan |= {"trials": len(trials), "cells": len(cells)}
    return MadeUp(trials=trials, curves=curves, config=config or {}, plan=plan)


class Server:
    """Answers what W&B's client and its workspaces ask for, and remembers the views that it was sent."""

    app_url = "https://wandb.test/"

    def __init__(self, projects=("someone/trained",), runs=4, entity="someone"):
        self.projects, self.count, self.entity = projects, runs, entity
        self.views, self.asked = {}, []
        self.error = None

    def client(self):
        """The stand-in for `wandb.Api()`."""
        if self.error is not None:
            raise self.error
        return SimpleNamespace(_service_api=self, default_entity=self.entity, runs=self.runs)

    def runs(self, path, filters, per_page):
        self.asked.append((path, filters))
        if path not in self.projects:
            raise ValueError(f"Could not find project {path.partition('/')[2]}")
        return range(self.count)

    def execute_graphql(self, query, variables):
        if "mutation" in query:
            view = {**self.views.get(variables["name"], {"id": f"id{len(self.views)}"}), **variables}
            self.views[variables["name"]] = view
            return {"upsertView": {"view": {"id": view["id"], "name": view["name"]}, "inserted": True}}
        found = [view for name, view in self.views.items() if name == variables["viewName"]]
        nodes = [{"node": {key: each[key] for key in ("id", "displayName", "spec")}} for each in found]
        return {"project": {"allViews": {"edges": nodes}}}

    def sections(self, name):
        """The sections of a view, by name, with the number of their panels."""
        bank = json.loads(self.views[name]["spec"])["section"]["panelBankConfig"]
        return {each["name"]: len(each["panels"]) for each in bank["sections"]}
