"""The ring of samples: what is recent is kept whole, the course thinly, and nothing that was counted is lost."""

from __future__ import annotations

import datetime as dt
import tracemalloc
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US
from streamlab.observe.history import SAMPLED, Ring, Sample, Sampler, merged
from streamlab.observe.history_frames import history_frames
from streamlab.observe.status import Arrivals, JobState, JobStatus, SplitStatus, TaskStatus, TimeStatus

SECOND = 1_000_000
HALF = 500_000
NOW = 1_700_000_000_000_000


def arrival(until_us: int, rows: int, earliest: int | None, latest: int | None, **more: object) -> Arrivals:
    return Arrivals(step="read", until_us=until_us, rows=rows, earliest_us=earliest, latest_us=latest, **more)


def status(at_us: int, *arrivals: Arrivals, **more: object) -> JobStatus:
    split = SplitStatus(split="a", step="read", watermark_us=at_us, begun=True)
    task = TaskStatus(vertex="read", subtask=0, rows_in=7, time=TimeStatus(splits=(split,), arrivals=arrivals))
    known = {"id": "j", "name": "n", "state": JobState.RUNNING, "reported_us": at_us, "tasks": (task,)}
    return JobStatus(**{**known, **more})


def taken(*statuses: JobStatus) -> list[Sample]:
    sampler = Sampler()
    return [sample for one in statuses if (sample := sampler.sample(one)) is not None]


def test_samples_are_half_a_second_apart() -> None:
    samples = taken(*(status(NOW + at * 100_000) for at in range(21)))
    assert [sample.at_us - NOW for sample in samples] == [at * HALF for at in range(5)]
    assert [sample.number for sample in samples] == [1, 2, 3, 4, 5]


def test_a_change_of_state_is_always_a_sample() -> None:
    samples = taken(status(NOW), status(NOW + 1, state=JobState.PAUSED), status(NOW + 2))
    assert [sample.state for sample in samples] == ["running", "paused", "running"]


