"""W&B sweep files that cannot be run: each is refused in one line that names what of it."""

import pytest
from test_bad_files import UNREADABLE

BAYES = "it takes grid or random: all runs are planned before training"
# The content of `odd.yaml`, and the start of the message.
KEYS = {
    "method: bayes\nparameters: {lr: {min: 0.1, max: 1.0}}\n": f"method: in odd.yaml: got 'bayes'; {BAYES}",
    "method: custom\nparameters: {lr: {values: [1]}}\n": "method: in odd.yaml: got 'custom'; it takes grid",
    "method: Grid\nparameters: {lr: {values: [1]}}\n": "method: in odd.yaml: got 'Grid'; it takes grid",
    "method: [grid]\nparameters: {lr: {values: [1]}}\n": "method: in odd.yaml: got ['grid']",
    "method: {grid: 1}\nparameters: {lr: {values: [1]}}\n": "method: in odd.yaml: got {'grid': 1}",
    "parameters: {lr: {values: [1]}}\n": "method: in odd.yaml: got nothing; it takes grid or random",
    "method: grid\n": "parameters: in odd.yaml: got nothing; it takes names, each with values",
    "method: grid\nparameters:\n": "parameters: in odd.yaml: got nothing",
    "method: grid\nparameters: {}\n": "parameters: in odd.yaml: got {}",
    "method: grid\nparameters: [lr]\n": "parameters: in odd.yaml: got ['lr']",
    "method: grid\nparamters: {lr: {values: [1]}}\n": "paramters: in odd.yaml: no field of a W&B sweep file",
    "grid: {optimizer.lr: [1]}\n": "grid: in odd.yaml: no field of a W&B sweep file",
    "just text": "just text: in odd.yaml: no field of a W&B sweep file",
    "3: 4\n": "3: in odd.yaml: no field of a W&B sweep file",
}
EARLY = (
    "early_terminate: in odd.yaml: got {'type': 'hyperband', 'min_iter': 3}; every training runs to its end"
)
# Entries beside `method: grid` and one good parameter.
BESIDE = {
    "early_terminate: {type: hyperband, min_iter: 3}": EARLY,
    "metric: {name: val_loss, target: 0.1}": "metric.target: in odd.yaml: got 0.1; no metric value",
    "run_cap: 0": "run_cap: in odd.yaml: got 0; it takes an integer of at least 1",
    "run_cap: many": "run_cap: in odd.yaml: got 'many'",
    "run_cap: true": "run_cap: in odd.yaml: got True",
    "run_cap: 2.5": "run_cap: in odd.yaml: got 2.5",
    "project: [a]": "project: in odd.yaml: got ['a']; it takes text",
    "project: a/b": "tracker.wandb.project: got 'a/b'; it takes up to 128 characters",
    "entity: 3": "entity: in odd.yaml: got 3",
    "hydra: {run: {dir: /tmp/x}}": "hydra: in odd.yaml: no field of a W&B sweep file",
    "allow_targets: [os]": "allow_targets: in odd.yaml: no field of a W&B sweep file",
}
# One parameter of `method: grid`.
PARAMETERS = {
    "lr: 0.1": "parameters.lr: in odd.yaml: got 0.1; it takes a mapping, as {value: 0.1}",
    "lr: [0.1]": "parameters.lr: in odd.yaml: got [0.1]; it takes a mapping",
    "lr: ": "parameters.lr: in odd.yaml: got None; it takes a mapping",
    "lr: {}": "parameters.lr: in odd.yaml: got {}; it takes value, values, min and max, or a distribution",
    "lr: {min: 0.1}": "parameters.lr: in odd.yaml: got {'min': 0.1}; it takes value, values, min and max",
    "lr: {mu: 0, sigma: 1}": "parameters.lr: in odd.yaml: got {'mu': 0, 'sigma': 1}; it takes",
    "lr: {values: []}": "parameters.lr.values: in odd.yaml: got []; it takes a list",
    "lr: {values: 0.1}": "parameters.lr.values: in odd.yaml: got 0.1; it takes a list",
    "lr: {values: [{a: 1}]}": "parameters.lr.values: in odd.yaml: got {'a': 1}; it takes plain values",
    "lr: {value: {a: 1}}": "parameters.lr.value: in odd.yaml: got {'a': 1}; it takes plain values",
    "lr: {values: [0.1], value: 1}": "parameters.lr.values: in odd.yaml: no field of constant",
    "lr: {values: [0.1], min: 1}": "parameters.lr.min: in odd.yaml: no field of categorical",
    "lr: {value: 1, parameters: {}}": "parameters.lr.parameters: in odd.yaml: no field of constant",
    "lr: {distribution: categorical}": "parameters.lr.values: in odd.yaml: got None; it takes a list",
    "lr: {distribution: constant}": "parameters.lr.value: in odd.yaml: got None; it takes a value",
    "lr: {distribution: logunif, min: 1, max: 2}": "parameters.lr.distribution: in odd.yaml: no such distri",
    "lr: {distribution: [uniform], min: 1}": "parameters.lr.distribution: in odd.yaml: no such distribution",
    "lr: {min: 0.1, max: 1.0}": "parameters.lr: in odd.yaml: uniform cannot be enumerated; a grid takes val",
    "lr: {distribution: normal}": "parameters.lr: in odd.yaml: normal cannot be enumerated",
    "lr: {min: 1.0, max: 0.1}": "parameters.lr: in odd.yaml: got min 1.0 and max 0.1; it takes",
    "lr: {min: 1, max: 1}": "parameters.lr: in odd.yaml: got min 1 and max 1; it takes a min below max",
    "lr: {min: a, max: 1}": "parameters.lr.min: in odd.yaml: got 'a'; it takes a number",
    "lr: {min: .nan, max: 1}": "parameters.lr.min: in odd.yaml: got nan; it takes a number",
    "lr: {min: 0.1, max: .inf}": "parameters.lr.max: in odd.yaml: got inf",
    "lr: {min: true, max: 3}": "parameters.lr.min: in odd.yaml: got True",
    "lr: {distribution: uniform, max: 3}": "parameters.lr.min: in odd.yaml: got nothing; it takes a number",
    "lr: {distribution: int_uniform, min: 0.5, max: 3}": "parameters.lr.min: in odd.yaml: got 0.5; it takes",
    "lr: {distribution: log_uniform_values, min: 0, max: 1}": "parameters.lr.min: in odd.yaml: got 0; it ta",
    "lr: {distribution: q_uniform, min: 0, max: 1, q: 0}": "parameters.lr.q: in odd.yaml: got 0; it takes a",
    "lr: {distribution: beta, a: -1}": "parameters.lr.a: in odd.yaml: got -1",
    "lr: {distribution: normal, sigma: -1}": "parameters.lr.sigma: in odd.yaml: got -1; it takes a number o",
    "lr: {distribution: uniform, min: 0, max: 1, q: 1}": "parameters.lr.q: in odd.yaml: no field of uniform",
    "lr: {values: [1, 2], probabilities: [0.5, 0.5]}": "parameters.lr: in odd.yaml: probabilities under met",
    "lr: {values: [1, 2], probabilities: [0.5]}": "parameters.lr.probabilities: in odd.yaml: got [0.5]; it",
    "lr: {values: [1, 2], probabilities: [1, 1]}": "parameters.lr.probabilities: in odd.yaml: got [1, 1]",
    "lr: {values: [1, 2], probabilities: [2, -1]}": "parameters.lr.probabilities: in odd.yaml: got [2, -1]",
    "lr: {values: [fast]}": "grid.optimizer.lr: got 'fast'; it takes a number above 0",
    "lr: {value: fast}": "optimizer.lr: got 'fast'",
    "width: {min: 1, max: 9007199254740991}": "parameters.width: in odd.yaml: about 9.01e+15 values",
    "model: {values: [mpl]}": "grid.model: no such choice 'mpl'; did you mean mlp?",
    "model: {value: mpl}": "model: no such choice 'mpl'; did you mean mlp?",
    "model: {value: ../x}": "model: no such choice '../x'",
    "lrr: {values: [1]}": "parameters.lrr: in odd.yaml: no such field; did you mean lr? wandb_sweep.names.",
    "widht: {values: [1]}": "parameters.widht: in odd.yaml: no such field; did you mean width?",
    "epochs: {value: 9}": "parameters.epochs: in odd.yaml: no such field; did you mean steps? wandb_sweep.n",
    "learning_rat: {value: 1}": "parameters.learning_rat: in odd.yaml: no such field; did you mean learning_",
    "dropout: {value: 0.1}": "parameters.dropout: in odd.yaml: no such field; wandb_sweep.names.dropout=… na",
    "eps: {values: [1]}": "parameters.eps: in odd.yaml: no such field; choose one: wandb_sweep.names.eps=",
    "model.widht: {values: [1]}": "grid.model.widht: no such field; did you mean model.width?",
    "model: {parameters: {widht: {value: 1}}}": "model.widht: no such field; did you mean model.width?",
    "ema.decay: {value: 0.9}": "parameters.ema.decay: in odd.yaml: no such field; wandb_sweep.names.ema.dec",
    "pair: {values: [{lr: 1}, {lr: 2, width: 3}]}": "parameters.pair: in odd.yaml: got {'lr': 1}; mappings ",
    "pair: {values: [{lr: 1}, 3]}": "parameters.pair: in odd.yaml: got 3; mappings that are paired all have",
    "pair: {values: [{lr: 1, seed: 2}]}": "parameters.pair.seed: in odd.yaml: a seed cannot be paired",
    "pair: {values: [{lr: 1, teacher: {width: 2}}]}": "parameters.pair.teacher.width: in odd.yaml: no such ",
    "optimizer: {values: [nag, sgd]}": "grid.optimizer: no such choice 'nag'; did you mean nesterov? wandb_"
    "sweep.values.optimizer.nag=… gives another choice for it",
    "model: {parameters: {}}": "parameters.model: in odd.yaml: got {}; it takes names",
    "model: {parameters: 3}": "parameters.model: in odd.yaml: got 3",
    "lr: {values: [1]}, optimizer.lr: {values: [2]}": "parameters.optimizer.lr: in odd.yaml: optimizer.lr i",
    "dir: {value: /tmp/x}": "parameters.dir: in odd.yaml: is not a field of a trial; give dir=… on",
    "allow_targets: {value: [os]}": "parameters.allow_targets: in odd.yaml: is not a field",
    "tracker.wandb.mode: {value: online}": "parameters.tracker.wandb.mode: in odd.yaml: is not a field",
    "hydra.run.dir: {value: /tmp/x}": "parameters.hydra.run.dir: in odd.yaml: is not a field",
    "hydra: {parameters: {a: {value: 1}}}": "parameters.hydra.a: in odd.yaml: is not a field",
    "sweep: {value: digits}": "parameters.sweep: in odd.yaml: is not a field",
    "'model.width=3 steps': {value: 1}": "parameters.model.width=3 steps: in odd.yaml: no such field",
    "'lr\\n': {value: 1}": "parameters.lr\\n: in odd.yaml: no such field",
    "3: {value: 1}": "parameters.3: in odd.yaml: no such field",
    "'': {value: 1}": "parameters.: in odd.yaml: no such field",
    "model.name: {value: own}, model._target_: {value: os.system}": "model._target_: 'os.system' is in the",
    "model._target_: {values: [os.system, x.y]}": "grid.model._target_: no such field",
    "data.path: {value: '${oc.env:CANARY}'}": "parameters.data.path.value: in odd.yaml: got '${oc.env:CANAR",
    "data.path: {values: ['${oc.env:CANARY}']}": "parameters.data.path.values: in odd.yaml: got '${oc.env:C",
    "lr: '${steps}'": "parameters.lr: in odd.yaml: got '${steps}'",
    "seed: {values: [1, -1]}": "seeds: in odd.yaml: got [1, -1]; it takes a count of at least 1, or a list",
    "seed: {values: [a]}": "seeds: in odd.yaml: got ['a']",
    "seed: {value: a}": "seeds: got ['a']",
    "seed: {value: 1}, seeds: {value: 2}": "parameters.seeds: in odd.yaml: seeds is given twice",
    "seed: {min: 0, max: 99999999}": "parameters.seed: in odd.yaml: about 1e+08 values",
}
# One parameter of `method: random`.
RANDOM = {
    "lr: {min: 0.1, max: 1.0}": "run_cap: in odd.yaml: got nothing; method: random needs a number of runs: "
    "give wandb_sweep.run_cap=50, or run_cap in the file",
    "lr: {distribution: normal}\nrun_cap: 50": "draws.optimizer.lr: got -",
    "lr: {distribution: log_uniform, min: 1, max: 1000}\nrun_cap: 50": "parameters.lr: in odd.yaml: log_uni",
    "width: {distribution: q_uniform, min: 1, max: 9, q: 8}\nrun_cap: 50": "draws.model.width: got 0; it ta",
    "lr: {min: 0.1, max: 1.0}\nrun_cap: 1000001": "run_cap: in odd.yaml: 1,000,001 runs of 1 parameters; it",
    "lr: {min: 0.1, max: 1.0}\nrun_cap: 999999999999999": "run_cap: in odd.yaml: got 999999999999999; it ta",
    "seed: {min: 1, max: 9}": "parameters.seed: in odd.yaml: a seed cannot be drawn, got int_uniform; every",
    "seed: {values: [1, 2], probabilities: [0.5, 0.5]}": "parameters.seed: in odd.yaml: a seed cannot be dr",
}
GRID = "method: grid\nparameters: {lr: {values: [0.1, 1]}}\n"
TEXTS = {
    **{text: said.replace("sweep: cannot read sweeps/", "wandb_sweep: cannot read ")
       for text, said in UNREADABLE.items() if "cannot read" in said},
    **KEYS,
    **{f"{GRID}{text}\n": said for text, said in BESIDE.items()},
    **{f"method: grid\nparameters: {{{text}}}\n": said for text, said in PARAMETERS.items()},
    **{"method: random\nparameters:\n  " + text + "\n": said for text, said in RANDOM.items()},
}  # fmt: skip
WORDS = {
    "wandb_sweep=": "wandb_sweep: got nothing; it takes a W&B sweep file: wandb_sweep=path.yaml",
    "+wandb_sweep": "wandb_sweep: got nothing",
    "wandb_sweep=nosuch.yaml": "wandb_sweep: cannot read nosuch.yaml (it is not a file); it takes YAML",
    "wandb_sweep=.": "wandb_sweep: cannot read . (it is not a file)",
    "wandb_sweep=/dev/zero": "wandb_sweep: cannot read /dev/zero (it is not a file)",
    "wandb_sweep=good.yaml,other.yaml": "wandb_sweep: cannot read good.yaml,other.yaml (it is not a file)",
    "wandb_sweep=[good.yaml]": "wandb_sweep: cannot read [good.yaml]",
    "wandb_sweep='good.yaml": "wandb_sweep: cannot read 'good.yaml",
    f"wandb_sweep={'x' * 5000}": "wandb_sweep: cannot read xxx",
    "wandb_sweep=good.yaml wandb_sweep=good.yaml": "wandb_sweep: given twice",
    "wandb_sweep.run_cap=3": "wandb_sweep: got nothing; it takes a W&B sweep file",
    "wandb_sweep=good.yaml wandb_sweep.run_cap=0": "wandb_sweep.run_cap: got '0'",
    "wandb_sweep=good.yaml wandb_sweep.run_cap=x": "wandb_sweep.run_cap: got 'x'",
    "wandb_sweep=good.yaml wandb_sweep.seed=-1": "wandb_sweep.seed: got '-1'",
    "wandb_sweep=good.yaml wandb_sweep.runs=3": "wandb_sweep.runs: no such field; did you mean wandb_sweep",
    "wandb_sweep=good.yaml wandb_sweep.names.lrr=steps": "wandb_sweep.names.lrr: in good.yaml: no such",
    "wandb_sweep=good.yaml wandb_sweep.names.lr=stpes": "parameters.lr: in good.yaml: no such field; did you",
    "wandb_sweep=good.yaml wandb_sweep.names.lr=dir": "parameters.lr: in good.yaml: is not a field of",
    "wandb_sweep=good.yaml wandb_sweep.names.lr=": "wandb_sweep.names.lr: got nothing",
    "wandb_sweep=good.yaml wandb_sweep.values.lr.7=3": "wandb_sweep.values.lr.7: in good.yaml: lr has no su",
    "wandb_sweep=good.yaml wandb_sweep.values.lrr.7=3": "wandb_sweep.values.lrr.7: in good.yaml: no such pa",
    "wandb_sweep=good.yaml wandb_sweep.method=bayes": "method: in good.yaml: got 'bayes'; it takes grid or ",
    "wandb_sweep=good.yaml wandb_sweep.names=lr": "wandb_sweep.names: no such field",
    "wandb_sweep=good.yaml model.widht=3": "model.widht: no such field; did you mean model.width?",
    "wandb_sweep=good.yaml steps=0": "steps: got 0",
    "wandb_sweep=good.yaml ~wandb_sweep": "wandb_sweep: is not in the config, so it cannot be deleted",
    "-m wandb_sweep=nosuch.yaml model=mlp,logistic": "wandb_sweep: cannot read nosuch.yaml",
    "-m wandb_sweep=good.yaml,nosuch.yaml": "wandb_sweep: cannot read good.yaml,nosuch.yaml",
    "-m wandb_sweep=good.yaml steps=1,0": "steps: got 0",
}


@pytest.fixture
def odd(here):
    return here / "odd.yaml"


@pytest.mark.parametrize("text", TEXTS, ids=lambda text: repr(text[:90]))
def test_a_wandb_sweep_file_that_cannot_be_run(refused, odd, text):
    odd.write_bytes(text if isinstance(text, bytes) else text.encode())
    tracker = [] if "project" in str(text) else ["tracker=none"]
    refused(TEXTS[text], "run", "wandb_sweep=odd.yaml", "data=iris", *tracker)


@pytest.mark.parametrize("words", WORDS, ids=lambda text: text[:60])
def test_words_that_cannot_name_a_wandb_sweep(refused, here, words):
    (here / "good.yaml").write_text(GRID)
    refused(WORDS[words], "run", *words.split(), "data=iris", "tracker=none")
