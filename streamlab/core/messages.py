"""What flows through channels, in order, from the sources to the sinks.

A channel is a FIFO of these. Outputs of an operator are a list of them, returned, never pushed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import polars as pl

MAIN = "main"
"""Tag of ordinary rows."""
LATE_ROWS = "late_rows"
"""Tag of rows that came after their window had closed, as they arrived at the window operator."""
DEAD_LETTERS = "dead_letters"
"""Tag of input that could not be understood: see :data:`DEAD_LETTER_SCHEMA`."""
UNAGGREGATED = "unaggregated"
"""Tag of rows that local pre-aggregation left as rows, because their window is closed by the local watermark."""

DEAD_LETTER_SCHEMA = pl.Schema({"step": pl.String, "reason": pl.String, "input": pl.String, "origin": pl.String})
"""Columns of the dead-letter table: the step that refused, why, the row or line as text, and the file or place."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Rows, as one frame, in arrival order.

    Attributes
    ----------
    frame : pl.DataFrame | pl.LazyFrame
        Immutable. Between tasks always a DataFrame; a LazyFrame only between operators of one chain, from a source
        whose reading Polars can then optimise together with the steps that follow.
    tag : str
        Which of the operator's outputs the rows belong to; `MAIN` unless they are a side output.
    ingested_us : int | None
        Wall-clock time at which the source read the oldest of these rows, for measuring latency; not part of the data.
    """

    frame: pl.DataFrame | pl.LazyFrame
    tag: str = MAIN
    ingested_us: int | None = None

    def collected(self) -> pl.DataFrame:
        """Return the rows as a DataFrame, running what is still lazy."""
        return self.frame.collect() if isinstance(self.frame, pl.LazyFrame) else self.frame


@dataclass(frozen=True, slots=True)
class Watermark:
    """No more rows with event time ≤ `us` follow on this channel, in microseconds since the epoch."""

    us: int


@dataclass(frozen=True, slots=True)
class Barrier:
    """Everything before it belongs to the checkpoint, everything after it does not.

    One of kind ``"step"`` belongs to no checkpoint: a task that it has passed has done everything that follows from
    what was before it. Its number is that of a `streamlab.runtime.messages.protocol.Step`.
    """

    checkpoint_id: int
    kind: Literal["checkpoint", "savepoint", "step"] = "checkpoint"


@dataclass(frozen=True, slots=True)
class Idle:
    """The channel has nothing to say about time until its next batch or watermark; it holds no watermark back."""


@dataclass(frozen=True, slots=True)
class End:
    """Nothing follows on this channel."""


Message = Batch | Watermark | Barrier | Idle | End
