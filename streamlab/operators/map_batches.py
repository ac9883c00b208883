"""A user's function over whole batches, with its declared result checked on every batch.

The function gets a Polars or pandas frame and returns one of either kind, or a LazyFrame. Its columns must be the
declared ones, in any order. A Polars column must have the declared dtype (or be all null); pandas knows fewer dtypes,
so its columns are cast when no value is lost, and its NaN is null, as pandas means it.

Because nobody promises how rows are cut into batches, the function must treat a row alike whatever else is in the
batch. On an updating stream it gets rows that are added and rows that are taken back in separate calls.

Rows that bring their watermarks along keep them, whatever the function does to their order and number (see
:meth:`_MapBatches._call_marked`). Only for that may it be called more than once with the same rows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import polars as pl

from streamlab.core.changelog import ROW_KIND, is_updating
from streamlab.core.column_names.own_columns import own
from streamlab.core.errors import StepFailed, explained, not_a_frame
from streamlab.core.event_time.row_watermarks import ROW_WATERMARK, is_marked
from streamlab.core.messages import Batch, Message
from streamlab.operators.base import Operator, OperatorContext, OperatorSpec
from streamlab.state.snapshot import Snapshot

_ROW = own("row")
_ODD, _NUMBERS = 0x9E3779B97F4A7, 2**52 - 1


@dataclass(frozen=True)
class MapBatchesSpec(OperatorSpec):
    """Calls a function with every batch.

    Attributes
    ----------
    function : Callable[[Any], Any]
        From a frame to a frame.
    schema : pl.Schema
        Columns and dtypes that it declares to return.
    as_ : {"polars", "pandas"}
        What it is given.
    """

    function: Callable[[Any], Any]
    schema: pl.Schema = field(repr=False)
    as_: Literal["polars", "pandas"] = "polars"

    @property
    def is_user_code(self) -> bool:
        """Always."""
        return True

    def build(self, context: OperatorContext, snapshot: Snapshot | None = None) -> Operator:
        """Return the operator; it has no state."""
        return _MapBatches(self)


class _MapBatches(Operator):
    is_row_wise: ClassVar[bool] = True
    carries_row_watermarks: ClassVar[bool] = True

    def __init__(self, spec: MapBatchesSpec) -> None:
        self._spec = spec

    def process(self, batch: Batch, port: int = 0) -> list[Message]:
        frame = batch.collected()
        if not frame.height:
            return []
        if is_updating(frame):
            mapped = pl.concat(
                self._call(run.drop(ROW_KIND)).with_columns(pl.lit(kind, pl.Int8).alias(ROW_KIND))
                for kind, run in _runs(frame, ROW_KIND)
            )
        elif is_marked(frame):
            mapped = self._call_marked(frame)
        else:
            mapped = self._call(frame)
        return [Batch(mapped, batch.tag, batch.ingested_us)] if mapped.height else []

    def _call_marked(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Map rows that bring their watermarks along.

        As long as the columns that the function was given come back as they were, each row is in its place. Otherwise
        it is asked once more, with a column that numbers the rows, and if that comes back beside the same result, it
        tells which row became which. A function that drops columns it does not know has changed its columns in place,
        if it gives as many rows and no column has the same values in another order; else rows that came at one
        watermark are mapped apart from the others.
        """
        rows, marks = frame.drop(ROW_WATERMARK), frame.get_column(ROW_WATERMARK)
        mapped = self._call(rows)
        kept = [name for name in rows.columns if name in mapped.columns]
        if mapped.height == frame.height and mapped.select(kept).equals(rows.select(kept)):
            return mapped.with_columns(marks)
        places = self._places(rows, mapped)
        if places is not None:
            return mapped.with_columns(marks.gather(places))
        if mapped.height == frame.height and not any(_is_moved(rows[name], mapped[name]) for name in kept):
            return mapped.with_columns(marks)
        return pl.concat(
            self._call(run.drop(ROW_WATERMARK)).with_columns(pl.lit(us, pl.Int64).alias(ROW_WATERMARK))
            for us, run in _runs(frame, ROW_WATERMARK)
        )

    def _places(self, rows: pl.DataFrame, mapped: pl.DataFrame) -> pl.Series | None:
        """Return which row each row of a result comes from; None when the function does not let that be seen."""
        # No function can make one of these numbers of another by accident, not even by way of a float.
        numbers = (np.arange(rows.height, dtype=np.int64) * _ODD) & _NUMBERS
        try:
            returned, is_pandas = self._returned(rows.with_columns(pl.Series(_ROW, numbers)))
            found = returned.get_column(_ROW).cast(pl.Int64).to_numpy()
            again = _checked(self._spec, returned.drop(_ROW), cast=is_pandas)
        except (Exception, pl.exceptions.PanicException):
            return None  # what it says to a column that it does not know is nobody's concern
        order = np.argsort(numbers)
        places = order[np.searchsorted(numbers, found, sorter=order).clip(max=rows.height - 1)]
        return pl.Series(places) if again.equals(mapped) and (numbers[places] == found).all() else None

    def _call(self, frame: pl.DataFrame) -> pl.DataFrame:
        returned, is_pandas = self._returned(frame)
        return _checked(self._spec, returned, cast=is_pandas)

    def _returned(self, frame: pl.DataFrame) -> tuple[pl.DataFrame, bool]:
        """Call the function, and return what it returns, and whether that was a pandas frame."""
        spec = self._spec
        returned = spec.function(frame.to_pandas() if spec.as_ == "pandas" else frame)
        if isinstance(returned, pl.LazyFrame):
            returned = returned.collect()
        if isinstance(returned, pl.DataFrame):
            return returned, False
        try:
            converted = pl.from_pandas(returned, nan_to_null=True)
        except TypeError as error:
            raise _wrong(spec, "a function that returns a frame", *not_a_frame(returned, "batch")) from error
        if not isinstance(converted, pl.DataFrame):
            hint = "return batch.assign(name=series) to put it beside the others, or series.to_frame() and say schema="
            raise _wrong(spec, "a function that returns a frame", "a pandas Series", hint)
        return converted, True


