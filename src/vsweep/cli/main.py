"""The entry point of the command line: `vsweep COMMAND …`."""

import gc
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

from vsweep.cli.arguments import COMMANDS, parser
from vsweep.errors import (
    ConfigError,
    ServiceError,
    StoreError,
    StuckError,
    Terminated,
    show_message,
    suggest,
)
from vsweep.store.enclosing import enclosing_sweep


def main() -> None:
    """Run the command line; the exit status is 0, 1, 2 (config), 130 (Ctrl-C) or 143 (SIGTERM)."""
    command, *words = sys.argv[1:] or ["--help"]
    _import_from_current_folder()
    try:
        if command in ("-h", "--help", "help"):
            print(parser()[0].format_help(), end="")
        elif command == "--version":
            from importlib.metadata import version

            print(f"vsweep {version('vsweep')}")
        elif command not in COMMANDS:
            raise ConfigError("command", f"no such command {command!r}", suggest(command, COMMANDS))
        elif {"-h", "--help"} & {*words}:
            print(parser()[1][command].format_help(), end="")
        else:
            _import_quietly()
            signal.signal(signal.SIGTERM, _terminated)
            from vsweep.cli.commands import perform

            perform(command, words)
    except ConfigError as error:
        show_message(f"vsweep: {error}")
        raise SystemExit(2) from error
    except (StoreError, StuckError, ServiceError) as error:
        show_message(f"vsweep: {error}")
        raise SystemExit(1) from error
    except KeyboardInterrupt as stop:
        with suppress(OSError):
            show_message(f"vsweep: {str(stop) or 'stopped'}")
            sys.stdout.flush()
        # A normal exit of the interpreter would wait for a running compilation or block.
        os._exit(getattr(stop, "status", 130))


def _import_from_current_folder() -> None:
    """Let the user's own modules be imported from the current folder, as with `python -m`.

    A sweep's directory may come from someone else, so nothing is imported from there.
    """
    folder = Path.cwd()
    if enclosing_sweep(folder) is None:
        sys.path.insert(0, str(folder))
    else:
        sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != folder.resolve()]


def _terminated(number: int, frame: Any) -> None:
    raise Terminated


def _import_quietly() -> None:
    """Import the modules that take seconds; Ctrl-C ends the import without a message."""
    # Most objects that imports create are never freed, and the collector would scan them again and again.
    gc.disable()
    interruptible = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    if interruptible:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    import vsweep.cli.commands  # noqa: F401

    gc.freeze()
    gc.enable()
    if interruptible:
        signal.signal(signal.SIGINT, signal.default_int_handler)
