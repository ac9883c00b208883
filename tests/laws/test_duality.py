"""The duality law: what a stream gives, folded, is what Polars gives on all rows at once.

Over random queries, rows, arrival orders within the watermark's bound, batch cuts, schedules, parallelism and crashes;
in the simulation, which runs the production tasks, and a few times in real processes.
"""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from naive_oracle import expected

from streamlab.testing.compare import assert_same_rows
from streamlab.testing.simulation import simulate
from streamlab.testing.sources import split_frames
from streamlab.testing.strategies import Query, Stream, queries, streams

KINDS = ("rows", "unbounded", "dynamic", "session", "cumulative")
seeds = st.integers(0, 2**32)
_quick = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
_long = settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))


def _check(query: Query, stream: Stream, seed: int, parallelism: int, splits: int, crashes: int = 0) -> None:
    """Run the query in the simulation and compare. Rows are dealt to the splits in turn, which keeps their order."""
    frame = stream.frame
    number = pl.int_range(frame.height, eager=True) % splits
    parts = [frame.filter(number == split) for split in range(splits)]
    source = split_frames(parts, event_time="at", watermark=f"{stream.bound_us}us")
    wanted = expected(query, frame)
    note(repr(query))
    result = simulate(query(source), seed, parallelism=parallelism, crashes=crashes)
    assert result.late_count == 0
    assert result.dead_letters == ()
    assert_same_rows(result.table, wanted)


@pytest.mark.parametrize("kind", KINDS)
@_quick
@given(data=st.data(), stream=streams(), seed=seeds, parallelism=st.integers(1, 3), splits=st.integers(1, 3))
def test_a_stream_gives_what_polars_gives(
    kind: str, data: st.DataObject, stream: Stream, seed: int, parallelism: int, splits: int
) -> None:
    _check(data.draw(queries(kinds=(kind,))), stream, seed, parallelism, splits)


@pytest.mark.parametrize("kind", KINDS)
@_quick
@given(data=st.data(), stream=streams(), seed=seeds, parallelism=st.integers(1, 3), splits=st.integers(1, 3))
def test_crashes_change_nothing(
    kind: str, data: st.DataObject, stream: Stream, seed: int, parallelism: int, splits: int
) -> None:
    _check(data.draw(queries(kinds=(kind,))), stream, seed, parallelism, splits, crashes=2)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("kind", KINDS)
@_long
@given(
    data=st.data(), stream=streams(max_rows=200), seed=seeds, parallelism=st.integers(1, 3), splits=st.integers(1, 4)
)
def test_a_stream_gives_what_polars_gives_at_length(
    kind: str, data: st.DataObject, stream: Stream, seed: int, parallelism: int, splits: int
) -> None:
    _check(data.draw(queries(kinds=(kind,))), stream, seed, parallelism, splits, crashes=seed % 3)
