"""`python -m vsweep`."""

from vsweep.cli import main

main()
