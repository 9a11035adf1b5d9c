"""The recipes of CONTRIBUTING.md, followed in a copy of the package."""

import shutil
import subprocess
import sys
from textwrap import indent

import pytest
import snippets

# The files of the recipes, below `src/vsweep/`.
MODELS, LOSSES, DATASETS = "tasks/models.py", "tasks/losses.py", "tasks/data/builtin.py"
ANALYSIS, CHARTS, PLOTS = "analysis/marginals.py", "charts/effects.py", "figures.py"
OPTIMIZERS, SCHEMA = "training/optimizers.py", "config/schema.py"
SCRIPT = """
import vsweep

def train(*words):
    return vsweep.sweep([*words, "tracker=none", "steps=20", "record_every=5", "verify=false"], quiet=True)

quadratic = train("data=rings", "model=quadratic", "optimizer.lr=1.0", "seeds=2")
assert quadratic.best("train_accuracy")["mean"] > 0.95, quadratic.cells("train_accuracy").T
assert quadratic.params(0)["0.w"].shape == (1, 4), quadratic.params(0)
log_cosh = train("data=diabetes", "model=linear", "loss=log_cosh", "optimizer.lr=1.0")
curve = log_cosh.curves["train_loss"]
assert curve.iloc[-1] < curve.iloc[0], curve
adam = train("data=iris", "model=logistic", "optimizer=adam", "grid.optimizer.eps_root=[0.0,1e-8]")
assert len(adam.plan["programs"]) == 1 and len(adam.cells()) == 2
words = ["data=iris", "model=logistic", "grid.optimizer.lr=[0.1,1e30]"]
shares = train(*words, "pictures=[{diverged: {axis: optimizer.lr}}]")
assert shares.plot.diverged("optimizer.lr").data[0].y.tolist() == [0.0, 1.0]
assert [path.name for path in (shares.directory / "pictures").iterdir()] == ["diverged-optimizer.lr.html"]
"""


def recipes():
    """The functions of CONTRIBUTING.md, by their names."""
    page = (snippets.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    texts = [snippet.text for snippet in snippets.read_snippets(page) if snippet.language == "python"]
    return {text.partition("def ")[2].partition("(")[0]: text for text in texts}


def edit(file, old, new):
    text = file.read_text(encoding="utf-8")
    assert text.count(old) == 1, f"{file}: {old}"
    file.write_text(text.replace(old, new), encoding="utf-8")


@pytest.mark.tail
def test_the_recipes_work_as_they_are_written(tmp_path):
    package, conf, functions = tmp_path / "src" / "vsweep", tmp_path / "conf", recipes()
    shutil.copytree(snippets.ROOT / "src" / "vsweep", package)
    for name in ("conf", "sweeps"):
        shutil.copytree(snippets.ROOT / name, tmp_path / name)
    tables = {
        "quadratic": (MODELS, "MODELS: dict[str, Callable[..., Model]] = {", '"quadratic": quadratic, '),
        "log_cosh": (LOSSES, "LOSSES: dict[str, Loss] = {", '"log_cosh": Loss(log_cosh, None),'),
        "rings": (DATASETS, "_FUNCTIONS = (", "rings, "),
    }
    pictures = {"diverged_shares": ANALYSIS, "diverged_bars": CHARTS, "diverged": PLOTS}
    assert set(functions) == {*tables, *pictures}
    for name, (file, table, row) in tables.items():
        edit(package / file, table, f"{functions[name]}\n\n{table}{row}")
    for name in ("diverged_shares", "diverged_bars"):
        with (package / pictures[name]).open("a", encoding="utf-8") as file:
            file.write(f"\n\n{functions[name]}")
    place = "    def importance(self"
    edit(package / PLOTS, place, f"{indent(functions['diverged'], '    ')}\n{place}")
    edit(package / PLOTS, "import heat_map\n", "import diverged_shares, heat_map\n")
    logistic = (conf / "model" / "logistic.yaml").read_text().replace("name: logistic", "name: quadratic")
    without_start = [line for line in logistic.splitlines() if not line.startswith("start")]
    (conf / "model" / "quadratic.yaml").write_text("\n".join(without_start))
    (conf / "loss" / "log_cosh.yaml").write_text("name: log_cosh\n")
    moons = (conf / "data" / "moons.yaml").read_text().replace("name: moons", "name: rings")
    (conf / "data" / "rings.yaml").write_text(moons)
    edit(package / OPTIMIZERS, "def adam(*, b1: Array, b2: Array, eps: Array)", ADAM)
    edit(
        package / OPTIMIZERS, "optax.scale_by_adam(b1, b2, eps)", "optax.scale_by_adam(b1, b2, eps, eps_root)"
    )
    edit(package / SCHEMA, '    "optimizer.eps": POSITIVE,', f'{ENTRY}    "optimizer.eps": POSITIVE,')
    with (conf / "optimizer" / "adam.yaml").open("a") as adam:
        adam.write("eps_root: 0.0\n")
    ran = subprocess.run(
        [sys.executable, "-c", SCRIPT],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "src"), "XDG_CACHE_HOME": str(tmp_path / "cache"), "PATH": ""},
        capture_output=True,
        text=True,
    )
    assert ran.returncode == 0, ran.stderr


ADAM = "def adam(*, b1: Array, b2: Array, eps: Array, eps_root: Array)"
ENTRY = '    "optimizer.eps_root": NOT_NEGATIVE,\n'
