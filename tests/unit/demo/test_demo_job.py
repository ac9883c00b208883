"""The demo's job and its proof: on part of the year, so that it is quick."""

from __future__ import annotations

import polars as pl
import pytest

from streamlab.demo import flights
from streamlab.demo import job as demo_job
from streamlab.observe.status import JobState


@pytest.fixture
def first_week(monkeypatch: pytest.MonkeyPatch) -> flights.Flights:
    """Make the year a week long."""
    year = flights.load()
    week = year.frame.filter(pl.col("landing_time") < pl.datetime(2013, 1, 8, time_zone="UTC"))
    short = flights.Flights(week, year.left_out)
    monkeypatch.setattr(flights, "load", lambda: short)
    return short


def test_the_stream_equals_polars_without_the_late_rows(first_week: flights.Flights) -> None:
    job = demo_job.start(name="week")
    assert job.wait() is JobState.FINISHED
    proof = demo_job.prove(job)
    assert proof.equal, proof.difference
    assert proof.rows + proof.late.height == first_week.frame.height
    assert set(proof.late["dest"]) == {"HNL"}
    assert demo_job.destinations(proof.late)["name"].to_list() == ["Honolulu Intl"]


def test_who_is_late_does_not_depend_on_the_run(first_week: flights.Flights) -> None:
    late = []
    for workers in (1, 2):
        job = demo_job.start(name=f"workers-{workers}", workers=workers, delay="4h")
        job.wait()
        late.append(job.late_rows().sort("dep_time", "carrier", "flight"))
    assert late[0].height > 0
    assert late[0].equals(late[1])


class Wrong:
    """A job that lost a window and miscounted another."""

    def __init__(self, results: pl.DataFrame) -> None:
        self._results = results

    def results(self) -> pl.DataFrame:
        return self._results

    def late_rows(self) -> pl.DataFrame:
        return pl.DataFrame()


def test_a_wrong_result_is_found(first_week: flights.Flights) -> None:
    right = demo_job.hourly(first_week.frame.sort("dep_time").lazy()).collect()
    assert demo_job.prove(Wrong(right)).equal
    miscounted = right.with_columns(pl.when(pl.int_range(pl.len()) == 3).then(0).otherwise("flights").alias("flights"))
    for wrong in (right.head(-1), miscounted.cast(dict(right.schema))):
        proof = demo_job.prove(Wrong(wrong))
        assert not proof.equal
        assert "only in" in proof.difference


def test_nobody_late_went_nowhere() -> None:
    assert demo_job.destinations(pl.DataFrame()).rows() == []
