"""What a changelog takes back, to the last bit, is a row that it gave and has not taken back since.

Only the sign of zero may differ: rows with 0.0 and -0.0 are equal wherever rows are compared.
"""

from __future__ import annotations

from collections import Counter

import polars as pl
import polars.selectors as cs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import streamlab as sl
from streamlab.core.changelog import ADDS, ROW_KIND
from streamlab.testing.harness import Harness
from streamlab.testing.simulation import simulate
from streamlab.testing.sources import split_frames
from streamlab.testing.strategies import Stream, streams

SPREAD = pl.col("number").clip(-100, 100)
QUERIES = {
    "merged": lambda f: f.group_by("key").agg(SPREAD.var(), pl.col("value").mean()),
    "buffered": lambda f: f.group_by("key").agg(SPREAD.var().alias("var"), SPREAD.median()),
    "buffered, one group": lambda f: f.select(SPREAD.var().alias("var"), SPREAD.median()),
    "of updates": lambda f: f.group_by("key").agg(SPREAD.mean()).select(pl.col("number").var().alias("var"), pl.len()),
    "windows": lambda f: f.group_by_dynamic("at", every="1m", trigger=sl.every_rows(1)).agg(SPREAD.var()),
    "buffered sessions": lambda f: f.group_by_session("at", gap="5s", group_by="key", allowed_lateness="1h").agg(
        SPREAD.var().alias("var"), SPREAD.median()
    ),
}


@pytest.mark.parametrize("name", QUERIES)
@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(stream=streams(nan=False), seed=st.integers(0, 2**32), parallelism=st.integers(1, 2))
def test_what_is_taken_back_was_given(name: str, stream: Stream, seed: int, parallelism: int) -> None:
    query = QUERIES[name](split_frames([stream.frame], event_time="at", watermark="0s"))
    changes = simulate(query, seed, parallelism=parallelism, crashes=1).rows
    if ROW_KIND not in changes.columns:
        assert not changes.height
        return
    changes = changes.with_columns(pl.when(cs.float() == 0).then(0.0).otherwise(cs.float()).name.keep())
    standing: Counter[str] = Counter()
    for *row, kind in changes.select(pl.exclude(ROW_KIND), ROW_KIND).rows():
        if kind in ADDS:
            standing[repr(row)] += 1
        else:
            assert standing[repr(row)] > 0, f"{row} is taken back, but these stand: {standing}"
            standing[repr(row)] -= 1


def test_rows_that_come_one_by_one_leave_one_result() -> None:
    """The variance of these rows has another last digit when Polars finds them in several chunks."""
    rows = pl.DataFrame({"n": [None, None, None, None, 1, 2, 1, None]}, schema={"n": pl.Int64})
    query = split_frames([rows.clear()]).select(pl.col("n").var(), pl.col("n").median().alias("median"), pl.len())
    harness = Harness(query)
    for number in range(rows.height):
        harness.push(rows[number : number + 1])
    assert harness.results().height == 1
