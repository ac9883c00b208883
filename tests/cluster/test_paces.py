"""The pace of jobs in real processes: changed while they run, after a restart, and in a replay."""

from __future__ import annotations

from collections.abc import Iterator

import polars as pl
import psutil
import pytest
from patience import eventually

import streamlab as sl
from streamlab.core.errors import JobError, OptionError
from streamlab.job.job import Job

SECONDS = 3000
ROWS = pl.DataFrame({"n": pl.int_range(SECONDS, eager=True)}).with_columns(
    at=(pl.col("n") * 1_000_000).cast(pl.Datetime("us"))
)


def windows(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.group_by_dynamic("at", every="1m").agg(pl.len().alias("rows"), pl.col("n").sum())


@pytest.fixture
def job() -> Iterator[Job]:
    stream = sl.from_frame(ROWS, event_time="at", watermark="0s", pace="realtime")
    job = stream.group_by_dynamic("at", every="1m").agg(pl.len().alias("rows"), pl.col("n").sum()).start("paced")
    yield job
    job.cancel()


def check_results(job: Job) -> None:
    assert job.results().sort("at").equals(windows(ROWS).cast(dict(job.result_schema)))


def test_faster_and_faster_and_the_results_are_the_same(job: Job) -> None:
    assert job.pace == "realtime"
    eventually(lambda: job.report().rows_in > 0, "rows")
    assert job.report().rows_in < SECONDS / 2
    job.set_pace("15x")
    assert job.pace == "15x"
    before = job.report().rows_in
    eventually(lambda: job.report().rows_in > before + 20, "more rows")
    job.set_pace("max")
    assert job.wait(100) == "finished"
    check_results(job)
    with pytest.raises(JobError, match="finished"):
        job.set_pace("60x")


def test_a_restarted_attempt_and_a_replay_keep_and_change_theirs(job: Job) -> None:
    eventually(lambda: job.report().rows_in > 0, "rows")
    checkpoint = job.checkpoint().id
    job.set_pace("0.001x")
    worker = job.processes().filter(pl.col("role") == "worker")["pid"][0]
    psutil.Process(worker).kill()
    eventually(lambda: job.report().attempt == 2 and job.status == "running", "another attempt")
    assert job.pace == "0.001x"
    assert job.report().rows_in < SECONDS / 2
    job.set_pace("max")
    assert job.wait(100) == "finished"
    check_results(job)
    again = job.replay(checkpoint, pace="realtime")
    assert again.pace == "realtime"
    again.set_pace(10_000)
    assert again.pace == "10000x"
    assert again.wait(100) == "finished"
    assert job.compare(again).is_empty()


def test_what_cannot_be_paced_says_so() -> None:
    live = sl.generate(ROWS.slice, rows_per_second=5, event_time="at", replayable=False)
    job = live.start("live")
    try:
        assert job.pace == ""
        with pytest.raises(JobError, match="live"):
            job.set_pace("60x")
        for wrong in ("fast", 0, "-1x"):
            with pytest.raises(OptionError, match="pace"):
                job.set_pace(wrong)
    finally:
        job.cancel()


@pytest.mark.parametrize("drain", [False, True])
def test_a_stop_leaves_unread_what_the_pace_held_back(job: Job, drain: bool) -> None:
    job.set_pace("600x")
    eventually(lambda: job.results().height >= 2, "windows")
    before = job.report().rows_in
    assert job.stop(60, drain=drain) == "stopped"
    rows = job.report().rows_in
    # A little of event time passes while the job is told; nothing like all that was read ahead.
    assert before <= rows < SECONDS / 2
    whole = windows(ROWS.head(rows)).cast(dict(job.result_schema))
    assert job.results().sort("at").equals(whole if drain else whole.head(-1))


def test_a_job_goes_on_from_where_another_one_was_stopped(job: Job) -> None:
    job.set_pace("600x")
    eventually(lambda: job.results().height >= 2, "windows")
    assert job.stop(60) == "stopped"
    stream = sl.from_frame(ROWS, event_time="at", watermark="0s", pace="max")
    on = stream.group_by_dynamic("at", every="1m").agg(pl.len().alias("rows"), pl.col("n").sum())
    rest = on.start(from_savepoint=job.checkpoints[-1])
    assert rest.wait(60) == "finished"
    together = pl.concat([job.results(), rest.results()]).sort("at")
    assert together.equals(windows(ROWS).cast(dict(job.result_schema)))
