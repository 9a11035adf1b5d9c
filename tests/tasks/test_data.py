"""Data sets: where they come from, and how they are split and standardized."""

import bz2
import gzip
import io
import json
import lzma
import os
import subprocess
import sys
import tarfile
import zipfile
from contextlib import suppress

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import datasets

import vsweep
from vsweep.errors import ConfigError
from vsweep.tasks.data.builtin import DATASETS, points
from vsweep.tasks.data.dataset import Dataset, own_dataset
from vsweep.tasks.data.splits import split
from vsweep.tasks.data.tabular import FetchError, _parquet_frame, csv, local_copy, parquet

BUNDLED = ["digits", "breast_cancer", "iris", "wine", "diabetes"]


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_sets_are_scikit_learns(name):
    made, bunch = DATASETS[name](), getattr(datasets, f"load_{name}")()
    np.testing.assert_array_equal(made.x, bunch.data)
    np.testing.assert_array_equal(made.y, bunch.target)
    assert made.features == tuple(bunch.feature_names)
    assert made.classes == tuple(map(str, bunch.get("target_names", ())))
    assert made.y.dtype == (np.int64 if made.classes else np.float64)


def test_spirals_lie_on_their_arms():
    made = DATASETS["spirals"](rows=90, arms=3, noise=0.0, seed=1)
    radius = np.hypot(*made.x.T)
    assert ((radius >= 0.1) & (radius <= 1.0)).all()
    turn = np.angle(np.exp(1j * (np.arctan2(made.x[:, 1], made.x[:, 0]) - 1.5 * np.pi * radius)))
    arm = np.angle(np.exp(2j * np.pi * made.y / 3))
    np.testing.assert_allclose(np.exp(1j * turn), np.exp(1j * arm), atol=1e-12)
    assert np.bincount(made.y).tolist() == [30, 30, 30]
    assert len(made.classes) == 3


def test_noise_of_spirals_has_its_standard_deviation():
    clean, noisy = (DATASETS["spirals"](rows=5000, arms=2, noise=noise, seed=1) for noise in (0.0, 0.3))
    noise = noisy.x - clean.x
    np.testing.assert_allclose(noise.std(axis=0), 0.3, rtol=0.05)
    np.testing.assert_allclose(noise.mean(axis=0), 0.0, atol=0.02)


def test_drawn_sets_follow_their_seed():
    for name, more in [("spirals", {"arms": 2}), ("moons", {})]:
        first, again, other = (DATASETS[name](rows=20, noise=0.1, seed=s, **more) for s in (0, 0, 1))
        np.testing.assert_array_equal(first.x, again.x)
        assert (first.x != other.x).any()


def test_moons_are_two_half_circles():
    made = DATASETS["moons"](rows=100, noise=0.0, seed=0)
    upper, lower = made.x[made.y == 0], made.x[made.y == 1]
    np.testing.assert_allclose(np.hypot(*upper.T), 1.0)
    np.testing.assert_allclose(np.hypot(lower[:, 0] - 1.0, lower[:, 1] - 0.5), 1.0)
    assert upper[:, 1].min() >= 0
    assert lower[:, 1].max() <= 0.5
    assert len(made.classes) == 2


# A person's own tables.

TABLE = pd.DataFrame(
    {
        "width": [1.0, 2.0, 3.0, 4.0],
        "count": [4, 3, 2, 1],
        "kind": ["b", "a", "c", "a"],
        "number": [0.5, 1.5, 2.5, 3.5],
        "whole": [7, 3, 7, 5],
        "flag": [True, False, True, True],
    }
)


@pytest.fixture(params=[csv, parquet])
def table(request, here):
    """Reads a frame back as a data set: `table(frame, target=...)`."""

    def read(frame, **fields):
        frame.to_csv("t.csv", index=False)
        frame.to_parquet("t.parquet")
        path = f"t.{request.param.__name__}"
        targets = fields.pop("targets", "auto")
        return request.param(**{"path": path, "features": None, **fields}).as_targets(targets)

    return read


def test_every_other_column_is_a_feature(table):
    made = table(TABLE.drop(columns="kind"), target="number")
    assert made.features == ("width", "count", "whole", "flag")
    np.testing.assert_array_equal(made.x[:, :2], TABLE[["width", "count"]])
    np.testing.assert_array_equal(made.x[:, 3], [1, 0, 1, 1])
    assert made.x.dtype == np.float64


def test_chosen_features_come_in_their_order(table):
    made = table(TABLE, target="number", features=["count", "width"])
    assert made.features == ("count", "width")
    np.testing.assert_array_equal(made.x, TABLE[["count", "width"]])


@pytest.mark.parametrize(
    ("target", "targets", "classes", "y"),
    [
        ("kind", "auto", ("a", "b", "c"), [1, 0, 2, 0]),
        ("kind", "classes", ("a", "b", "c"), [1, 0, 2, 0]),
        ("whole", "auto", (), [7.0, 3.0, 7.0, 5.0]),
        ("whole", "by_type", ("3", "5", "7"), [2, 0, 2, 1]),
        ("flag", "auto", ("False", "True"), [1, 0, 1, 1]),
        ("number", "auto", (), [0.5, 1.5, 2.5, 3.5]),
        ("whole", "numbers", (), [7.0, 3.0, 7.0, 5.0]),
        ("number", "classes", ("0.5", "1.5", "2.5", "3.5"), [0, 1, 2, 3]),
    ],
)
def test_targets_are_classes_or_numbers(table, target, targets, classes, y):
    made = table(TABLE, target=target, targets=targets, features=["width"])
    assert made.classes == classes
    assert made.y.tolist() == y
    assert made.y.dtype == (np.int64 if classes else np.float64)


