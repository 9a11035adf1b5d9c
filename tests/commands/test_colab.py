"""The Colab notebook, run by a kernel of its own in an empty folder, from the wheel that it installs."""

import os
import re
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import nbclient
import nbformat
import pytest

import vsweep

NOTEBOOK = Path(__file__).parents[2] / "scripts" / "colab_tpu.ipynb"
TRIALS, CELLS = 336, 84

# The parts of `google.colab` that the notebook uses: a secret and a download.
COLAB = {
    "__init__.py": "",
    "userdata.py": "def get(name):\n    return {'WANDB_API_KEY': '0' * 40}[name]\n",
    "files.py": "def download(path):\n    print('downloading', path)\n",
}


def read():
    return nbformat.read(NOTEBOOK, as_version=4)


def only(cells, source):
    (cell,) = (cell for cell in cells if cell.cell_type == "code" and source in cell.source)
    return cell


class Ran(NamedTuple):
    """The folder that it ran in, the folder that it installed into, and its cells."""

    folder: Path
    site: Path
    cells: list

    def text(self, source):
        """The output of the code cell that holds this text."""
        outputs = only(self.cells, source).outputs
        parts = (output.get("text") or output["data"]["text/plain"] for output in outputs)
        return re.sub(r"\x1b\[[\d;]*m", "", "\n".join(parts))

    @property
    def sweep(self):
        (directory,) = self.folder.glob("outputs/*/*/")
        return vsweep.load(directory)


@pytest.fixture(scope="module")
def ran(wheel, environment, tmp_path_factory):
    """The notebook as on Colab, with a key for W&B; of its trials all, of their steps a few."""
    notebook = read()
    cell = only(notebook.cells, "STEPS = 200")
    cell.source = cell.source.replace("STEPS = 200", "STEPS = 10")
    folder, site = tmp_path_factory.mktemp("notebook"), tmp_path_factory.mktemp("site")
    (site / "google" / "colab").mkdir(parents=True)
    for name, text in COLAB.items():
        (site / "google" / "colab" / name).write_text(text)
    # pip puts the wheel there; what it depends on is there already, in the environment of the tests.
    pip = {"PIP_TARGET": str(site), "PIP_NO_DEPS": "1", "PIP_NO_INDEX": "1"}
    env = {**environment, **pip, "PYTHONPATH": str(site), "VSWEEP_INSTALL": str(wheel)}
    env |= {"HOME": str(folder), "JAX_PLATFORMS": "cpu", "WANDB_MODE": "offline"}
    env.pop("WANDB_API_KEY", None)
    where = {"metadata": {"path": str(folder)}}
    nbclient.NotebookClient(notebook, timeout=240, resources=where).execute(env=env)
    return Ran(folder, site, notebook.cells)


def test_what_is_kept_of_it_has_not_run():
    notebook = read()
    nbformat.validate(notebook)
    assert notebook.metadata.accelerator == "TPU"
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.tail
def test_nothing_in_it_fails_or_warns(ran):
    for cell in ran.cells:
        for output in cell.get("outputs", []):
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.text


@pytest.mark.tail
def test_it_installs_vsweep_and_says_what_it_runs_on(ran):
    assert (ran.site / "vsweep" / "commands" / "sweep.py").is_file()
    assert re.fullmatch(r"JAX [\d.]+ on CPU: \d+ × cpu\n", ran.text("vsweep.devices()"))


@pytest.mark.tail
def test_it_trains_hundreds_under_one_bar(ran):
    trials = ran.sweep.trials
    assert len(trials) == TRIALS
    assert (trials["status"] == "ok").all()
    (bar,) = (line for line in ran.text("vsweep.sweep(").splitlines() if "trials/s" in line)
    assert re.search(rf"━ {TRIALS}/{TRIALS} trials [\d.,]+ trials/s 0:\d\d:\d\d left 0:00:00", bar)


@pytest.mark.tail
def test_with_a_secret_there_is_a_run_per_cell_and_an_overview(ran):
    assert "curves go to Weights & Biases" in ran.text("WANDB_API_KEY")
    assert len(list(ran.sweep.directory.glob("wandb/offline-run-*"))) == CELLS + 1
    said = ran.text("vsweep.sweep(")
    assert f"W&B: {CELLS + 1} runs in outputs/" in said
    assert re.search(rf"W&B ━+ {CELLS + 1}/{CELLS + 1} runs", said)


@pytest.mark.parametrize("source", ["sweep.plot.heatmap(", "sweep.plot.curves("])
@pytest.mark.tail
def test_it_shows_the_pictures(ran, source):
    (output,) = only(ran.cells, source).outputs
    figure = output.data["application/vnd.plotly.v1+json"]
    assert len(figure["data"]) > 0
    assert figure["layout"]["title"]["text"].startswith("val_")


@pytest.mark.tail
def test_it_keeps_the_sweep_in_one_file(ran, tmp_path):
    archive = Path(f"{ran.sweep.directory}.zip")
    assert ran.text("make_archive") == f"downloading {archive}\n{archive}\n"
    zipfile.ZipFile(archive).extractall(tmp_path)
    again = vsweep.load(tmp_path / archive.stem)
    assert again.trials.equals(ran.sweep.trials)
    assert len(again.curves) == TRIALS * 3


def test_elsewhere_without_a_key_nothing_is_sent_or_downloaded(tmp_path, monkeypatch, capsys):
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setitem(sys.modules, "google.colab", None)
    (tmp_path / "kept").mkdir()
    names = {"os": os, "sweep": SimpleNamespace(directory=tmp_path / "kept")}
    exec(only(read().cells, "WANDB_API_KEY").source, names)
    assert names["tracker"] == "none"
    exec(only(read().cells, "make_archive").source, names)
    assert capsys.readouterr().out == f"no key: curves stay here\n{tmp_path / 'kept.zip'}\n"
    assert zipfile.is_zipfile(tmp_path / "kept.zip")
