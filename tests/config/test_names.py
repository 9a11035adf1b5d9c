"""Suggestions for names from elsewhere, for missing quotes, and for the values of several jobs."""

import shlex

import pytest

from vsweep.config.groups import options
from vsweep.config.names import COMMON, suggest_choice, suggest_field
from vsweep.config.overrides import from_word
from vsweep.config.schema import FIELDS, GROUPS, SWEEP_FIELDS
from vsweep.config.spec import make_spec
from vsweep.errors import ConfigError

# Names that people type, and the field that is suggested.
MEANT = {
    "seed": "seeds",
    "random_state": "seeds",
    "epochs": "steps",
    "num_epochs": "steps",
    "iterations": "steps",
    "batch_size": "data.batch_size",
    "hidden_size": "model.width",
    "hidden_dim": "model.width",
    "units": "model.width",
    "n_layers": "model.depth",
    "num_layers": "model.depth",
    "learning_rate": "optimizer.lr",
    "lr": "optimizer.lr",
    "wd": "optimizer.weight_decay",
    "experiment": "sweep",
    "dataset": "data",
    "arch": "model",
    "optim": "optimizer",
    "scheduler": "schedule",
    "output_dir": "dir",
    "log_every": "record_every",
    "activation": "model.activation",
    "model.hidden_size": "model.width",
    "optimizer.learning_rate": "optimizer.lr",
    "data.batchsize": "data.batch_size",
    "optimiser.lr": "optimizer.lr",
    "learningRate": "optimizer.lr",
    "batchSize": "data.batch_size",
    "hidden_layer_sizes": "model.width",
    "solver": "optimizer",
    "alpha": "optimizer.weight_decay",
    "repeats": "seeds",
    "logger": "tracker",
    "gamma": "schedule.decay_rate",
    "optimizer.betas": "optimizer.b1",
    "model.widht": "model.width",
    "stpes": "steps",
}


@pytest.mark.parametrize("word", MEANT)
@pytest.mark.parametrize("prefix", ["", "+", "grid."])
def test_a_name_from_elsewhere_suggests_its_field(word, prefix):
    text = "[1,2]" if prefix == "grid." else "1"
    with pytest.raises(ConfigError) as error:
        make_spec(["data=iris", "tracker=none", f"{prefix}{word}={text}"])
    field, _, said = str(error.value).partition(": ")
    assert field == f"{prefix}{word}".lstrip("+")
    assert said.startswith(f"no such field; did you mean {MEANT[word]}?")
    assert len(said) < 150


def test_what_is_suggested_is_there():
    known = {*FIELDS, *SWEEP_FIELDS, *GROUPS, "seeds", "sweep", "tracker"}
    assert set(COMMON.values()) <= known
    assert not set(COMMON) & known


@pytest.mark.parametrize(
    "word",
    ["dropout", "model.dropout", "early_stopping", "gpus", "grad_clip", "optimizer.nesterov", "verbose"],
)
def test_what_is_not_here_is_said(word):
    said = suggest_field(word, FIELDS)
    assert "optimizer.lr" not in said
    assert said.endswith(("model=own", "optimizer=nesterov", "leave it out"))


@pytest.mark.parametrize(
    "word", ["zzz", "x-y", "optimizer.zzz", "optimizer.type", "data.augment", "n_estimators"]
)
def test_without_a_near_name_the_answer_is_short(word):
    said = suggest_field(word, FIELDS)
    assert "did you mean" not in said
    group, _, rest = word.partition(".")
    assert said.startswith(f"fields of {group} are {group}." if rest else "it takes a group (data, model,")
    assert len(said) < 400


@pytest.mark.parametrize(
    ("word", "nearest"),
    [
        ("model.activation=ReLU", "relu"),
        ("model.init=xavier", "glorot_uniform"),
        ("model.init=kaiming_normal", "he_normal"),
        ("grid.model.init=[he_norml]", "he_normal"),
        ("dtype=fp32", "float32"),
        ("metric=accuracy", "val_accuracy"),
        ("tracker.wandb.mode=of-line", "offline"),
    ],
)
def test_a_value_from_elsewhere_suggests_ours(word, nearest):
    with pytest.raises(ConfigError) as error:
        make_spec(["data=iris", "tracker=none", word])
    assert str(error.value).endswith(f"; did you mean {nearest}?")


