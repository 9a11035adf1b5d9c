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
    known = {*FIELDS, *SWEEP_FIELDS, *GROUPS, "seeds", "sweep"}
    assert set(COMMON.values()) <= known
    assert not set(COMMON) & known


@pytest.mark.parametrize("word", ["dropout", "model.dropout", "early_stopping", "gpus"])
def test_what_is_not_here_is_said(word):
    said = suggest_field(word, FIELDS)
    assert "optimizer.lr" not in said
    assert said.endswith(("model=own", "leave it out"))


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
    with pytest.raises(ConfigError, match=r"or grid\.optimizer\.lr=\[…\] for an axis$"):
        from_word("optimizer.lr=0.1,0.2")
