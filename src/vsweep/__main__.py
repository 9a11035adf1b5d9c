"""`python -m vsweep`."""

from vsweep.cli.main import main

main()
