"""Rows that a reader gives out: put together, and read where that was left to whoever needs them."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from streamlab.connectors.contracts.dead_letters import letters
from streamlab.connectors.contracts.source import Source
from streamlab.connectors.formats.base import UNREADABLE, first_line
from streamlab.core.event_time.row_watermarks import together
from streamlab.core.messages import DEAD_LETTERS, Batch, Message


def read_now(
    source: Source, split: str, frame: pl.DataFrame | pl.LazyFrame, rows: int
) -> tuple[pl.DataFrame, pl.DataFrame | None]:
    """Collect rows of a split, so many; when they cannot be read there are none, but a dead letter that says why."""
    try:
        return frame.lazy().collect(), None
    except UNREADABLE as error:
        reason = f"{rows:,} rows cannot be read: {first_line(error)}"
        return pl.DataFrame(schema=source.schema), letters(source.name, [(reason, "", split)])


def batches_of(
    frames: Sequence[pl.DataFrame | pl.LazyFrame], refused: Sequence[pl.DataFrame], now_us: int
) -> list[Message]:
    """Return rows as one batch, lazy if one of the frames is, and dead letters as another behind it."""
    out: list[Message] = []
    if frames:
        eager = [frame for frame in frames if isinstance(frame, pl.DataFrame)]
        is_eager = len(eager) == len(frames)
        rows = together(eager) if is_eager else pl.concat([frame.lazy() for frame in frames])
        out.append(Batch(rows, ingested_us=now_us))
    if refused:
        out.append(Batch(pl.concat(refused), DEAD_LETTERS, now_us))
    return out
