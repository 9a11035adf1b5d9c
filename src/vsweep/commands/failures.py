"""Failures of a command, each explained in one message that names the results that are kept."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vsweep.engine.executor import out_of_memory
from vsweep.errors import Interrupted, StoreError


def os_error_text(error: OSError) -> str:
    """Return the system's text of an error, without the number and the text that Arrow adds."""
    return os.strerror(error.errno) if error.errno else str(error)


@contextmanager
def explained_failures(directory: Path, kept: Callable[[], str]) -> Iterator[None]:
    """Turn errors and signals that end a command early into an error that names the results that are kept.

    Args:
        directory: The directory that the command writes.
        kept: A function that describes the results that are kept.

    Raises:
        Interrupted: In place of `KeyboardInterrupt`, with its exit status.
        StoreError: In place of `OSError`, or where one trial does not fit in memory.
    """
    try:
        yield
    except KeyboardInterrupt as stop:
        raise Interrupted(f"stopped; {kept()}", getattr(stop, "status", 130)) from None
    except OSError as error:
        raise StoreError(f"cannot write in {directory} ({os_error_text(error)}); {kept()}") from error
    except Exception as error:
        if not out_of_memory(error):
            raise
        raise StoreError(f"a block of one trial per device does not fit in memory; {kept()}") from error
