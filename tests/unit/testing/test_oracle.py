"""The batch oracle, against results that were worked out by hand."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest

import streamlab as sl
from streamlab.core.errors import InternalError
from streamlab.plan import nodes
from streamlab.testing.oracle import oracle, read_all


def at(minute: int, hour: int = 0) -> dt.datetime:
    return dt.datetime(1969, 12, 31, 23) + dt.timedelta(hours=1 + hour, minutes=minute)  # noqa: DTZ001 - naive is UTC


ROWS = pl.DataFrame(
    {
        "ts": [at(12), at(3), at(-4), None, at(3), at(31)],
        "k": ["a", "a", "b", "a", None, "a"],
        "n": [1, 2, 3, 4, 5, 6],
    },
    schema={"ts": pl.Datetime("us"), "k": pl.String, "n": pl.Int64},
)


@pytest.fixture
def rows() -> sl.StreamFrame:
    return sl.from_frame(ROWS, event_time="ts")


def by_time(frame: pl.DataFrame) -> list[tuple[object, ...]]:
    return sorted(frame.rows(), key=str)


def test_rows_without_event_time_are_left_out(rows: sl.StreamFrame) -> None:
    assert oracle(rows)["n"].to_list() == [1, 2, 3, 5, 6]
    assert oracle(sl.from_frame(ROWS))["n"].to_list() == [1, 2, 3, 4, 5, 6]
    assert oracle(sl.from_frame(ROWS).with_watermark("ts", "1h")).height == 5


def test_inputs_can_be_given(rows: sl.StreamFrame) -> None:
    assert oracle(rows, ROWS.head(2)).height == 2
    assert oracle(rows.plan, {"from_frame": ROWS.tail(1)})["n"].to_list() == [6]


def test_sources_are_read_to_their_end() -> None:
    source = sl.generate(lambda start, n: pl.DataFrame({"i": range(start, start + n)}), limit=2500).plan

    assert isinstance(source, nodes.Scan)
    assert read_all(source.source)["i"].to_list() == list(range(2500))


def test_steps(rows: sl.StreamFrame) -> None:
    names = pl.DataFrame({"k": ["a"], "name": ["Anna"]})
    query = rows.filter(pl.col("n") < 6).join(names, on="k").with_columns(pl.col("n") * 10).head(1)

    assert oracle(query.select("name", "n")).rows() == [("Anna", 10)]


def test_functions(rows: sl.StreamFrame) -> None:
    doubled = rows.select("n").map_batches(lambda b: b.with_columns(pl.col("n") * 2))
    pandas = rows.select("n").map_batches(lambda b: b.assign(n=b["n"] + 1), as_="pandas")

    assert oracle(doubled)["n"].to_list() == [2, 4, 6, 10, 12]
    assert oracle(pandas)["n"].to_list() == [2, 3, 4, 6, 7]


def test_union_shares_its_input(rows: sl.StreamFrame) -> None:
    assert oracle(sl.concat([rows, rows.filter(n=1)]))["n"].to_list() == [1, 2, 3, 5, 6, 1]


def test_first_and_last_go_by_event_time(rows: sl.StreamFrame) -> None:
    result = oracle(rows.group_by("k").agg(first=pl.col("n").first(), last=pl.col("n").last()))

    assert by_time(result) == [("a", 2, 6), ("b", 3, 3), (None, 5, 5)]


def test_total(rows: sl.StreamFrame) -> None:
    assert oracle(rows.select(pl.len(), pl.col("n").sum())).rows() == [(5, 17)]
    assert oracle(rows.filter(n=99).select(pl.len(), pl.col("n").sum())).rows() == [(0, 0)]


def test_tumbling(rows: sl.StreamFrame) -> None:
    result = oracle(rows.group_by_dynamic("ts", every="10m", offset="1m").agg(pl.col("n").sum()))

    assert result.rows() == [(at(-9), 3), (at(1), 7), (at(11), 1), (at(31), 6)]


def test_hopping_windows_start_before_the_first_row(rows: sl.StreamFrame) -> None:
    result = oracle(
        rows.group_by_dynamic("ts", every="10m", period="20m", group_by="k", include_boundaries=True).agg(pl.len())
    )

    assert result.columns == ["k", "_lower_boundary", "_upper_boundary", "ts", "len"]
    assert set(result.select("k", "ts", "len").rows()) == {
        ("a", at(-10), 1),
        ("a", at(0), 2),
        ("a", at(10), 1),
        ("a", at(20), 1),
        ("a", at(30), 1),
        ("b", at(-10), 1),
        ("b", at(-20), 1),
        (None, at(-10), 1),
        (None, at(0), 1),
    }
    assert (result["_upper_boundary"] - result["_lower_boundary"]).unique().to_list() == [dt.timedelta(minutes=20)]


def test_gaps_between_windows_lose_rows(rows: sl.StreamFrame) -> None:
    result = oracle(rows.group_by_dynamic("ts", every="10m", period="3m").agg(pl.col("n").sum()))

    assert by_time(result) == [(at(10), 1), (at(30), 6)]


def test_hopping_months() -> None:
    days = pl.DataFrame({"ts": [dt.date(2024, 1, 31), dt.date(2024, 2, 29)]})
    query = sl.from_frame(days, event_time="ts").group_by_dynamic("ts", every="1mo", period="2mo").agg(pl.len())

    assert by_time(oracle(query)) == [(dt.date(2023, 12, 1), 1), (dt.date(2024, 1, 1), 2), (dt.date(2024, 2, 1), 1)]


def test_cumulative(rows: sl.StreamFrame) -> None:
    result = oracle(rows.group_by_cumulative("ts", step="10m", every="30m").agg(pl.col("n").sum()))

    assert by_time(result.select("ts", "_upper_boundary", "n")) == [
        (at(-30), at(0), 3),
        (at(0), at(10), 7),
        (at(0), at(20), 8),
        (at(0), at(30), 8),
        (at(30), at(40), 6),
        (at(30), at(50), 6),
        (at(30), at(60), 6),
    ]


def test_sessions_merge_when_they_touch(rows: sl.StreamFrame) -> None:
    query = rows.group_by_session("ts", gap="9m", group_by="k", include_boundaries=True).agg(pl.col("n").sum())

    assert by_time(oracle(query).select("k", "ts", "_upper_boundary", "n")) == [
        ("a", at(3), at(21), 3),
        ("a", at(31), at(40), 6),
        ("b", at(-4), at(5), 3),
        (None, at(3), at(12), 5),
    ]


def test_sessions_without_keys(rows: sl.StreamFrame) -> None:
    result = oracle(rows.group_by_session("ts", gap="9m").agg(pl.col("n").sum(), pl.col("k").first()))

    assert by_time(result) == [(at(-4), 11, "b"), (at(31), 6, "a")]


def test_windows_of_nothing_are_nothing(rows: sl.StreamFrame) -> None:
    empty = rows.filter(n=99)

    for grouped in (
        empty.group_by_dynamic("ts", every="1h", period="2h"),
        empty.group_by_session("ts", gap="1h", group_by="k"),
        empty.group_by_cumulative("ts", step="1h", every="2h"),
    ):
        query = grouped.agg(pl.len())
        assert oracle(query).schema == query.schema
        assert oracle(query).height == 0


def test_having(rows: sl.StreamFrame) -> None:
    assert oracle(rows.group_by("k").having(pl.len() > 1).agg(pl.col("n").max())).rows() == [("a", 6)]


def test_unknown_nodes_are_named(rows: sl.StreamFrame) -> None:
    class Strange(nodes.Node):
        pass

    with pytest.raises(InternalError, match="Strange"):
        oracle(Strange(step="strange", schema=pl.Schema()))
