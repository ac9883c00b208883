"""Aggregations that pick values: by event time, by another column; and products."""

from __future__ import annotations

import polars as pl
import pytest
from expression_frames import SCHEMA, assert_same, cuts, frames
from expression_splits import KEY, MERGEABLE, SHAPES, in_parts, split_of
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlab.plan.expressions import split_aggregates

ENGINES = st.sampled_from(["in-memory", "streaming"])
ENDS = ["first", "last", "first_non_null", "last_non_null"]


@settings(deadline=None)
@given(
    data=st.data(),
    end=st.sampled_from(ENDS),
    column=st.sampled_from(["i64", "f64", "text", "items", "at"]),
    shape=st.sampled_from(sorted(SHAPES)),
    keyed=st.booleans(),
    engine=ENGINES,
    grouping=st.lists(st.integers(1, 3), max_size=2),
)
def test_first_and_last_go_by_event_time_then_arrival(
    data: st.DataObject, end: str, column: str, shape: str, keyed: bool, engine: str, grouping: list[int]
) -> None:
    split = split_of(end, column, shape, keyed, "at")
    assert split is not None
    assert split.is_incremental
    assert split.ordered
    assert "at" in split.columns
    frame = data.draw(frames([] if column == "at" else [column]))
    in_order = frame.sort("at", maintain_order=True)
    expression = SHAPES[shape](column, MERGEABLE[end])
    query = in_order.lazy().group_by("key").agg(expression) if keyed else in_order.lazy().select(expression)
    expected = query.collect(engine="in-memory")
    got = in_parts(split, data.draw(cuts(frame)), grouping, engine, keyed=keyed)
    assert_same(got.sort("key") if keyed else got, expected.sort("key") if keyed else expected)


def test_buffered_rows_give_first_by_event_time_too() -> None:
    times = pl.Series([3, 1, 2]).cast(pl.Datetime("us"))
    frame = pl.DataFrame({"key": [1, 1, 1], "at": times, "a": [3, 1, 2]})
    split = split_aggregates([KEY], [pl.col("a").first(), pl.col("a").median().alias("m")], frame.schema, "at")
    assert not split.is_incremental
    assert set(split.columns) == {"a", "at"}
    assert frame.group_by("key").agg(split.buffered)["a"].to_list() == [1]


@settings(deadline=None)
@given(data=st.data(), largest=st.booleans(), filtered=st.booleans(), engine=ENGINES)
def test_min_by_and_max_by_pick_a_row_at_the_extreme(
    data: st.DataObject, largest: bool, filtered: bool, engine: str
) -> None:
    value, by = pl.struct("i64", "f64"), pl.col("i64")
    if filtered:
        value, by = value.filter("yes"), by.filter("yes")
    take = pl.Expr.max_by if largest else pl.Expr.min_by
    split = split_aggregates([KEY], [take(value, by).alias("picked")], SCHEMA)
    assert split.is_incremental
    frame = data.draw(frames(["i64", "f64"]))
    got = in_parts(split, data.draw(cuts(frame)), [2], engine, keyed=True)
    rows = frame.filter("yes") if filtered else frame
    extreme = by.max() if largest else by.min()
    expected = frame.group_by("key").agg(extreme.alias("extreme")).sort("key")
    assert got.sort("key").select(pl.col("picked").struct.field("i64"))["i64"].equals(expected["extreme"])
    there = [*rows.select(pl.struct("key", "i64", "f64"))["key"].to_list(), None]
    for key, picked in got.rows():
        assert picked is None or picked["i64"] is None or str({"key": key, **picked}) in map(str, there)


