"""Times written as text or as numbers since 1970, read in all the forms that a schema is learnt from.

A form is tried on the values only that no earlier one could read. The order of the forms is fixed and each value is
read by itself, so what a value means depends on nothing else. A value without a zone is UTC.
"""

from __future__ import annotations

import re

import polars as pl

from streamlab.core.errors import OptionError, explained

EPOCH_UNITS = {"s": 1_000_000_000, "ms": 1_000_000, "us": 1_000, "ns": 1}
"""Nanoseconds of the units in which numbers count time, by Polars' names of them."""
_ZONED = ("%Y-%m-%d %H:%M:%S%.f%#z", "%Y-%m-%d %H:%M%#z", "%Y%m%dT%H%M%S%.f%#z", "%Y%m%dT%H%M%#z")
_ZONED_WORDS = ("%a, %d %b %Y %H:%M:%S%#z", "%d %b %Y %H:%M:%S%#z", "%d/%b/%Y:%H:%M:%S%#z")
_NAIVE = (
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y-%m-%d %H:%M",
    "%Y-%m-%d %I:%M:%S %p",
    "%Y-%m-%d %I:%M %p",
    "%d-%m-%Y %H:%M:%S%.f",
    "%d-%m-%Y %H:%M",
    "%m-%d-%Y %I:%M:%S %p",
    "%m-%d-%Y %I:%M %p",
    "%Y%m%dT%H%M%S%.f",
    "%Y%m%dT%H%M",
    "%Y%m%d%H%M%S",
)
"""Days come before months, as Polars has it, unless the time of day has AM or PM, which only that country writes where
months come first."""
_DAYS = ("%Y-%m-%d", "%d-%m-%Y", "%Y%m%d")
_FORMS: tuple[str | None, ...] = (*_ZONED, *_NAIVE, *_DAYS, None, *_ZONED_WORDS)
"""All of them in the order in which they are tried; None stands for numbers."""
_ZONE_OF_FORM = re.compile(r"%(?:z|:z|#z)|%\+")
_TIME_OF_FORM = re.compile(r"%[HIklMSTRXrsc+]")
_HAS_ZONE = r"(?:[zZ]|UTC|GMT|\d\d[+-]\d\d(?::?\d\d)?|\s[+-]\d\d(?::?\d\d)?)$"
_NUMBER = r"^-?\d{9,19}(?:\.\d+)?$"
_SECONDS_BELOW, _MS_BELOW, _US_BELOW = 1e11, 1e14, 1e17


def read_times(text: pl.Series, dtype: pl.DataType, form: str | None = None) -> pl.Series:
    """Return text as times, null where it cannot be read.

    Parameters
    ----------
    text
        The values.
    dtype
        A Datetime or Date.
    form
        How they are written: a format as Polars' ``str.to_datetime`` takes it, or the unit in which numbers count time
        since 1970 (``"s"``, ``"ms"``, ``"us"``, ``"ns"``). None: in any form that is known.

    Examples
    --------
    >>> texts = pl.Series(["2024-01-02 03:04:05 UTC", "20240102T030405", "1704164645", "1/2/2024 3:04:05 AM", "?"])
    >>> [str(time) for time in read_times(texts, pl.Datetime("us"))][:4] == ["2024-01-02 03:04:05"] * 4
    True
    """
    unit = dtype.time_unit if isinstance(dtype, pl.Datetime) else "us"
    utc = pl.Datetime(unit)
    if form is None:
        values = _in_any_form(_normal(text), utc)
    elif form in EPOCH_UNITS:
        values = _since_1970(text.cast(pl.String), utc, EPOCH_UNITS[form])
    else:
        values = _in_form(text.cast(pl.String).str.strip_chars(), utc, form)
    if isinstance(dtype, pl.Date):
        days = values.cast(dtype)
        return days.set(days.cast(utc, strict=False) != values, None)  # a time of day would be lost
    if isinstance(dtype, pl.Datetime) and dtype.time_zone is not None:
        return values.dt.replace_time_zone("UTC").dt.convert_time_zone(dtype.time_zone)
    return values


def time_in(text: pl.Series, form: str | None = None) -> pl.DataType:
    """Return the time dtype in which most values of a text column can be read, or String.

    >>> time_in(pl.Series(["2020-01-01T00:00:00Z", "2020-01-02 00:00:00Z", "?"]))
    Datetime(time_unit='us', time_zone='UTC')
    """
    text = text.drop_nulls().cast(pl.String)
    if form is None:
        zoned = text.str.strip_chars().str.contains(_HAS_ZONE).sum() * 2 > text.len()
    else:
        zoned = "z" in form.lower().replace("%%", "") and form not in EPOCH_UNITS
    dtype = pl.Datetime("us", "UTC" if zoned else None)
    return dtype if read_times(text, dtype, form).count() * 2 > text.len() else pl.String()


