"""Every snippet of the README and the documentation runs, page by page, in an empty folder."""

import linecache
import re
import shlex
import shutil
import subprocess
from importlib import import_module
from pathlib import Path

import pytest
import snippets
import yaml

import vsweep

# The directory that the pages use as an example.
EXAMPLE = "outputs/digits/2026-11-25_06-59-49"
# Snippets that are for Sphinx, or show something without running it.
NOT_RUN = ("text", "{toctree}", "{include}")
NAMES = [str(page.relative_to(snippets.ROOT)) for page in snippets.PAGES]
WIDE = {"COLUMNS": "110"}


def read(name):
    return snippets.read_snippets((snippets.ROOT / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def example(tmp_path_factory):
    """The sweep that the pages look at."""
    directory = tmp_path_factory.mktemp("example") / "kept"
    words = [
        "data=digits",
        "tracker=none",
        "grid.model.width=[16,32]",
        "grid.optimizer.lr=[0.1,1.0]",
        "seeds=3",
        "steps=20",
        "keep.params=all",
        f"dir='{directory}'",
    ]
    vsweep.sweep(words, quiet=True)
    return directory


class Reader:
    """A reader who types the snippets of one page in order."""

    def __init__(self, page, cli):
        self.page, self.cli = page, cli
        self.namespace = {"__name__": "__main__"}

    def read(self, snippet):
        where = f"{self.page}:{snippet.line}"
        if snippet.mark == "file":
            path = Path(snippet.argument)
            path.parent.mkdir(exist_ok=True)
            path.write_text(snippet.text, encoding="utf-8")
        elif snippet.language == "python":
            # The source of functions has to be found, as in a notebook.
            linecache.cache[where] = (len(snippet.text), None, snippet.text.splitlines(keepends=True), where)
            # A recipe stands in a module of vsweep; a copy, so that nothing of it is left there.
            inside = snippet.mark == "in"
            names = dict(vars(import_module(snippet.argument))) if inside else self.namespace
            exec(compile(snippet.text, where, "exec"), names)
        elif snippet.language == "sh":
            self.type(where, snippet)
        elif snippet.language == "console":
            for words, output in snippets.console_commands(snippet.text):
                done = self.cli(*words[1:])
                assert snippets.is_same(output, done.err + done.out), f"{where}: {done.err}{done.out}"
        elif snippet.language == "yaml":
            yaml.safe_load(snippet.text)
        else:
            assert snippet.language in NOT_RUN, f"{where}: no language {snippet.language!r}"

    def type(self, where, snippet):
        directory = EXAMPLE
        for program, *words in snippets.shell_commands(snippet.text):
            if program == "make":
                check_target(words)
                continue
            assert program == "vsweep", f"{where}: {program}"
            if snippet.mark == "parse":
                done = self.cli(*(re.sub(r"\bDIR\b", "no-such-folder", word) for word in words))
                assert (done.status, done.err.split(" ")[:2]) == (2, ["vsweep:", "dir:"]), (
                    f"{where}: {done.err}"
                )
                continue
            if snippet.mark == "plan":
                words = ["plan" if word == "run" else word for word in words]
            done = self.cli(*(re.sub(r"\bDIR\b", directory, word) for word in words))
            assert done.status == 0, f"{where}: vsweep {shlex.join(words)}: {done.err}"
            if words[0] == "run":
                directory = done.out.strip().rpartition("\n")[2]


def check_target(words):
    done = subprocess.run(["make", "-n", *words], cwd=snippets.ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def read_page(name, cli, example, monkeypatch, *, tail):
    monkeypatch.setenv("WANDB_MODE", "disabled")
    monkeypatch.setenv("COLUMNS", "110")
    monkeypatch.syspath_prepend(str(Path.cwd()))
    shutil.copytree(example, EXAMPLE)
    reader = Reader(name, cli)
    for snippet in read(name):
        if snippet.mark == "file" or (snippet.mark == "tail") == tail:
            reader.read(snippet)


@pytest.mark.parametrize("name", NAMES)
def test_the_snippets_of_a_page_run(name, cli, example, monkeypatch):
    read_page(name, cli, example, monkeypatch, tail=False)


@pytest.mark.tail
@pytest.mark.parametrize("name", [name for name in NAMES if any(s.mark == "tail" for s in read(name))])
def test_the_long_snippets_of_a_page_run(name, cli, example, monkeypatch):
    read_page(name, cli, example, monkeypatch, tail=True)


def shape(line):
    """A line without its numbers and how it is spaced."""
    return re.sub(r"[\d.,:–_-]+|\s+", " ", re.sub(r"/\S*/", "/", line)).split()


@pytest.mark.tail
@pytest.mark.parametrize("name", [name for name in NAMES if any(s.mark == "output" for s in read(name))])
def test_a_command_prints_what_its_page_shows(name, cli, monkeypatch):
    monkeypatch.setenv("COLUMNS", "110")
    for snippet in read(name):
        if snippet.mark == "output":
            done = cli(*shlex.split(snippet.argument)[1:])
            assert done.status == 0, done.err
            shown = snippets.shown_part(snippet, done.err + done.out)
            # The machine decides which of the tied cells come first, so their rows are not compared.
            lines, expected = (
                [shape(line) for line in text.splitlines() if not line.endswith("≈")]
                for text in (shown, snippet.text)
            )
            assert lines == expected


def test_the_api_reference_lists_all_public_names():
    import reference

    page = reference.api()
    assert all(f":: vsweep.{name}\n" in page for name in vsweep.__all__)


def test_the_configuration_reference_lists_all_fields():
    import reference

    page = reference.configuration()
    missing = [path for path in (*reference.FIELDS, *reference.SWEEP_FIELDS) if f"`{path}`" not in page]
    assert missing == []
