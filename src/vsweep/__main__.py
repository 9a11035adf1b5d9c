"""`python -m vsweep`."""

import os
import sys

# `python -m` puts the current folder first, which may be somebody else's; `main` puts it back where it may.
if sys.path[0] == os.getcwd():  # noqa: PTH109
    del sys.path[0]

from vsweep.cli.main import main

main()