def test_a_clock_that_is_set_back_does_not_stop_the_samples() -> None:
    assert len(taken(status(NOW), status(NOW - SECOND), status(NOW - SECOND // 2))) == 3


def test_arrivals_that_are_reported_again_are_taken_once() -> None:
    first, second = arrival(NOW, 3, 1, 2), arrival(NOW + HALF, 4, 3, 9)
    samples = taken(status(NOW, first), status(NOW + HALF, first, second), status(NOW + 2 * HALF, first, second))
    assert [[one.rows for one in sample.arrivals] for sample in samples] == [[3], [4], []]


def test_a_sampler_goes_on_where_another_ended() -> None:
    before = taken(status(NOW, arrival(NOW, 3, 1, 2)))[0]
    sampler = Sampler(before)
    assert sampler.sample(status(NOW + 1)) is None
    after = sampler.sample(status(NOW + SECOND, arrival(NOW, 3, 1, 2)))
    assert after is not None
    assert (after.number, after.arrivals) == (2, ())


def test_what_is_kept_takes_no_more_memory_after_hours() -> None:
    ring, sampler, held = Ring(), Sampler(), []
    tracemalloc.start()
    try:
        for at in range(3 * 3_600):
            sample = sampler.sample(status(NOW + at * HALF, arrival(NOW + at * HALF, 10, at, at + 1)))
            assert sample is not None
            ring.add(sample)
            if at in (3_600, 3 * 3_600 - 1):
                held.append(tracemalloc.get_traced_memory()[0])
    finally:
        tracemalloc.stop()
    assert held[1] < 1.5 * held[0] < 1.5 * ring._budget


def minute_by_minute(seconds: int, ring: Ring) -> list[Sample]:
    sampler = Sampler()
    every = []
    for at in range(2 * seconds):
        sample = sampler.sample(status(NOW + at * HALF, arrival(NOW + at * HALF, 10, at, at + 1), rows_in=at))
        assert sample is not None
        every.append(sample)
        ring.add(sample)
    return every


def test_an_hour_keeps_recent_detail_and_the_whole_course() -> None:
    ring = Ring()
    every = minute_by_minute(3600, ring)
    kept = ring.samples
    recent = [one for one in every if one.at_us >= every[-1].at_us - 300 * SECOND]
    assert list(kept[-len(recent) :]) == recent
    assert kept[0].from_us == NOW
    assert 300 <= len(kept) - len(recent) <= 600
    gaps = [later.at_us - earlier.at_us for earlier, later in pairwise(kept)]
    assert max(gaps) <= 16 * SECOND
    assert ring.size_bytes <= 2_000_000


def test_thinning_loses_no_row_that_arrived() -> None:
    ring = Ring(recent_us=10 * SECOND, course=20)
    minute_by_minute(200, ring)
    arrivals = [one for sample in ring.samples for one in sample.arrivals]
    assert len(ring.samples) < 50
    assert sum(one.rows for one in arrivals) == 400 * 10
    assert (min(one.earliest_us for one in arrivals), max(one.latest_us for one in arrivals)) == (0, 400)
    assert [sample.rows_in for sample in ring.samples] == sorted({sample.rows_in for sample in ring.samples})


def test_a_small_budget_is_kept() -> None:
    ring = Ring(budget_bytes=20_000)
    minute_by_minute(600, ring)
    assert ring.size_bytes <= 20_000
    assert ring.samples[-1].rows_in == 1199
    assert ring.samples[0].from_us == NOW


def test_a_ring_that_is_loaded_again_keeps_what_it_had() -> None:
    ring = Ring(recent_us=10 * SECOND, course=20)
    minute_by_minute(100, ring)
    again = Ring(ring.samples, recent_us=10 * SECOND, course=20)
    assert [one.number for one in again.samples][-20:] == [one.number for one in ring.samples][-20:]
    arrived = [sum(one.rows for sample in each.samples for one in sample.arrivals) for each in (ring, again)]
    assert arrived == [2000, 2000]


def test_bounds_that_are_not_known_stay_unknown() -> None:
    known, blurred, late = arrival(1, 5, 10, 20), arrival(2, 5, None, 30), arrival(3, 0, None, None, late_rows=2)
    a, b, c = (
        one
        for sample in taken(*(status(NOW + at * HALF, x) for at, x in enumerate((known, blurred, late))))
        for one in [sample]
    )
    both, all_three = merged(a, b), merged(merged(a, b), c)
    assert (both.arrivals[0].earliest_us, both.arrivals[0].latest_us) == (None, 30)
    assert (merged(a, c).arrivals[0].earliest_us, merged(a, c).arrivals[0].late_rows) == (10, 2)
    assert all_three.arrivals[0].rows == 10


@given(st.lists(st.lists(st.integers(), max_size=SAMPLED), min_size=1, max_size=6))
def test_samples_of_times_stay_small_and_are_of_those_times(samples: list[list[int]]) -> None:
    whole = taken(
        *(status(NOW + at * HALF, arrival(NOW + at, 1, 0, 0, sample_us=tuple(one))) for at, one in enumerate(samples))
    )
    together = whole[0]
    for one in whole[1:]:
        together = merged(together, one)
    found = together.arrivals[0].sample_us
    assert len(found) <= SAMPLED
    assert set(found) <= {time for one in samples for time in one}


def test_samples_travel_as_msgpack() -> None:
    (sample,) = taken(status(NOW, arrival(NOW, 1, 2, 3, sample_us=(2, 3))))
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(sample), type=Sample) == sample


# -- frames --------------------------------------------------------------------------------------------------------


def test_frames_have_their_columns_without_samples() -> None:
    empty, full = history_frames([]), history_frames(taken(status(NOW, arrival(NOW, 1, 2, 3))))
    for before, after in zip(empty, full, strict=True):
        assert before.schema == after.schema
        assert before.height == 0
        assert after.height == 1
        assert after.columns[0] == "at"


def test_frames_hold_times_and_the_row_of_each_task() -> None:
    frames = history_frames(taken(status(NOW), status(NOW + SECOND)))
    when = dt.datetime.fromtimestamp(NOW / SECOND, dt.UTC)
    assert frames.tasks.select("at", "vertex", "subtask", "rows_in").row(0) == (when, "read", 0, 7)
    assert frames.splits.select("split", "watermark").row(1) == ("a", when + dt.timedelta(seconds=1))
    assert frames.job["state"].to_list() == ["running", "running"]


@pytest.mark.parametrize("us", [MIN_TIME_US, MAX_TIME_US, None])
def test_a_watermark_that_is_no_time_is_null(us: int | None) -> None:
    assert history_frames(taken(status(NOW, watermark_us=us))).job["watermark"].to_list() == [None]
