"""Any number of rows per slot, of any dtype, in immutable sorted runs: like the runs of an LSM tree.

Rows that come together become a run: a frame sorted by slot, in order of arrival within a slot. Runs of similar size
are merged, so there are few, each about twice the size of the next, and a row is rewritten only a logarithmic number of
times. Replacing the rows of a slot makes those in older runs void without touching them; they go with the next merge.

Source: P. O'Neil and others, "The Log-Structured Merge-Tree" (1996).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl

from streamlab.core.column_names.own_columns import own
from streamlab.state.tables.hash_table import Slots

SLOT = own("slot")
"""Column with the slot that a row belongs to."""


@dataclass
class _Run:
    number: int
    """Later runs have higher numbers; a merged run has the highest of its parts."""
    frame: pl.DataFrame
    slots: Slots
    """The slot of each row, rising."""
    void: int = 0
    """Rows that have been replaced."""
    written: pl.DataFrame | None = None
    """The valid rows without their slot, as a snapshot has them."""

    def ranges(self, slots: Slots) -> tuple[Slots, Slots]:
        """Return where the rows of each slot begin, and how many they are."""
        first = np.searchsorted(self.slots, slots, side="left")
        return first, np.searchsorted(self.slots, slots, side="right") - first


class SlotRuns:
    """Rows by slot.

    Examples
    --------
    >>> runs = SlotRuns()
    >>> runs.append(pl.DataFrame({SLOT: [1, 0, 1], "x": ["a", "b", "c"]}))
    >>> runs.replace(np.array([0]), pl.DataFrame({SLOT: [0, 0], "x": ["d", "e"]}))
    >>> sorted(runs.fetch(np.array([0, 1]))["x"])
    ['a', 'c', 'd', 'e']
    """

    def __init__(self) -> None:
        self._runs: list[_Run] = []
        self._number = 0
        self._valid_from = np.zeros(1024, np.int64)

    @property
    def rows(self) -> int:
        """Rows that the slots have."""
        return sum(run.frame.height - run.void for run in self._runs)

    @property
    def size_bytes(self) -> int:
        """Estimated memory of all runs."""
        return self._valid_from.nbytes + sum(int(run.frame.estimated_size()) for run in self._runs)

    def append(self, rows: pl.DataFrame) -> None:
        """Add rows (with the column `SLOT`) behind those that their slots have."""
        self._number += 1
        if not rows.height:
            return
        run = _run(self._number, rows.sort(SLOT, maintain_order=True))
        self._reserve(int(run.slots[-1]) + 1)
        self._runs.append(run)
        while len(self._runs) > 1 and self._runs[-2].frame.height <= 2 * self._runs[-1].frame.height:
            self._merge_last_two()

    def replace(self, slots: Slots, rows: pl.DataFrame) -> None:
        """Put rows in place of all that the slots have; a slot without any new row is left without rows."""
        self._reserve(int(slots.max(initial=-1)) + 1)
        for run in self._runs:
            run.void += int(run.ranges(slots[self._valid_from[slots] <= run.number])[1].sum())
        self._valid_from[slots] = self._number + 1
        self._runs = [self._swept(run) for run in self._runs if run.void < run.frame.height]
        self.append(rows)

    def fetch(self, slots: Slots) -> pl.DataFrame | None:
        """Return the rows of some slots, each given once, with `SLOT`; in order of arrival within a slot.

        None when nothing has ever been put in.
        """
        if not self._runs:
            return None
        self._reserve(int(slots.max(initial=-1)) + 1)
        found = []
        for run in self._runs:
            first, counts = run.ranges(slots[self._valid_from[slots] <= run.number])
            offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            found.append(run.frame[np.repeat(first, counts) + offsets])
        fetched: pl.DataFrame = pl.concat(found)
        return fetched

    def frames(self) -> tuple[pl.DataFrame, ...]:
        """Return the valid rows, without `SLOT`, oldest run first; frames of unchanged runs are the same as before."""
        out = []
        for run in self._runs:
            kept = run.frame.height - run.void
            if run.written is None or run.written.height != kept:
                run.written = self._valid_rows(run).drop(SLOT)
            out.append(run.written)
        return tuple(out)

    def _valid_rows(self, run: _Run) -> pl.DataFrame:
        return run.frame.filter(pl.Series(self._valid_from[run.slots] <= run.number)) if run.void else run.frame

    def _swept(self, run: _Run) -> _Run:
        """Return the run, without its void rows once they are the greater part."""
        return run if 2 * run.void <= run.frame.height else _run(run.number, self._valid_rows(run))

    def _merge_last_two(self) -> None:
        newer, older = self._runs.pop(), self._runs.pop()
        rows = pl.concat([self._valid_rows(older), self._valid_rows(newer)])
        self._runs.append(_run(newer.number, rows.sort(SLOT, maintain_order=True)))

    def _reserve(self, size: int) -> None:
        if size > len(self._valid_from):
            larger = np.zeros(1 << (size - 1).bit_length(), np.int64)
            larger[: len(self._valid_from)] = self._valid_from
            self._valid_from = larger


def _run(number: int, ordered: pl.DataFrame) -> _Run:
    return _Run(number, ordered, ordered.get_column(SLOT).cast(pl.Int64).to_numpy())
