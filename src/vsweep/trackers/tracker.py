"""What a tracker is: told of a sweep as it goes, it shows it somewhere."""

import sys
from collections.abc import Callable, Sequence
from typing import Protocol

from vsweep.results import Sweep


class Tracker(Protocol):
    """Told in this order; none of it may change what is trained or stored.

    lacks: once it has ended, what it could not show, in words.
    """

    lacks: str

    def begin(self, name: str, trials: int, plan: str) -> None:
        """A sweep of so many trials starts. plan: what will run, in words."""

    def trained(self, trials: int) -> None:
        """So many more trials are in the store."""

    def end(self, sweep: Sweep) -> None:
        """All that will be trained is in the store."""

    def close(self) -> None:
        """Called last, whatever happened."""


class Trackers:
    """Several trackers as one; one that fails is said so and left out, and the sweep goes on."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        """In the order in which they are told."""
        self._trackers = list(trackers)
        self._failed: list[str] = []

    @property
    def lacks(self) -> str:
        """What could not be shown, in words."""
        return "; ".join(filter(None, [*self._failed, *(tracker.lacks for tracker in self._trackers)]))

    def begin(self, name: str, trials: int, plan: str) -> None:
        """As in `Tracker`."""
        self._tell(lambda tracker: tracker.begin(name, trials, plan))

    def trained(self, trials: int) -> None:
        """As in `Tracker`."""
        self._tell(lambda tracker: tracker.trained(trials))

    def end(self, sweep: Sweep) -> None:
        """As in `Tracker`."""
        self._tell(lambda tracker: tracker.end(sweep))

    def close(self) -> None:
        """As in `Tracker`."""
        self._tell(lambda tracker: tracker.close())

    def _tell(self, call: Callable[[Tracker], None]) -> None:
        for tracker in list(self._trackers):
            try:
                call(tracker)
            except Exception as error:
                self._trackers.remove(tracker)
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                self._failed.append(f"{type(tracker).__name__} stopped ({reason})")
                print(f"vsweep: {self._failed[-1]}", file=sys.stderr)
