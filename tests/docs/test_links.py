"""Links of the README and the documentation: files and headings exist, addresses have the shape of one."""

import re
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import snippets

ROOT = snippets.ROOT
PAGES = [*snippets.PAGES, ROOT / "CHANGELOG.md"]
# In the order of the README, what is said once.
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")


def prose(page):
    """A page without its fenced blocks and inline code."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    return re.sub(r"`[^`]*`", "code", text)


def anchors(page):
    """The anchors of a page's headings, as GitHub and MyST make them."""
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
    titles = re.findall(r"^#+ +(.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    for target in LINK.findall(prose(page)):
        parts = urlsplit(target)
        if parts.scheme:
            assert parts.scheme == "https", target
            assert re.fullmatch(r"([a-z0-9-]+\.)+[a-z]{2,}", parts.netloc), target
            continue
        file = (page.parent / parts.path).resolve() if parts.path else page
        assert file.is_relative_to(ROOT), target
        assert file.is_file(), target
        # Headings of generated pages are checked by Sphinx.
        if parts.fragment and "_generated" not in file.read_text(encoding="utf-8"):
            assert parts.fragment in anchors(file), target


def test_each_promise_of_security_names_the_tests_that_hold_it():
    text = (ROOT / "docs" / "security.md").read_text(encoding="utf-8")
    promises = re.findall(
        r"^- \*\*.*?(?=^- |^## |^$)", text.partition("## What is not")[0], re.MULTILINE | re.DOTALL
    )
    assert len(promises) >= 10
    for promise in promises:
        tests = re.findall(r"`(tests/[\w/]+\.py)`", promise.partition("*Tests:")[2])
        assert tests, promise
        assert all((ROOT / test).is_file() for test in tests), promise


def test_the_readme_is_short():
    assert len(Path(ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200
