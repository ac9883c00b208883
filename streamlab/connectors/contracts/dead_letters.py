"""Dead letters: what could not be understood, as rows of `DEAD_LETTER_SCHEMA`.

Input is shown as text, so that a letter can hold a line, a row of any schema, or only the name of a file.
"""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from streamlab.core.errors import SourceError
from streamlab.core.event_time.time import is_time, is_usable
from streamlab.core.messages import DEAD_LETTER_SCHEMA

MAX_TEXT = 10_000
"""Characters of a line or row that a letter keeps."""

Letter = tuple[str, str, str]
"""Reason, input as text, origin."""


def letters(step: str, found: Sequence[Letter]) -> pl.DataFrame | None:
    """Return a frame of dead letters, or None when there are none."""
    if not found:
        return None
    reasons, inputs, origins = zip(*found, strict=True)
    columns = {"step": [step] * len(found), "reason": reasons, "input": inputs, "origin": origins}
    return pl.DataFrame(columns, schema=DEAD_LETTER_SCHEMA).with_columns(pl.col("input").str.head(MAX_TEXT))


def row_letters(step: str, rows: pl.DataFrame, reason: str | pl.Series, origin: str) -> pl.DataFrame:
    """Return one dead letter for each row of a frame, with one reason for all of them or one for each."""
    text = rows_as_text(rows).str.head(MAX_TEXT).alias("input")
    return text.to_frame().select(
        pl.lit(step).alias("step"), pl.lit(reason).alias("reason"), "input", pl.lit(origin).alias("origin")
    )


def rows_as_text(rows: pl.DataFrame) -> pl.Series:
    """Return each row as a JSON object in text; what JSON has no word for is shown as Python shows it.

    >>> rows_as_text(pl.DataFrame({"n": [1], "b": [b"x"]})).to_list()
    ['{"n":1,"b":"78"}']
    """
    if not rows.width:
        return pl.Series(["{}"] * rows.height, dtype=pl.String)
    columns = [_encodable(column) for column in rows.get_columns()]
    return (
        pl.DataFrame({column.name: column for column in columns})
        .select(pl.struct(pl.all()).struct.json_encode())
        .to_series()
    )


def _encodable(column: pl.Series) -> pl.Series:
    if column.dtype == pl.Binary:
        return column.bin.encode("hex")
    if is_time(column.dtype) and not column.to_frame().select(is_usable(column.name, column.dtype).all()).item():
        # Polars panics where it would have to write a year that has no name.
        return column.to_physical()
    if _has_no_json(column.dtype):
        return pl.Series(column.name, [None if value is None else str(value) for value in column], dtype=pl.String)
    return column


def _has_no_json(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.List | pl.Array):
        return _has_no_json(dtype.inner)  # type: ignore[arg-type]  # always an instance in a schema
    if isinstance(dtype, pl.Struct):
        return any(_has_no_json(field.dtype) for field in dtype.fields)  # type: ignore[arg-type]
    return isinstance(dtype, pl.Binary | pl.Object)


def refuse(dead_letters: pl.DataFrame) -> SourceError:
    """Return the error that says what the first dead letter says, for a source that fails on bad input."""
    step, reason, text, origin = dead_letters.row(0)
    where = f" at {origin}" if origin else ""
    shown = f"\n  input: {text[:200]}" if text else ""
    hint = '\n  → on_error="dead_letter" keeps the good rows and collects the bad ones'
    return SourceError(f"{step}: input that cannot be understood{where}: {reason}.{shown}{hint}")
