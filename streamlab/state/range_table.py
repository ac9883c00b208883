"""A table of whole numbers that lie close together, such as identifiers that were given out one after the other.

Each number of the range has a place of its own, so a key is found at once: no hash, no other key in the way, nothing to
compare, and nothing to fill anew when there are more of them.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamlab.state.hash_table import Slots, Words

_SPREAD = 8
"""Numbers of the range for each key up to which the table pays: it then needs about the memory of a hash table."""


def lie_close(numbers: Words) -> bool:
    """Return whether these keys, all different, lie so close that a :class:`RangeTable` of them pays.

    >>> lie_close(np.arange(100, 200, dtype=np.uint64)), lie_close(np.array([1, 2**40], np.uint64))
    (True, False)
    """
    signed = numbers.view(np.int64)
    return int(signed.max()) - int(signed.min()) < _SPREAD * len(signed)


class RangeTable:
    """Maps keys of one word to dense slots, as ``WordTable`` does.

    Parameters
    ----------
    keys
        The keys of the slots 0, 1, …; they must :func:`lie_close`.

    Examples
    --------
    >>> table = RangeTable(np.array([7, 5], np.uint64))
    >>> table.slots([np.array([5, 6, 7], np.uint64)], insert=True)
    array([1, 2, 0])
    """

    def __init__(self, keys: Words) -> None:
        signed = keys.view(np.int64)
        self._first = int(signed.min())
        self._slots = np.full(int(signed.max()) - self._first + 1, -1, np.int32)
        self._slots[signed - self._first] = np.arange(len(keys), dtype=np.int32)
        self._size = len(keys)

    @property
    def size(self) -> int:
        """How many keys it holds."""
        return self._size

    @property
    def size_bytes(self) -> int:
        """Memory of its array."""
        return self._slots.nbytes

    def takes(self, words: Words) -> bool:
        """Return whether these keys may be inserted: whether the range would not be too large for the keys in it."""
        low, high = self._reach(words)
        return high - low < max(len(self._slots), _SPREAD * self._size)

    def keys(self) -> Words:
        """Return the keys in the order of their slots."""
        held = np.flatnonzero(self._slots >= 0)
        keys = np.empty(self._size, np.int64)
        keys[self._slots[held]] = held + self._first
        return keys.view(np.uint64)

    def slots(self, words: list[Words], *, insert: bool) -> Slots:
        """Return the slot of each key, -1 for those that are absent; see ``WordTable.slots``."""
        numbers = words[0].view(np.int64)
        low, high = self._reach(words[0])
        if low < self._first or high >= self._first + len(self._slots):
            if not insert:
                inside = (numbers >= self._first) & (numbers < self._first + len(self._slots))
                found = np.full(len(numbers), -1, np.int64)
                found[inside] = self._slots[numbers[inside] - self._first]
                return found
            self._stretch(low, high)
        place = numbers - self._first
        found = self._slots[place].astype(np.int64)
        if insert:
            absent = np.flatnonzero(found < 0)
            found[absent] = self._add(place[absent])
        return found

    def _add(self, place: npt.NDArray[np.int64]) -> npt.NDArray[np.int32]:
        """Give these free places slots, some of them perhaps given twice, and return the slots."""
        marks = np.arange(len(place), dtype=np.int32)
        self._slots[place] = marks
        won = place[self._slots[place] == marks]
        self._slots[won] = np.arange(self._size, self._size + len(won), dtype=np.int32)
        self._size += len(won)
        return self._slots[place]

    def _reach(self, words: Words) -> tuple[int, int]:
        """Return the least and the greatest number, those of the table and of some more keys together."""
        numbers = words.view(np.int64)
        last = self._first + len(self._slots) - 1
        return min(self._first, int(numbers.min(initial=last))), max(last, int(numbers.max(initial=self._first)))

    def _stretch(self, low: int, high: int) -> None:
        """Make the range reach at least from `low` to `high`: on a side that moves, by half of what it has more."""
        last = self._first + len(self._slots) - 1
        spare = len(self._slots) // 2
        bounds = np.iinfo(np.int64)
        first = max(low - spare, bounds.min) if low < self._first else low
        end = min(high + spare, bounds.max) if high > last else high
        slots = np.full(end - first + 1, -1, np.int32)
        slots[self._first - first : self._first - first + len(self._slots)] = self._slots
        self._first, self._slots = first, slots
