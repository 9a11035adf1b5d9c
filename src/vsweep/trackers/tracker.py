"""What a tracker is: told of a sweep as it goes, it shows it somewhere."""

from typing import Protocol

from vsweep.results.sweep import Sweep


class Tracker(Protocol):
    """Told in this order; none of it may change what is trained or stored."""

    def begin(self, name: str, trials: int) -> None:
        """A sweep of so many trials starts."""

    def trained(self, trials: int) -> None:
        """So many more trials are in the store."""

    def end(self, sweep: Sweep) -> None:
        """All that will be trained is in the store."""

    def close(self) -> None:
        """Called last, whatever happened."""