def checked_form(form: str | None) -> str | None:
    """Return `event_time_format` if it is a format or a unit; raises OptionError."""
    if form is None or (isinstance(form, str) and (form in EPOCH_UNITS or "%" in form)):
        return form
    needed = "a format such as '%d.%m.%Y %H:%M:%S', or the unit of numbers since 1970: 's', 'ms', 'us', 'ns'"
    raise OptionError(explained("event_time_format", needed=needed, got=repr(form)))


def _normal(text: pl.Series) -> pl.Series:
    """Return text with years first and dashes between, one space before the time, and offsets for zones."""
    return (
        text.cast(pl.String)
        .str.strip_chars()
        .str.replace(r"^(\d{4})[/.](\d{1,2})[/.](\d{1,2})", "$1-$2-$3")
        .str.replace(r"^(\d{1,2})[/.](\d{1,2})[/.](\d{4})", "$1-$2-$3")
        .str.replace(r"^(\d{1,4}-\d{1,2}-\d{1,4})[Tt ]\s*", "$1 ")
        .str.replace(r"^(\d{8})[t ](\d)", "${1}T$2")
        .str.replace(r"(:\d\d),(\d+)", "$1.$2")
        .str.replace(r"\s*([aApP])\.?[mM]\.?$", " ${1}M")
        .str.replace(r"(\d)\s*(?:[zZ]|UTC|GMT)$", "$1+00:00")
        .str.replace(r"(\d)\s+([+-]\d\d(?::?\d\d)?)$", "$1$2")
    )


def _in_any_form(text: pl.Series, utc: pl.Datetime) -> pl.Series:
    values = pl.Series([None], dtype=pl.Int64).new_from_index(0, text.len())
    for form in _FORMS:
        rows = (text.is_not_null() & values.is_null()).arg_true()
        if not rows.len():
            break
        some = text.gather(rows)
        got = (_as_number(some, utc) if form is None else _in_form(some, utc, form)).to_physical()
        read = got.is_not_null()
        if read.any():
            values = values.scatter(rows.filter(read), got.cast(pl.Int64).filter(read))
    return values.cast(utc).alias(text.name)


def _in_form(text: pl.Series, utc: pl.Datetime, form: str) -> pl.Series:
    """Read one form; a time that cannot be in it is null."""
    if _ZONE_OF_FORM.search(form):
        zoned = text.str.to_datetime(form, time_unit=utc.time_unit, time_zone="UTC", strict=False)
        return zoned.dt.replace_time_zone(None)
    if not _TIME_OF_FORM.search(form):
        return text.str.to_date(form, strict=False).cast(utc, strict=False)
    return text.str.to_datetime(form, time_unit=utc.time_unit, strict=False)


def _as_number(text: pl.Series, utc: pl.Datetime) -> pl.Series:
    """Read numbers since 1970 in the unit that their size shows: seconds until the year 5138, and so on."""
    numbers = text.set(~text.str.contains(_NUMBER), None).cast(pl.Float64, strict=False).abs()
    factor = (
        pl.when(pl.col("n") < _SECONDS_BELOW)
        .then(pl.lit("s"))
        .when(pl.col("n") < _MS_BELOW)
        .then(pl.lit("ms"))
        .when(pl.col("n") < _US_BELOW)
        .then(pl.lit("us"))
        .otherwise(pl.lit("ns"))
    )
    units = numbers.to_frame("n").select(factor).to_series()
    out = pl.Series([None], dtype=utc).new_from_index(0, text.len())
    for unit, ns in EPOCH_UNITS.items():
        here = numbers.is_not_null() & (units == unit)
        if here.any():
            out = out.zip_with(~here, _since_1970(text.set(~here, None), utc, ns))
    return out


def _since_1970(text: pl.Series, utc: pl.Datetime, unit_ns: int) -> pl.Series:
    """Read numbers that count units of so many nanoseconds; what is smaller than the result's unit is floored."""
    tick_ns = EPOCH_UNITS[utc.time_unit]
    text = text.str.strip_chars()
    whole = text.cast(pl.Int64, strict=False)
    ticks = whole * (unit_ns // tick_ns) if unit_ns >= tick_ns else whole // (tick_ns // unit_ns)
    parts = (text.cast(pl.Float64, strict=False) * (unit_ns / tick_ns)).floor().cast(pl.Int64, strict=False)
    return ticks.zip_with(whole.is_not_null(), parts).cast(utc)
