"""Runs the command line in forked children, so that each begins in a moment, with all imported.

Reads lines of JSON, `[folder, words…]`, and answers each with the child's process id, then with the id and
how it ended: its exit status, or minus the signal that killed it.
"""

import json
import os
import signal
import sys
import threading

import pyarrow.parquet  # noqa: F401
import sklearn.datasets  # noqa: F401

import vsweep.cli.commands  # noqa: F401
from vsweep.cli.main import main

_say = threading.Lock()


def say(*words):
    with _say:
        print(*words, flush=True)


def child(folder, words):
    # A process that a shell starts in the background ignores Ctrl-C.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    os.chdir(folder)
    for number, name in ((1, "out"), (2, "err")):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644), number)
    sys.argv = ["vsweep", *words]
    status = 70
    try:
        main()
        status = 0
    except SystemExit as stop:
        status = stop.code
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)


def wait(pid):
    say(pid, os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


for line in sys.stdin:
    folder, *words = json.loads(line)
    pid = os.fork()
    if not pid:
        child(folder, words)
    say(pid)
    threading.Thread(target=wait, args=(pid,), daemon=True).start()
