"""The law of a split: partial, merge in any grouping, final, equals Polars' own group_by over all rows."""

from __future__ import annotations

import functools

import polars as pl
import pytest
from expression_frames import COLUMNS, SCHEMA, assert_same, cuts, frames
from hypothesis import given
from hypothesis import strategies as st

from streamlab.core.aggregation import AggregateSplit
from streamlab.plan.expressions import split_aggregates

KEY = pl.col("key")


def grouped(frame: pl.LazyFrame, aggregates: tuple[pl.Expr, ...], *, keyed: bool) -> pl.LazyFrame:
    return frame.group_by("key", maintain_order=True).agg(aggregates) if keyed else frame.select(aggregates)


def in_parts(split: AggregateSplit, pieces: list[pl.DataFrame], grouping: list[int], engine: str, *, keyed: bool) -> pl.DataFrame:
    """Run a split: partial results of each piece, merged group by group, then all together, then final."""
    partials = [grouped(piece.lazy(), split.partial, keyed=keyed).collect(engine=engine) for piece in pieces]
    while grouping:
        n = min(grouping[0], len(partials))
        merged = grouped(pl.concat(partials[:n]).lazy(), split.merge, keyed=keyed).collect(engine=engine)
        assert merged.schema == partials[0].schema, "merged states must look like partial ones"
        partials, grouping = [merged, *partials[n:]], grouping[1:]
    merged = grouped(pl.concat(partials).lazy(), split.merge, keyed=keyed).collect(engine=engine)
    return merged.select(*([KEY] if keyed else []), *split.final)


MERGEABLE = {
    "sum": lambda c: c.sum(),
    "mean": lambda c: c.mean(),
    "min": lambda c: c.min(),
    "max": lambda c: c.max(),
    "nan_min": lambda c: c.nan_min(),
    "nan_max": lambda c: c.nan_max(),
    "var": lambda c: c.var(),
    "var0": lambda c: c.var(ddof=0),
    "std": lambda c: c.std(),
    "std3": lambda c: c.std(ddof=3),
    "count": lambda c: c.count(),
    "len": lambda c: c.len(),
    "null_count": lambda c: c.null_count(),
    "has_nulls": lambda c: c.has_nulls(),
    "n_unique": lambda c: c.n_unique(),
    "unique": lambda c: c.unique(maintain_order=True),
    "implode": lambda c: c.implode(),
    "first": lambda c: c.first(),
    "last": lambda c: c.last(),
    "first_non_null": lambda c: c.first(ignore_nulls=True),
    "last_non_null": lambda c: c.last(ignore_nulls=True),
    "any": lambda c: c.any(),
    "all": lambda c: c.all(),
    "any_known": lambda c: c.any(ignore_nulls=False),
    "all_known": lambda c: c.all(ignore_nulls=False),
    "bitwise_and": lambda c: c.bitwise_and(),
    "bitwise_or": lambda c: c.bitwise_or(),
    "bitwise_xor": lambda c: c.bitwise_xor(),
}
SHAPES = {
    "whole": lambda name, take: take(pl.col(name)),
    "filtered": lambda name, take: take(pl.col(name).filter(pl.col("yes"))),
    "not_null": lambda name, take: take(pl.col(name).drop_nulls()),
    "filtered_not_null": lambda name, take: take(pl.col(name).filter(pl.col("yes")).drop_nulls()),
    "never": lambda name, take: take(pl.col(name).filter(pl.col("at").is_null())),
}


@functools.cache
def split_of(aggregate: str, column: str, shape: str, keyed: bool, event_time: str | None = None) -> AggregateSplit | None:
    """Return the split, or None when Polars itself refuses the aggregation of this dtype."""
    expression = SHAPES[shape](column, MERGEABLE[aggregate])
    try:
        return split_aggregates([KEY] if keyed else [], [expression], SCHEMA, event_time)
    except pl.exceptions.PolarsError:
        return None


def cases() -> list[tuple[str, str]]:
    pairs = [(aggregate, column) for aggregate in MERGEABLE for column in COLUMNS]
    # Polars types these, and refuses them when it meets a text.
    pairs = [(a, c) for a, c in pairs if not (a.startswith(("any", "all")) and c in {"text", "raw"})]
    return [pair for pair in pairs if (split := split_of(*pair, "whole", True)) is not None and split.is_incremental]


CASES = cases()


def test_cases_are_the_ones_meant() -> None:
    """Every aggregation is incremental for some dtype; sums, means, extremes and picks for those that matter."""
    assert {aggregate for aggregate, _ in CASES} == set(MERGEABLE)
    numbers = {"i8", "i16", "i32", "i64", "i128", "u8", "u32", "u64", "f32", "f64", "flag", "money"}
    assert {column for aggregate, column in CASES if aggregate == "sum"} == numbers | {"span"}
    assert {column for aggregate, column in CASES if aggregate == "var"} == numbers
    assert {c for a, c in CASES if a == "mean"} == numbers | {"day", "when", "when_ms", "span", "clock"}
    assert {c for a, c in CASES if a == "first"} == set(COLUMNS)
    assert {c for a, c in CASES if a == "min"} == set(COLUMNS) - {"items", "pair", "nothing"}


@given(
    data=st.data(),
    case=st.sampled_from(CASES),
    shape=st.sampled_from(sorted(SHAPES)),
    keyed=st.booleans(),
    engine=st.sampled_from(["in-memory", "streaming"]),
    grouping=st.lists(st.integers(1, 3), max_size=2),
)
def test_parts_give_what_polars_gives(
    data: st.DataObject, case: tuple[str, str], shape: str, keyed: bool, engine: str, grouping: list[int]
) -> None:
    keyed = keyed or case[0] == "unique"  # without keys it gives rows, not one list
    split = split_of(*case, shape, keyed)
    if split is None:
        return
    assert split.is_incremental, split.reports
    frame = data.draw(frames([case[1]]))
    expression = SHAPES[shape](case[1], MERGEABLE[case[0]])
    # Not the streaming engine: its var(ddof=0) of a single null is 0.
    expected = grouped(frame.lazy(), (expression,), keyed=keyed).collect(engine="in-memory")
    pieces = data.draw(cuts(frame))
    got = in_parts(split, pieces, grouping, engine, keyed=keyed)
    assert_same(got.sort("key") if keyed else got, expected.sort("key") if keyed else expected)
