"""Replays that end at an event time: what has closed by then is what the job gave, and what is open stays open."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import streamlab as sl
from streamlab.core.errors import OptionError
from streamlab.testing.sources import split_frames

MIDNIGHT = dt.datetime(2024, 1, 1)  # noqa: DTZ001 - naive, as most data are
GOAL = MIDNIGHT + dt.timedelta(minutes=10)
SECONDS = 1_200
# Four splits; some rows of each are behind by more than the watermark waits for, and so are late or not by the batch.
PARTS = [
    pl.DataFrame({"n": pl.int_range(first, SECONDS, 4, eager=True)}).select(
        t=MIDNIGHT + pl.duration(seconds=pl.col("n") - (pl.col("n") % 50 == first).cast(pl.Int64) * 20),
        k=pl.col("n") % 3,
        n="n",
    )
    for first in range(4)
]
AGGREGATES = [pl.len().alias("rows"), pl.col("n").sum()]


def windows() -> sl.StreamFrame:
    frame = split_frames(PARTS, event_time="t", watermark="5s")
    return frame.group_by_dynamic("t", every="10s", group_by="k").agg(AGGREGATES).named("windows")


@pytest.fixture
def run() -> Iterator[object]:
    jobs: list[sl.Job] = []

    def keep(job: sl.Job) -> sl.Job:
        jobs.append(job)
        return job

    yield keep
    for job in jobs:
        job.cancel()


def closed(job: sl.Job, at: dt.datetime) -> pl.DataFrame:
    """Return the windows that end by a time."""
    return job.results().filter(pl.col("t") + pl.duration(seconds=10) <= at).sort("t", "k")


@pytest.mark.parametrize(("parallelism", "until"), [(1, "2024-01-01 00:10"), (2, GOAL)])
def test_windows_that_close_by_then_are_those_of_the_job(run, parallelism, until):
    job = run(windows().start(paused=True, parallelism=parallelism, checkpoint_every="1h", batch_rows=40))
    job.step(4, rows=20)
    begin = job.checkpoint().id
    job.resume()
    assert job.wait(100) == "finished"
    assert job.late_rows().height > 0
    replay = run(job.replay(begin, until=until))
    assert replay.wait(100) == "stopped"
    assert_frame_equal(closed(replay, GOAL), closed(job, GOAL), check_column_order=False)
    assert closed(replay, GOAL).height > 100
    # Each subtask ends with the batch that led there; windows that are open then stay open.
    sources = replay.checkpoints[-1].sources()
    assert sources["watermark"].dt.replace_time_zone(None).is_between(GOAL, GOAL + dt.timedelta(minutes=3)).all()
    assert not sources["finished"].any()
    assert set(replay.compare(job)["in"]) == {"there"}
    assert replay.checkpoints[-1].state("windows").height > 0


def test_by_hand_the_step_behind_the_time_ends_it(run):
    job = run(windows().start(paused=True, parallelism=2, checkpoint_every="1h"))
    job.step(4, rows=20)
    begin = job.checkpoint().id
    goal = MIDNIGHT + dt.timedelta(seconds=200)
    replay = run(job.replay(begin, until=goal, paused=True))
    while not (taken := replay.step(rows=30)).ended:
        before = taken
    assert before.watermark.replace(tzinfo=None) >= goal > before.watermark_before.replace(tzinfo=None)
    assert replay.status == "stopped"


def test_what_is_no_time_to_end_at_is_said(run):
    job = run(windows().start(paused=True, checkpoint_every="1h"))
    job.step(4, rows=20)
    taken = job.checkpoint().id
    for goal, said in (
        ("2024-01-01", "to be later than the watermark at checkpoint 1, 2024-01-01 00:01:10"),
        (MIDNIGHT.replace(tzinfo=dt.UTC), "a time without a zone"),
        ("noon", "'end', or a time such as '2013-01-01 12:00' as until=, got 'noon'"),
    ):
        with pytest.raises(OptionError, match=said):
            job.replay(taken, until=goal)
    other = run(sl.from_frame(PARTS[0], name="timeless").start(paused=True, checkpoint_every="1h"))
    with pytest.raises(OptionError, match="a watermark of every source, to end at a time, got 'timeless' without"):
        other.replay(other.checkpoint().id, until=MIDNIGHT)