@settings(deadline=None)
@given(
    numbers=st.lists(st.one_of(st.none(), st.integers(-40, 40)), max_size=10),
    dtype=st.sampled_from([pl.Int8, pl.Int64, pl.UInt64, pl.Float64, pl.Boolean]),
    engine=ENGINES,
    data=st.data(),
)
def test_product(numbers: list[int | None], dtype: type[pl.DataType], engine: str, data: st.DataObject) -> None:
    if dtype in {pl.UInt64, pl.Boolean}:
        numbers = [None if n is None else abs(n) for n in numbers]
    frame = pl.DataFrame({"key": pl.Series([1] * len(numbers), dtype=pl.Int64), "a": pl.Series(numbers).cast(dtype)})
    split = split_aggregates([KEY], [pl.col("a").product()], frame.schema)
    assert split.is_incremental
    expected = frame.lazy().group_by("key").agg(pl.col("a").product()).collect(engine="in-memory")
    assert_same(in_parts(split, data.draw(cuts(frame)), [2], engine, keyed=True), expected)


def overflowing() -> list[tuple[str, list[int], pl.DataType, pl.Expr]]:
    a = pl.col("a")
    return [
        ("Int32", [2**30, 2**30], pl.Int32(), a.sum()),
        ("UInt32", [2**31, 2**31], pl.UInt32(), a.sum()),
        ("Int64", [2**62, 2**62], pl.Int64(), a.sum()),
        ("Int64 below", [-(2**63), -1], pl.Int64(), a.sum()),
        ("Int64 in one batch, twice around", [2**62] * 8, pl.Int64(), a.sum()),
        ("UInt64", [2**63, 2**63], pl.UInt64(), a.sum()),
        ("Int128", [2**126, 2**126], pl.Int128(), a.sum()),
        ("Duration", [2**62, 2**62], pl.Duration("us"), a.sum()),
        ("Decimal", [10**37] * 10, pl.Decimal(38, 0), a.sum()),
        ("Int64 product", [2**32, 2**32], pl.Int64(), a.product()),
        ("UInt64 product", [2**32, 2**33], pl.UInt64(), a.product()),
        ("inside", [2**62, 2**62], pl.Int64(), (a.sum() / pl.len()).round(2)),
    ]


@pytest.mark.parametrize("case", overflowing(), ids=lambda case: case[0])
@pytest.mark.parametrize("pieces", [1, 2])
@pytest.mark.parametrize("buffered", [False, True])
def test_integers_do_not_wrap(case: tuple[str, list[int], pl.DataType, pl.Expr], pieces: int, buffered: bool) -> None:
    _, values, dtype, expression = case
    series = pl.Series("a", values, dtype=pl.Int128).cast(pl.Int64 if isinstance(dtype, pl.Duration) else dtype)
    frame = pl.DataFrame({"key": [1] * len(values), "a": series.cast(dtype)})
    aggregates = [expression, *([pl.col("key").median().alias("m")] if buffered else [])]
    split = split_aggregates([KEY], aggregates, frame.schema)

    def run() -> pl.DataFrame:
        if buffered:
            return frame.lazy().group_by("key").agg(split.buffered).collect(engine="in-memory")
        return in_parts(split, list(frame.iter_slices(-(-len(values) // pieces))), [], "in-memory", keyed=True)

    with pytest.raises(pl.exceptions.PolarsError, match=r"overflows|overflow in decimal"):
        run()


@pytest.mark.parametrize(
    ("values", "dtype", "product"),
    [
        ([2**62, 2**62, -(2**62), -(2**62), 2**63 - 1], pl.Int64, False),
        ([2**63, 2**63 - 1], pl.UInt64, False),
        ([-(2**63), 0], pl.Int64, False),
        ([2**31, 2**31, 2, -1], pl.Int64, True),
        ([2**62, 2**62, 0], pl.Int64, True),
        ([2**32, 2**31], pl.UInt64, True),
    ],
)
def test_results_at_the_edge_fit(values: list[int], dtype: type[pl.DataType], product: bool) -> None:
    frame = pl.DataFrame({"key": [1] * len(values), "a": pl.Series(values, dtype=dtype)})
    split = split_aggregates([KEY], [pl.col("a").product() if product else pl.col("a").sum()], frame.schema)
    exact = 1
    for value in values:
        exact *= value
    got = in_parts(split, [frame[:1], frame[1:]], [], "streaming", keyed=True)
    assert got["a"].to_list() == [exact if product else sum(values)]