def _runs(frame: pl.DataFrame, column: str) -> Iterator[tuple[int, pl.DataFrame]]:
    """Yield slices of rows that stand together and have the same value in a column, with that value."""
    lengths = frame.get_column(column).rle().struct.unnest()
    start = 0
    for length, value in zip(lengths["len"], lengths["value"], strict=True):
        yield value, frame.slice(start, length)
        start += length


def _is_moved(before: pl.Series, after: pl.Series) -> bool:
    """Return whether two columns hold the same values in another order."""
    if before.dtype != after.dtype or before.equals(after):
        return False
    return before.hash().sort().equals(after.hash().sort())


def _checked(spec: MapBatchesSpec, frame: pl.DataFrame, *, cast: bool) -> pl.DataFrame:
    """Return the frame in the declared form, or raise StepFailed."""
    declared = spec.schema
    missing = [name for name in declared if name not in frame.columns]
    extra = [name for name in frame.columns if name not in declared]
    if missing or extra:
        what = " and ".join(
            f"{word} {', '.join(map(repr, names))}" for word, names in (("no", missing), ("also", extra)) if names
        )
        columns = ", ".join(map(repr, declared))
        raise _wrong(spec, f"the declared columns {columns} from the function", what, "return them, or declare others")
    frame = frame.select(declared.names())
    return frame.with_columns(
        _retyped(spec, frame.get_column(name), dtype, cast=cast)
        for name, dtype in declared.items()
        if frame.schema[name] != dtype
    )


def _retyped(spec: MapBatchesSpec, column: pl.Series, dtype: pl.DataType, *, cast: bool) -> pl.Series:
    """Return the column in its declared dtype when that is allowed and loses nothing, or raise StepFailed."""
    needed = f"column {column.name!r} from the function as {dtype}, as declared"
    if not cast and column.dtype != pl.Null:
        raise _wrong(spec, needed, str(column.dtype), f"cast it: pl.col({column.name!r}).cast(pl.{dtype})")
    try:
        fitting = column.cast(dtype)
        lost = column.filter(fitting.cast(column.dtype).ne_missing(column))
    except pl.exceptions.PolarsError as error:
        what = f"{column.dtype} that does not fit: {str(error).splitlines()[0]}"
        raise _wrong(spec, needed, what, "declare the dtype that the function returns") from error
    if len(lost):
        raise _wrong(spec, needed, f"{column.dtype} such as {lost[0]!r}", "declare the dtype that the function returns")
    return fitting


def _wrong(spec: MapBatchesSpec, needed: str, got: str, hint: str) -> StepFailed:
    return StepFailed(explained(spec.shown, needed=needed, got=got, hint=hint), step=spec.shown)
