"""``streamlab demo`` without a terminal: two acts as plain text, and the verdict."""

from __future__ import annotations

import io

import polars as pl
import pytest
from rich.console import Console

from streamlab.cli import demo_command
from streamlab.core.errors import OptionError
from streamlab.demo import flights
from streamlab.demo import job as demo_job
from streamlab.runtime.client.client import list_jobs


@pytest.fixture(autouse=True)
def short_year(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make the year four days long, and the week two."""
    year = flights.load()
    days = year.frame.filter(pl.col("landing_time") < pl.datetime(2013, 1, 5, time_zone="UTC"))
    monkeypatch.setattr(flights, "load", lambda: flights.Flights(days, year.left_out))
    monkeypatch.setattr(demo_command, "_DAYS", 2)


def told(**options: object) -> tuple[bool, str]:
    written = io.StringIO()
    given = {"delay": "6h", "pace": None, "workers": 1, "full_speed": False, **options}
    equal = demo_command.run(Console(file=written, width=200, highlight=False), **given)
    return equal, written.getvalue()


def test_a_few_days_are_shown_and_then_the_year() -> None:
    equal, text = told(pace="1000000x")
    assert equal
    assert "\x1b" not in text
    paced, year = text.split("The whole year, at full speed:")
    assert "The first 2 days, pace 1000000x:" in paced
    assert "came too late for their hour, to Honolulu Intl" in paced
    late = demo_job.late_by_rule(flights.load().frame, "6h").height
    assert f"late rows    {late}, to Honolulu Intl {late}" in year
    assert "rows/s, from the first row to the last result (" in year
    assert "s before the first row" in year
    assert f"and the same {late} late rows" in year
    assert not [handle for handle in list_jobs() if handle.meta.name == "demo"]


def test_full_speed_has_the_year_only() -> None:
    equal, text = told(full_speed=True, delay="12h")
    assert equal
    assert "pace" not in text
    assert "the watermark is 12h behind" in text
    assert "✓ equal to Polars: " in text


def test_a_pace_for_full_speed_is_refused() -> None:
    with pytest.raises(OptionError, match="--pace or --full-speed"):
        told(full_speed=True, pace="60x")


def test_a_difference_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    rule = demo_job.late_by_rule
    monkeypatch.setattr(demo_job, "late_by_rule", lambda rows, delay: rule(rows, delay).head(0))
    equal, text = told(full_speed=True)
    assert not equal
    assert "✗ not equal to what Polars says" in text
    assert "late rows: the job has" in text
