"""A source whose rows are known beforehand. Imported by the workers, so it imports little.

Rows trickle until a gate is opened, and never all of them before that: however slow the machine is, the job lasts until
everything that is to go wrong has gone wrong, and then ends by itself.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from streamlab.connectors.contracts.source import Position, Read, Source, Split, SplitReader

SCHEMA = pl.Schema({"t": pl.Datetime("us"), "k": pl.Int64, "v": pl.Int64})
PARTS = 2
ROWS = 8_000
"""Rows of each split."""
_HELD_BACK = 2_000
_ROWS_PER_S = 1_500


def rows_of(part: int, first: int, last: int) -> pl.DataFrame:
    """Return rows of a split: each number is there once; times are up to half a second out of order."""
    at = pl.int_range(first, last, eager=True)
    number = at * PARTS + part
    time = at * 1_000 - (number * 7_919 % 500) * 1_000
    return pl.DataFrame({"t": time.cast(pl.Datetime("us")), "k": number % 7, "v": number}, schema=SCHEMA)


def all_rows() -> pl.DataFrame:
    return pl.concat([rows_of(part, 0, ROWS) for part in range(PARTS)])


class _Reader(SplitReader):
    def __init__(self, source: Trickle, part: int, at: int) -> None:
        self._source, self._part, self._at = source, part, at
        self._began: tuple[int, int] | None = None
        self._open = False

    def read(self, limit: int, now_us: int) -> Read | None:
        if self._began is None or now_us < self._began[0]:
            self._began = now_us, self._at
        self._open = self._open or os.path.exists(self._source.gate)
        due = ROWS
        if not self._open:
            due = min(self._began[1] + (now_us - self._began[0]) * _ROWS_PER_S // 1_000_000, ROWS - _HELD_BACK)
        first, last = self._at, min(due, self._at + limit, self._at + 500)
        if last <= first:
            return None
        self._at = last
        return Read(rows_of(self._part, first, last), last, last - first)

    @property
    def done(self) -> bool:
        return self._at >= ROWS

    def wakeup_us(self, now_us: int) -> int | None:
        return now_us + 5_000


@dataclass(frozen=True)
class Trickle(Source):
    """Two splits of known rows; see the module."""

    name: str = "trickle"
    schema: pl.Schema = field(default_factory=lambda: SCHEMA)
    gate: str = ""
    live: bool = False

    @property
    def bounded(self) -> bool:
        return True

    @property
    def replayable(self) -> bool:
        return not self.live

    def splits(self) -> Sequence[Split]:
        return [Split(str(part)) for part in range(PARTS)]

    def open(self, split: Split, position: Position) -> SplitReader:
        return _Reader(self, int(split.id), int(str(position)))
