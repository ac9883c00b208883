"""A source for tests that gives no more rows than it is told to: how far a job has come is no matter of luck.

Imported by the workers, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from streamlab.connectors.contracts.source import Position, Read, Source, Split, SplitReader
from streamlab.connectors.contracts.timing import timing

SPLITS = 11
ROWS = pl.Schema({"t": pl.Datetime("us"), "k": pl.Int64, "word": pl.String, "v": pl.Int64})
_SECOND_US = 1_000_000


def rows_of(split: int, first: int, last: int) -> pl.DataFrame:
    """Return some rows of a split: in order within it, a row a second, with numbers that no other split has."""
    number = pl.int_range(first, last, eager=True)
    v = number * SPLITS + split
    frame = pl.DataFrame({"n": number, "v": v})
    return frame.select(
        (pl.col("n") * _SECOND_US + split * 50_000).cast(pl.Datetime("us")).alias("t"),
        (pl.col("v") * 31 % 13).alias("k"),
        pl.format("word {}", pl.col("v") * 37 % 211).alias("word"),
        "v",
    )


@dataclass(frozen=True)
class Gated(Source):
    """Rows in several splits, of each as many as the file at `gate` says.

    Attributes
    ----------
    gate : str
        A file with the number of rows that may be read of each split.
    total : int
        How many rows a split has.
    live : bool
        Whether rows that were given are gone: then a file beside the gate says how many that are.
    """

    gate: str = ""
    total: int = 0
    live: bool = False

    @property
    def bounded(self) -> bool:
        return True

    @property
    def replayable(self) -> bool:
        return not self.live

    def splits(self) -> Sequence[Split]:
        return [Split(str(split), None if self.live else self.total, split * 50_000) for split in range(SPLITS)]

    def open(self, split: Split, position: Position) -> SplitReader:
        return _Reader(self, int(split.id), position if isinstance(position, int) else 0)


class _Reader(SplitReader):
    def __init__(self, source: Gated, split: int, position: int) -> None:
        self._source, self._split, self._at = source, split, position
        self._given = Path(f"{source.gate}-{split}")
        if source.live:
            with suppress(FileNotFoundError):
                self._at = int(self._given.read_text())

    def read(self, limit: int, now_us: int) -> Read | None:
        last = min(int(Path(self._source.gate).read_text()), self._at + limit, self._source.total)
        if last <= self._at:
            return None
        frame = rows_of(self._split, self._at, last)
        self._at = last
        if self._source.live:
            self._given.write_text(str(last))
        return Read(frame, last, frame.height)

    @property
    def done(self) -> bool:
        return self._at >= self._source.total


class Gate:
    """Says how far splits may be read.

    Parameters
    ----------
    path
        Its file.
    total
        How many rows a split has.
    """

    def __init__(self, path: Path, total: int) -> None:
        self.path, self.total, self.rows = path, total, 0
        self.open(0)

    def open(self, rows: int) -> None:
        """Let so many rows of each split be read, in all."""
        self.rows = min(rows, self.total)
        aside = self.path.with_suffix(".aside")
        aside.write_text(str(self.rows))
        aside.replace(self.path)

    def source(self, name: str = "gated", *, live: bool = False) -> Gated:
        """Return a source behind it."""
        return Gated(name, ROWS, str(self.path), self.total, live, timing=timing("t", "0s"))

    def everything(self) -> pl.DataFrame:
        """Return all rows."""
        return pl.concat([rows_of(split, 0, self.total) for split in range(SPLITS)])
