"""The entry point of the command line: `vsweep COMMAND …`."""

import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from vsweep.errors import ConfigError, ServiceError, StoreError, Terminated, suggest

_COMMANDS = ("run", "plan", "resume", "verify", "confirm", "check", "sync", "dashboard", "report")
_USAGE = """\
vsweep trains a grid of models in a few compiled programs, and keeps every curve.

  vsweep run  [sweep=NAME] [field=value ...]    train it; the last line printed is its directory
  vsweep plan [sweep=NAME] [field=value ...]    say what would run, and train nothing
  vsweep check [sweep=NAME] [field=value ...]   hold its gradients against central differences
  vsweep run  wandb_sweep=FILE [...]            train what a W&B sweep file says
  vsweep resume DIR [field=value ...]           train what is missing of it, or more seeds, values, steps

  vsweep sync DIR [project=… level=trial|cell]  send W&B what it has not yet, from the directory alone

  vsweep report DIR [metric=…] [path=FILE]      write report.html, which any browser opens, with no network
  vsweep verify DIR [k=8] [seed=0]              train some trials again, alone, and compare
  vsweep confirm DIR [top=5] [seeds=8]          train the best cells again on fresh seeds
  vsweep run trial=N from=DIR                   train one trial of a sweep again, and keep its parameters
  vsweep dashboard DIR [project=… level=…]      save a workspace of it in Weights & Biases, and print its URL

  axes:    grid.optimizer.lr='{logspace:[1e-3,1,8]}'  grid.model.width='[8,16]'  ~grid.model.init
  groups:  data= model= loss= optimizer= schedule= tracker=
  Hydra's own flags work too: -m for one sweep per job, --cfg job for every field.
"""


def main() -> None:
    """The command line."""
    command, *words = sys.argv[1:] or ["--help"]
    helps = ("-h", "--help")
    # Hydra has a help of its own for what it runs.
    if command in (*helps, "help") or (command not in ("run", "plan") and {*helps} & {*words}):
        print(_USAGE, end="")
        return
    # A person's own functions are found from where they stand, as with `python -m`.
    sys.path.insert(0, str(Path.cwd()))
    try:
        if command not in _COMMANDS:
            raise ConfigError("command", f"no such command {command!r}", suggest(command, _COMMANDS))
        _import_quietly()
        signal.signal(signal.SIGTERM, _terminated)
        from vsweep.cli.commands import perform

        perform(command, words)
    except ConfigError as error:
        print(f"vsweep: {error}", file=sys.stderr)
        raise SystemExit(2) from error
    except (StoreError, ServiceError) as error:
        print(f"vsweep: {error}", file=sys.stderr)
        raise SystemExit(1) from error
    except KeyboardInterrupt as stop:
        with suppress(OSError):
            print(f"vsweep: {str(stop) or 'stopped'}", file=sys.stderr, flush=True)
            sys.stdout.flush()
        # At once: a compile or a block that is under way does not survive the interpreter's own end.
        os._exit(getattr(stop, "status", 130))


def _terminated(number: int, frame: Any) -> None:
    raise Terminated


def _import_quietly() -> None:
    """Import what takes seconds; Ctrl-C ends that without a word, since nothing has begun."""
    heeds = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if heeds:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    import vsweep.cli.commands  # noqa: F401

    if heeds:
        signal.signal(signal.SIGINT, signal.default_int_handler)
