"""Sphinx configuration of the documentation: `make docs`."""

import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "scripts"))

import reference  # noqa: E402

project = "vsweep"
author = "the vsweep authors"
release = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
version = release

extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
exclude_patterns = ["_build", "_generated"]
html_theme = "furo"
html_title = f"vsweep {release}"
html_copy_source = False
templates_path: list[str] = []

myst_enable_extensions = ["deflist"]
myst_heading_anchors = 3

autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_preserve_defaults = True
# The members of a class stand in the reference already.
napoleon_use_ivar = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
# Text in single backticks is code, in Markdown as in docstrings.
default_role = "code"
nitpicky = True
# Types of other projects, whose documentation is not here to link to.
nitpick_ignore_regex = [
    ("py:.*", r"(?!vsweep\.).*"),
    ("py:.*", r"vsweep\..*\b_\w+"),
    ("py:class", r"vsweep\..*"),
]

reference.write(ROOT / "docs" / "_generated")