@pytest.mark.parametrize(
    "word", ["optimizer.lr=[0.1,0.2]", "model.width=[8,16]", "steps=[5,6]", "dtype=[float64]"]
)
def test_a_list_in_place_of_a_value_is_told_of_axes(word):
    path = word.partition("=")[0]
    with pytest.raises(ConfigError) as error:
        make_spec(["data=iris", "tracker=none", word])
    assert str(error.value).endswith(f"; for an axis give grid.{path}=[…]")
    assert make_spec(["data=iris", "tracker=none", f"grid.{word}"]).grid.axes[0].path == path


@pytest.mark.parametrize(
    ("group", "word", "meant"),
    [
        ("data", "mnist", "digits"),
        ("data", "Iris", "iris"),
        ("data", "irsi", "iris"),
        ("data", "breast-cancer", "breast_cancer"),
        ("model", "mpl", "mlp"),
        ("model", "logistic_regression", "logistic"),
        ("optimizer", "SGD", "sgd"),
        ("optimizer", "nag", "nesterov"),
        ("optimizer", "AdamW", "adamw"),
        ("loss", "mse", "squared_error"),
        ("loss", "cross_entropy", "softmax_cross_entropy"),
        ("model", "LogisticRegression", "logistic"),
        ("model", "MLPClassifier", "mlp"),
        ("loss", "MSELoss", "squared_error"),
        ("loss", "CrossEntropyLoss", "softmax_cross_entropy"),
        ("loss", "binary_crossentropy", "sigmoid_cross_entropy"),
        ("schedule", "CosineAnnealingLR", "cosine"),
        ("sweep", "sweeps/digits.yaml", "digits"),
        ("data", "my iris.csv", "data=csv data.path=my iris.csv"),
        ("data", "imdb", None),
        ("optimizer", "adagrad", None),
    ],
)
def test_a_choice_from_elsewhere_suggests_ours(group, word, meant):
    said = suggest_choice(word, options(group))
    assert said == f"did you mean {meant}?" if meant else said.startswith("it takes one of ")


@pytest.mark.parametrize(
    "text",
    ["a=b.csv", "größe.csv", "a (1).csv", "it's.csv", "a&b", "x;y", "a#b", "50%<100", "a`b", "ñ=1 (2).csv"],
)
def test_quotes_are_named_as_the_cure(text):
    with pytest.raises(ConfigError) as error:
        from_word(f"data.path={text}")
    cure = str(error.value).partition("spaces or signs: ")[2]
    # A shell reads the cure as one word, which has the text.
    (word,) = shlex.split(cure)
    assert (from_word(word).key, from_word(word).value) == ("data.path", text)


@pytest.mark.parametrize(
    ("word", "takes"),
    [
        ("model.width = 3", "it takes path=value without spaces around =: model.width=3"),
        ("digits", "did you mean sweep=digits?"),
        ("mlp", "did you mean model=mlp?"),
        ("nosuch", "it takes path=value"),
        ("steps=[1,2", "it takes path=value"),
    ],
)
def test_a_word_that_is_none_is_told_what_it_could_be(word, takes):
    with pytest.raises(ConfigError) as error:
        from_word(word)
    assert str(error.value) == f"override: cannot parse {word!r}; {takes}"


@pytest.mark.parametrize("axis", ["grid.optimizer.lr", "draws.optimizer.lr"])
def test_values_of_an_axis_are_a_list(axis):
    with pytest.raises(ConfigError) as error:
        from_word(f"{axis}=0.1,0.2")
    assert str(error.value) == f"{axis}: got several values, '0.1,0.2'; give {axis}='[0.1,0.2]'"
    for call, cure in (
        ("range(0,1,0.5)", "{range:[0,1,0.5]}"),
        ("choice(0.1,0.2)", "[0.1,0.2]"),
        ("(0.1,0.2)", "[0.1,0.2]"),
        ("logspace(1e-3,1,8)", "{logspace:[1e-3,1,8]}"),
    ):
        with pytest.raises(ConfigError) as error:
            from_word(f"{axis}={call}")
        assert f"{axis}='{cure}'" in str(error.value)
        from_word(f"{axis}={cure}")
    # The sweep's own fields are no axes.
    with pytest.raises(ConfigError, match=r"give seeds='\[1,2,3\]' for a list, or -m for one job per value$"):
        from_word("seeds=1,2,3")
    with pytest.raises(ConfigError, match=r"or grid\.optimizer\.lr=\[…\] for an axis$"):
        from_word("optimizer.lr=0.1,0.2")
