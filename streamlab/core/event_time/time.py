"""Time as the engine sees it: int64 microseconds since the epoch, UTC, and durations in Polars' own words.

A naive ``Datetime`` is taken as UTC. "One tick" is the unit of the event-time column itself (a millisecond column ticks
in milliseconds), but never finer than a microsecond: nanosecond columns are watermarked at microsecond precision, which
holds a window back by less than a microsecond and never closes one too early.
"""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import dataclass
from decimal import Decimal

import polars as pl

from streamlab.core.errors import OptionError, PlanError, explained
from streamlab.core.event_time.instants import MAX_TIME_US, MIN_TIME_US, show_us

__all__ = [
    "FARTHEST_TIME_US",
    "MAX_TIME_US",
    "MIN_TIME_US",
    "Duration",
    "from_us",
    "is_time",
    "is_usable",
    "show_us",
    "tick_us",
    "time_bounds",
    "time_us",
]

FARTHEST_TIME_US = 2**62
"""How far from 1970 an event time may lie, 146,000 years: beyond it the edges of windows would overflow."""

_UNIT_US = {
    "us": 1,
    "ms": 1_000,
    "s": 1_000_000,
    "m": 60_000_000,
    "h": 3_600_000_000,
    "d": 86_400_000_000,
    "w": 7 * 86_400_000_000,
}
_MONTHS = {"mo": 1, "q": 3, "y": 12}
"""Units of the calendar, whose length depends on when they start."""
_PART = re.compile(r"(\d+)(ns|us|ms|mo|s|m|h|d|w|q|y)")
_FRACTION = re.compile(r"(\d*\.\d+)(us|ms|mo|s|m|h|d|w)")
"""What Polars does not read: half a second."""
_WORDS = {
    "ns": "nsec nanos nanosecond nanoseconds",
    "us": "µs μs usec micros microsecond microseconds",
    "ms": "msec millis milli millisecond milliseconds",
    "s": "S sec secs second seconds",
    "m": "min mins minute minutes",
    "h": "H hr hrs hour hours",
    "d": "D day days",
    "w": "W wk wks week weeks",
    "mo": "mon mons month months",
    "q": "Q quarter quarters",
    "y": "Y yr yrs year years",
}
_UNIT_OF = {word: unit for unit, words in _WORDS.items() for word in (unit, *words.split())}
_SPOKEN = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([A-Za-zµμ]+)(?:\s*,\s*|\s+and\s+|\s*)")
_CLOCK = re.compile(r"(\d+):([0-5]\d):([0-5]\d(?:\.\d+)?)")
"""Hours, minutes and seconds, as Python writes a timedelta."""
_ISO = re.compile(r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+(?:\.\d+)?)S)?)?")
"""As in ISO 8601."""
_INTERVAL = re.compile(r"interval\s+", re.IGNORECASE)
_UNITS = "units are ns, us, ms, s, m (minutes), h, d, w, mo (months), q, y"


