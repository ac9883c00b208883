"""Values turned into another dtype, with the rows that cannot be, kept apart.

Used where Polars' own typed reading has failed for some rows, and to coerce files of another schema.
"""

from __future__ import annotations

import polars as pl

_BAD = "__bad"


def parsed(text: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return the expression that reads text as `dtype`; null where it cannot. Times are ISO 8601; no zone means UTC."""
    text = text.str.strip_chars() if not isinstance(dtype, pl.String | pl.Categorical | pl.Enum) else text
    match dtype:
        case pl.String():
            return text
        case pl.Boolean():
            lower = text.str.to_lowercase()
            return pl.when(lower.is_in(["true", "false"])).then(lower == "true")
        case pl.Datetime():
            return _datetime(text, dtype)
        case pl.Date():
            return text.str.to_date("%Y-%m-%d", strict=False)
        case pl.Time():
            return text.str.to_time("%H:%M:%S%.f", strict=False)
        case _:
            return text.cast(dtype, strict=False)


def _datetime(text: pl.Expr, dtype: pl.Datetime) -> pl.Expr:
    spaced = text.str.replace(r"^(\d+-\d+-\d+)[T ]", "$1 ").str.replace(r"[zZ]$", "+00:00")
    unit = dtype.time_unit
    zoned = spaced.str.to_datetime("%Y-%m-%d %H:%M:%S%.f%#z", time_unit=unit, time_zone="UTC", strict=False)
    formats = ("%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%d %H:%M")
    naive = [spaced.str.to_datetime(form, time_unit=unit, strict=False) for form in formats]
    naive.append(spaced.str.to_date("%Y-%m-%d", strict=False).cast(pl.Datetime(unit)))
    utc = pl.coalesce(zoned.dt.replace_time_zone(None), *naive)
    if dtype.time_zone is None:
        return utc
    return utc.dt.replace_time_zone("UTC").dt.convert_time_zone(dtype.time_zone)


def time_in(text: pl.Series) -> pl.DataType:
    """Return the time dtype in which most values of a text column can be read, or String.

    >>> time_in(pl.Series(["2020-01-01T00:00:00Z", "2020-01-02 00:00:00Z", "?"]))
    Datetime(time_unit='us', time_zone='UTC')
    """
    text = text.drop_nulls()
    zoned = text.str.contains(r"(?:[zZ]|[+-]\d\d:?\d\d)$").sum() * 2 > text.len()
    dtype = pl.Datetime("us", "UTC" if zoned else None)
    values = text.to_frame().select(parsed(pl.col(text.name), dtype)).to_series()
    return dtype if values.count() * 2 > text.len() else pl.String()


def converted(frame: pl.DataFrame, schema: pl.Schema) -> tuple[pl.DataFrame, pl.Series]:
    """Return the frame with the columns and dtypes of `schema`, and why each row could not be converted.

    A missing column becomes null, a column that is not in the schema is dropped. The second value is text, null for
    rows that are fine; rows that are not have null where the value could not be converted.
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
            value = parsed(source, dtype) if there[name] == pl.String else _cast(source, there[name], dtype)
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
