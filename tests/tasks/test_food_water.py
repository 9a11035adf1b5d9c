"""Prompts as embeddings: from a file, from a server, or generated, and then told so."""

import numpy as np
import pandas as pd
import pytest

import vsweep
from vsweep.errors import ConfigError
from vsweep.tasks.data.food_water import food_water

COLUMNS = ("Embedding_dim_1", "Embedding_dim_2")
TABLE = pd.DataFrame(
    {
        "Prompt": ["a pear", "a well", "rain, again", "bread"],
        "Embedding_dim_1": [1.0, -1.5, -2.0, 0.5],
        "Embedding_dim_2": [0.25, 3.0, 1.0, -1.0],
        "Label": ["food", "water", "water", "food"],
    }
)
KEPT = {"/t.csv": TABLE.to_csv(index=False).encode()}


def read(path, rows=50, seed=0):
    return food_water(path=path, rows=rows, seed=seed)


def assert_is_the_table(made):
    np.testing.assert_array_equal(made.x, TABLE[list(COLUMNS)])
    assert (made.y.tolist(), made.y.dtype) == ([0, 1, 1, 0], np.int64)
    assert (made.classes, made.features, made.note) == (("food", "water"), COLUMNS, "")


@pytest.mark.parametrize(
    "labels",
    [
        ["food", "water", "water", "food"],
        ["Food", " Water ", "WATER", "food"],
        [0, 1, 1, 0],
        [0.0, 1.0, 1.0, 0.0],
    ],
    ids=["words", "any case", "integers", "floats"],
)
def test_a_file(here, labels):
    TABLE.assign(Label=labels).to_csv("t.csv", index=False)
    assert_is_the_table(read("t.csv"))


def test_a_file_of_one_class_alone_keeps_its_place(here):
    TABLE[1:3].to_csv("t.csv", index=False)
    made = read("t.csv")
    assert (made.y.tolist(), made.classes) == ([1, 1], ("food", "water"))


def test_a_server_is_asked_once(cache, server):
    server.files = KEPT
    assert_is_the_table(read(f"{server.url}/t.csv"))
    server.stop()
    assert_is_the_table(read(f"{server.url}/t.csv"))
    assert server.asked == ["/t.csv"]


def test_a_url_that_cannot_be_fetched_is_generated_and_told(cache, server):
    url = f"{server.url}/gone.csv"
    generated = read(None)
    assert generated.note == "data=food_water is generated: data.path is null"
    notes = [read(url).note]
    np.testing.assert_array_equal(read(url).x, generated.x)
    server.stop()
    notes.append(read(url).note)
    for note, reason in zip(notes, ("404", "refused"), strict=True):
        assert note.startswith(f"data=food_water is generated: could not fetch '{url}' (")
        assert reason in note
    assert not any(file.is_file() for file in cache.rglob("*"))


def test_what_was_out_of_reach_is_fetched_once_it_is_there(cache, server):
    assert read(f"{server.url}/t.csv").note
    server.files = KEPT
    assert_is_the_table(read(f"{server.url}/t.csv"))


@pytest.mark.parametrize("seed", range(40))
def test_what_is_generated_is_told_apart_by_a_line(seed):
    made = read(None, rows=[2, 3, 50, 2000][seed % 4], seed=seed)
    side = (made.x - [0.5, 0.25]) @ [0.8, -0.6]
    assert ((side > 0) == (made.y == 1)).all()
    assert np.abs(side).min() >= 0.4 - 1e-12
    assert set(made.y) == {0, 1}


def test_what_is_generated_follows_its_seed():
    first, again, other = (read(None, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first.x, again.x)
    assert (first.x != other.x).all()
    assert (first.classes, first.features) == (("food", "water"), COLUMNS)
    assert first.x.shape == (50, 2)
    assert np.bincount(first.y).tolist() == [25, 25]


@pytest.mark.parametrize(
    "path",
    ["nowhere.csv", "~/nowhere/at/all.csv", ".", "s3://bucket/x", "file:///nowhere.csv", "http://[bad"],
)
def test_a_path_that_is_wrong_is_refused(here, cache, path):
    with pytest.raises(ConfigError, match=r"^data\.path: "):
        read(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"Label": ["food", "fire", "water", "food"]}, "column 'Label' holds 'fire'"),
        ({"Label": [0, 1, 2, 0]}, "column 'Label' holds '2'"),
        ({"Label": [0, 1, 0.5, 0]}, "column 'Label' holds '0.5'"),
        ({"Label": ["food", None, "water", "food"]}, "column 'Label' has 1 missing value ("),
        ({"Embedding_dim_1": list("abcd")}, "column 'Embedding_dim_1' holds text"),
        ({"Embedding_dim_2": [1.0, None, 2.0, 3.0]}, "column 'Embedding_dim_2' has 1 missing value ("),
    ],
)
def test_a_file_that_holds_something_else_is_refused(here, change, message):
    TABLE.assign(**change).to_csv("t.csv", index=False)
    with pytest.raises(ConfigError) as error:
        read("t.csv")
    assert str(error.value).startswith(f"data.path: {message}")
    assert str(error.value).endswith("and Label (food and water, or 0 and 1)")


@pytest.mark.parametrize("gone", [*COLUMNS, "Label"])
def test_a_file_without_its_columns_is_refused(here, cache, server, gone):
    server.files = {"/t.csv": TABLE.drop(columns=gone).to_csv(index=False).encode()}
    for path in ("t.csv", f"{server.url}/t.csv"):
        TABLE.drop(columns=gone).to_csv("t.csv", index=False)
        with pytest.raises(ConfigError, match=rf"^data\.path: no column '{gone}'; it takes a CSV file with"):
            read(path)


def test_a_page_that_is_no_table_is_refused(cache, server):
    server.files = {"/t.csv": b"<!doctype html><html><body>Sign in</body></html>"}
    with pytest.raises(ConfigError, match=r"^data\.path: "):
        read(f"{server.url}/t.csv")


def test_it_is_learned(here):
    words = ["data=food_water", "model=logistic", "optimizer.lr=1", "steps=200", "tracker=none"]
    made = vsweep.sweep([*words, "verify=false"], quiet=True)
    last = made.curves.iloc[-1]
    assert last["train_accuracy"] == last["val_accuracy"] == 1.0
