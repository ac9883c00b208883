"""Values turned into another dtype, with the rows that cannot be, kept apart.

Used where Polars' own typed reading has failed for some rows, and to coerce files of another schema.
"""

from __future__ import annotations

from collections.abc import Mapping

import polars as pl

from streamlab.connectors.formats.time_text import read_times
from streamlab.core.column_names.own_columns import own

_BAD = own("bad")


def parsed(text: pl.Series, dtype: pl.DataType, form: str | None = None) -> pl.Series:
    """Return text read as `dtype`; null where it cannot be. `form` is how times are written, when that is known."""
    if isinstance(dtype, pl.String | pl.Categorical | pl.Enum):
        return text.cast(dtype, strict=False)
    text = text.str.strip_chars()
    match dtype:
        case pl.Boolean():
            lower = text.str.to_lowercase()
            return (lower == "true").set(~lower.is_in(["true", "false"]), None)
        case pl.Datetime() | pl.Date():
            return read_times(text, dtype, form)
        case pl.Time():
            return text.str.to_time("%H:%M:%S%.f", strict=False)
        case _:
            return text.cast(dtype, strict=False)


def converted(
    frame: pl.DataFrame, schema: pl.Schema, forms: Mapping[str, str] | None = None
) -> tuple[pl.DataFrame, pl.Series]:
    """Return the frame with the columns and dtypes of `schema`, and why each row could not be converted.

    Text becomes what it says, times in any form or in those of `forms`. A missing column becomes null, a column that is
    not in the schema is dropped. The second value is text, null for rows that are fine; rows that are not have null
    where the value could not be converted.
    """
    there = frame.schema
    out = []
    reasons = [pl.lit(None, pl.String)]
    for name, dtype in schema.items():
        if name not in there:
            out.append(pl.lit(None, dtype).alias(name))
        elif there[name] == dtype:
            out.append(pl.col(name))
        else:
            source = pl.col(name)
            if there[name] == pl.String:
                value = pl.lit(parsed(frame.get_column(name), dtype, (forms or {}).get(name)))
            else:
                value = _cast(source, there[name], dtype)
            out.append(value.alias(name))
            failed = source.is_not_null() & value.is_null()
            reasons.append(pl.when(failed).then(pl.lit(f"column {name!r} is no {dtype}")))
    if not frame.width:
        empty = pl.DataFrame(schema=schema)
        return empty, pl.Series(_BAD, [], pl.String)
    both = frame.with_columns(pl.coalesce(reasons).alias(_BAD)).select(pl.col(_BAD), *out)
    return both.drop(_BAD), both.get_column(_BAD)


def _cast(source: pl.Expr, there: pl.DataType, dtype: pl.DataType) -> pl.Expr:
    if there == pl.Boolean and not isinstance(dtype, pl.String):
        return source.cast(pl.Int8).cast(dtype, strict=False)
    if there.is_float() and dtype.is_integer():
        whole = source.cast(dtype, strict=False)
        return pl.when(source == source.floor()).then(whole)
    if isinstance(there, pl.Datetime) and isinstance(dtype, pl.Datetime) and there.time_zone != dtype.time_zone:
        utc = source.dt.convert_time_zone("UTC") if there.time_zone else source.dt.replace_time_zone("UTC")
        moved = utc.dt.convert_time_zone(dtype.time_zone) if dtype.time_zone else utc.dt.replace_time_zone(None)
        return moved.cast(dtype, strict=False)
    return source.cast(dtype, strict=False)
