"""Read the snippets of the README and the documentation; run as a script, rewrite the output that they show.

An HTML comment in front of a snippet, `<!-- test: MARK ARGUMENT -->`, says how `tests/docs/test_snippets.py`
runs it; `docs/development.md` lists the marks.
"""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
MARKS = ("", "file", "in", "plan", "parse", "tail", "output")


class Snippet(NamedTuple):
    """A fenced block.

    Attributes:
        line: The number of its first line in the page, from 1.
        language: The word after the fence.
        text: Its content, which ends with a newline.
        mark: How it is tested: one of `MARKS`.
        argument: The words after the mark, such as a file's name.
    """

    line: int
    language: str
    text: str
    mark: str
    argument: str


def read_snippets(page: str) -> list[Snippet]:
    """Return the snippets of a page in their order.

    Raises:
        ValueError: If a mark is unknown or a fence is not closed.
    """
    snippets, mark, argument, lines = [], "", "", iter(enumerate(page.splitlines(), 1))
    for _, line in lines:
        if comment := re.fullmatch(r"<!-- test: (\w+) ?(.*?) -->", line.strip()):
            mark, argument = comment.groups()
            if mark not in MARKS:
                raise ValueError(f"no mark {mark!r}: use one of {', '.join(MARKS)}")
        elif fence := re.fullmatch(r"( *)```(\S*).*", line):
            body = list(_until_closed(lines, fence[1]))
            first = body[0][0] if body else 0
            text = "".join(f"{content.removeprefix(fence[1])}\n" for _, content in body)
            snippets.append(Snippet(first, fence[2], text, mark, argument))
            mark, argument = "", ""
    return snippets


def _until_closed(lines: Iterator[tuple[int, str]], indent: str) -> Iterator[tuple[int, str]]:
    for number, line in lines:
        if line == f"{indent}```":
            return
        yield number, line
    raise ValueError("a fence is not closed")


def shell_commands(text: str) -> list[list[str]]:
    """Return the commands of a shell snippet as lists of words, without comments."""
    joined = text.replace("\\\n", " ")
    return [words for line in joined.splitlines() if (words := shlex.split(line, comments=True))]


def console_commands(text: str) -> list[tuple[list[str], str]]:
    """Return the commands of a console snippet, each with the output below it."""
    parts = re.split(r"^\$ (.*)\n", text, flags=re.MULTILINE)[1:]
    return [(shlex.split(command), output) for command, output in zip(parts[::2], parts[1::2], strict=True)]


def shown_part(snippet: Snippet, output: str) -> str:
    """Return the lines of a command's output from the one that begins like the snippet, without progress."""
    lines = [line.rstrip() for line in output.splitlines() if not re.search(r"\d+/\d+ (runs|trials)", line)]
    first = snippet.text.split()[0]
    starts = [i for i, line in enumerate(lines) if line.startswith(first)]
    return "".join(f"{line}\n" for line in lines[starts[0] if starts else 0 :])


def is_same(shown: str, output: str) -> bool:
    """Return whether an output is as shown, but for its numbers; … stands for any text."""
    shown, output = (re.sub(r"\d[\d.e+-]*", "0", text.strip()) for text in (shown, output))
    return re.fullmatch(".*".join(map(re.escape, shown.split("…"))), output, re.DOTALL) is not None


def _run(words: list[str]) -> str:
    """Return the output of a command, errors first, in an empty folder."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "COLUMNS": "110"}
        command = [sys.executable, "-m", *words]
        process = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
        return process.stderr + process.stdout


def main() -> None:
    """Rewrite the output in all pages."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for snippet in read_snippets(text):
            if snippet.language == "console":
                parts = []
                for words, shown in console_commands(snippet.text):
                    output = _run(words)
                    output = shown if is_same(shown, output) else output
                    parts.append(f"$ {shlex.join(words)}\n{output}")
                text = text.replace(f"```console\n{snippet.text}", f"```console\n{''.join(parts)}")
            elif snippet.mark == "output":
                output = shown_part(snippet, _run(shlex.split(snippet.argument)))
                text = text.replace(snippet.text, output)
        page.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
