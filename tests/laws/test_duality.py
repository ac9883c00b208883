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

import streamlab as sl
from streamlab.testing.compare import assert_same_rows
from streamlab.testing.oracle import oracle
from streamlab.testing.simulation import simulate
from streamlab.testing.sources import split_frames
from streamlab.testing.strategies import KINDS, Query, Stream, queries, streams

seeds = st.integers(0, 2**32)
_quick = settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
_long = settings(max_examples=1500, deadline=None, suppress_health_check=list(HealthCheck))


def _check(query: Query, stream: Stream, seed: int, parallelism: int, splits: int, crashes: int = 0) -> None:
    """Run the query in the simulation and compare. Rows are dealt to the splits in turn, which keeps their order."""
    source = _dealt(stream, splits)
    wanted = expected(query, stream.frame)
    note(repr(query))
    assert_same_rows(oracle(query(source), stream.frame), wanted)
    result = simulate(query(source), seed, parallelism=parallelism, crashes=crashes)
    assert result.late_count == 0
    assert result.dead_letters == ()
    assert_same_rows(result.table, wanted)


def _dealt(stream: Stream, splits: int, watermark: str | None = None, name: str = "splits") -> sl.StreamFrame:
    number = pl.int_range(stream.frame.height, eager=True) % splits
    parts = [stream.frame.filter(number == split) for split in range(splits)]
    return split_frames(parts, event_time="at", watermark=watermark or f"{stream.bound_us}us", name=name)


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


@_quick
@given(data=st.data(), one=streams(), other=streams(), seed=seeds, parallelism=st.integers(1, 3))
def test_a_union_gives_what_polars_gives(
    data: st.DataObject, one: Stream, other: Stream, seed: int, parallelism: int
) -> None:
    query = data.draw(queries())
    both = sl.concat([_dealt(one, 2, name="one"), _dealt(other, 1, name="other")])
    wanted = expected(query, pl.concat([one.frame, other.frame]))
    assert_same_rows(simulate(query(both), seed, parallelism=parallelism, crashes=1).table, wanted)


COUNTS = pl.len().alias("rows"), pl.col("number").sum(), pl.col("value").mean()
WINDOWS = {
    "tumbling": lambda f, **o: f.group_by_dynamic("at", every="5s", group_by="key", **o).agg(*COUNTS),
    "hopping": lambda f, **o: f.group_by_dynamic("at", every="2s", period="5s", group_by="key", **o).agg(*COUNTS),
    "session": lambda f, **o: f.group_by_session("at", gap="3s", group_by="key", **o).agg(*COUNTS),
    "cumulative": lambda f, **o: f.group_by_cumulative(
        "at", step="2s", every="6s", group_by="key", include_boundaries=True, **o
    ).agg(*COUNTS),
    "median": lambda f, **o: f.group_by_session("at", gap="3s", group_by="key", **o).agg(pl.col("number").median()),
}

EARLY = (None, sl.every_rows(2), sl.every("30ms"))


@pytest.mark.parametrize("name", WINDOWS)
@_quick
@given(
    stream=streams(), seed=seeds, parallelism=st.integers(1, 3), splits=st.integers(1, 3), early=st.sampled_from(EARLY)
)
def test_updates_of_late_rows_end_at_what_polars_gives(
    name: str, stream: Stream, seed: int, parallelism: int, splits: int, early: object
) -> None:
    """The watermark runs ahead of rows, but windows wait for them; some results are given early as well."""
    options = {"allowed_lateness": f"{stream.bound_us + 1}us", "trigger": early}
    query = WINDOWS[name](_dealt(stream, splits, watermark="0s"), **options)
    wanted = oracle(query, stream.frame)
    result = simulate(query, seed, parallelism=parallelism, crashes=1)
    assert result.late_count == 0
    assert_same_rows(result.table, wanted)


@pytest.mark.parametrize("name", ["tumbling", "session"])
@_quick
@given(
    stream=streams(null_times=True), seed=seeds, parallelism=st.integers(1, 3), lateness=st.sampled_from([None, "2s"])
)
def test_no_row_is_lost(name: str, stream: Stream, seed: int, parallelism: int, lateness: str | None) -> None:
    """Rows in = rows counted + late rows + dead letters, when the watermark is too fast and some have no time."""
    query = WINDOWS[name](_dealt(stream, 2, watermark="0s"), allowed_lateness=lateness)
    result = simulate(query, seed, parallelism=parallelism, crashes=1)
    counted = result.table["rows"].sum() if result.table.height else 0
    dead = sum(frame.height for frame in result.dead_letters)
    assert result.rows_in == stream.frame.height == counted + result.late_count + dead


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
