"""Data files that cannot be trained on; none of them is ever unpickled."""

import gzip
import io
import os
import pickle
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

GOOD = "a,b,y\n" + "".join(f"{i},{i * i % 7},{'xz'[i % 2]}\n" for i in range(20))
CELLS = [line.split(",") for line in GOOD.splitlines()]


def with_cell(value, row=5, column=0):
    """The good table, with one cell changed."""
    cells = [list(line) for line in CELLS]
    cells[row][column] = value
    return "\n".join(map(",".join, cells)) + "\n"


class Bomb:
    """An object that makes a file where it is unpickled."""

    def __reduce__(self):
        return os.system, (f"touch '{os.environ['CANARY']}'",)


def zipped(*names):
    kept = io.BytesIO()
    with zipfile.ZipFile(kept, "w") as archive:
        for name in names:
            archive.writestr(name, GOOD)
    return kept.getvalue()


def parquet(**columns):
    kept = io.BytesIO()
    pq.write_table(pa.table(columns), kept)
    return kept.getvalue()


def npy(values):
    kept = io.BytesIO()
    np.save(kept, values, allow_pickle=True)
    return kept.getvalue()


READ = "data.path: cannot read 'own.csv' ("
Y = ["x", "z"] * 10
# The content of `own.csv`, and the start of the message.
CSV = {
    "empty": ("", READ + "it is empty, or not a file on a disk); it takes a CSV file in UTF-8"),
    "blank lines": ("\n\n\n", READ),
    "no rows": ("a,b,y\n", "data.path: the table has no rows; it takes at least two"),
    "one row": ("a,b,y\n1,2,x\n", "data.target: one class only"),
    "no such target": (GOOD.replace("y", "w", 1), "data.target: no column 'y'; it takes one of a, b, w"),
    "no header": (GOOD.partition("\n")[2], READ + "two columns are called '0')"),
    "target alone": ("y\nx\nz\n" * 5, "data.features: no column beside 'y'"),
    "two of a name": (GOOD.replace("b", "a", 1), READ + "two columns are called 'a')"),
    "two targets": (GOOD.replace("b", "y", 1), READ + "two columns are called 'y')"),
    "two without a name": (GOOD.replace("a,b", ",", 1), READ + "two columns are called '')"),
    "longer rows": (GOOD.replace("\n", ",9\n").replace(",9", "", 1), READ + "rows have more columns than"),
    "one longer row": (with_cell("1,2,3"), READ),
    "one shorter row": (GOOD + "3,4\n", "data.target: column 'y' has 1 missing value (first in row 20, "),
    "an empty cell": (with_cell(""), "data.features: column 'a' has 1 missing value (first in row 4, "),
    "an empty target": (with_cell("", 5, 2), "data.target: column 'y' has 1 missing value"),
    "NA": (with_cell("NA"), "data.features: column 'a' has 1 missing value"),
    "text": (
        with_cell("two"),
        "data.features: column 'a' holds text or dates, such as 'two' in row 4; it takes columns of numbers,"
        " here b",
    ),
    "a question mark": (
        with_cell("?"),
        "data.features: column 'a' holds text or dates, such as '?' in row 4",
    ),
    "a number with its unit": (
        with_cell("5 kg"),
        "data.features: column 'a' holds text or dates, such as '5 kg'",
    ),
    "two columns of text": (
        "a,b,y\ns,t,x\nu,v,z\n",
        "data.features: column 'a' holds text or dates, such as 's' in row 0, and likewise 'b'; it takes",
    ),
    "a comma for a point": (with_cell('"1,5"'), "data.features: column 'a' holds text"),
    "a date": (with_cell("2026-01-01"), "data.features: column 'a' holds text or dates"),
    "a complex number": (with_cell("1+2j"), "data.features: column 'a' holds text"),
    "an infinity": (with_cell("inf"), "data: feature 'a' is not finite in row 4"),
    "minus infinity": (with_cell("-inf"), "data: feature 'a' is not finite in row 4"),
    "beyond a float": (with_cell("1e999"), "data: feature 'a' is not finite in row 4"),
    "a huge number": (with_cell("1e300"), "data: got 1.84e+299; float32 holds numbers up to"),
    "huge numbers": (GOOD.replace("0,", "1e300,"), "data: feature 'a' is too large to be standardized"),
    "a huge integer": (with_cell("9" * 400), "data.features: column 'a' holds text"),
    "a long integer": (with_cell("9" * 5000), "data."),
    "one class": (GOOD.replace("z", "x"), "data.target: one class only ('x'); it takes two or more"),
    "an infinite target": (GOOD.replace("x", "inf").replace("z", "1.5"), "data.target: not finite in row 0"),
    "a huge target": (GOOD.replace("x", "1e60").replace("z", "1.5"), "data.target: got 1e+60; float32 holds"),
    "semicolons": (GOOD.replace(",", ";"), "data.target: no column 'y'; it takes one of a;b;y"),
    "an open quote": (with_cell('"1'), READ),
    "JSON": ('{"a": [1, 2], "y": [3, 4]}', "data.target: no column 'y'"),
    "HTML": ("<!doctype html><html><body>404</body></html>", "data.target: no column 'y'"),
    "NULs": ("\x00" * 100, ""),
    "a NUL": (with_cell("1\x002"), "data.features: column 'a' holds text"),
    "junk": (bytes(range(256)) * 4, READ),
    "UTF-16": (GOOD.encode("utf-16"), READ + "'utf-8' codec can't decode"),
    "Latin-1": (GOOD.replace("x", "é").encode("latin-1"), READ + "'utf-8' codec can't decode"),
    "a Parquet file": (parquet(a=[1, 2], y=["x", "z"]), READ),
    "a pickle": (lambda: pickle.dumps(Bomb()), READ),
    "a pickle as text": (lambda: pickle.dumps(Bomb(), protocol=0), "data.target: no column 'y'"),
    "a pickled frame": (lambda: pickle.dumps(pd.DataFrame({"a": [1], "y": [Bomb()]})), READ),
    "NumPy's objects": (lambda: npy(np.array([Bomb()], object)), READ),
    "a cell that is a pickle": (with_cell("cos\nsystem\n(S'touch $CANARY'\ntR."), ""),
}
PARQUET = {
    "empty": (b"", "data.path: cannot read 'own.parquet' ("),
    "text": (GOOD.encode(), "data.path: cannot read 'own.parquet' ("),
    "junk": (bytes(range(256)) * 4, "data.path: cannot read 'own.parquet' ("),
    "its marks alone": (b"PAR1" + b"\xff" * 50 + b"PAR1", "data.path: cannot read 'own.parquet' ("),
    "cut off": (parquet(a=range(20), y=Y)[:-20], "data.path: cannot read 'own.parquet' ("),
    "a pickle": (lambda: pickle.dumps(Bomb()), "data.path: cannot read 'own.parquet' ("),
    "a bomb between its marks": (lambda: b"PAR1" + pickle.dumps(Bomb()) + b"PAR1", "data.path: cannot read"),
    "no rows": (parquet(a=[], y=[]), "data.path: the table has no rows"),
    "text column": (parquet(a=list("ab") * 10, y=Y), "data.features: column 'a' holds text or dates"),
    "dates": (
        parquet(a=pd.date_range("2026", periods=20), y=Y),
        "data.features: column 'a' holds text or dates",
    ),
    "lists": (parquet(a=[[1, 2]] * 20, y=Y), "data.features: column 'a' holds text"),
    "maps": (parquet(a=[{"k": 1}] * 20, y=Y), "data.features: column 'a' holds text"),
    "nulls": (parquet(a=[None] * 20, y=Y), "data.features: column 'a' has 20 missing values"),
    "infinities": (parquet(a=[np.inf] * 20, y=Y), "data: feature 'a' is not finite in row 0"),
    "date targets": (
        parquet(a=range(20), y=pd.date_range("2026", periods=20)),
        "data.target: column 'y' holds",
    ),
    "pickled cells": (
        lambda: parquet(a=[pickle.dumps(Bomb())] * 20, y=Y),
        "data.features: column 'a' holds text or dates",
    ),
    "pickled metadata": (lambda: with_metadata(pickle.dumps(Bomb())), "data."),
    "pandas metadata that is odd": (lambda: with_metadata(b'{"columns": 3, "index_columns": "x"}'), "data."),
}
OPTIONS = {
    "data.target=w": "data.target: no column 'w'; it takes one of a, b, y",
    "data.target=A": "data.target: no column 'A'",
    "data.features=[a,w]": "data.features: no column 'w'; it takes one of a, b, y",
    "data.features=[a,y]": "data.features: 'y' is the target too; leave it out",
    "data.features=[a,a]": "data.features: 'a' is named twice",
    "data.features=[]": "data.features: got []",
    "data.max_bytes=100": "data.max_bytes: 'own.csv' has 136 bytes, and at most 100 are taken; give a larger",
    "data.max_bytes=135": "data.max_bytes: 'own.csv' has 136 bytes, and at most 135 are taken; give a larger",
    "data.max_bytes=0": "data.max_bytes: got 0; it takes an integer of at least 1",
    "data.max_bytes=null": "data.max_bytes: got None; it takes an integer",
    "grid.data.max_bytes=[200,300]": "grid.data.max_bytes: not an axis; give one value of data.max_bytes",
    "data.targets=numbers": "data.target: column 'y' holds text, such as 'x' in row 0; give",
    "data.val_fraction=0.99": "data.val_fraction: 0.99 of 20 rows leaves no training rows",
    "data.val_fraction=0.001": "data.val_fraction: 0.001 of 20 rows leaves no held-out rows",
    "data.batch_size=17": "data.batch_size: got 17, and there are 14 training rows",
    "model=linear": "model: got linear, and data=csv has 2 classes",
    "loss=huber": "loss: got huber, and data=csv has 2 classes",
    "data.path=.": "data.path: no file at '.', but a directory; it takes a file's path or URL",
    "data.path=nosuch.csv": "data.path: no file at 'nosuch.csv'",
    "data.path=/dev/zero": "data.path: no file at '/dev/zero', but a pipe or a device",
    "data.path='~nobody_of_this_name/x'": "data.path: no file at '~nobody",
    f"data.path={'x' * 5000}": "data.path: no file at 'xxx",
    "data.path='a\x00b'": "data.path: no file at 'a",
    "data.path=s3://bucket/x": "data.path: no file at 's3://bucket/x'",
    "data.path=gopher://h/x": "data.path: no file at 'gopher://h/x'",
    "data.path='http://[bad'": "data.path: not a URL: 'http://[bad'",
    f"data.path=http://127.0.0.1:1/x.{'y' * 400}": "data.path: could not fetch 'http://127.0.0.1:1/x.yyy",
    "data.path=http://127.0.0.1:1/../..": "data.path: could not fetch",
    "data.path=http://": "data.path: could not fetch 'http://'",
    "data.path='http://127.0.0.1:1/x y'": "data.path: could not fetch",
    "data.path=http://127.0.0.1:1/own.csv": "data.path: could not fetch 'http://127.0.0.1:1/own.csv'",
    "data.path=http://127.0.0.1:99999/own.csv": "data.path: could not fetch",
    "data.path=file:///nosuch/own.csv": "data.path: no file at 'file:///nosuch/own.csv'; it takes",
    "data.path=file://nosuch.invalid/own.csv": "data.path: no file at 'file://nosuch.invalid/own.csv'; it",
}


