"""Rows by number, in the order in which they came.

They lie in pages: immutable frames, so that a checkpoint writes a page once. What comes is a page of its own at first;
pages of a like size are put together until they have `PAGE_ROWS`, so there are few, and a row is copied only a
logarithmic number of times.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

RowNumbers = npt.NDArray[np.int64]

PAGE_ROWS = 1 << 20
"""Rows of a page that is not put together with others any more."""
_NUMBER_BITS = 31


@dataclass(frozen=True)
class _Page:
    first: int
    frame: pl.DataFrame


class RowPages:
    """A growing list of rows.

    Parameters
    ----------
    schema
        Their columns.

    Examples
    --------
    >>> pages = RowPages(pl.Schema({"x": pl.Int64}))
    >>> pages.append(pl.DataFrame({"x": [10, 11]})), pages.append(pl.DataFrame({"x": [12]}))
    (0, 2)
    >>> pages.take(np.array([2, 0]))["x"].to_list()
    [12, 10]
    """

    def __init__(self, schema: pl.Schema) -> None:
        self._schema = schema
        self._pages: list[_Page] = []
        self._rows = 0

    @property
    def rows(self) -> int:
        """How many rows there are."""
        return self._rows

    @property
    def size_bytes(self) -> int:
        """Estimated memory."""
        return sum(int(page.frame.estimated_size()) for page in self._pages)

    def append(self, frame: pl.DataFrame) -> int:
        """Add rows, which have the columns of the schema, and return the number of the first one."""
        first = self._rows
        if frame.height:
            self._pages.append(_Page(first, frame.rechunk()))
            self._rows += frame.height
            self._put_together()
        return first

    def take(self, numbers: RowNumbers) -> pl.DataFrame:
        """Return the rows of these numbers, in their order."""
        if not len(numbers):
            return self._schema.to_frame()
        if len(self._pages) == 1:
            return self._pages[0].frame[pl.Series(numbers)]
        # Memory is read from one end to the other, page by page, and the rows are put in order afterwards.
        ordered = numbers << _NUMBER_BITS
        ordered |= np.arange(len(numbers))
        ordered.sort()
        places = ordered & ((1 << _NUMBER_BITS) - 1)
        ordered >>= _NUMBER_BITS
        bounds = np.searchsorted(ordered, [page.first for page in self._pages[1:]])
        found = [
            page.frame[pl.Series((ordered[start:end] - page.first).astype(np.uint32))]
            for page, start, end in zip(self._pages, [0, *bounds], [*bounds, len(ordered)], strict=True)
            if end > start
        ]
        back = np.empty(len(numbers), np.uint32)
        back[places] = np.arange(len(numbers), dtype=np.uint32)
        rows: pl.DataFrame = pl.concat(found, rechunk=True)
        return rows[pl.Series(back)]

    def frames(self) -> tuple[pl.DataFrame, ...]:
        """Return all rows, in order; frames of pages that have not changed are the same as before."""
        return tuple(page.frame for page in self._pages)

    def _put_together(self) -> None:
        while len(self._pages) > 1:
            older, newer = self._pages[-2:]
            height = older.frame.height + newer.frame.height
            if older.frame.height > 2 * newer.frame.height or height > PAGE_ROWS:
                return
            self._pages[-2:] = [_Page(older.first, pl.concat([older.frame, newer.frame], rechunk=True))]


def consecutive(firsts: Iterable[int] | RowNumbers, counts: RowNumbers) -> RowNumbers:
    """Return ``first, first + 1, …``, so many of them, for each first number, one after the other.

    >>> consecutive(np.array([5, 0]), np.array([2, 3])).tolist()
    [5, 6, 0, 1, 2]
    """
    ends = np.cumsum(counts)
    numbers: RowNumbers = np.arange(ends[-1] if len(ends) else 0, dtype=np.int64)
    numbers += np.repeat(np.asarray(firsts) - (ends - counts), counts)
    return numbers
