"""Give tests of the store a record that a plan could have, and a change by somebody's hand."""

PROGRAM = {
    "name": "one",
    "steps": 1,
    "record_every": 1,
    "trials": 6,
    "blocks": 1,
    "block": 6,
    "lanes": 1,
    "segment": 0,
    "predicted": {},
}
PLAN = {
    "name": "tested",
    "command": "vsweep run",
    "started": "2026-01-01T00:00:00+00:00",
    "python": "3.11",
    "versions": {"vsweep": "0"},
    "trials": 6,
    "cells": 6,
    "study": {"name": "tested", "words": [], "variants": []},
    "devices": {"platform": "cpu", "devices": 1, "kind": "cpu"},
    "programs": [PROGRAM],
    "data": {},
}


def forge(directory):
    """Take a directory's checksums away, as somebody can who changes its files on purpose."""
    path = directory / "ledger" / "files.jsonl"
    if path.is_file() and not path.is_symlink():
        path.unlink()
