"""The cut law: what a stream gives, its late rows included, does not depend on how rows were cut into batches.

Over random queries, rows, watermarks that many rows come behind, cuts, schedules and parallelism. What all others are
compared with is the stream whose rows come one by one: so does Flink judge them, with a watermark after each row.
"""

from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from streamlab.core.changelog import ROW_KIND
from streamlab.testing.compare import assert_same_rows
from streamlab.testing.simulation import SimulationResult, simulate
from streamlab.testing.sources import split_frames
from streamlab.testing.strategies import SCHEMA, SECOND_US, Stream, queries, streams

seeds = st.integers(0, 2**32)
delays = st.sampled_from(["0s", "1us", "1s", "4s"])
sizes = st.one_of(st.integers(2, 12), st.just(1_000))
_quick = settings(max_examples=15, deadline=None, suppress_health_check=list(HealthCheck))
_long = settings(max_examples=2_000, deadline=None, suppress_health_check=list(HealthCheck))

NUMBER = pl.col("number")
COUNTS = pl.len().alias("rows"), NUMBER.sum(), pl.col("value").mean()


def _double(frame: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([frame, frame])


def _same(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(NUMBER * 2)


def _in_order(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.sort("at", "number")


def _backwards_in_part(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.reverse().filter(NUMBER % 3 != 0)


def _known_only(frame: pl.DataFrame) -> pl.DataFrame:
    return (
        frame.select("at", "key", "number").sort("number").with_columns(at=pl.col("at") + pl.duration(microseconds=1))
    )


def _by_pandas(frame: Any) -> Any:
    return frame.sort_values(["number", "at"], ascending=False)


WINDOWS = {
    "tumbling": lambda f: f.group_by_dynamic("at", every="5s", group_by="key").agg(*COUNTS),
    "hopping": lambda f: f.group_by_dynamic("at", every="2s", period="7s", group_by="key").agg(*COUNTS),
    "gaps": lambda f: f.group_by_dynamic("at", every="5s", period="3s").agg(*COUNTS),
    "cumulative": lambda f: f.group_by_cumulative(
        "at", step="2s", every="6s", group_by="key", include_boundaries=True
    ).agg(*COUNTS),
    "session": lambda f: f.group_by_session("at", gap="3s", group_by="key").agg(*COUNTS),
    "session of all": lambda f: f.group_by_session("at", gap="1s").agg(*COUNTS),
    "median": lambda f: f.group_by_dynamic("at", every="2s", period="7s", group_by="key").agg(NUMBER.median()),
    "median session": lambda f: f.group_by_session("at", gap="3s", group_by="key").agg(NUMBER.median()),
    "late hopping": lambda f: f.group_by_dynamic(
        "at", every="2s", period="7s", group_by="key", allowed_lateness="2s"
    ).agg(*COUNTS),
    "late session": lambda f: f.group_by_session("at", gap="2s", group_by="key", allowed_lateness="3s").agg(*COUNTS),
    "of a zone": lambda f: (
        f.with_columns(pl.col("at").dt.replace_time_zone("UTC").dt.convert_time_zone("Asia/Kolkata"))
        .group_by_dynamic("at", every="3s", period="9s", group_by="key")
        .agg(*COUNTS)
    ),
    "behind steps": lambda f: (
        f.filter(NUMBER.is_not_null())
        .with_columns(pl.col("key").fill_null("none"), twice=pl.concat_list(NUMBER, NUMBER))
        .explode("twice")
        .select(pl.all().exclude("flag"))
        .rename({"key": "k"})
        .group_by_session("at", gap="3s", group_by="k")
        .agg(*COUNTS)
    ),
    "behind a function": lambda f: (
        f.map_batches(_same, schema=f.collect_schema())
        .map_batches(_double, schema=f.collect_schema())
        .group_by_dynamic("at", every="5s", group_by="key")
        .agg(*COUNTS)
    ),
    "behind functions that move rows": lambda f: (
        f.map_batches(_in_order, schema=f.collect_schema())
        .map_batches(_backwards_in_part, schema=f.collect_schema())
        .group_by_dynamic("at", every="5s", group_by="key")
        .agg(pl.len().alias("rows"), NUMBER.sum())
    ),
    "behind a function that drops what it does not know": lambda f: (
        f.select("at", "key", "number")
        .map_batches(_known_only, schema={"at": pl.Datetime("us"), "key": pl.String, "number": pl.Int64})
        .group_by_dynamic("at", every="5s", group_by="key")
        .agg(pl.len().alias("rows"), NUMBER.sum())
    ),
    "behind pandas": lambda f: (
        f.select("at", "number", k=NUMBER % 3)
        .map_batches(_by_pandas, as_="pandas", schema={"at": pl.Datetime("us"), "number": pl.Int64, "k": pl.Int64})
        # No sessions: whether a late row joins one depends on the order of rows, which such a function decides.
        .group_by_dynamic("at", every="3s", group_by="k")
        .agg(pl.len().alias("rows"), NUMBER.sum())
    ),
    "behind a join": lambda f: (
        f.join(_TABLE, on="key", how="left").group_by_dynamic("at", every="5s", group_by="label").agg(*COUNTS)
    ),
    "own watermark": lambda f: (
        f.with_watermark("at", "1s").group_by_session("at", gap="3s", group_by="key").agg(*COUNTS)
    ),
    "a window of windows": lambda f: (
        f.group_by_dynamic("at", every="2s", group_by="key")
        .agg(*COUNTS)
        .group_by_dynamic("at", every="6s")
        .agg(pl.len(), NUMBER.sum())
    ),
}
MOVING = (
    "behind functions that move rows",
    "behind a function that drops what it does not know",
    "behind pandas",
)
"""Queries whose functions put rows in another order."""
_TABLE = pl.DataFrame({"key": ["hot", "a", "b"], "label": ["H", "A", "B"]})


def _run(query, stream: Stream, delay: str, seed: int, rows: int | None, parallelism: int = 1) -> SimulationResult:
    source = split_frames([stream.frame], event_time="at", watermark=delay)
    return simulate(query(source), seed, parallelism=parallelism, batch_rows=rows)


def _late(result: SimulationResult) -> pl.DataFrame:
    frames = [frame.drop(ROW_KIND, strict=False) for frame in result.late_rows]
    return pl.concat(frames) if frames else pl.DataFrame()


def _check(query, stream: Stream, delay: str, seed: int, rows: int, parallelism: int) -> None:
    one_by_one = _run(query, stream, delay, seed, 1)
    cut = _run(query, stream, delay, seed, rows, parallelism)
    note(f"late rows: {one_by_one.late_count}")
    assert cut.late_count == one_by_one.late_count
    assert_same_rows(_late(cut), _late(one_by_one))
    assert_same_rows(cut.table, one_by_one.table)


@st.composite
def _overtaking(draw: st.DrawFn) -> Stream:
    """Draw rows of which about half come too late, and whose numbers put them in quite another order.

    A row that takes the watermark of another one, because a function has moved it, is judged otherwise then.
    """
    moves = draw(st.lists(st.sampled_from([3, 4, 6, 7, -2, -5, -8, -13]), min_size=12, max_size=40))
    numbers = draw(st.permutations(range(len(moves))))
    # What falls back comes from where the stream has got to, and does not take it back.
    ahead = pl.Series(moves).clip(0).cum_sum()
    at = (ahead + pl.Series(moves).clip(upper_bound=0)) * SECOND_US
    keys = draw(st.lists(st.sampled_from(["hot", "a"]), min_size=len(moves), max_size=len(moves)))
    columns = {"at": at, "key": keys, "number": numbers, "value": [0.25] * len(moves), "flag": [True] * len(moves)}
    return Stream(pl.DataFrame(columns, schema={**SCHEMA, "at": pl.Int64()}).cast(SCHEMA), 0)


@pytest.mark.parametrize("name", MOVING)
@_quick
@given(stream=_overtaking(), delay=st.sampled_from(["0s", "1s"]), seed=seeds, rows=st.sampled_from([7, 1_000]))
def test_functions_that_move_rows_leave_each_its_watermark(
    name: str, stream: Stream, delay: str, seed: int, rows: int
) -> None:
    _check(WINDOWS[name], stream, delay, seed, rows, 1)


@pytest.mark.parametrize("name", WINDOWS)
@_quick
@given(stream=streams(), delay=delays, seed=seeds, rows=sizes, parallelism=st.integers(1, 3))
def test_cuts_change_neither_results_nor_late_rows(
    name: str, stream: Stream, delay: str, seed: int, rows: int, parallelism: int
) -> None:
    _check(WINDOWS[name], stream, delay, seed, rows, parallelism)


@_quick
@given(data=st.data(), stream=streams(), delay=delays, seed=seeds, rows=sizes, parallelism=st.integers(1, 3))
def test_cuts_change_no_random_query(
    data: st.DataObject, stream: Stream, delay: str, seed: int, rows: int, parallelism: int
) -> None:
    query = data.draw(queries())
    note(repr(query))
    _check(query, stream, delay, seed, rows, parallelism)


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", WINDOWS)
@_long
@given(stream=streams(max_rows=120), delay=delays, seed=seeds, rows=sizes, parallelism=st.integers(1, 3))
def test_cuts_of_longer_streams(name: str, stream: Stream, delay: str, seed: int, rows: int, parallelism: int) -> None:
    _check(WINDOWS[name], stream, delay, seed, rows, parallelism)
