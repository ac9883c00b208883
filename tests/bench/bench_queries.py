"""The queries that are measured, as they are written for streamlab and for Polars."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import polars as pl

_AGGREGATES = (pl.len().alias("rows"), pl.col("value").sum().alias("total"), pl.col("value").mean().alias("mean"))


@dataclass(frozen=True)
class Query:
    """One row of the results table.

    Attributes
    ----------
    title : str
        What it is.
    keys : int
        Distinct keys in the data.
    streamlab, polars : Callable
        From the scan to the query.
    """

    title: str
    keys: int
    streamlab: Callable[[Any], Any]
    polars: Callable[[pl.LazyFrame], pl.LazyFrame]


def _by_minute(frame: pl.LazyFrame) -> pl.LazyFrame:
    # The fastest form in Polars: group_by_dynamic would sort first.
    return frame.group_by("key", pl.col("at").dt.truncate("1m")).agg(*_AGGREGATES)


def _hopping(frame: pl.LazyFrame) -> pl.LazyFrame:
    panes = frame.group_by("key", pl.col("at").dt.truncate("1m")).agg(
        pl.len().alias("rows"), pl.col("value").sum().alias("total")
    )
    starts = [(pl.col("at") - pl.duration(minutes=back)).alias("start") for back in range(10)]
    hops = pl.concat([panes.with_columns(start) for start in starts])
    return hops.group_by("key", "start").agg(pl.col("rows").sum(), pl.col("total").sum())


def _sessions(frame: pl.LazyFrame) -> pl.LazyFrame:
    ordered = frame.sort("key", "at")
    opens = (pl.col("key") != pl.col("key").shift(1)) | (pl.col("at").diff() > pl.duration(milliseconds=400))
    numbered = ordered.with_columns(opens.fill_null(value=True).cum_sum().alias("session"))
    return numbered.group_by("key", "session").agg(pl.col("at").min(), *_AGGREGATES)


def _unbounded(keys: int) -> Query:
    def query(frame: Any) -> Any:
        return frame.group_by("key").agg(*_AGGREGATES)

    return Query(f"unbounded group_by, {keys:,} keys", keys, query, query)


def _projection(frame: Any) -> Any:
    return frame.filter(pl.col("value") > 0.5).select("at", (pl.col("value") * 2).alias("double"))


QUERIES = {
    "tumbling": Query(
        "tumbling 1 min, 1,000 keys: count, sum, mean",
        1_000,
        lambda f: f.group_by_dynamic("at", every="1m", group_by="key").agg(*_AGGREGATES),
        _by_minute,
    ),
    "hopping": Query(
        "hopping 10 min every 1 min, 1,000 keys",
        1_000,
        lambda f: f.group_by_dynamic("at", every="1m", period="10m", group_by="key").agg(*_AGGREGATES[:2]),
        _hopping,
    ),
    "session": Query(
        "sessions, gap 400 ms, 1,000 keys",
        1_000,
        lambda f: f.group_by_session("at", gap="400ms", group_by="key").agg(*_AGGREGATES),
        _sessions,
    ),
    "projection": Query("filter and projection", 1_000, _projection, _projection),
    "unbounded-1e3": _unbounded(1_000),
    "unbounded-1e4": _unbounded(10_000),
    "unbounded-1e6": _unbounded(1_000_000),
    "unbounded-1e7": _unbounded(10_000_000),
}