def with_metadata(value):
    """A table whose notes for pandas are these bytes."""
    kept = io.BytesIO()
    pq.write_table(pa.table({"a": list("ab") * 10, "y": Y}).replace_schema_metadata({b"pandas": value}), kept)
    return kept.getvalue()


def plan(kind, path, *more):
    own = ["plan", "tracker=none", f"data={kind}", f"data.path={path}"]
    said = any(word.startswith("data.target=") for word in more)
    return [*own, *([] if said else ["data.target=y"]), *more]


def write(path, content):
    content = content() if callable(content) else content
    path.write_bytes(content.encode() if isinstance(content, str) else content)


@pytest.mark.parametrize("case", CSV)
def test_a_csv_file_that_cannot_be_trained_on(refused, here, case):
    content, begins = CSV[case]
    write(here / "own.csv", content)
    refused(begins, *plan("csv", "own.csv"))


@pytest.mark.parametrize("case", PARQUET)
def test_a_parquet_file_that_cannot_be_trained_on(refused, here, case):
    content, begins = PARQUET[case]
    write(here / "own.parquet", content)
    refused(begins, *plan("parquet", "own.parquet"))


@pytest.mark.parametrize("word", OPTIONS)
def test_a_good_file_that_these_words_do_not_fit(refused, here, word):
    write(here / "own.csv", GOOD)
    refused(OPTIONS[word], *plan("csv", "own.csv", word))


