"""A join with a frame that does not change, kept whole by every subtask.

What runs is Polars' own join, so its columns, dtypes and rules for nulls are Polars'. It runs on the right frame as a
whole while that is no larger than the batch. Of a larger one only the rows whose key is in the batch are given to it,
found by an index that is built once: so the cost of a batch does not grow with the frame.

Rows come out in the order of the batch, and on an updating stream each carries its row kind along. Taking back a row
takes back what it was joined with, since the frame does not change.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
import polars.selectors as cs

from streamlab.core.changelog import ROW_KIND
from streamlab.core.errors import PlanError, explained
from streamlab.core.event_time.row_watermarks import ROW_WATERMARK
from streamlab.core.messages import Batch, Message
from streamlab.operators.base import Operator, OperatorContext, OperatorSpec
from streamlab.state.snapshot import Snapshot
from streamlab.state.tables.key_index import KeyIndex

_SMALL = 4096
"""Rows of a right frame that Polars joins faster than an index narrows it."""


@dataclass(frozen=True, eq=False)
class StaticJoinSpec(OperatorSpec):
    """Joins every batch with a frame.

    Attributes
    ----------
    right : pl.DataFrame
        The frame.
    how : {"inner", "left", "semi", "anti"}
        The kind of join; the stream is on the left.
    left_on, right_on : tuple[pl.Expr, ...]
        The key, by position.
    kwargs : Mapping[str, Any]
        Polars' remaining arguments: ``suffix``, ``coalesce``, ``validate`` (not of the left side), ``nulls_equal``.
    """

    right: pl.DataFrame = field(repr=False)
    how: Literal["inner", "left", "semi", "anti"]
    left_on: tuple[pl.Expr, ...]
    right_on: tuple[pl.Expr, ...]
    kwargs: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        validate = self.kwargs.get("validate", "m:m")
        if validate not in {"m:m", "m:1"}:
            got = f"validate={validate!r}"
            needed = "validate='m:m' or 'm:1'"
            raise PlanError(
                explained(self.shown, needed=needed, got=got, hint="a stream's own keys are never all known")
            )

    def build(self, context: OperatorContext, snapshot: Snapshot | None = None) -> Operator:
        """Return the operator; it has no state of its own."""
        return _StaticJoin(self)


class _StaticJoin(Operator):
    carries_row_watermarks: ClassVar[bool] = True

    def __init__(self, spec: StaticJoinSpec) -> None:
        self._spec = spec
        self._right = spec.right
        self._options = {**spec.kwargs, "maintain_order": "left"}

    def process(self, batch: Batch, port: int = 0) -> list[Message]:
        frame = batch.collected()
        if not frame.height:
            return []
        right = self._right
        if right.height > max(_SMALL, frame.height):
            right = self._matches.of(frame.select(*self._spec.left_on))
        joined = self._join(frame, right)
        beside = next((name for name in (ROW_KIND, ROW_WATERMARK) if name in joined.columns), None)
        if beside is not None:
            joined = joined.select(pl.exclude(beside), beside)
        return [Batch(joined, batch.tag, batch.ingested_us)] if joined.height else []

    def _join(self, frame: pl.DataFrame, right: pl.DataFrame) -> pl.DataFrame:
        spec = self._spec
        floats = frame.select(*spec.left_on).select(cs.float())
        if floats.width and any(column.is_nan().any() for column in floats):
            # Polars 2.1 merges two sorted columns by ==, which NaN fails; unsorted ones it hashes, which NaN matches.
            # One row is always sorted: so each row twice, and of the result the first half.
            twice = _unsorted(pl.concat([frame, frame])).join(
                right, left_on=list(spec.left_on), right_on=list(spec.right_on), how=spec.how, **self._options
            )
            return twice.head(twice.height // 2)
        return frame.join(
            right, left_on=list(spec.left_on), right_on=list(spec.right_on), how=spec.how, **self._options
        )

    def metrics(self) -> dict[str, float]:
        return {"state_rows": float(self._right.height), "state_bytes": float(self._right.estimated_size())}

    @cached_property
    def _matches(self) -> _Matches:
        return _Matches(self._right, self._spec.right_on)


class _Matches:
    """Finds the rows of a frame that have one of some keys."""

    def __init__(self, frame: pl.DataFrame, on: tuple[pl.Expr, ...]) -> None:
        self._frame = frame.rechunk()
        keys = _numbered(self._frame.select(*on))
        self._index = KeyIndex(keys.schema)
        slots = self._index.slots(keys, insert=True)
        # The rows by slot: those of slot s are rows[starts[s]:starts[s + 1]], in the order of the frame.
        self._rows: npt.NDArray[np.int64] = np.argsort(slots, kind="stable")
        self._starts = np.concatenate(([0], np.cumsum(np.bincount(slots, minlength=self._index.size))))

    def of(self, keys: pl.DataFrame) -> pl.DataFrame:
        """Return the rows that match any of the keys, and where dtypes differ perhaps some that don't."""
        own = _numbered(keys)
        comparable = own.select(pl.col(name).cast(dtype, strict=False) for name, dtype in self._index.schema.items())
        found = pl.Series(self._index.slots(comparable, insert=False)).unique().to_numpy()
        found = found[found >= 0]
        first, end = self._starts[found], self._starts[found + 1]
        counts = end - first
        offsets = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        return self._frame[np.sort(self._rows[np.repeat(first, counts) + offsets])]


def _unsorted(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the same frame without Polars' knowledge that a column of floats is sorted."""
    return frame.with_columns(pl.Series(name, frame[name].to_arrow()) for name in frame.select(cs.float()).columns)


def _numbered(keys: pl.DataFrame) -> pl.DataFrame:
    """Return the key columns under their positions, since the two sides may call them differently."""
    return keys.rename(dict(zip(keys.columns, map(str, range(keys.width)), strict=True)))
