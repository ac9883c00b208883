"""A sink that calls a user's function with each batch, in the workers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from streamlab.connectors.contracts.sink import Guarantee, Sink, SinkContext, SinkWriter
from streamlab.core.changelog import ROW_KIND, RowKind
from streamlab.core.errors import SinkError, explained

KIND_COLUMN = "op"
"""The column in which the function finds the row kind of an updating stream: ``+I``, ``-U``, ``+U`` or ``-D``."""

_SYMBOLS = pl.Series([kind.symbol for kind in sorted(RowKind)])
"""By row kind."""


@dataclass(frozen=True)
class BatchesSink(Sink):
    """Calls a function with every batch; after a failure it may see rows again.

    Attributes
    ----------
    function : Callable[[pl.DataFrame], Any]
        What it returns is not looked at; what it raises fails the step.
    update_before : bool
        Whether it is shown the ``-U`` rows of an updating stream. When not, those that no ``+U`` follows, since a
        filter has dropped it, are shown as ``-D``.
    keys : tuple[str, ...] | None
        The columns that tell which ``+U`` follows; None when they are not known, and then each ``-U`` is a ``-D``.
    """

    function: Callable[[pl.DataFrame], Any] = field(repr=False)
    update_before: bool = True
    keys: tuple[str, ...] | None = None

    @property
    def guarantee(self) -> Guarantee:
        """What the function does cannot be undone."""
        return "at-least-once"

    @property
    def accepts_updates(self) -> bool:
        """The row kind comes in the column `KIND_COLUMN`."""
        return True

    @property
    def needs_update_before(self) -> bool:
        """As the user has said."""
        return self.update_before

    @property
    def is_user_code(self) -> bool:
        """Always."""
        return True

    def open(self, context: SinkContext) -> SinkWriter:
        """Nothing is opened."""
        return _Caller(self)

    def describe(self) -> str:
        """Say which function."""
        return f"{self.name}: {getattr(self.function, '__qualname__', type(self.function).__name__)}"


class _Caller(SinkWriter):
    def __init__(self, sink: BatchesSink) -> None:
        self._sink = sink

    def write(self, frame: pl.DataFrame) -> None:
        if not frame.height:
            return
        if ROW_KIND in frame.columns:
            frame = self._with_words(frame)
        self._sink.function(frame)

    def _with_words(self, frame: pl.DataFrame) -> pl.DataFrame:
        if KIND_COLUMN in frame.columns:
            got = f"a column {KIND_COLUMN!r} in the rows themselves"
            needed = f"the name {KIND_COLUMN!r} for the kind of each row"
            raise SinkError(explained(self._sink.name, needed=needed, got=got, hint="rename the column"))
        if not self._sink.update_before and (frame.get_column(ROW_KIND) == RowKind.UPDATE_BEFORE).any():
            frame = _without_update_before(frame, self._sink.keys)
        kinds = frame.get_column(ROW_KIND)
        return frame.drop(ROW_KIND).with_columns(_SYMBOLS[kinds.cast(pl.UInt32)].alias(KIND_COLUMN))


def _without_update_before(frame: pl.DataFrame, keys: tuple[str, ...] | None) -> pl.DataFrame:
    """Return changes in which a ``-U`` is gone when another change of its key follows, and otherwise a ``-D``."""
    before = pl.col(ROW_KIND) == int(RowKind.UPDATE_BEFORE)
    if keys:
        frame = frame.filter(~before | pl.struct(*keys).is_last_distinct())
    kind = pl.when(before).then(pl.lit(int(RowKind.DELETE))).otherwise(pl.col(ROW_KIND))
    return frame.with_columns(kind.cast(pl.Int8).alias(ROW_KIND))
