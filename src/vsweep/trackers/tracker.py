"""The interface of trackers, which show a sweep while it is trained."""

from collections.abc import Callable, Sequence
from typing import Protocol

from vsweep.errors import show_message
from vsweep.store.reader import StoredSweep


class Tracker(Protocol):
    """A display of a sweep; its methods are called in this order, and must not change trials or the store.

    Attributes:
        unsent: After the end, a message on results that could not be shown.
    """

    unsent: str

    def begin(self, name: str, trials: int, plan: str) -> None:
        """Start a sweep of this many trials; plan: a description of the programs."""

    def trained(self, trials: int) -> None:
        """Count further trials that are in the store."""

    def end(self, sweep: StoredSweep) -> None:
        """Finish after the last trial is in the store."""

    def close(self) -> None:
        """Release resources; called last, even after an error."""


class Trackers:
    """Several trackers as one; a tracker that fails is reported and dropped, and the sweep continues."""

    def __init__(self, trackers: Sequence[Tracker]) -> None:
        """Combine trackers, which are called in this order."""
        self._trackers = list(trackers)
        self._failed: list[str] = []

    @property
    def unsent(self) -> str:
        """A message on results that could not be shown."""
        return "; ".join(filter(None, [*self._failed, *(tracker.unsent for tracker in self._trackers)]))

    def begin(self, name: str, trials: int, plan: str) -> None:
        """Start all trackers."""
        self._call(lambda tracker: tracker.begin(name, trials, plan))

    def trained(self, trials: int) -> None:
        """Count further trials in all trackers."""
        self._call(lambda tracker: tracker.trained(trials))

    def end(self, sweep: StoredSweep) -> None:
        """Finish all trackers."""
        self._call(lambda tracker: tracker.end(sweep))

    def close(self) -> None:
        """Close all trackers."""
        self._call(lambda tracker: tracker.close())

    def _call(self, method: Callable[[Tracker], None]) -> None:
        for tracker in list(self._trackers):
            try:
                method(tracker)
            except Exception as error:
                self._trackers.remove(tracker)
                reason = " ".join(f"{type(error).__name__}: {error}".split())
                self._failed.append(f"{type(tracker).__name__} stopped ({reason})")
                show_message(f"vsweep: {self._failed[-1]}")
