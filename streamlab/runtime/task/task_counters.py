"""What a task counts, and which of it goes on after a restore."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

_SHOWN = 200
"""Characters of a dead letter's reason that are shown."""
_LASTING = ("rows_in", "rows_out", "bytes_read", "bytes_in", "bytes_out", "late_rows", "dead_letters")


@dataclass
class TaskCounters:
    """What a task has counted since it was made."""

    rows_in: int = 0
    rows_out: int = 0
    bytes_read: int = 0
    bytes_in: int = 0
    bytes_out: int = 0
    batches_in: int = 0
    late_rows: int = 0
    dead_letters: int = 0
    first_letter: str = ""
    """Reason and origin of the first dead letter."""
    watermark_us: int | None = None
    ingested_us: list[int] = field(default_factory=list)
    """Ingestion times of batches written by the sink since the driver last cleared the list."""

    @classmethod
    def of(cls, lasting: Mapping[str, int]) -> TaskCounters:
        """Return counters that go on from those of a checkpoint."""
        counters = cls()
        for name in _LASTING:
            setattr(counters, name, lasting.get(name, 0))
        return counters

    def note_dead_letters(self, letters: pl.DataFrame) -> None:
        """Count dead letters."""
        self.dead_letters += letters.height
        if letters.height and not self.first_letter:
            reason, origin = letters.select("reason", "origin").row(0)
            where = str(origin or "").rpartition("/")[2]
            self.first_letter = f"{reason[:_SHOWN]} ({where})" if where else reason[:_SHOWN]

    def lasting(self) -> dict[str, int]:
        """Return the figures that go on after a restore."""
        return {name: getattr(self, name) for name in _LASTING}