def test_numbered_classes_are_sorted_as_numbers(table):
    made = table(TABLE.assign(whole=[10, 9, 10, 100]), target="whole", targets="classes", features=["width"])
    assert made.classes == ("9", "10", "100")


def test_the_mapping_of_labels_is_kept_with_the_sweep(here):
    pd.concat([TABLE] * 3).to_csv("t.csv", index=False)
    words = ["data=csv", "data.path=t.csv", "data.target=kind", "data.features=[width,count]"]
    made = vsweep.sweep([*words, "model=logistic", "steps=1", "tracker=none", "dir=kept"], quiet=True)
    (record,) = made.plan["data"].values()
    assert record["classes"] == ["a", "b", "c"]
    assert record["features"] == ["width", "count"]
    assert [record[f"{part}_rows"] for part in ("train", "val", "test")] == [9, 2, 1]
    (again,) = json.loads((here / "kept" / "plan.json").read_text())["data"].values()
    assert again == record


@pytest.mark.parametrize(
    ("change", "fields", "message"),
    [
        ({}, {"target": "knid"}, "data.target: no column 'knid'; did you mean kind?"),
        (
            {},
            {"target": "kind", "features": ["widht"]},
            "data.features: no column 'widht'; did you mean width?",
        ),
        ({}, {"target": "number"}, "data.features: column 'kind' holds text"),
        ({"width": [1.0, np.nan, 3.0, np.nan]}, {}, "data.features: column 'width' has 2 missing values"),
        (
            {"kind": ["a", None, "b", "a"]},
            {},
            "data.target: column 'kind' has 1 missing value (first in row 1, ",
        ),
        ({}, {"target": "kind", "targets": "numbers"}, "data.target: column 'kind' holds text"),
        ({}, {"features": ["kind", "width"]}, "data.features: 'kind' is the target too"),
    ],
)
def test_what_a_table_cannot_give_is_told(table, change, fields, message):
    fields = {"target": "kind", **fields}
    if "features" not in fields and fields["target"] != "number":
        fields["features"] = ["width", "count"]
    with pytest.raises(ConfigError) as error:
        table(TABLE.assign(**change), **fields)
    assert str(error.value).startswith(message)


def test_a_table_without_rows_is_refused(table):
    with pytest.raises(ConfigError, match=r"^data\.path: the table has no rows"):
        table(TABLE.iloc[:0], target="kind")


@pytest.mark.parametrize("reader", [csv, parquet])
@pytest.mark.parametrize("content", [b"", b"\x89PNG\r\n\x1a\n\x00\xff\xfe\x00", b'a,b\n1,2\n"3,4\n5,6,7,8\n'])
def test_what_is_no_table_is_refused(here, reader, content):
    (here / "odd").write_bytes(content)
    with pytest.raises(ConfigError, match=r"^data\.path: cannot read 'odd' \(.+\)"):
        reader(path="odd", target="y", features=None)


@pytest.mark.parametrize("path", ["nowhere.csv", "~/nowhere/at/all.csv", "."])
def test_a_file_that_is_not_there_is_told(here, path):
    with pytest.raises(ConfigError) as error:
        csv(path=path, target="y", features=None)
    assert str(error.value).startswith(f"data.path: no file at {path!r}")


# By URL.


def read(reader, path):
    return reader(path=path, target="kind", features=["width"]).as_targets("auto")


def test_a_url_is_fetched_once_and_kept(here, cache, server):
    TABLE.to_parquet("t.parquet")
    server.files = {"/t.csv": TABLE.to_csv(index=False).encode(), "/t": (here / "t.parquet").read_bytes()}
    urls = {csv: f"{server.url}/t.csv", parquet: f"{server.url}/t"}
    first = {reader: read(reader, url) for reader, url in urls.items()}
    assert server.asked == ["/t.csv", "/t"]
    server.stop()
    for reader, url in urls.items():
        again = read(reader, url)
        np.testing.assert_array_equal(again.x, TABLE[["width"]])
        np.testing.assert_array_equal(again.y, first[reader].y)
    assert len(server.asked) == 2
    kept = [file for file in cache.rglob("*") if file.is_file()]
    assert len(kept) == 2
    assert not any(file.suffix == ".part" for file in kept)


def test_two_urls_are_two_files(cache, server):
    server.files = {"/a": b"width,kind\n1,a\n", "/b": b"width,kind\n2,b\n"}
    made = [read(csv, f"{server.url}/{name}") for name in "ab"]
    assert [one.x.tolist() for one in made] == [[[1.0]], [[2.0]]]


def test_a_compressed_table_is_read_by_url_as_from_a_path(here, cache, server):
    TABLE.to_csv("t.csv.gz", index=False)
    server.files = {"/t.csv.gz": (here / "t.csv.gz").read_bytes()}
    np.testing.assert_array_equal(read(csv, "t.csv.gz").x, read(csv, f"{server.url}/t.csv.gz").x)


def test_a_file_url(here, cache):
    TABLE.to_csv("t.csv", index=False)
    np.testing.assert_array_equal(read(csv, (here / "t.csv").as_uri()).x, TABLE[["width"]])


