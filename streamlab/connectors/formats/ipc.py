"""Arrow IPC files (Feather version 2). A position is a row; the file is one part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import polars as pl

from streamlab.connectors.contracts.dead_letters import row_letters
from streamlab.connectors.contracts.source import Position, Read, Split, SplitReader
from streamlab.connectors.formats.base import UNREADABLE, Fit, Format, Learned, Target, begins_us, file_letter
from streamlab.connectors.formats.convert import converted

_PEEK_ROWS = 1_000


@dataclass(frozen=True)
class IpcFormat(Format):
    """Arrow IPC, without options."""

    suffixes: ClassVar[tuple[str, ...]] = (".arrow", ".ipc", ".feather")

    def infer(self, path: str, event_time: str | None) -> Learned:
        """Read the footer."""
        return Learned.of(_schema_of(path))

    def parts(self, target: Target) -> Sequence[Split]:
        """One: the file."""
        try:
            scan = pl.scan_ipc(target.path, glob=False)
            rows: int = scan.select(pl.len()).collect().item()
            earliest, first = begins_us(scan.head(_PEEK_ROWS).collect(), target.timing)
        except UNREADABLE:
            return [Split("")]  # what is wrong with the file is said when it is read
        return [Split("", rows, earliest, first)]

    def open(self, target: Target, part: str, position: Position) -> SplitReader:
        """Read from a row; a file with another schema is coerced or refused."""
        return _IpcReader(target, int(str(position)), target.fit(_schema_of(target.path)))


def _schema_of(path: str) -> pl.Schema:
    return pl.scan_ipc(path, glob=False).collect_schema()


class _IpcReader(SplitReader):
    def __init__(self, target: Target, position: int, fit: Fit) -> None:
        self._target = target
        self._scan = pl.scan_ipc(target.path, glob=False)
        self._rows: int = self._scan.select(pl.len()).collect().item()
        self._at = position
        self._fit = fit

    @property
    def done(self) -> bool:
        return self._at >= self._rows

    def read(self, limit: int, now_us: int) -> Read | None:
        if self.done:
            return None
        rows = min(limit, self._rows - self._at)
        part = self._scan.slice(self._at, rows)
        news = None if self._at else file_letter(self._target, self._fit)
        self._at += rows
        if not self._fit.converts:
            part = part.select(self._fit.columns)
            is_lazy = self._target.timing.event_time is None
            return Read(part if is_lazy else part.collect(), self._at, rows, dead_letters=news)
        given = part.collect()
        good, reasons = converted(given, self._target.schema)
        failed = reasons.is_not_null()
        letters = None
        if failed.any():
            letters = row_letters(self._target.step, given.filter(failed), reasons.filter(failed), self._target.path)
            good = good.filter(~failed)
        return Read(good, self._at, good.height, dead_letters=letters)