# Examples that are written in the config, and the start of the message.
POINTS = {
    "": "data.x: got None; it takes rows of equally many finite numbers",
    "data.x=[1]": "data.y: got None; it takes a list of finite numbers",
    "data.x=[] data.y=[]": "data.x: got []",
    "data.x=3 data.y=[1]": "data.x: got 3; it takes rows",
    "data.x=[[1,2],[3]] data.y=[1,2]": "data.x: got [[1, 2], [3]]; it takes rows",
    "data.x=[[1],2] data.y=[1,2]": "data.x: got [[1], 2]",
    "data.x=[[[1]]] data.y=[1]": "data.x: got [[[1]]]",
    "data.x=[[]] data.y=[1]": "data.x: got [[]]",
    "data.x=[a] data.y=[1]": "data.x: got ['a']",
    "data.x=[nan] data.y=[1]": "data.x: got [nan]",
    "data.x=[1e400] data.y=[1]": "data.x: got [inf]",
    "data.x=[{a:1}] data.y=[1]": "data.x: got [{'a': 1}]",
    f"data.x=[{'9' * 400}] data.y=[1]": "data.x: got [999",
    f"data.x={'[' * 30}1{']' * 30} data.y=[1]": "data.x: got [[[",
    "data.x=[1e60] data.y=[1] model=linear": "data: got 1e+60; float32 holds",
    "data.x=[1] data.y=[1e60] model=linear": "data.target: got 1e+60; float32 holds",
    "data.x=[1,2] data.y=[1] model=linear": "data.y: got 1 for 2 rows of data.x; it takes one per",
    "data.x=[1] data.y=1": "data.y: got 1; it takes a list of finite numbers",
    "data.x=[1] data.y=[yes] data.classes=[no,yes]": "data.y: got ['yes']; it takes a list of finite",
    "data.x=[1] data.y=[2] data.classes=[no,yes]": "data.y: got 2, and there are 2 classes; it takes",
    "data.x=[1] data.y=[-1] data.classes=[no,yes]": "data.y: got -1, and there are 2 classes",
    "data.x=[1] data.y=[0.5] data.classes=[no,yes]": "data.y: got 0.5, and there are 2 classes",
    "data.x=[1] data.y=[0] data.classes=[no]": "data.classes: got ['no']; it takes a list of two or",
    "data.x=[1] data.y=[0] data.classes=[a,a]": "data.classes: got ['a', 'a']",
    "data.x=[1] data.y=[0] data.classes=[0,1]": "data.classes: got [0, 1]",
    "data.x=[1] data.y=[0] data.classes=yes": "data.classes: got 'yes'",
    "data.x=[1] data.y=[1] model=logistic": "model: got logistic, and its target is a number",
    "data.x=[1] data.y=[1] data.val_fraction=0.2": "data.val_fraction: 0.2 of 1 rows leaves no",
    "data.x=[1] data.y=[1] data.test_fraction=0.6": "data.test_fraction: 0.6 of 1 rows leaves no",
    "data.x=[1] data.y=[1] data.batch_size=2 model=linear": "data.batch_size: got 2, and there are 1",
    "data.x=[1] data.y=[1] data.seed=1": "data.seed: data=points has no such field",
}