def test_a_url_that_cannot_be_fetched_is_told_and_nothing_is_kept(cache, server):
    gone = f"{server.url}/gone.csv"
    with pytest.raises(ConfigError, match=r"^data\.path: could not fetch .*404"):
        local_copy(gone)
    server.stop()
    with pytest.raises(ConfigError, match=r"^data\.path: could not fetch .*gone\.csv"):
        local_copy(gone)
    with pytest.raises(ConfigError, match=r"^data\.path: no file at 'file:///nowhere/at/all\.csv'"):
        local_copy("file:///nowhere/at/all.csv")
    assert not any(file.is_file() for file in cache.rglob("*"))


def test_a_cache_that_cannot_be_written_is_told(cache, server):
    server.files = {"/t.csv": TABLE.to_csv(index=False).encode()}
    cache.write_text("a file where the folder should be")
    with pytest.raises(
        ConfigError, match=r"^data\.path: could not keep 'http.*t\.csv' in '.*cache/vsweep/data'"
    ):
        local_copy(f"{server.url}/t.csv")


# The bound on what is read, fetched and unpacked.

MOST = 200_000
# A table of 800 kB, which is far smaller when it is packed.
TEXT = b"width,kind\n" + b"0.000000,1\n" * 72_000


def packed(name):
    """The table, packed as the ending of its name says."""
    if name.endswith(".zip"):
        kept = io.BytesIO()
        with zipfile.ZipFile(kept, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("t.csv", TEXT)
        return kept.getvalue()
    if name.endswith(".zst"):
        return pa.Codec("zstd").compress(TEXT, asbytes=True)
    pack = {"gz": gzip.compress, "bz2": bz2.compress, "xz": lzma.compress}
    return pack.get(name.rpartition(".")[2], bytes)(TEXT)


def refusal(reader, path, most=MOST, **fields):
    with pytest.raises(ConfigError) as error:
        reader(**{"path": path, "target": "kind", "features": None, "max_bytes": most, **fields})
    return error.value


PACKED = [f"t.csv{ending}" for ending in ("", ".gz", ".bz2", ".xz", ".zip", ".zst")]


@pytest.mark.parametrize("name", PACKED)
def test_what_a_file_unpacks_to_is_bounded(here, name):
    (here / name).write_bytes(packed(name))
    made = csv(path=name, target="kind", features=None, max_bytes=2_000_000)
    assert made.x.shape == (72_000, 1)
    error = refusal(csv, name)
    assert error.field == "data.max_bytes"
    assert error.got.startswith(f"'{name}' {'has 792,011 bytes' if name == 't.csv' else 'holds'}")
    assert error.got.endswith("and at most 200,000 are taken")
    assert error.takes == "give a larger value if you trust the file"


@pytest.mark.parametrize(
    ("text", "most"),
    [
        # Each row is filled up to the header, and to the first row.
        (",".join(f"c{i}" for i in range(5000)) + "\n" + "1\n" * 5000, 10**8),
        ("a,kind\n" + "1\n" * 100_000, 10**6),
        ("a,kind\r" + "1\r" * 100_000, 10**6),
    ],
)
def test_the_values_of_a_table_are_counted_as_it_is_read(here, text, most):
    (here / "t.csv").write_text(text, newline="")
    error = refusal(csv, "t.csv", most)
    assert error.field == "data.max_bytes"
    assert "rows or more of" in error.got
    assert "(8 bytes a value)" in error.got


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (",".join(map(str, range(1_000_000))), "columns, and at most 100,000 are read"),
        ('"' + "a" * 5_000_000, "its first two rows take more than 4,194,304 bytes"),
        ("a,kind\n" + "1," * 3_000_000 + "\n" + "1\n" * 100_000, "its first two rows take more than"),
        ("a,kind\n" + "1," * 100_000 + "\n" + "1\n" * 100_000, "rows have more columns than the header"),
    ],
)
def test_a_row_that_is_too_wide_is_one_message(here, text, message):
    (here / "t.csv").write_text(text)
    error = refusal(csv, "t.csv", 10**9)
    assert error.field == "data.path"
    assert message in error.got


def test_a_message_does_not_list_thousands_of_columns(here):
    (here / "t.csv").write_text(",".join(f"c{i}" for i in range(5000)) + "\n" + ",".join("1" * 5000) + "\n")
    error = refusal(csv, "t.csv", 10**9, target="x" * 500)
    assert error.field == "data.target"
    assert error.takes == "it takes one of 5,000 columns, from 'c0' on"
    assert len(error.got) < 300


ROWS = 50_000
LONG = "x" * 10_000
TABLES = {
    "a constant": ({"width": np.zeros(ROWS)}, {}),
    "small numbers": ({"width": np.zeros(ROWS, np.int8)}, {}),
    "flags": ({"width": np.zeros(ROWS, bool)}, {}),
    "nulls": ({"width": pa.nulls(ROWS)}, {}),
    "many columns": ({f"w{i}": np.zeros(1000) for i in range(40)}, {}),
    "lists": ({"width": [[0] * 10] * ROWS}, {}),
    "long text": ({"width": [LONG] * 50}, {}),
    "long bytes": ({"width": [LONG.encode()] * 50}, {}),
    "a category": ({"width": pa.array([LONG] * 50).dictionary_encode()}, {}),
    "long text without pages of version 1": ({"width": [LONG] * 50}, {"data_page_version": "2.0"}),
    "shared prefixes": (
        {"width": [f"{LONG}{i}" for i in range(50)]},
        {"use_dictionary": False, "column_encoding": {"width": "DELTA_BYTE_ARRAY"}},
    ),
    "plain text": ({"width": [LONG] * 50}, {"use_dictionary": False}),
}


