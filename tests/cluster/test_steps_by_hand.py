"""Jobs that are started paused, and replays, with each step taken by hand: real processes, no waiting."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator

import polars as pl
import pytest
from polars.testing import assert_frame_equal

import streamlab as sl
from streamlab.core.errors import JobError, OptionError, StepFailed

SECONDS = [1, 3, 2, 11, 12, 5, 21, 27, 24, 41]
NUMBERS = pl.int_range(len(SECONDS), eager=True)
MIDNIGHT = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
ROWS = pl.DataFrame(
    {
        "t": [MIDNIGHT.replace(tzinfo=None) + dt.timedelta(seconds=second) for second in SECONDS],
        "k": list("abaabbabab"),
        "v": NUMBERS,
    }
)


def stream() -> sl.StreamFrame:
    return sl.from_frame(ROWS, event_time="t", watermark="2s", name="rows")


def windows(**options: object) -> sl.StreamFrame:
    grouped = stream().group_by_dynamic("t", every="10s", group_by="k", **options)
    return grouped.agg(pl.len().alias("n"), pl.col("v").sum()).named("windows")


@pytest.fixture
def start() -> Iterator[object]:
    jobs: list[sl.Job] = []

    def run(frame: sl.StreamFrame, **options: object) -> sl.Job:
        jobs.append(frame.start(**{"paused": True, "checkpoint_every": "1h", "checkpoint_keep": 9, **options}))
        return jobs[-1]

    run.watch = jobs.append
    yield run
    for job in jobs:
        job.cancel()


def second(number: int) -> dt.datetime:
    """Return the watermark after a row of this second."""
    return MIDNIGHT + dt.timedelta(seconds=number - 2, microseconds=-1)


def changes(step: object) -> list[tuple[object, ...]]:
    return step.changes.select("op", "k", pl.col("t").dt.second(), "n", "v").sort(pl.all()).rows()


def test_after_each_step_splits_arrivals_and_the_watermark_are_those_of_the_step(start):
    """However fast steps follow one another, and though the clock stands."""
    job = start(windows(), parallelism=2)
    latest: list[int] = []
    for number, at in enumerate(SECONDS[:-1], 1):
        step = job.step(rows=1)
        latest.append(at)
        (split,) = job.splits().rows(named=True)
        assert (split["rows"], split["latest"]) == (number, second(max(latest) + 2) + dt.timedelta(microseconds=1))
        assert split["watermark"] == step.watermark == second(max(latest))
        arrivals = job.history("arrivals")
        assert arrivals["rows"].sum() == number
        assert arrivals["late_rows"].sum() == job.report().late_rows
        assert job.history("job")["watermark"].drop_nulls().unique().len() == len(set(_highest(latest)))
    late = job.history("arrivals").filter(pl.col("late_rows") > 0)
    behind_ms = late.explode("late_sample", "late_watermark").select(
        (pl.col("late_watermark") - pl.col("late_sample")).dt.total_microseconds() / 1000
    )
    assert sorted(behind_ms.to_series()) == sorted(job.lateness()["behind_ms"])
    job.advance_watermark("1h")
    assert job.history("job")["watermark"][-1] == second(max(latest)) + dt.timedelta(hours=1)


def _highest(values: list[int]) -> list[int]:
    return [max(values[: end + 1]) for end in range(len(values))]


@pytest.mark.parametrize("parallelism", [1, 2])
def test_a_window_row_by_row(start, parallelism):
    job = start(windows(), parallelism=parallelism)
    first = job.step(rows=1)
    assert job.status == "paused"
    assert first.read.rows() == [("rows", "frame", 1)]
    assert (first.watermark_before, first.watermark, first.rows) == (None, second(1), 1)
    assert job.results().height == 0
    assert job.report().rows_in == 1
    four = job.step(4, rows=1)
    assert (four.batches, four.rows, four.watermark_before, four.watermark) == (4, 4, second(1), second(12))
    assert changes(four) == [("+I", "a", 0, 2, 2), ("+I", "b", 0, 1, 1)]
    late = job.step(rows=1)
    assert (late.late_rows, late.changes.height, job.late_rows()["v"].to_list()) == (1, 0, [5])
    risen = job.step("watermark", rows=1)
    assert (risen.rows, risen.watermark) == (1, second(21))
    rest = job.step(rows=99)
    assert rest.rows == 3
    assert changes(rest) == [
        ("+I", "a", 10, 1, 3),
        ("+I", "a", 20, 2, 14),
        ("+I", "b", 10, 1, 4),
        ("+I", "b", 20, 1, 7),
    ]
    assert not rest.ended
    end = job.step()
    assert (end.ended, end.rows, end.watermark, job.status) == (True, 0, None, "finished")
    assert changes(end) == [("+I", "b", 40, 1, 9)]
    assert "nothing: the sources have ended" in repr(end)
    with pytest.raises(JobError, match="needs a paused job, got one that is finished"):
        job.step()


def test_a_replay_in_steps_is_the_same_every_time(start):
    job = start(windows(), parallelism=2)
    ids = []
    for rows in (3, 2, 4):
        job.step(rows=rows)
        ids.append(job.checkpoint().id)
    job.resume()
    assert job.wait(60) == "finished"
    tables = []
    for _ in range(2):
        again = job.replay(ids[0], paused=True)
        start.watch(again)
        assert again.step("checkpoint").rows == 2
        assert again.compare(job.at(ids[1])).height == 0
        assert again.late_rows().height == 0
        assert again.step(2, rows=2).rows == 4
        assert again.compare(job.at(ids[2])).height == 0
        tables.append(again.step("watermark", rows=1).changes)
        with pytest.raises(JobError, match="a later checkpoint of the original job"):
            again.step("checkpoint")
        assert again.step().ended
        assert again.compare(job).height == 0
    assert_frame_equal(*tables, check_row_order=False)


def test_a_replay_to_a_checkpoint_ends_there(start):
    job = start(windows(), parallelism=2)
    job.step(rows=2)
    begin = job.checkpoint().id
    job.step(rows=4)
    end = job.checkpoint().id
    again = job.replay(begin, until=end, paused=True)
    start.watch(again)
    assert again.step(rows=99).rows == 4
    assert again.status == "paused"
    assert again.step().ended
    assert again.status == "stopped"
    assert again.compare(job.at(end)).height == 0


def test_a_watermark_by_hand(start):
    job = start(windows(), parallelism=2)
    job.step(3, rows=1)
    raised = job.advance_watermark("2024-01-01 00:00:10")
    assert (raised.rows, raised.watermark) == (0, MIDNIGHT + dt.timedelta(seconds=10))
    assert changes(raised) == [("+I", "a", 0, 2, 2), ("+I", "b", 0, 1, 1)]
    with pytest.raises(JobError, match="the watermark is at 2024-01-01 00:00:10 already"):
        job.advance_watermark(MIDNIGHT)
    assert job.advance_watermark("30s").watermark == MIDNIGHT + dt.timedelta(seconds=40)
    rest = job.step(rows=99)
    assert (rest.rows, rest.late_rows) == (7, 6)


def test_a_watermark_by_hand_where_a_step_makes_it(start):
    frame = sl.from_frame(ROWS, name="rows").with_columns(pl.col("t").alias("u")).with_watermark("u", "2s")
    job = start(frame.group_by_dynamic("u", every="10s").agg(pl.len().alias("n")), parallelism=2)
    assert job.step(rows=1).watermark == second(1)
    raised = job.advance_watermark(MIDNIGHT + dt.timedelta(seconds=20))
    assert raised.changes["n"].to_list() == [1]
    assert job.step(rows=5).late_rows == 5


def test_the_clock_stands_until_it_is_told_to_go_on(start):
    job = start(windows(trigger=sl.every("10s")), parallelism=2)
    read = job.step(rows=2)
    assert read.changes.height == 0
    assert job.report().clock_us is not None
    early = job.advance_clock("20s")
    assert (early.clock - read.clock, early.rows) == (dt.timedelta(seconds=20), 0)
    assert changes(early) == [("+I", "a", 0, 1, 0), ("+I", "b", 0, 1, 1)]
    assert job.advance_clock("20s").changes.height == 0
    assert job.step(rows=1).clock == early.clock + dt.timedelta(seconds=20)


def test_rows_that_come_by_the_clock_take_it_with_them(start):
    job = start(sl.generate(lambda first, n: pl.DataFrame({"n": range(first, first + n)}), rows_per_second=2), name="g")
    one, other = job.step(), job.step()
    assert (one.rows, other.rows, other.clock - one.clock) == (1, 1, dt.timedelta(seconds=0.5))
    assert job.results()["n"].to_list() == [0, 1]


def test_a_pace_does_not_hold_steps_back(start):
    slow = sl.from_frame(ROWS, event_time="t", watermark="2s", pace="0.001x", name="slow")
    job = start(slow.select("v"), parallelism=1)
    job.step(2, rows=3)
    assert job.results()["v"].to_list() == list(range(6))
    assert job.stop(60) == "stopped"
    assert job.results().height == 6


def test_a_running_job_is_paused_first(start):
    job = start(slow_windows(), paused=False)
    with pytest.raises(JobError, match=r"needs a paused job, got one that is \w+\.\n  → pause\(\) it first"):
        job.step()
    job.pause()
    job.step(rows=99)
    assert job.step().ended
    assert job.results()["n"].sum() + job.late_rows().height == len(SECONDS)


def test_another_parallelism_between_steps(start):
    job = start(windows(), parallelism=2)
    seen = [job.step(4, rows=1)]
    for parallelism in (1, 3):
        job.rescale(parallelism)
        assert (job.status, job.report().rows_in) == ("paused", sum(step.rows for step in seen))
        seen.append(job.step(2, rows=1))
    assert [step.rows for step in seen] == [4, 2, 2]
    assert [step.late_rows for step in seen] == [0, 1, 0]
    job.resume()
    assert job.wait(60) == "finished"
    assert job.results()["n"].sum() == len(SECONDS) - 1


def slow_windows() -> sl.StreamFrame:
    slow = sl.from_frame(ROWS, event_time="t", watermark="2s", pace="0.001x", name="slow")
    return slow.group_by_dynamic("t", every="10s").agg(pl.len().alias("n"))


WRONG = [
    (lambda job: job.step(0), OptionError, "step: needs a whole number, at least 1, got 0"),
    (
        lambda job: job.step("end"),
        OptionError,
        "step: needs a number of batches, 'watermark' or",
    ),
    (lambda job: job.step(rows=True), OptionError, "step: rows: needs a whole number, at least 1, got True"),
    (lambda job: job.advance_watermark("noon"), OptionError, "advance_watermark: needs a datetime"),
    (lambda job: job.advance_clock("0s"), OptionError, "advance_clock: needs a duration above zero"),
    (lambda job: job.step("watermark"), JobError, "no source and no step of the query makes watermarks"),
    (lambda job: job.step("checkpoint"), JobError, "needs the replay of another job"),
]


def test_what_cannot_be_is_said(start):
    job = start(sl.from_frame(ROWS.select("v")).filter(pl.col("v") > 3), parallelism=1, checkpoint_every=None)
    for call, kind, text in WRONG:
        with pytest.raises(kind, match=text):
            call(job)
    assert job.step().changes["v"].to_list() == [4, 5, 6, 7, 8, 9]


def test_a_step_that_fails_says_why(start):
    def broken(frame: pl.DataFrame) -> pl.DataFrame:
        if (frame["v"] == 2).any():
            text = "two!"
            raise ValueError(text)
        return frame

    job = start(stream().map_batches(broken), parallelism=1, checkpoint_every=None)
    job.step(2, rows=1)
    with pytest.raises(JobError, match="two!"):
        job.step(rows=1)
    with pytest.raises(StepFailed, match="two!"):
        job.wait(60)
