"""Which splits have been read to their ends, kept small and exact: a checkpoint holds that for as long as a job runs.

Names that differ in their numbers only, such as ``part-00017.parquet`` or ``2024-01-31T12-05.csv``, are kept as ranges
of numbers: so files that are numbered without a gap need a few bytes in all, however many they are, and a file that is
late in appearing between two others is known to be new. All other names are kept as they are, packed.
"""

from __future__ import annotations

import base64
import re
import zlib
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec

_DIGITS = re.compile(r"[0-9]+")
_MOST_DIGITS = 18
"""So many digits of a name, counted from its end, make its number: as many as fit into 64 bits."""
_MOST_PATTERNS = 64
"""Names of more patterns than that have no order worth looking for."""
_PACKED_NAMES = 1_000
"""So many names are packed at a time, once."""


@dataclass(frozen=True)
class FinishedSplits:
    """Ids of splits, as plain values.

    Attributes
    ----------
    ranges : Mapping[str, tuple[int, ...]]
        By pattern, in which ``<5>`` stands for five digits: pairs of how many numbers are missing before a range, and
        how many numbers the range has.
    packed : tuple[str, ...]
        Other ids: lists in JSON, deflated, in base 64.
    """

    ranges: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    packed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.ranges or self.packed)


class FinishedIds:
    """A growing set of ids.

    Parameters
    ----------
    begins_with
        What is in it at first.

    Examples
    --------
    >>> ids = FinishedIds()
    >>> for name in ("part-08.csv", "part-09.csv", "part-11.csv", "other.csv"):
    ...     ids.add(name)
    >>> "part-09.csv" in ids, "part-10.csv" in ids, len(ids)
    (True, False, 4)
    >>> ids.stored().ranges
    {'part-<2>.csv': (8, 2, 1, 1)}
    """

    def __init__(self, begins_with: FinishedSplits | None = None) -> None:
        self._ranges: dict[str, _Ranges] = {}
        self._names: set[str] = set()
        self._packed: list[str] = []
        self._unpacked: list[str] = []
        if begins_with is not None:
            self.update(begins_with)

    def __contains__(self, split: str) -> bool:
        if split in self._names:
            return True
        pattern, number = _pattern_of(split)
        ranges = self._ranges.get(pattern)
        return ranges is not None and number in ranges

    def __len__(self) -> int:
        return len(self._names) + sum(ranges.count for ranges in self._ranges.values())

    def add(self, split: str) -> None:
        """Take in an id."""
        if split in self:
            return
        pattern, number = _pattern_of(split)
        if pattern and (pattern in self._ranges or len(self._ranges) < _MOST_PATTERNS):
            self._ranges.setdefault(pattern, _Ranges()).add(number, number + 1)
            return
        self._names.add(split)
        self._unpacked.append(split)
        if len(self._unpacked) == _PACKED_NAMES:
            self._packed.append(_pack(self._unpacked))
            self._unpacked = []

    def update(self, others: FinishedSplits) -> None:
        """Take in all of these."""
        for pattern, gaps in others.ranges.items():
            ranges, at = self._ranges.setdefault(pattern, _Ranges()), 0
            for gap, length in zip(gaps[::2], gaps[1::2], strict=True):
                ranges.add(at + gap, at + gap + length)
                at += gap + length
        for name in _unpacked(others.packed):
            self.add(name)

    def stored(self) -> FinishedSplits:
        """Return all of them as plain values."""
        rest = [_pack(self._unpacked)] if self._unpacked else []
        ranges = {pattern: ranges.gaps() for pattern, ranges in self._ranges.items()}
        return FinishedSplits(ranges, (*self._packed, *rest))


def merge_finished(parts: Iterable[FinishedSplits]) -> FinishedSplits:
    """Return what all of these hold together."""
    some = [part for part in parts if part]
    if len(some) < 2:  # noqa: PLR2004 - nothing to merge
        return some[0] if some else FinishedSplits()
    ids = FinishedIds()
    for part in some:
        ids.update(part)
    return ids.stored()


def finished_names(finished: FinishedSplits) -> Iterator[str]:
    """Give all ids, one by one.

    >>> list(finished_names(FinishedSplits({"part-<2>.csv": (8, 2, 1, 1)})))
    ['part-08.csv', 'part-09.csv', 'part-11.csv']
    """
    for pattern, gaps in finished.ranges.items():
        at = 0
        for gap, length in zip(gaps[::2], gaps[1::2], strict=True):
            yield from (_name_of(pattern, number) for number in range(at + gap, at + gap + length))
            at += gap + length
    yield from _unpacked(finished.packed)


class _Ranges:
    """A set of numbers, as ranges that neither overlap nor touch."""

    def __init__(self) -> None:
        self._starts: list[int] = []
        self._ends: list[int] = []
        self.count = 0

    def __contains__(self, number: int) -> bool:
        at = bisect_right(self._starts, number)
        return at > 0 and number < self._ends[at - 1]

    def add(self, start: int, end: int) -> None:
        """Take in the numbers from `start` up to, not including, `end`."""
        first = bisect_right(self._starts, start)
        if first and self._ends[first - 1] >= start:
            first -= 1
        last = bisect_right(self._starts, end)
        if first < last:
            start, end = min(start, self._starts[first]), max(end, self._ends[last - 1])
        replaced = zip(self._starts[first:last], self._ends[first:last], strict=True)
        self.count += end - start - sum(b - a for a, b in replaced)
        self._starts[first:last] = [start]
        self._ends[first:last] = [end]

    def gaps(self) -> tuple[int, ...]:
        """Return how many numbers are missing before each range, and how many it has."""
        out: list[int] = []
        at = 0
        for start, end in zip(self._starts, self._ends, strict=True):
            out += (start - at, end - start)
            at = end
        return tuple(out)


def _pattern_of(split: str) -> tuple[str, int]:
    """Return an id with its last digits replaced by how many they are, and the number that they are together.

    The pattern is empty for an id that has no number, or too long a one.
    """
    found, digits = [], 0
    for match in reversed(list(_DIGITS.finditer(split))):
        digits += len(match[0])
        if digits > _MOST_DIGITS:
            break
        found.append(match)
    if not found or "<" in split:
        return "", 0
    pattern, number, at = split[: found[-1].start()], "", found[-1].start()
    for match in reversed(found):
        pattern += f"{split[at : match.start()]}<{len(match[0])}>"
        number, at = number + match[0], match.end()
    return pattern + split[at:], int(number)


def _name_of(pattern: str, number: int) -> str:
    """Return the id that has this number."""
    widths = [int(width) for width in re.findall(r"<([0-9]+)>", pattern)]
    digits, at = f"{number:0{sum(widths)}d}", 0
    for width in widths:
        pattern = pattern.replace(f"<{width}>", digits[at : at + width], 1)
        at += width
    return pattern


def _pack(names: list[str]) -> str:
    return base64.b64encode(zlib.compress(msgspec.json.encode(sorted(names)))).decode()


def _unpacked(packed: Iterable[str]) -> Iterator[str]:
    for block in packed:
        yield from msgspec.json.decode(zlib.decompress(base64.b64decode(block)), type=list[str])