@dataclass(frozen=True)
class Duration:
    """A span of time in Polars' duration language, such as ``1h30m``.

    Fractions (``0.5s``), words (``5 minutes``, ``10 sec``) and what Python and others write of a timedelta
    (``0:01:30``, ``PT1M30S``) are read, too.

    Attributes
    ----------
    text : str
        The duration as Polars reads it, with its sign.
    us : int | None
        Its length in microseconds, or None when it has calendar units (``1mo``) and so no fixed length.

    Examples
    --------
    >>> Duration.parse("1h30m").us
    5400000000
    >>> str(Duration.parse("0.5s")), str(Duration.parse("1 hour and 30 min"))
    ('500ms', '1h30m')
    >>> Duration.parse("1mo").us is None
    True
    """

    text: str
    us: int | None

    @classmethod
    def parse(cls, value: str | dt.timedelta | Duration, *, name: str = "duration") -> Duration:
        """Read a duration in text or a timedelta; `name` is the argument's, for the error.

        Raises
        ------
        OptionError
            If the text is no duration; it says how one is written.
        """
        if isinstance(value, Duration):
            return value
        if isinstance(value, dt.timedelta):
            us = value // dt.timedelta(microseconds=1)
            return cls(f"{us}us", us)
        text = _FRACTION.sub(_in_whole_units, _in_units(value)) if isinstance(value, str) else ""
        body = text.removeprefix("-")
        parts = _PART.findall(body)
        if not parts or "".join(f"{n}{unit}" for n, unit in parts) != body:
            needed = "a duration such as '90s', '1h30m' or a timedelta"
            raise OptionError(explained(name, needed=needed, got=repr(value), hint=_spelling(value)))
        sign = -1 if text.startswith("-") else 1
        if any(unit in _MONTHS for _, unit in parts):
            return cls(text, None)
        ns = sum(int(n) if unit == "ns" else int(n) * _UNIT_US[unit] * 1000 for n, unit in parts)
        return cls(text, sign * (ns // 1000))

    def fixed_us(self, name: str) -> int:
        """Return the length in microseconds.

        Raises
        ------
        OptionError
            If the duration has calendar units, so that its length depends on when it starts.
        """
        if self.us is None:
            raise OptionError(
                explained(name, needed="a duration of fixed length", got=repr(self.text), hint="write days or hours")
            )
        return self.us

    def approximate_us(self, *, month_days: int) -> int:
        """Return the length in microseconds with months of so many days.

        >>> Duration.parse("1q").approximate_us(month_days=30) // 86_400_000_000
        90
        """
        if self.us is not None:
            return self.us
        units = {**_UNIT_US, **{unit: count * month_days * _UNIT_US["d"] for unit, count in _MONTHS.items()}}
        sign = -1 if self.text.startswith("-") else 1
        return sign * sum(int(n) * units.get(unit, 0) for n, unit in _PART.findall(self.text))

    def times(self, count: int) -> str:
        """Return so many of it, as Polars reads it.

        >>> Duration.parse("1mo2d").times(3)
        '3mo6d'
        """
        return _PART.sub(lambda part: f"{int(part[1]) * count}{part[2]}", self.text)

    def __str__(self) -> str:
        return self.text


def _in_units(text: str) -> str:
    """Return a duration as Polars writes it, from other ways to write one; a text that is none as it is.

    >>> _in_units("1 day, 0:01:30"), _in_units("-5min"), _in_units("PT1H30M"), _in_units("soon")
    ('1d1m30s', '-5m', '1h30m', 'soon')
    """
    bare = _INTERVAL.sub("", text.strip().replace("'", ""))
    sign = "-" if bare.startswith("-") else ""
    bare = bare.removeprefix("-").lstrip()
    clock = _CLOCK.search(bare)
    parts: list[tuple[str | None, str | None]]
    if (iso := _ISO.fullmatch(bare)) is not None:
        parts = list(zip(iso.groups(), ("y", "mo", "w", "d", "h", "m", "s"), strict=True))
    elif clock is None or clock.end() < len(bare):
        parts = _spoken(bare)
    elif sign and clock.start():
        return text  # Of "-1 day, 23:00:00" only the day is negative.
    else:
        parts = [*_spoken(bare[: clock.start()]), *zip(clock.groups(), "hms", strict=True)]
    if any(unit is None for _, unit in parts):
        return text
    written = [f"{number.lstrip('0')}{unit}" for number, unit in parts if number and number.strip("0.")]
    return sign + ("".join(written) or ("0s" if any(number for number, _ in parts) else text))


def _spoken(text: str) -> list[tuple[str | None, str | None]]:
    """Return the numbers of a duration in words with their units; None stands for what is neither."""
    words = _SPOKEN.findall(text)
    units = [_UNIT_OF.get(word) or _UNIT_OF.get(word.lower() if len(word) > 1 else "") for _, word in words]
    rest = _SPOKEN.sub("", text).strip()
    return [*zip((number for number, _ in words), units, strict=True), *([(rest, None)] if rest else [])]


def _spelling(value: object) -> str:
    """Return how a duration that cannot be read is written."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return f"say the unit: '{value}s' is so many seconds"
    if not isinstance(value, str):
        return ""
    if value.strip().removeprefix("-").replace(".", "", 1).isdigit():
        return f"say the unit: '{value.strip()}s' is so many seconds"
    if re.search(r"\d\s*M\b", value):
        return "'1m' is a minute, '1mo' a month"
    return _UNITS


def _in_whole_units(part: re.Match[str]) -> str:
    """Return a fraction of a unit in the largest unit of which it is a whole number; as it is when there is none."""
    us = Decimal(part[1]) * _UNIT_US.get(part[2], 0)
    if not us or us % 1:
        return part[0]
    whole = next(unit for unit in reversed(_UNIT_US) if us % _UNIT_US[unit] == 0)
    return f"{int(us) // _UNIT_US[whole]}{whole}"


def tick_us(dtype: pl.DataType) -> int:
    """Return one tick of a time column in microseconds: the unit of its dtype, at least one microsecond.

    >>> tick_us(pl.Datetime("ms")), tick_us(pl.Datetime("ns")), tick_us(pl.Date())
    (1000, 1, 86400000000)
    """
    if isinstance(dtype, pl.Datetime):
        return 1_000 if dtype.time_unit == "ms" else 1
    if isinstance(dtype, pl.Date):
        return _UNIT_US["d"]
    raise PlanError(explained("event time", needed="a Datetime or Date column", got=str(dtype)))


def is_time(dtype: pl.DataType) -> bool:
    """Return whether a column of this dtype can be an event time."""
    return isinstance(dtype, pl.Datetime | pl.Date)


def time_us(column: str) -> pl.Expr:
    """Return the expression that gives a time column as int64 microseconds since the epoch, UTC.

    Works for every time unit and time zone; nanoseconds are floored.
    """
    return pl.col(column).dt.epoch("us") if column else pl.lit(None, pl.Int64)


def is_usable(column: str, dtype: pl.DataType) -> pl.Expr:
    """Return the expression that says whether a time can be placed in windows; null for null.

    >>> times = pl.Series([0, 2**63 - 1]).cast(pl.Datetime("us")).to_frame("t")
    >>> times.select(is_usable("t", times.schema["t"])).to_series().to_list()
    [True, False]
    """
    farthest = _farthest(dtype)
    return pl.col(column).to_physical().is_between(-farthest, farthest)


def _farthest(dtype: pl.DataType) -> int:
    """Return how far from 0 the number behind a usable time may lie."""
    if isinstance(dtype, pl.Date):
        return FARTHEST_TIME_US // _UNIT_US["d"]
    if isinstance(dtype, pl.Datetime) and dtype.time_unit == "ns":
        return MAX_TIME_US
    return FARTHEST_TIME_US // tick_us(dtype)


def time_bounds(frame: pl.DataFrame, column: str) -> tuple[int | None, int | None, bool]:
    """Return the earliest and the latest time of a column in µs, and whether all of its times are usable; no null is.

    Order is that of the numbers behind the times, so the two ends speak for all that lies between them.

    >>> times = pl.Series([5, 1, 3]).cast(pl.Datetime("ms")).to_frame("t")
    >>> time_bounds(times, "t"), time_bounds(times.clear(), "t")
    ((1000, 5000, True), (None, None, True))
    """
    # Of the column itself: expressions would cost twenty times as much on a few rows.
    times = frame.get_column(column)
    dtype, numbers = times.dtype, times.cast(pl.Int64)
    first, last = numbers.min(), numbers.max()
    if not isinstance(first, int) or not isinstance(last, int):
        return None, None, not frame.height
    farthest = _farthest(dtype)
    is_in_reach = -farthest <= first and last <= farthest
    return _as_us(first, dtype), _as_us(last, dtype), is_in_reach and not times.null_count()


def _as_us(number: int, dtype: pl.DataType) -> int:
    """Return the number behind a time in microseconds; nanoseconds are floored."""
    if isinstance(dtype, pl.Datetime) and dtype.time_unit == "ns":
        return number // 1000
    return number * (_UNIT_US["d"] if isinstance(dtype, pl.Date) else tick_us(dtype))


def from_us(expression: pl.Expr, dtype: pl.DataType) -> pl.Expr:
    """Return the expression that turns int64 microseconds back into a time column of `dtype`."""
    if isinstance(dtype, pl.Datetime):
        instant = expression.cast(pl.Datetime("us", "UTC" if dtype.time_zone else None))
        if dtype.time_zone:
            instant = instant.dt.convert_time_zone(dtype.time_zone)
        return instant.cast(dtype)
    return expression.cast(pl.Datetime("us")).cast(dtype)
