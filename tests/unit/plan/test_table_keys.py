"""Which columns identify the rows of an updating table."""

from __future__ import annotations

import polars as pl
import pytest

import streamlab as sl

ROWS = pl.DataFrame(schema={"ts": pl.Datetime("us"), "k": pl.String, "j": pl.Int64, "n": pl.Int64})


def grouped() -> sl.StreamFrame:
    return sl.from_frame(ROWS).group_by("k", "j").agg(pl.col("n").sum(), pl.len())


def windowed(**given: object) -> sl.StreamFrame:
    stream = sl.from_frame(ROWS, event_time="ts")
    return stream.group_by_dynamic("ts", every="1h", group_by="k", trigger=sl.every_rows(3), **given).agg(pl.len())


KNOWN = {
    "group_by": (grouped, ("k", "j")),
    "expression": (lambda: sl.from_frame(ROWS).group_by((pl.col("n") % 2).alias("odd")).len(), ("odd",)),
    "total": (lambda: sl.from_frame(ROWS).select(pl.len()), ()),
    "window": (windowed, ("k", "ts")),
    "filter": (lambda: grouped().filter(pl.col("n") > 1), ("k", "j")),
    "rename": (lambda: grouped().rename({"k": "key", "n": "total"}), ("key", "j")),
    "drop": (lambda: grouped().drop("n"), ("k", "j")),
    "with_columns": (lambda: grouped().with_columns(mean=pl.col("n") / pl.col("len")), ("k", "j")),
    "select": (lambda: grouped().select("n", pl.col("j").alias("i"), "k"), ("k", "i")),
    "select_all": (lambda: grouped().select(pl.all()), ("k", "j")),
    "cast": (lambda: grouped().cast({"n": pl.Float64}), ("k", "j")),
    "having": (lambda: sl.from_frame(ROWS).group_by("k").having(pl.len() > 2).agg(pl.len()), ("k",)),
    "cumulative": (
        lambda: (
            sl.from_frame(ROWS, event_time="ts")
            .group_by_cumulative("ts", step="1h", every="1d", allowed_lateness="1h")
            .agg(pl.len())
        ),
        ("ts", "_upper_boundary"),
    ),
}

UNKNOWN = {
    "key dropped": lambda: grouped().drop("k"),
    "key not selected": lambda: grouped().select("k", "n"),
    "key computed": lambda: grouped().select(pl.col("k").str.to_lowercase(), "j"),
    "key replaced": lambda: grouped().with_columns(pl.lit("x").alias("k")),
    "key cast": lambda: grouped().cast({"j": pl.Int8}),
    "key filled": lambda: grouped().fill_null("x"),
    "exploded": lambda: sl.from_frame(ROWS).group_by("k").all().explode("n"),
    "joined": lambda: grouped().join(pl.DataFrame({"k": ["a", "a"]}), on="k"),
    "united": lambda: sl.concat([grouped(), grouped()]),
    "cumulative without its end": lambda: (
        sl.from_frame(ROWS, event_time="ts")
        .group_by_cumulative("ts", step="1h", every="1d", include_boundaries=False)
        .agg(pl.len())
    ),
    "source": lambda: sl.from_frame(ROWS),
}


@pytest.mark.parametrize(("query", "keys"), KNOWN.values(), ids=KNOWN.keys())
def test_known_keys(query, keys: tuple[str, ...]) -> None:
    assert query().plan.row_key == keys
    assert set(keys) <= set(query().columns)


@pytest.mark.parametrize("query", UNKNOWN.values(), ids=UNKNOWN.keys())
def test_unknown_keys(query) -> None:
    assert query().plan.row_key is None
