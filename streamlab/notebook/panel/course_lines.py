"""What of a course is drawn: which of many lines, and which of many moments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from streamlab.notebook.charts.svg import Line

_T = TypeVar("_T")
RECENT = 120
"""Of the newest moments at least so many are drawn, so that steps can be seen; a minute of them."""
MOST_POINTS = 300
"""Older points of a line that are drawn."""
_MOST_LINES = 8
"""Lines that can be told apart: there are as many colours and dashes."""
_ALIKE = 0.03
"""Lines that are apart by less than this part of the chart's height, on average, are drawn as one."""
_COMPARED = 60
"""Newest points that are compared for that."""
_MOST_NAMES = 3
_UNITS = (("days", 86_400_000.0), ("hours", 3_600_000.0), ("minutes", 60_000.0), ("seconds", 1000.0))


def by_age(kept: Iterable[_T], ever: int) -> tuple[list[_T], list[_T]]:
    """Return older values, thinned, and the newest ones, of those that are kept of all that there ever were.

    What is chosen stays so while new ones come, until they are too many, so that few points change.
    """
    values = list(kept)
    first = ever - len(values)
    old = max(0, (ever // RECENT - 1) * RECENT - first)
    every = 1
    while old > MOST_POINTS * every:
        every *= 2
    return values[-first % every : old : every], values[old:]


def unit_of(values_ms: Iterable[float]) -> tuple[str, float]:
    """Return a unit of time that fits the largest of some spans, and its milliseconds."""
    largest = max(map(abs, values_ms), default=0.0)
    return next((one for one in _UNITS if largest >= 2 * one[1]), _UNITS[-1])


def distinct(lines: Sequence[Line]) -> list[Line]:
    """Return lines, those that lie upon each other as one that has the names of all."""
    groups: list[list[Line]] = []
    for line in lines:
        same = next((group for group in groups if _are_alike(group[0], line)), None)
        if same is None:
            groups.append([line])
        else:
            same.append(line)
    return [replace(group[0], label=_names(group)) for group in groups]


def _names(lines: Sequence[Line]) -> str:
    names = [line.label for line in lines]
    more = f" and {len(names) - _MOST_NAMES} more" if len(names) > _MOST_NAMES else ""
    return ", ".join(names[:_MOST_NAMES]) + more


def _are_alike(one: Line, other: Line) -> bool:
    """Return whether two lines cannot be told apart, as far as both were there lately."""
    known = dict(zip(other.x[-_COMPARED:], other.y[-_COMPARED:], strict=True))
    pairs = [(y, known[x]) for x, y in zip(one.x[-_COMPARED:], one.y[-_COMPARED:], strict=True) if x in known]
    every = [y for pair in pairs for y in pair]
    return bool(pairs) and sum(abs(a - b) for a, b in pairs) <= len(pairs) * _ALIKE * (max(every) - min(every))


def few(lines: list[Line], rank: Callable[[Line], float]) -> list[Line]:
    """Return the lines that come first by rank, in the order that they have, and how many more there are."""
    lines = distinct(lines)
    if len(lines) <= _MOST_LINES:
        return lines
    chosen = {line.label for line in sorted(lines, key=rank)[:_MOST_LINES]}
    return [*(line for line in lines if line.label in chosen), Line(f"and {len(lines) - len(chosen)} more", [], [])]


def highest(line: Line) -> float:
    """Return the rank of a line by its highest point."""
    return -max(line.y)
