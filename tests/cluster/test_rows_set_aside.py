"""``on_error="dead_letter"``: rows that a step fails on go to the dead letters, each by itself; the job goes on."""

from __future__ import annotations

import polars as pl
import pytest

import streamlab as sl
from streamlab.core.errors import StepFailed

FRAME = pl.DataFrame({"n": [str(n) if n % 100 else "?" for n in range(1000)]})


def picky(frame: pl.DataFrame) -> pl.DataFrame:
    if (frame["n"] % 300 == 7).any():
        msg = "cannot bear it"
        raise ValueError(msg)
    return frame


def numbers() -> sl.StreamFrame:
    return sl.from_frame([FRAME[:300], FRAME[300:]]).with_columns(pl.col("n").str.to_integer())


def test_rows_that_a_step_fails_on_are_set_aside():
    kept = numbers().map_batches(picky, schema=numbers().schema)
    job = kept.start(on_error="dead_letter", parallelism=2)
    job.wait(60)
    letters = dict(job.dead_letters().group_by("step").agg("input").rows())
    assert sorted(job.results()["n"]) == [n for n in range(1000) if n % 100 and n % 300 != 7]
    assert letters["with_columns"] == ['{"n":"?"}'] * 10
    assert sorted(letters["map_batches picky"]) == ['{"n":307}', '{"n":607}', '{"n":7}', '{"n":907}']
    assert job.report().dead_letters == 14


def test_otherwise_the_job_fails_and_says_so():
    with pytest.raises(StepFailed, match='on_error="dead_letter" sets such rows aside'):
        numbers().collect()