@pytest.mark.parametrize("case", TABLES)
def test_what_a_parquet_file_decodes_to_is_bounded(here, case):
    columns, options = TABLES[case]
    rows = len(next(iter(columns.values())))
    table = pa.table({**columns, "kind": np.zeros(rows, np.int8)})
    pq.write_table(table, "t.parquet", compression="zstd", **options)
    assert (here / "t.parquet").stat().st_size < MOST
    error = refusal(parquet, "t.parquet")
    assert error.field == "data.max_bytes", error
    assert error.got.startswith("'t.parquet' holds ")
    # The same table is read where the bound is larger.
    (here / "t.parquet").rename("again.parquet")
    frame = _parquet_frame(here / "again.parquet", "again.parquet", 10**8)
    if case != "lists":
        pd.testing.assert_frame_equal(frame, pd.read_parquet("again.parquet"))


def test_a_file_of_every_type_is_the_table_that_pandas_reads(here):
    rng = np.random.default_rng(0)
    words = np.array(["u", "vv", "", None], object)[rng.integers(0, 4, 200)]
    frame = pd.DataFrame(
        {"number": rng.normal(size=200), "word": words, "id": [f"id{i}" for i in range(200)]}
    )
    frame["order"] = pd.Categorical(rng.choice(["p", "q"], 200), categories=["q", "p"], ordered=True)
    frame["whole"] = pd.array(rng.integers(0, 9, 200), dtype="Int64")
    frame["when"] = pd.date_range("2026", periods=200, tz="UTC")
    frame["a.b"] = rng.random(200) > 0.5
    frame["bytes"] = [b"x%d" % (i % 7) for i in range(200)]
    for i, (table, options) in enumerate(
        [
            (frame, {}),
            (frame.set_index("id"), {"row_group_size": 70}),
            (frame, {"use_dictionary": False}),
            (frame, {"use_dictionary": False, "column_encoding": {"word": "DELTA_LENGTH_BYTE_ARRAY"}}),
        ]
    ):
        pq.write_table(pa.Table.from_pandas(table), f"{i}.parquet", **options)
        made = _parquet_frame(here / f"{i}.parquet", "", 10**7)
        pd.testing.assert_frame_equal(made, pd.read_parquet(f"{i}.parquet"))


def test_a_footer_is_bounded(here):
    table = pa.table({"kind": [0, 1]}).replace_schema_metadata({"note": "x" * 10_000})
    pq.write_table(table, "t.parquet")
    error = refusal(parquet, "t.parquet", 30_000)
    assert error.field == "data.max_bytes"
    assert "has a footer of" in error.got


