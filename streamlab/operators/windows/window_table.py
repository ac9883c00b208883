"""Neighbouring windows as arrays: which a time is in, and into which panes they cut time, found by binary search."""

from __future__ import annotations

from functools import cached_property

import numpy as np


class WindowTable:
    """Windows in order of their starts, then of their ends; all times are Int64 microseconds.

    A window counts as over for a time as soon as a later one of the table has ended by then.

    Parameters
    ----------
    starts, ends
        Of each window, the end exclusive. Starts never go back.
    every
        How far windows are apart as a rule.
    """

    def __init__(self, starts: np.ndarray, ends: np.ndarray, every: int) -> None:
        self.starts = starts
        self.ends = ends
        self._every = every
        self._over = np.minimum.accumulate(ends[::-1])[::-1]
        """When each window is over; never goes back."""

    def covers(self, low: int, high: int) -> bool:
        """Return whether no window outside could be open between two times, if these here are neighbours."""
        return bool(self._over[0] <= low and high < self.starts[-1])

    def first_open(self, us: np.ndarray | int) -> np.ndarray:
        """Return the index of the first window that is not over at each time."""
        return np.asarray(np.searchsorted(self._over, us, side="right"))

    def windows(self, us: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the windows that each time is in: indices of times and of windows, in this order."""
        first = self.first_open(us)
        counts = np.searchsorted(self.starts, us, side="right") - first
        before = np.cumsum(counts) - counts
        times = np.repeat(np.arange(len(us)), counts)
        return times, np.arange(len(times)) + np.repeat(first - before, counts)

    def panes(self, us: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the last edge that is not after each time, and whether a window is open there."""
        edges, is_open = self._edges
        at = np.searchsorted(edges, us, side="right") - 1
        return edges[at], is_open[at]

    def regular_window(self, low: int, high: int) -> tuple[int, int] | None:
        """Return start and end of a window if all with an edge between two times are alike and `every` apart."""
        first = max(0, int(self.first_open(low)) - 1)
        last = int(np.searchsorted(self.starts, high, side="right"))
        if last >= len(self.starts) or self._irregular[last] != self._irregular[first]:
            return None
        return int(self.starts[first]), int(self.ends[first])

    @cached_property
    def _irregular(self) -> np.ndarray:
        """Of each window, how many up to it are not `every` behind the one before them."""
        is_odd = (np.diff(self.starts) != self._every) | (np.diff(self.ends) != self._every)
        return np.concatenate([[0], np.cumsum(is_odd)])

    @cached_property
    def _edges(self) -> tuple[np.ndarray, np.ndarray]:
        edges = np.unique(np.concatenate([self.starts, self.ends]))
        return edges, np.searchsorted(self.starts, edges, side="right") > self.first_open(edges)
