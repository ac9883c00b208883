"""Notes of event times: bounded, taken once, honest about what is not known."""

from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlab.observe.history import SAMPLED
from streamlab.observe.time_notes import RowTime, TimeNotes, bucket_end_ms, bucket_of_ms


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=20))
def test_a_bucket_bounds_what_is_in_it_by_a_fifth(spans: list[float]) -> None:
    buckets = pl.DataFrame({"ms": spans}).select(bucket_of_ms(pl.col("ms"))).to_series().to_list()
    for ms, bucket in zip(spans, buckets, strict=True):
        bound = bucket_end_ms(bucket)
        assert bound >= ms * (1 - 1e-6)
        assert bucket == 0 or bound <= ms * 2 ** (1 / 4) * (1 + 1e-6)


def test_what_was_taken_is_gone() -> None:
    notes = TimeNotes()
    assert notes.take("step", 1) is None
    notes.arrived(3, 10, 20)
    notes.arrived(2, 5, 15)
    taken = notes.take("step", 7)
    assert taken is not None
    assert (taken.step, taken.until_us, taken.rows, taken.earliest_us, taken.latest_us) == ("step", 7, 5, 5, 20)
    assert taken.watermark_us is None
    assert notes.take("step", 8) is None


def test_one_batch_of_unknown_beginning_makes_the_beginning_unknown() -> None:
    notes = TimeNotes()
    notes.arrived(3, 10, 20)
    notes.arrived(3, None, 30)
    taken = notes.take("step", 7)
    assert taken is not None
    assert (taken.earliest_us, taken.latest_us) == (None, 30)


@pytest.mark.parametrize("batches", [1, 10, 1000])
def test_few_batches_are_sampled_however_many_there_are(batches: int) -> None:
    notes, sampled = TimeNotes(), 0
    for at in range(batches):
        if notes.wants_sample:
            sampled += 1
            notes.sampled([RowTime(us, None) for us in range(at, at + SAMPLED)])
        notes.arrived(100, at, at)
    assert sampled == math.floor(math.log2(batches)) + 1
    taken = notes.take("step", 1)
    assert taken is not None
    assert len(taken.sample_us) == SAMPLED


def test_notes_that_nobody_takes_stay_small() -> None:
    notes = TimeNotes()
    row = pl.DataFrame({"n": [1]})
    details = pl.DataFrame({"outcome": ["set aside"]})
    for at in range(3_000):
        notes.late(1, [RowTime(at, at + 1)], details, row)
        notes.late_rows_by([(at % 5, 1)])
    taken = notes.take("step", 1)
    assert taken is not None
    assert (taken.late_rows, len(taken.late_sample_us)) == (3_000, SAMPLED)
    assert taken.late_watermark_us == tuple(us + 1 for us in taken.late_sample_us)
    assert sum(notes.late_by.values()) == 3_000
    assert notes._late_rows == 1_000
