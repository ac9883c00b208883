"""A table of whole numbers that lie close together, such as identifiers that were given out one after the other.

Each number of the range has a place of its own, so a key is found at once: no hash, no other key in the way, nothing to
compare, and nothing to fill anew when there are more of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamlab.state.tables.hash_table import Slots, Words

_SPREAD = 16
"""Numbers of the range for each key up to which the table pays: it then needs twice the memory of a hash table."""

_SMALL = 2**24
"""Numbers of a range that costs too little memory (64 MB) to ask how many keys there are in it."""

_SPARE = 8
"""The table begins with one place for every so many numbers to spare, on both sides."""

_LEAST, _GREATEST = -(2**63), 2**63 - 1


def lie_close(keys: Words, others: Words) -> bool:
    """Return whether these keys lie so close that a :class:`RangeTable` of them pays.

    >>> close, far = np.arange(100, 200, dtype=np.uint64), np.array([1, 2**40], np.uint64)
    >>> lie_close(close, close), lie_close(close, far)
    (True, False)
    """
    low, high = _bounds(keys, others)
    return high - low < max(_SMALL, _SPREAD * (len(keys) + len(others)))


class RangeTable:
    """Maps keys of one word to dense slots, as ``WordTable`` does.

    Parameters
    ----------
    keys
        The keys of the slots 0, 1, …
    others
        Keys that will be inserted next; together with the first they must :func:`lie_close`.

    Examples
    --------
    >>> table = RangeTable(np.array([7, 5], np.uint64), np.array([9], np.uint64))
    >>> table.slots([np.array([5, 6, 7], np.uint64)], insert=True)
    array([1, 2, 0])
    """

    def __init__(self, keys: Words, others: Words) -> None:
        low, high = _bounds(keys, others)
        spare = (high - low) // _SPARE
        self._first = max(low - spare, _LEAST)
        self._above = np.zeros(min(high + spare, _GREATEST) - self._first + 1, np.int32)
        """By place the slot plus one, so that memory that was never touched is an empty place and costs nothing."""
        self._above[keys.view(np.int64) - self._first] = np.arange(1, len(keys) + 1, dtype=np.int32)
        self._size = len(keys)

    @property
    def size(self) -> int:
        """How many keys it holds."""
        return self._size

    @property
    def size_bytes(self) -> int:
        """Memory of its array."""
        return self._above.nbytes

    def takes(self, words: Words) -> bool:
        """Return whether these keys may be inserted: whether the range would not be too large for the keys in it."""
        low, high = self._reach(words)
        return high - low < max(len(self._above), _SMALL, _SPREAD * self._size)

    def keys(self) -> Words:
        """Return the keys in the order of their slots."""
        held = np.flatnonzero(self._above)
        keys = np.empty(self._size, np.int64)
        keys[self._above[held] - 1] = held + self._first
        return keys.view(np.uint64)

    def slots(self, words: list[Words], *, insert: bool) -> Slots:
        """Return the slot of each key, -1 for those that are absent; see ``WordTable.slots``."""
        numbers = words[0].view(np.int64)
        low, high = self._reach(words[0])
        if low < self._first or high >= self._first + len(self._above):
            if not insert:
                inside = (numbers >= self._first) & (numbers < self._first + len(self._above))
                found = np.full(len(numbers), -1, np.int64)
                found[inside] = self._above[numbers[inside] - self._first]
                found[inside] -= 1
                return found
            self._stretch(low, high)
        place = numbers - self._first
        found = self._above[place].astype(np.int64)
        if insert and len(absent := np.flatnonzero(found == 0)):
            found[absent] = self._add(place[absent])
        found -= 1
        return found

    def _add(self, place: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """Give these empty places slots, some of them perhaps given twice, and return what is in them then."""
        above = np.arange(self._size + 1, self._size + 1 + len(place), dtype=np.int32)
        self._above[place] = above
        added = self._above[place]
        lost = np.flatnonzero(added != above)
        self._size += len(place) - len(lost)
        if len(lost):
            # A place that is given twice has only one of its numbers: the others go to the places of the last numbers.
            moved = np.flatnonzero(added > self._size)
            left = above[lost]
            self._above[place[moved[added[moved] == above[moved]]]] = left[left <= self._size]
            added[moved] = self._above[place[moved]]
        return added

    def _reach(self, words: Words) -> tuple[int, int]:
        """Return the least and the greatest number, those of the table and of some more keys together."""
        numbers = words.view(np.int64)
        last = self._first + len(self._above) - 1
        return min(self._first, int(numbers.min(initial=last))), max(last, int(numbers.max(initial=self._first)))

    def _stretch(self, low: int, high: int) -> None:
        """Make the range reach at least from `low` to `high`: on a side that moves, by half of what it has more."""
        last = self._first + len(self._above) - 1
        spare = len(self._above) // 2
        first = max(low - spare, _LEAST) if low < self._first else low
        end = min(high + spare, _GREATEST) if high > last else high
        above = np.zeros(end - first + 1, np.int32)
        above[self._first - first : self._first - first + len(self._above)] = self._above
        self._first, self._above = first, above


def _bounds(keys: Words, others: Words) -> tuple[int, int]:
    """Return the least and the greatest of some keys, at least one."""
    bounds = [(int(some.min()), int(some.max())) for some in (keys.view(np.int64), others.view(np.int64)) if len(some)]
    return min(low for low, _ in bounds), max(high for _, high in bounds)
