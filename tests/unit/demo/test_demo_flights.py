"""The flights: cleaned with care, counted, and in order of landing."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

from streamlab.core.errors import SourceError
from streamlab.demo import flights


def raw(**columns: list[object]) -> pl.DataFrame:
    """Rows as in the package; what is not given is an ordinary flight of the afternoon."""
    rows = max(len(values) for values in columns.values())
    ordinary: dict[str, object] = {
        "year": 2013, "month": 7, "day": 1, "sched_dep_time": 1500, "dep_time": 1505, "dep_delay": 5, "air_time": 60,
        "arr_delay": 0, "carrier": "UA", "flight": 1, "tailnum": "N1", "origin": "EWR", "dest": "BOS", "distance": 200,
    }  # fmt: skip
    return pl.DataFrame({name: columns.get(name, [value] * rows) for name, value in ordinary.items()})


def departures(frame: pl.DataFrame) -> list[str]:
    return frame["dep_time"].dt.to_string("%m-%d %H:%M").to_list()


def test_summer_and_winter_have_different_offsets() -> None:
    cleaned = flights.clean(raw(month=[7, 12])).frame
    assert departures(cleaned) == ["07-01 19:05", "12-01 20:05"]


def test_midnight_is_written_2400_and_belongs_to_the_day_it_ends() -> None:
    cleaned = flights.clean(raw(sched_dep_time=[2359], dep_time=[2400], dep_delay=[1])).frame
    assert departures(cleaned) == ["07-02 04:00"]


def test_a_delay_past_midnight_moves_the_date() -> None:
    cleaned = flights.clean(raw(sched_dep_time=[2200], dep_time=[130], dep_delay=[210])).frame
    assert departures(cleaned) == ["07-02 05:30"]


def test_an_early_departure_moves_the_date_back() -> None:
    cleaned = flights.clean(raw(sched_dep_time=[5], dep_time=[2355], dep_delay=[-10])).frame
    assert departures(cleaned) == ["07-01 03:55"]


def test_a_flight_in_the_night_the_clocks_go_back_keeps_its_instant() -> None:
    """Scheduled at 23:30 in summer time, three hours late: the wall clock says 01:30 because of the extra hour."""
    late = raw(month=[11], day=[2], sched_dep_time=[2330], dep_time=[130], dep_delay=[180])
    assert departures(flights.clean(late).frame) == ["11-03 06:30"]


def test_what_did_not_land_is_left_out_and_said() -> None:
    rows = raw(dep_time=[1505, None, 1505, 1506], dep_delay=[5, None, 5, 5], air_time=[60, None, None, 60])
    cleaned = flights.clean(rows)
    assert cleaned.frame.height == 1
    assert cleaned.left_out.rows() == [("cancelled", 1), ("contradicts its clock", 1), ("diverted", 1)]
    assert cleaned.scheduled == 4


def test_rows_are_in_order_of_landing() -> None:
    cleaned = flights.clean(raw(air_time=[600, 60], dest=["HNL", "BOS"])).frame
    assert cleaned["dest"].to_list() == ["BOS", "HNL"]
    assert cleaned["landing_time"].to_list()[0] - cleaned["dep_time"].to_list()[0] == dt.timedelta(hours=1)


def test_no_rows_give_no_flights() -> None:
    cleaned = flights.clean(raw(dep_time=[1505]).clear())
    assert cleaned.frame.schema == flights.SCHEMA
    assert cleaned.scheduled == 0


def test_the_year_in_figures() -> None:
    year = flights.load()
    assert year.scheduled == 336_776
    assert year.left_out.rows() == [("cancelled", 8_255), ("diverted", 1_175)]
    assert year.frame.schema == flights.SCHEMA
    assert year.frame["landing_time"].is_sorted()
    assert not year.frame.select("carrier", "flight", "dep_time").is_duplicated().any()
    assert year.frame.null_count().row(0) == (0,) * len(flights.SCHEMA)


def test_scheduled_hours_agree_with_those_of_the_package() -> None:
    """The package gives the scheduled hour in UTC as well: departure minus delay must lie in it."""
    package = flights._raw("flights.csv").filter(pl.col("air_time").is_not_null())
    scheduled = (pl.col("dep_time") - pl.duration(minutes="dep_delay")).dt.truncate("1h")
    ours = flights.load().frame.select(scheduled.alias("hour")).sort("hour")
    theirs = package.select(pl.col("time_hour").str.to_datetime(time_unit="us", time_zone="UTC").alias("hour"))
    assert ours.equals(theirs.sort("hour"))


def test_without_the_package_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flights.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SourceError, match=r"streamlab\[demo\]"):
        flights.airlines()


def test_a_damaged_cache_is_made_anew(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMLAB_HOME", str(tmp_path))
    flights.load.cache_clear()
    first = flights.load()
    (tmp_path / "cache" / "flights-1.parquet").write_bytes(b"PAR1 torn")
    flights.load.cache_clear()
    assert flights.load().frame.equals(first.frame)
    assert [path.name[0] for path in (tmp_path / "cache").iterdir()] == ["f", "f"]
    flights.load.cache_clear()


def test_the_weather_in_figures() -> None:
    weather = flights.weather()
    assert weather.schema == flights.WEATHER_SCHEMA
    assert weather.height == 26_115
    assert weather.equals(weather.sort("time", "origin"))
    assert not weather.select("origin", "time").is_duplicated().any()
    strongest = weather.filter(pl.col("wind_speed") > 100)
    assert strongest.select("origin", "time").rows() == [("EWR", dt.datetime(2013, 2, 12, 8, tzinfo=dt.UTC))]
