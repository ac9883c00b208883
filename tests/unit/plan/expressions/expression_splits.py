"""Runs a split the way operators do, and the aggregations that are known to be mergeable."""

from __future__ import annotations

import functools

import polars as pl
from expression_frames import SCHEMA

from streamlab.core.aggregation import AggregateSplit
from streamlab.plan.expressions import split_aggregates

KEY = pl.col("key")


def grouped(frame: pl.LazyFrame, aggregates: tuple[pl.Expr, ...], *, keyed: bool) -> pl.LazyFrame:
    return frame.group_by("key", maintain_order=True).agg(aggregates) if keyed else frame.select(aggregates)


def in_parts(
    split: AggregateSplit, pieces: list[pl.DataFrame], grouping: list[int], engine: str, *, keyed: bool
) -> pl.DataFrame:
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
def split_of(
    aggregate: str, column: str, shape: str, keyed: bool, event_time: str | None = None
) -> AggregateSplit | None:
    """Return the split, or None when Polars itself refuses the aggregation of this dtype."""
    expression = SHAPES[shape](column, MERGEABLE[aggregate])
    try:
        return split_aggregates([KEY] if keyed else [], [expression], SCHEMA, event_time)
    except pl.exceptions.PolarsError:
        return None
