"""The splits of one source subtask that have ended: the last ones with all that is known of them, the others by id."""

from __future__ import annotations

from collections.abc import Mapping

from streamlab.connectors.reading.finished_splits import FinishedIds, FinishedSplits
from streamlab.connectors.reading.progress import SplitProgress

_KNOWN_WELL = 30
"""Of so many splits that have ended last it is known how far they had come: as many as are shown."""
ALL_ROWS = 2**62
"""Stands for the rows of a split that has ended so long ago that their number is no longer known."""


class EndedSplits:
    """See the module.

    Parameters
    ----------
    finished
        Splits of the whole source that had ended when a snapshot was taken, and of which only that is known.
    keeps
        Whether this subtask is the one that writes those into the snapshots to come.
    """

    def __init__(self, finished: FinishedSplits, *, keeps: bool) -> None:
        self._last: dict[str, SplitProgress] = {}
        self._own = FinishedIds(finished if keeps else None)
        self._others = None if keeps else FinishedIds(finished)

    @property
    def last(self) -> Mapping[str, SplitProgress]:
        """Those that have ended last, oldest first."""
        return self._last

    def __contains__(self, split: str) -> bool:
        return split in self._last or split in self._own or (self._others is not None and split in self._others)

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self._last) + len(self._own)

    def add(self, split: str, progress: SplitProgress) -> None:
        """Take note of a split that has ended."""
        self._last[split] = progress
        if len(self._last) > _KNOWN_WELL:
            oldest = next(iter(self._last))
            del self._last[oldest]
            self._own.add(oldest)

    def rows_given(self, split: str) -> int:
        """Return how many rows of a split had been given out, 0 of one that has not ended."""
        if split in self._last:
            return self._last[split].rows
        return ALL_ROWS if split in self else 0

    def stored(self) -> FinishedSplits:
        """Return those that only their ids are known of, for a snapshot."""
        return self._own.stored()
