"""The demo's job and its proof: on part of the year, so that it is quick."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from streamlab.demo import flights
from streamlab.demo import job as demo_job
from streamlab.job.sources import from_frame
from streamlab.observe.status import JobState
from streamlab.runtime.client.client import list_jobs


@pytest.fixture(scope="module")
def week() -> pl.DataFrame:
    return demo_job.first_days(7)


def test_the_stream_equals_polars_without_the_late_rows(week: pl.DataFrame) -> None:
    with demo_job.running(week, delay="6h", pace="max", workers=2, name="week") as job:
        assert job.wait() is JobState.FINISHED
        proof = demo_job.prove(job, week, "6h")
    assert proof.equal, proof.difference
    assert proof.rows + proof.late.height == week.height
    assert set(proof.late["dest"]) == {"HNL"}
    assert demo_job.destinations(proof.late)["name"].to_list() == ["Honolulu Intl"]


@pytest.mark.parametrize(
    ("pace", "workers", "batch_rows"), [("max", 1, 500_000), ("max", 2, 97), ("1000000x", 2, 5_000)]
)
def test_who_is_late_does_not_depend_on_the_run(week: pl.DataFrame, pace: str, workers: int, batch_rows: int) -> None:
    stream = demo_job.hourly(from_frame(week, event_time="dep_time", watermark="4h", pace=pace))
    job = stream.start(f"cut-{batch_rows}", parallelism=workers, batch_rows=batch_rows)
    assert job.wait() is JobState.FINISHED
    expected = demo_job.late_by_rule(week, "4h")
    assert expected.height > 0
    assert job.late_rows().sort("dep_time", "carrier", "flight").equals(expected.sort("dep_time", "carrier", "flight"))


def test_nothing_is_left_of_the_job(week: pl.DataFrame, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with demo_job.running(week, delay="6h", pace="1000x", workers=1, name="left") as job:
        assert [path.suffix for path in tmp_path.glob("*/*")] == [".parquet"]
    assert not list(tmp_path.iterdir())
    assert job.id not in {handle.meta.id for handle in list_jobs()}


class Wrong:
    """A job that lost a window, miscounted another, or took a row for late that was not."""

    def __init__(self, results: pl.DataFrame, late: pl.DataFrame) -> None:
        self._results, self._late = results, late

    def results(self) -> pl.DataFrame:
        return self._results

    def late_rows(self) -> pl.DataFrame:
        return self._late


def test_a_wrong_result_is_found(week: pl.DataFrame) -> None:
    right = demo_job.hourly(week.sort("dep_time").lazy()).collect()
    assert demo_job.prove(Wrong(right, week.clear()), week, "24h").equal
    miscounted = right.with_columns(pl.when(pl.int_range(pl.len()) == 3).then(0).otherwise("flights").alias("flights"))
    for wrong in (right.head(-1), miscounted.cast(dict(right.schema))):
        proof = demo_job.prove(Wrong(wrong, week.clear()), week, "24h")
        assert not proof.equal
        assert proof.difference.startswith("windows: ")
    proof = demo_job.prove(Wrong(right, week.head(1)), week, "24h")
    assert not proof.equal
    assert proof.difference.startswith("late rows: the job has 1, Polars 0")


def test_nobody_late_went_nowhere() -> None:
    assert demo_job.destinations(flights.load().frame.clear()).rows() == []