BOMBS = """
import gzip, resource, sys, time
import numpy as np, pyarrow as pa, pyarrow.parquet as pq
from vsweep.errors import ConfigError
from vsweep.tasks.data.tabular import csv, parquet

with gzip.open("t.csv.gz", "wb", compresslevel=1) as file:
    file.write(b"a,kind\\n")
    for _ in range(10):
        file.write(b"0,1\\n" * 1_000_000)
constant = pa.table({"a": np.zeros(2_000_000), "kind": np.zeros(2_000_000, np.int8)})
with pq.ParquetWriter("constant.parquet", constant.schema) as writer:
    for _ in range(10):
        writer.write_table(constant)
places = pa.array(np.zeros(100_000, np.int32))
text = pa.DictionaryArray.from_arrays(places, pa.array(["x" * 1_000_000]))
pq.write_table(pa.table({"kind": text}), "text.parquet", store_schema=False, compression="zstd")
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
for reader, path in ((csv, "t.csv.gz"), (parquet, "constant.parquet"), (parquet, "text.parquet")):
    start = time.perf_counter()
    try:
        reader(path=path, target="kind", features=None, max_bytes=20_000_000)
    except ConfigError as error:
        print(path, error.field, time.perf_counter() - start)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def test_bombs_end_in_seconds_and_in_little_memory(here, environment):
    """Tables of 160 MB, 320 MB and 100 GB, in a process of its own, with a bound of 20 MB."""
    ran = subprocess.run(
        [sys.executable, "-c", BOMBS], cwd=here, env=environment, capture_output=True, text=True, timeout=120
    )
    assert ran.returncode == 0, ran.stderr
    *lines, grown = ran.stdout.splitlines()
    assert [line.split()[1] for line in lines] == ["data.max_bytes"] * 3
    assert max(float(line.split()[2]) for line in lines) < 20
    # Kilobytes, beyond the peak at which the files were written.
    assert int(grown) < 5 * 20_000


@pytest.mark.parametrize("kind", [csv, parquet])
@pytest.mark.parametrize(
    ("path", "what"),
    [("pipe", "a pipe or a device"), ("/dev/zero", "a pipe or a device"), (".", "a directory")],
)
def test_a_data_file_is_a_regular_file(here, kind, path, what):
    os.mkfifo("pipe")
    for name in (path, (here / path).resolve().as_uri()):
        error = refusal(kind, name)
        assert (error.field, error.got) == ("data.path", f"no file at {name!r}, but {what}")


@pytest.mark.parametrize("kind", [csv, parquet])
@pytest.mark.parametrize("path", ["/proc/self/status", "/proc/kmsg"])
def test_a_file_of_the_kernel_is_not_read(kind, path):
    error = refusal(kind, path)
    assert error.field == "data.path"
    assert "it is empty, or not a file on a disk" in error.got


def tarred():
    kept = io.BytesIO()
    with tarfile.open(fileobj=kept, mode="w") as archive:
        member = tarfile.TarInfo("t.csv")
        member.size = len(TEXT)
        archive.addfile(member, io.BytesIO(TEXT))
    return kept.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "why"),
    [
        ("t.tar", tarred, ".tar is not unpacked"),
        ("t.tar.gz", lambda: gzip.compress(tarred()), ".tar is not unpacked"),
        ("t.tgz", lambda: gzip.compress(tarred()), ".tgz is not unpacked"),
        ("t.7z", lambda: b"7z\xbc\xaf\x27\x1c", ".7z is not unpacked"),
        ("t.csv", tarred, "it holds an archive"),
        ("t.gz", lambda: gzip.compress(tarred()), "it holds an archive"),
        ("t.csv.gz", lambda: gzip.compress(gzip.compress(TEXT)), "it holds an archive, or compressed data"),
        (
            "t.csv",
            lambda: gzip.compress(TEXT),
            "it holds an archive, or compressed data without such an ending",
        ),
    ],
)
def test_an_archive_or_another_compression_is_one_message(here, name, content, why):
    (here / name).write_bytes(content())
    error = refusal(csv, name, 10**9)
    assert error.got.startswith(f"cannot read '{name}' ({why}")
    assert "it takes a file as it is, or as .gz .bz2 .xz .zip .zst" in error.got


def test_a_name_with_a_dot_is_no_ending(here):
    TABLE.to_csv("my.tar.csv", index=False)
    assert read(csv, "my.tar.csv").x.shape == (4, 1)


def answer(*chunks, **headers):
    """A function that sends these headers and chunks."""

    def send(handler):
        handler.send_response(200)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.end_headers()
        # The client ends the connection when it has enough.
        with suppress(OSError):
            for chunk in chunks:
                handler.wfile.write(chunk)

    return send


def kept_in(cache):
    return [file for file in cache.rglob("*") if file.is_file()]


def test_a_download_that_says_that_it_is_too_large_is_not_fetched(cache, server):
    server.files = {"/t.csv": answer(Content_Length=str(10**12))}
    error = refusal(csv, f"{server.url}/t.csv")
    assert (error.field, error.got.split("' ")[1]) == (
        "data.max_bytes",
        "has 1,000,000,000,000 bytes, and at most 200,000 are taken",
    )
    assert not kept_in(cache)


def test_a_download_without_an_end_ends_at_the_bound(cache, server):
    sent = []

    def endless(handler):
        handler.send_response(200)
        handler.end_headers()
        with suppress(OSError):
            for _ in range(10_000):
                handler.wfile.write(bytes(100_000))
                sent.append(100_000)

    server.files = {"/t.csv": endless}
    error = refusal(csv, f"{server.url}/t.csv")
    assert error.field == "data.max_bytes"
    assert " sends " in error.got
    assert not kept_in(cache)
    server.stop()
    # The sockets hold some megabytes beside the chunk that was read last.
    assert sum(sent) < 10**8


def test_a_download_that_is_cut_off_is_no_file(cache, server):
    body = TABLE.to_csv(index=False).encode()
    server.files = {"/t.csv": answer(body, Content_Length=str(len(body) + 5))}
    with pytest.raises(FetchError) as error:
        read(csv, f"{server.url}/t.csv")
    assert f"(it ended after {len(body)} of {len(body) + 5} bytes)" in error.value.got
    assert not kept_in(cache)
    server.files = {"/t.csv": answer(body, Content_Length=str(len(body)))}
    assert read(csv, f"{server.url}/t.csv").x.shape == (4, 1)


def test_the_copy_in_the_cache_is_bounded_too(cache, server):
    server.files = {"/t.csv": TEXT}
    assert csv(path=f"{server.url}/t.csv", target="kind", features=None).x.shape == (72_000, 1)
    assert refusal(csv, f"{server.url}/t.csv").field == "data.max_bytes"


@pytest.mark.parametrize("scheme", ["file://", "ftp://127.0.0.1:1", "FILE://"])
def test_a_redirect_leads_to_the_web_alone(here, cache, server, scheme):
    TABLE.to_csv("mine.csv", index=False)

    def redirect(handler):
        handler.send_response(302)
        handler.send_header("Location", f"{scheme}{here / 'mine.csv'}")
        handler.end_headers()

    server.files = {"/t.csv": redirect}
    with pytest.raises(FetchError, match=r"^data\.path: could not fetch .*[Rr]edirect"):
        read(csv, f"{server.url}/t.csv")
    assert not kept_in(cache)


def test_a_redirect_to_the_web_is_followed(cache, server):
    def redirect(handler):
        handler.send_response(302)
        handler.send_header("Location", f"{server.url}/new.csv")
        handler.end_headers()

    server.files = {"/t.csv": redirect, "/new.csv": TABLE.to_csv(index=False).encode()}
    assert read(csv, f"{server.url}/t.csv").x.shape == (4, 1)


# Splitting and standardizing.


def numbered(rows, columns=2):
    """A data set whose row i has the target i."""
    rng = np.random.default_rng(0)
    x = rng.normal(5.0, 3.0, (rows, columns))
    return Dataset(x, np.arange(rows, dtype=np.float64), (), tuple(f"x{i}" for i in range(columns)))


def parts_of(made):
    """The rows of each part of a split of `numbered`: training, validation, test."""
    for x, y in zip(made.x, made.y, strict=True):
        assert (x is None) == (y is None)
        assert x is None or x.shape == (2, len(y))
    return [[] if y is None else y.astype(int).tolist() for y in made.y]


fractions = st.just(0.0) | st.floats(0.0, 0.999)


@given(st.integers(2, 60), fractions, fractions | st.just("auto"), st.integers(0, 3))
def test_a_split_takes_every_row_once(rows, fraction, test_fraction, seed):
    def made(test_fraction):
        return split(numbered(rows), fraction, seed, test_fraction=test_fraction, standardize=True)

    held_out = round(rows * fraction)
    if held_out >= rows or (fraction > 0 and held_out == 0):
        part = "training" if held_out else "held-out"
        with pytest.raises(ConfigError, match=rf"^data\.val_fraction: .* rows leaves no {part} rows"):
            made(test_fraction)
        return
    if test_fraction == "auto":
        tested = round(rows / 10) if fraction > 0 else 0
        tested = tested if held_out + tested < rows else 0
    else:
        tested = round(rows * test_fraction)
        if held_out + tested >= rows or (test_fraction > 0 and tested == 0):
            part = "training" if tested else "test"
            with pytest.raises(ConfigError, match=rf"^data\.test_fraction: .* rows leaves no {part} rows"):
                made(test_fraction)
            return
    train, val, test = parts_of(made(test_fraction))
    assert [len(train), len(val), len(test)] == [rows - held_out - tested, held_out, tested]
    assert sorted([*train, *val, *test]) == list(range(rows))
    without = parts_of(made(0.0))
    assert (without[1], without[2]) == (val, [])
    # Test examples are taken from training alone.
    assert without[0] == sorted([*train, *test])


def test_every_part_follows_the_splits_seed():
    parts = [
        parts_of(split(numbered(50), 0.2, seed, test_fraction=0.2, standardize=True)) for seed in (0, 0, 1)
    ]
    assert parts[0] == parts[1]
    assert all(one != other for one, other in zip(parts[0], parts[2], strict=True))


@pytest.mark.parametrize(
    ("rows", "fraction", "parts"),
    [
        (3, 0.34, [2, 1, 0]),
        # Half a row is none, and what would leave nothing to train on is not held out.
        (5, 0.2, [4, 1, 0]),
        (6, 0.2, [4, 1, 1]),
        (6, 0.8, [1, 5, 0]),
        (150, 0.2, [105, 30, 15]),
        (150, 0.0, [150, 0, 0]),
    ],
)
def test_a_tenth_is_kept_for_the_test_where_it_can_be_spared(rows, fraction, parts):
    made = split(numbered(rows), fraction, 0, test_fraction="auto", standardize=True)
    assert [len(part) for part in parts_of(made)] == parts
    assert [x is None for x in made.x] == [not n for n in parts]


def test_without_a_word_nothing_is_kept_for_the_test():
    made = split(numbered(50), 0.2, 0, standardize=True)
    assert (made.x[2], made.y[2]) == (None, None)


def test_a_test_without_validation():
    made = split(numbered(50), 0.0, 0, test_fraction=0.1, standardize=True)
    assert [len(part) for part in parts_of(made)] == [45, 0, 5]


@pytest.mark.parametrize(("fraction", "part"), [(0.01, "test"), (0.8, "training"), (0.9, "training")])
def test_a_test_fraction_that_leaves_a_part_empty_is_refused(fraction, part):
    with pytest.raises(ConfigError) as error:
        split(numbered(20), 0.2, 0, test_fraction=fraction, standardize=True)
    assert error.value.field == "data.test_fraction"
    assert error.value.got == f"{fraction} of 20 rows leaves no {part} rows"


def test_standardized_by_the_training_rows_alone():
    data = numbered(40)
    made = split(data, 0.25, 3, test_fraction=0.1, standardize=True)
    train, val, test = (part.astype(int) for part in made.y)
    mean, std = data.x[train].mean(axis=0), data.x[train].std(axis=0)
    np.testing.assert_allclose(made.x[0], ((data.x[train] - mean) / std).T, rtol=1e-12)
    np.testing.assert_allclose(made.x[1], ((data.x[val] - mean) / std).T, rtol=1e-12)
    np.testing.assert_allclose(made.x[2], ((data.x[test] - mean) / std).T, rtol=1e-12)
    np.testing.assert_array_equal(made.mean, mean)
    np.testing.assert_array_equal(made.std, std)
    other = data._replace(x=data.x.copy())
    other.x[[*val, *test]] = 1e6
    again = split(other, 0.25, 3, test_fraction=0.1, standardize=True)
    np.testing.assert_array_equal(again.x[0], made.x[0])
    assert (again.x[1] != made.x[1]).all()
    assert (again.x[2] != made.x[2]).all()


def test_a_constant_feature_is_centered_and_left_unscaled():
    data = numbered(20)
    data.x[:, 0] = 0.1
    made = split(data, 0.5, 0, standardize=True)
    np.testing.assert_allclose(made.x[0][0], 0.0, atol=1e-12)
    assert made.std[0] == 1.0


def test_as_it_is_where_not_standardized():
    data = numbered(10)
    made = split(data, 0.0, 0, standardize=False)
    np.testing.assert_array_equal(made.x[0], data.x.T)
    assert made.x[1:] == made.y[1:] == (None, None)


def test_the_split_follows_its_own_seed():
    first, again, other = (split(numbered(50), 0.2, s, standardize=True).y[1].tolist() for s in (0, 0, 1))
    assert first == again
    assert first != other


def test_trials_of_all_seeds_have_the_same_split():
    _, planned = vsweep.plan(["data=iris", "model=logistic", "tracker=none", "seeds=3"])
    assert len(planned.splits) == 1
    _, planned = vsweep.plan(["data=iris", "model=logistic", "tracker=none", "grid.data.split_seed=[0,1]"])
    assert len(planned.splits) == 2
    words = ["data=iris", "model=logistic", "tracker=none", "grid.data.test_fraction=[0.0,0.1,auto]"]
    _, planned = vsweep.plan(words)
    assert len(planned.splits) == 3


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"x": np.zeros((4, 0)), "features": ()}, "data.features: no feature columns"),
        ({"x": np.array([[1.0], [np.inf], [2.0], [3.0]])}, "data: feature 'x0' is not finite in row 1"),
        ({"y": np.array([0.0, 1.0, np.nan, 2.0])}, "data.target: not finite in row 2"),
        ({"y": np.zeros(4, np.int64), "classes": ("only",)}, "data.target: one class only ('only')"),
    ],
)
def test_what_cannot_be_trained_on_is_refused(change, message):
    with pytest.raises(ConfigError) as error:
        split(numbered(4, 1)._replace(**change), 0.0, 0, standardize=True)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["data.batch_size=106"], "data.batch_size: got 106, and there are 105 training rows"),
        (
            ["data.batch_size=121", "data.test_fraction=0"],
            "data.batch_size: got 121, and there are 120 training rows",
        ),
        (["data.test_fraction=0.001"], "data.test_fraction: 0.001 of 150 rows leaves no test rows"),
        (["data.test_fraction=0.8"], "data.test_fraction: 0.8 of 150 rows leaves no training rows"),
        (["data.val_fraction=0.001"], "data.val_fraction: 0.001 of 150 rows leaves no held-out rows"),
        (["data.val_fraction=0.999"], "data.val_fraction: 0.999 of 150 rows leaves no training rows"),
        (["grid.data.batch_size=[10,106]"], "data.batch_size: got 106"),
        (["grid.data.test_fraction=[0.1,0.8]"], "data.test_fraction: 0.8 of 150 rows"),
    ],
)
def test_a_sweep_whose_rows_do_not_suffice_is_refused(words, message):
    with pytest.raises(ConfigError) as error:
        vsweep.plan(["data=iris", "model=logistic", "tracker=none", *words])
    assert str(error.value).removeprefix("grid.").startswith(message)


def test_a_batch_of_all_training_rows_is_taken():
    words = ["data=iris", "model=logistic", "tracker=none"]
    vsweep.plan([*words, "data.batch_size=105"])
    vsweep.plan([*words, "data.batch_size=120", "data.test_fraction=0"])


def test_classes_of_which_one_alone_is_there_are_trained_on():
    data = numbered(4, 1)._replace(y=np.ones(4, np.int64), classes=("no", "yes"))
    assert split(data, 0.25, 0, standardize=True).y[0].tolist() == [1, 1, 1]


# Examples written out.


def test_points_are_what_is_written():
    made = points(x=[(-1.0, -2.0), (3.0, 0.5)], y=[1.0, 0.0], classes=("no", "yes"))
    assert made.x.tolist() == [[-1.0, -2.0], [3.0, 0.5]]
    assert (made.y.tolist(), made.y.dtype, made.classes) == ([1, 0], np.int64, ("no", "yes"))
    assert made.features == ("x0", "x1")
    numbers = points(x=[(1.0,), (2.0,)], y=[1.0, 0.5], classes=None)
    assert (numbers.y.tolist(), numbers.y.dtype, numbers.classes) == ([1.0, 0.5], np.float64, ())


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"y": (1.0,)}, "data.y: got 1 for 2 rows of data.x; it takes one per row"),
        ({"y": (1.0, 2.0)}, "data.y: got 2, and there are 2 classes; it takes integers from 0 to 1"),
        ({"y": (-1.0, 0.0)}, "data.y: got -1, and there are 2 classes"),
        ({"y": (0.5, 0.0)}, "data.y: got 0.5, and there are 2 classes"),
    ],
)
def test_points_that_do_not_agree_are_refused(fields, message):
    with pytest.raises(ConfigError) as error:
        points(**{"x": ((1.0,), (2.0,)), "y": (0.0, 1.0), "classes": ("no", "yes")} | fields)
    assert str(error.value).startswith(message)


def test_a_sweep_of_a_single_point(here):
    words = ["data=points", "data.x=[[-1,-2]]", "data.y=[1]", "data.classes=[no,yes]", "tracker=none"]
    words += ["model=logistic", "model.init=zeros", "optimizer=sgd", "optimizer.lr=1", "verify=false"]
    made = vsweep.sweep([*words, "steps=1", "dir=kept"], quiet=True)
    # From zero, p = 1/2: the gradient in the output is -1/2.
    (weights, bias) = (made.params(0)[name] for name in ("0.w", "0.b"))
    np.testing.assert_allclose(weights, [[-0.5, -1.0]])
    np.testing.assert_allclose(bias, [0.5])
    np.testing.assert_allclose(made.curves["train_loss"], np.logaddexp(0.0, [0.0, -3.0]), rtol=1e-6)
    assert made.predictor(0)([[-1.0, -2.0], [1.0, 2.0]]).tolist() == ["yes", "no"]
    assert vsweep.load("kept").predictor(0)([[1.0, 2.0]]).tolist() == ["no"]


def test_points_as_an_axis(here):
    words = ["data=points", "data.x=[1,2,3]", "grid.data.y=[[1,2,3],[3,2,1]]", "model=linear", "steps=1"]
    made = vsweep.sweep([*words, "tracker=none", "dir=kept"], quiet=True)
    assert len(made.trials) == 2
    again = vsweep.resume("kept", ["seeds=2"], quiet=True)
    assert (len(again.trials), len(again.cells())) == (4, 2)


# A person's own arrays.


def test_own_arrays():
    made = own_dataset(([1, 2, 3], ["b", "a", "b"]), "data").as_targets("auto")
    assert made.x.tolist() == [[1.0], [2.0], [3.0]]
    assert made.y.tolist() == [1, 0, 1]
    assert made.classes == ("a", "b")
    numbers = own_dataset((np.ones((3, 2), np.float32), np.array([1, 2, 3], np.float32)), "data")
    numbers = numbers.as_targets("auto")
    assert (numbers.x.dtype, numbers.y.dtype, numbers.classes) == (np.float64, np.float64, ())


@pytest.mark.parametrize(
    "made", [3, None, (np.ones(3),), (np.ones((3, 2)), np.ones(2)), (np.ones((3, 2, 2)), np.ones(3)),
             (["a", "b"], [1, 2]), (np.ones((3, 2)), np.ones((3, 2))), (np.ones((3, 2)), np.ones((1, 3)))]
)  # fmt: skip
def test_own_arrays_of_other_shapes_are_refused(made):
    with pytest.raises(ConfigError, match=r"^data: got .* expected"):
        own_dataset(made, "data")


# Splits of classes.


def labelled(counts, seed=0):
    """A data set of classes of these sizes, in a random order."""
    y = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    x = np.random.default_rng(1).normal(size=(len(y), 2))
    return Dataset(x, y, tuple(f"c{i}" for i in range(len(counts))), ("u", "v"))


def sizes(made, classes):
    """The number of examples of each class in each part."""
    return [np.zeros(classes, int) if y is None else np.bincount(y, minlength=classes) for y in made.y]


@given(st.lists(st.integers(1, 40), min_size=2, max_size=6), st.floats(0.05, 0.6), st.integers(0, 3))
def test_each_part_has_its_share_of_every_class(counts, fraction, seed):
    data, rows = labelled(counts), sum(counts)
    if not 0 < round(rows * fraction) < rows - round(rows * 0.2) or not round(rows * 0.2):
        return
    made = split(data, fraction, seed, test_fraction=0.2, standardize=True, stratify=True)
    plain = split(data, fraction, seed, test_fraction=0.2, standardize=True)
    assert [len(part) for part in made.places] == [len(part) for part in plain.places]
    assert sorted(np.concatenate(made.places)) == list(range(rows))
    train, val, _ = sizes(made, len(counts))
    held_out = np.asarray(counts) * len(made.places[1]) / rows
    spared = np.asarray(counts) - 1 >= np.ceil(held_out)
    # A class that can spare its share gives it, rounded, and more only in place of classes that cannot.
    assert (val[spared] >= np.floor(held_out)[spared]).all()
    if spared.all():
        assert (np.abs(val - held_out) < 1).all()
    if sum(counts) - len(counts) >= len(made.places[1]) + len(made.places[2]):
        assert (train >= 1).all()
    without = split(data, fraction, seed, standardize=True, stratify=True)
    np.testing.assert_array_equal(without.places[1], made.places[1])


@pytest.mark.parametrize("seed", range(3))
def test_shares_are_scikit_learns(seed):
    from sklearn.model_selection import train_test_split

    data = labelled([50, 30, 20, 7], seed)
    made = split(data, 0.2, seed, standardize=False, stratify=True)
    train, val = train_test_split(data.y, test_size=len(made.y[1]), stratify=data.y, random_state=seed)
    for ours, theirs in zip(sizes(made, 4), (train, val), strict=False):
        assert (np.abs(ours - np.bincount(theirs, minlength=4)) <= 1).all()
    iris = split(DATASETS["iris"](), 0.2, seed, test_fraction=0.1, standardize=True, stratify=True)
    assert [part.tolist() for part in sizes(iris, 3)] == [[35, 35, 35], [10, 10, 10], [5, 5, 5]]


def test_a_class_of_one_example_is_trained_on():
    for seed in range(5):
        made = split(labelled([30, 1, 1, 12]), 0.4, seed, test_fraction=0.3, standardize=True, stratify=True)
        train, val, test = sizes(made, 4)
        assert train[[1, 2]].tolist() == [1, 1]
        assert (val[[0, 3]] > 0).all()
        assert (test[[0, 3]] > 0).all()


def test_where_every_class_is_spent_the_sizes_are_kept():
    made = split(labelled([1, 1, 1, 1]), 0.5, 0, standardize=True, stratify=True)
    assert [len(part) for part in made.places] == [2, 2, 0]


def test_numbers_and_splits_of_before_are_what_they_were():
    """The places of a permutation's first examples, as NumPy draws it."""
    for data, stratify in [(numbered(50), True), (numbered(50), False), (labelled([25, 25]), False)]:
        made = split(data, 0.2, 7, test_fraction=0.1, standardize=True, stratify=stratify)
        order = np.random.default_rng(7).permutation(50)
        np.testing.assert_array_equal(made.places[1], np.sort(order[:10]))
        np.testing.assert_array_equal(made.places[2], np.sort(order[10:15]))
        assert not made.stratified


@pytest.mark.parametrize("seed", range(3))
def test_a_sweep_of_classes_is_stratified_unless_it_says_no(seed):
    words = ["data=iris", "model=logistic", "tracker=none", f"data.split_seed={seed}"]
    for more, even in [([], True), (["data.stratify=false"], False)]:
        (made,) = vsweep.plan([*words, *more])[1].splits.values()
        assert (np.ptp(np.bincount(made.y[1])) == 0) == even
