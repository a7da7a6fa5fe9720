"""The seconds that a run spends in each of its phases."""

import time


class Stopwatch:
    """Sums the wall seconds of phases that follow each other; a phase may come back."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}
        self._phase = ""
        self._since = 0.0

    def begin(self, phase: str) -> None:
        """End the current phase, if any, and begin another."""
        now = time.perf_counter()
        if self._phase:
            self._seconds[self._phase] = self._seconds.get(self._phase, 0.0) + now - self._since
        self._phase, self._since = phase, now

    def seconds(self) -> dict[str, float]:
        """The seconds of every phase so far, in the order in which they first began."""
        if self._phase:
            self.begin(self._phase)
        return dict(self._seconds)