@pytest.mark.parametrize("words", POINTS, ids=[words[:60] for words in POINTS])
def test_points_that_cannot_be_trained_on(refused, here, words):
    refused(POINTS[words], "plan", "tracker=none", "data=points", *words.split())


# The content of `own.csv` as a table of prompts, and a part of the message.
PROMPTS = {
    "no such column": (GOOD, "data.path: no column 'Label'; it takes a CSV file with Embedding_dim_1"),
    "one column": ("Label\nfood\n", "data.path: no column 'Embedding_dim_1'"),
    "another label": (
        "Embedding_dim_1,Embedding_dim_2,Label\n1,2,fire\n",
        "data.path: column 'Label' holds 'fire'",
    ),
    "no rows": ("Embedding_dim_1,Embedding_dim_2,Label\n", "data.path: the table has no rows"),
    "text": (
        "Embedding_dim_1,Embedding_dim_2,Label\n1,two,food\n",
        "data.path: column 'Embedding_dim_2' holds",
    ),
    "an infinity": (
        "Embedding_dim_1,Embedding_dim_2,Label\n1,inf,food\n",
        "data: feature 'Embedding_dim_2' is not",
    ),
    "a pickle": (lambda: pickle.dumps(Bomb()), READ),
}


@pytest.mark.parametrize("case", PROMPTS)
def test_a_file_that_is_not_of_prompts(refused, here, case):
    content, begins = PROMPTS[case]
    write(here / "own.csv", content)
    refused(begins, "plan", "tracker=none", "data=food_water", "data.path=own.csv")


