"""Which processes a session keeps ready for its next jobs: what the last jobs would have needed, for a while. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass

KEEP_S = 300.0
"""For how long spares are kept without a job."""
MOST_WORKERS = 8
"""How many spare workers there are at most, whatever the jobs need."""


@dataclass(frozen=True)
class Crew:
    """The processes of a job.

    Attributes
    ----------
    guarded : bool
        Whether its coordinator has a guardian.
    workers : int
        How many workers it has.
    """

    guarded: bool
    workers: int


class SparePool:
    """Knows what was needed and when; of each kind of crew, guarded or not, one spare is kept."""

    def __init__(self) -> None:
        self._last: dict[bool, tuple[int, float]] = {}

    def expect(self, crew: Crew, now_s: float) -> None:
        """Note that a job has needed a crew, or that one will soon."""
        self._last[crew.guarded] = crew.workers, now_s

    def wanted(self, now_s: float) -> set[Crew]:
        """Return the spares that there should be.

        Examples
        --------
        >>> pool = SparePool()
        >>> pool.expect(Crew(guarded=True, workers=2), now_s=0.0)
        >>> pool.wanted(now_s=1.0), pool.wanted(now_s=1000.0)
        ({Crew(guarded=True, workers=2)}, set())
        """
        wanted: set[Crew] = set()
        room = MOST_WORKERS
        # The kind that was needed last is served first.
        for guarded, (workers, used_s) in sorted(self._last.items(), key=lambda item: -item[1][1]):
            if now_s - used_s < KEEP_S and workers <= room:
                wanted.add(Crew(guarded, workers))
                room -= workers
        return wanted

    def missing(self, held: Iterable[Crew], now_s: float) -> set[Crew]:
        """Return the spares that are to be started, given those that there are."""
        return self.wanted(now_s) - set(held)

    def surplus(self, held: Collection[Crew], now_s: float) -> list[Crew]:
        """Return those of the spares that there are that are to be ended."""
        stay = self.wanted(now_s)
        out = []
        for crew in held:
            if crew in stay:
                stay.remove(crew)
            else:
                out.append(crew)
        return out

    def until_change_s(self, now_s: float) -> float | None:
        """Return the time until a spare is given up; None when none is wanted."""
        ends = [used_s + KEEP_S - now_s for _, used_s in self._last.values() if now_s - used_s < KEEP_S]
        return min(ends, default=None)
