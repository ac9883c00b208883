"""How many workers a session keeps ready for its next job: as many as the last one had, for a while. Pure."""

from __future__ import annotations

KEEP_S = 300.0
"""For how long spares are kept without a job."""
MOST_WORKERS = 8
"""How many spare workers there are at most, whatever a job needs."""


class SparePool:
    """Knows what was needed last, and when."""

    def __init__(self) -> None:
        self._workers = 0
        self._used_s = 0.0

    def expect(self, workers: int, now_s: float) -> None:
        """Note that a job has needed so many workers, or that one will soon."""
        self._workers, self._used_s = min(workers, MOST_WORKERS), now_s

    def wanted(self, now_s: float) -> int:
        """Return how many workers there should be, with a coordinator; 0: no spares at all.

        Examples
        --------
        >>> pool = SparePool()
        >>> pool.expect(2, now_s=0.0)
        >>> pool.wanted(now_s=1.0), pool.wanted(now_s=1000.0)
        (2, 0)
        """
        return self._workers if now_s - self._used_s < KEEP_S else 0

    def until_change_s(self, now_s: float) -> float | None:
        """Return the time until spares are given up; None when there are to be none."""
        return self._used_s + KEEP_S - now_s if self.wanted(now_s) else None