# Endings by which pandas picks how to unpack, or might be thought to.
ENDINGS = {
    "own.csv.pkl": lambda: pickle.dumps(Bomb()),
    "own.pkl": lambda: pickle.dumps(Bomb()),
    "own.pickle.gz": lambda: gzip.compress(pickle.dumps(Bomb())),
    "own.csv.gz": lambda: b"\x1f\x8b" + b"x" * 50,
    "cut.csv.gz": lambda: gzip.compress(GOOD.encode())[:-12],
    "own.csv.zip": lambda: zipped("one.csv", "two.csv"),
    "empty.csv.zip": lambda: zipped(),
    "junk.csv.zip": lambda: b"PK\x03\x04junk",
    "own.csv.bz2": lambda: b"BZh9junk",
    "own.csv.xz": lambda: b"\xfd7zXZ\x00junk",
    "own.csv.zst": lambda: b"\x28\xb5\x2f\xfdjunk",
    "own.tar": lambda: b"junk" * 300,
    "own.npy": lambda: npy(np.array([Bomb()], object)),
}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("name", ENDINGS)
def test_what_a_file_is_called_does_not_make_it_run(refused, here, kind, name):
    write(here / name, ENDINGS[name])
    refused("data.path: cannot read", *plan(kind, name))


def test_the_bomb_is_one(here, monkeypatch):
    # Without this the tests above could pass for want of a bomb.
    monkeypatch.setenv("CANARY", str(here / "canary"))
    pickle.loads(pickle.dumps(Bomb()))
    assert (here / "canary").exists()


@pytest.mark.tail
def test_a_pickle_in_a_process_of_its_own(refused, command, here):
    write(here / "own.csv", lambda: pickle.dumps(Bomb()))
    refused(READ, *plan("csv", "own.csv"), ran=lambda *words: command(here, *words))
