"""Each hint for a habit from pandas, Spark or Flink can be followed, and leads where it says."""

from __future__ import annotations

import builtins
import datetime as dt
import re
from collections.abc import Callable
from typing import Any

import pandas as pd
import polars as pl
import pytest
from polars.testing import assert_frame_equal

import streamlab as sl
from streamlab.frame.group_by import GroupBy
from streamlab.frame.habits.words import LAZY, OF_GROUPS, OF_STREAMS

Frame = Any
T = dt.datetime(2024, 1, 1)  # noqa: DTZ001 - naive, as most event times are
ROWS = pl.DataFrame(
    {
        "t": [T, T + dt.timedelta(seconds=30), T + dt.timedelta(minutes=2), T + dt.timedelta(minutes=2)],
        "k": ["a", "b", "a", "a"],
        "x": [1, 5, 2, 2],
        "y": [1.5, 2.0, 2.5, 4.0],
        "id": [7, 8, 9, 10],
    }
)
OTHER = pl.DataFrame({"k": ["a", "c"], "name": ["Ann", "Cat"]})


def stream() -> Frame:
    return sl.from_frame(ROWS, event_time="t", watermark="1m")


def windows(s: Frame) -> Frame:
    return s.group_by_dynamic("t", every="1m", group_by="k")


FOLLOWED: dict[str, tuple[Callable[[Frame], Frame], Callable[[pl.DataFrame], pl.DataFrame]]] = {
    "drop_duplicates": (
        lambda s: s.group_by("k").first(),
        lambda f: f.unique("k", keep="first").select("k", "t", "x", "y", "id"),
    ),
    "duplicated": (
        lambda s: s.group_by("k").len().filter(pl.col("len") > 1),
        lambda f: f.group_by("k").len().filter(pl.col("len") > 1),
    ),
    "nunique": (lambda s: s.select(pl.col("x").n_unique()), lambda f: f.select(pl.col("x").n_unique())),
    "size": (lambda s: s.select(pl.len()), lambda f: f.select(pl.len())),
    "value_counts": (lambda s: s.group_by("x").len(), lambda f: f.group_by("x").len()),
    "cumsum": (lambda s: s.group_by("k").agg(pl.col("x").sum()), lambda f: f.group_by("k").agg(pl.col("x").sum())),
    "prod": (lambda s: s.select(pl.col("x").product()), lambda f: f.select(pl.col("x").product())),
    "skew": (lambda s: s.select(pl.col("y").skew()), lambda f: f.select(pl.col("y").skew())),
    "corr": (lambda s: s.select(pl.corr("x", "y")), lambda f: f.select(pl.corr("x", "y"))),
    "all": (lambda s: s.select((pl.col("x") > 0).all()), lambda f: f.select((pl.col("x") > 0).all())),
    "diff": (lambda s: windows(s).agg(pl.col("x").diff()), lambda f: _windows(f).agg(pl.col("x").diff())),
    "nsmallest": (
        lambda s: windows(s).agg(pl.col("x").bottom_k(1)),
        lambda f: _windows(f).agg(pl.col("x").bottom_k(1)),
    ),
    "assign": (lambda s: s.with_columns(z=pl.col("x") + 1), lambda f: f.with_columns(z=pl.col("x") + 1)),
    "query": (lambda s: s.filter(pl.col("x") > 1), lambda f: f.filter(pl.col("x") > 1)),
    "isin": (lambda s: s.filter(pl.col("x").is_in([1, 2])), lambda f: f.filter(pl.col("x").is_in([1, 2]))),
    "replace": (
        lambda s: s.with_columns(pl.col("x").replace({1: 2})),
        lambda f: f.with_columns(pl.col("x").replace({1: 2})),
    ),
    "round": (lambda s: s.with_columns(pl.col("y").round(1)), lambda f: f.with_columns(pl.col("y").round(1))),
    "isna": (lambda s: s.with_columns(pl.all().is_null()), lambda f: f.with_columns(pl.all().is_null())),
    "notna": (
        lambda s: s.select("k").with_columns(pl.all().is_not_null()),
        lambda f: f.select(pl.col("k").is_not_null()),
    ),
    "ffill": (lambda s: s.fill_null(0), lambda f: f.fill_null(0)),
    "add_prefix": (
        lambda s: s.rename(lambda name: "a_" + name),
        lambda f: f.rename(lambda name: "a_" + name),
    ),
    "add_suffix": (lambda s: s.rename(lambda name: name + "_a"), lambda f: f.rename(lambda name: name + "_a")),
    "with_column_renamed": (lambda s: s.rename({"x": "z"}), lambda f: f.rename({"x": "z"})),
    "pop": (lambda s: s.drop("x"), lambda f: f.drop("x")),
    "astype": (lambda s: s.cast({"x": pl.Int32}), lambda f: f.cast({"x": pl.Int32})),
    "select_dtypes": (
        lambda s: s.select(pl.selectors.numeric()),
        lambda f: f.select(pl.selectors.numeric()),
    ),
    "select_expr": (
        lambda s: s.select(pl.sql_expr("x + 1 AS z")),
        lambda f: f.select(pl.sql_expr("x + 1 AS z")),
    ),
    "melt": (
        lambda s: s.unpivot(on=["x", "id"], index="k"),
        lambda f: f.unpivot(on=["x", "id"], index="k"),
    ),
    "intersect": (lambda s: s.join(OTHER, on="k", how="semi"), lambda f: f.join(OTHER, on="k", how="semi")),
    "minus": (lambda s: s.join(OTHER, on="k", how="anti"), lambda f: f.join(OTHER, on="k", how="anti")),
    "left_outer_join": (lambda s: s.join(OTHER, on="k", how="left"), lambda f: f.join(OTHER, on="k", how="left")),
    "inner_join": (lambda s: s.join(OTHER, on="k", how="inner"), lambda f: f.join(OTHER, on="k", how="inner")),
    "cross_join": (
        lambda s: s.with_columns(one=pl.lit(1)).join(OTHER.select("name", one=pl.lit(1)), on="one").drop("one"),
        lambda f: f.join(OTHER.select("name"), how="cross"),
    ),
    "union": (lambda s: sl.concat([s, stream()]), lambda f: pl.concat([f, f])),
    "tz_localize": (
        lambda s: s.select("x", pl.col("t").alias("u").dt.replace_time_zone("UTC")),
        lambda f: f.select("x", pl.col("t").alias("u").dt.replace_time_zone("UTC")),
    ),
    "between_time": (lambda s: s.filter(pl.col("t") > T), lambda f: f.filter(pl.col("t") > T)),
    "where": (
        lambda s: s.with_columns(pl.when(pl.col("x") > 1).then(pl.col("x")).otherwise(0).alias("x")),
        lambda f: f.with_columns(pl.when(pl.col("x") > 1).then(pl.col("x")).otherwise(0).alias("x")),
    ),
    "random_split": (
        lambda s: s.filter(pl.col("id").hash() % 2 == 0),
        lambda f: f.filter(pl.col("id").hash() % 2 == 0),
    ),
    "window": (lambda s: windows(s).agg(pl.col("x").sum()), lambda f: _windows(f).agg(pl.col("x").sum())),
    "map_in_pandas": (
        lambda s: s.map_batches(lambda b: b[b["x"] > 1], as_="pandas"),
        lambda f: f.filter(pl.col("x") > 1),
    ),
    "group size": (lambda s: s.group_by("k").len(), lambda f: f.group_by("k").len()),
    "group std": (lambda s: s.group_by("k").agg(pl.col("x").std()), lambda f: f.group_by("k").agg(pl.col("x").std())),
    "group nth": (
        lambda s: s.group_by("k").agg(pl.col("x").get(1, null_on_oob=True)),
        lambda f: f.group_by("k").agg(pl.col("x").get(1, null_on_oob=True)),
    ),
    "group filter": (
        lambda s: s.group_by("k").having(pl.len() > 1).len(),
        lambda f: f.group_by("k").len().filter(pl.col("len") > 1),
    ),
    "group idxmax": (
        lambda s: s.group_by("k").agg(pl.all().sort_by("y").last()),
        lambda f: f.group_by("k").agg(pl.all().sort_by("y").last()),
    ),
    "group ohlc": (
        lambda s: s.group_by("k").agg(open=pl.col("x").first(), high=pl.col("x").max(), close=pl.col("x").last()),
        lambda f: f.group_by("k").agg(open=pl.col("x").first(), high=pl.col("x").max(), close=pl.col("x").last()),
    ),
    "group cumsum": (
        lambda s: s.group_by("k").agg(pl.col("x").cum_sum()),
        lambda f: f.group_by("k").agg(pl.col("x").cum_sum()),
    ),
    "group unique": (
        lambda s: s.group_by("k").agg(pl.col("x").unique().sort()),
        lambda f: f.group_by("k").agg(pl.col("x").unique().sort()),
    ),
    "group nlargest": (
        lambda s: s.group_by("k").agg(pl.col("x").top_k(1)),
        lambda f: f.group_by("k").agg(pl.col("x").top_k(1)),
    ),
    "group value_counts": (lambda s: s.group_by("k", "x").len(), lambda f: f.group_by("k", "x").len()),
    "group ngroups": (lambda s: s.select(pl.col("k").n_unique()), lambda f: f.select(pl.col("k").n_unique())),
    "group get_group": (lambda s: s.filter(pl.col("k") == "a"), lambda f: f.filter(pl.col("k") == "a")),
    "group pivot": (
        lambda s: s.group_by("k").agg(pl.col("x").filter(pl.col("y") > 2).sum().alias("a")),
        lambda f: f.group_by("k").agg(pl.col("x").filter(pl.col("y") > 2).sum().alias("a")),
    ),
}
SPARK = """
    agg approxQuantile alias cache checkpoint coalesce colRegex corr count cov createOrReplaceTempView
    createTempView crossJoin crosstab cube describe distinct drop dropDuplicates dropDuplicatesWithinWatermark
    drop_duplicates dropna exceptAll explain fillna filter first foreach foreachPartition freqItems groupBy
    groupby groupingSets head hint inputFiles intersect intersectAll isEmpty isStreaming join limit
    localCheckpoint mapInArrow mapInPandas melt na observe offset orderBy pandas_api persist printSchema
    randomSplit rdd registerTempTable repartition replace rollup sample sampleBy schema select selectExpr show
    sort sortWithinPartitions subtract summary tail take toDF toJSON toLocalIterator toPandas transform
    transpose union unionAll unionByName unpersist unpivot where withColumn withColumnRenamed withColumns
    withColumnsRenamed withWatermark write writeStream writeTo
""".split()  # noqa: SIM905 - so many are read better in lines
FLINK = """
    key_by keyBy map flat_map flatMap process reduce window union connect add_sink sinkTo print
    execute_and_collect assign_timestamps_and_watermarks set_parallelism setParallelism name uid rebalance
    broadcast order_by fetch minus intersect add_columns addColumns drop_columns rename_columns
    left_outer_join leftOuterJoin distinct
""".split()  # noqa: SIM905 - so many are read better in lines
OF_DATA = {"bool", "style", "sparse", "eval", "dtypes", "flags", "from_dict", "from_records", "from_arrow", "attrs"}
"""What a newcomer would hardly type, or finds by itself."""


def _windows(f: pl.DataFrame) -> Any:
    return f.sort("t").group_by_dynamic("t", every="1m", group_by="k")


def _public(kind: Any) -> list[str]:
    return sorted(name for name in dir(kind) if name[0] != "_" and name not in OF_DATA)


@pytest.mark.parametrize("name", [*_public(pd.DataFrame), *SPARK, *FLINK])
def test_every_word_of_others_is_there_or_answered(name: str) -> None:
    if not hasattr(sl.StreamFrame, name):
        with pytest.raises(AttributeError) as caught:
            getattr(stream(), name)
        assert "→" in str(caught.value) or "LazyFrame has: " in str(caught.value)


@pytest.mark.parametrize(
    "name", [*_public(pd.DataFrame({"k": [1]}).groupby("k")), "avg", "collect_list", "applyInPandas"]
)
def test_every_word_of_others_for_groups_is_there_or_answered(name: str) -> None:
    if not hasattr(GroupBy, name):
        with pytest.raises(AttributeError, match="→"):
            getattr(stream().group_by("k"), name)


@pytest.mark.parametrize("name", [*LAZY, *OF_STREAMS])
def test_no_hint_is_for_what_there_is(name: str) -> None:
    assert not hasattr(sl.StreamFrame, name)


@pytest.mark.parametrize("name", OF_GROUPS)
def test_no_hint_is_for_what_groups_have(name: str) -> None:
    assert not hasattr(GroupBy, name)


def test_hints_name_what_there_is() -> None:
    known = [
        sl.StreamFrame,
        GroupBy,
        pl.Expr,
        pl,
        sl,
        sl.Job,
        pl.DataFrame,
        pl.selectors,
        builtins,
        pl.when(pl.lit(True)),
        pl.when(pl.lit(True)).then(1),
    ]
    for name, hint in {**LAZY, **OF_STREAMS, **OF_GROUPS}.items():
        for method in re.findall(r"(\w+)\(", hint):
            there = any(hasattr(one, method) for one in known) or hasattr(pl.col("t").dt, method)
            assert there, f"{name}: {method}() is nothing"


@pytest.mark.parametrize("habit", FOLLOWED)
def test_hints_lead_where_they_say(habit: str) -> None:
    follow, meant = FOLLOWED[habit]
    word = habit.removeprefix("group ")
    asked = stream().group_by("k") if habit.startswith("group ") else stream()
    with pytest.raises(AttributeError):
        getattr(asked, word)
    got, expected = follow(stream()).collect(), meant(ROWS)
    assert_frame_equal(got.select(expected.columns).sort(pl.all()), expected.sort(pl.all()))


CALLS: dict[str, tuple[Callable[[Frame], object], str]] = {
    "drop duplicates": (lambda s: s.drop_duplicates(), "group_by('k').first() keeps the first row of each key"),
    "size of groups": (lambda s: s.group_by("k").size(), "len() counts the rows of each group"),
    "camel case": (lambda s: s.groupBy("k"), "did you mean 'group_by'?"),
    "column of groups": (lambda s: s.group_by("k")["x"], "group_by(…).agg(pl.col('x').sum())"),
    "columns of groups": (lambda s: s.group_by("k")[["x", "y"]], "group_by(…).agg(pl.col('x', 'y').sum())"),
    "attribute of groups": (lambda s: s.group_by("k").x, "group_by(…).agg(pl.col('x').sum())"),
    "sum of one": (lambda s: s.group_by("k").sum("x"), "agg(pl.col('x').sum()) aggregates one column"),
    "total of one": (lambda s: s.sum("x"), "select(pl.col('x').sum()) aggregates one column"),
    "numeric only": (lambda s: s.group_by("k").sum(numeric_only=True), "agg(pl.col('x').sum())"),
    "a frame's method": (lambda s: s.group_by("k").select("x"), "agg(pl.col('x').std())"),
    "a stream's method": (lambda s: s.group_by("k").start(), "first say what of each group"),
    "in place": (lambda s: s.rename({"x": "z"}, inplace=True), "a stream never changes"),
    "mapping of names": (lambda s: s.group_by("k").agg({"x": "sum"}), "pl.col('x').sum()"),
    "named aggregation": (lambda s: s.group_by("k").agg(total=("x", "sum")), "total=pl.col('x').sum()"),
    "name of an aggregation": (lambda s: s.group_by("k").agg("sum"), "pl.all().sum()"),
    "function for an expression": (lambda s: s.with_columns(lambda row: row), "as in pl.col('x') + 1"),
    "function for an aggregation": (lambda s: s.group_by("k").agg(len), "as in pl.col('x') + 1"),
    "sum of texts": (
        lambda s: s.group_by("x").sum(),
        "can be aggregated so, got t Datetime(us), k String.\n  → group_by(…).agg(pl.col('y', 'id').sum())",
    ),
    "total of texts": (lambda s: s.sum(), "select(pl.col('x', 'y', 'id').sum())"),
    "mean of texts": (
        lambda s: windows(s.drop("id").with_columns(w=pl.lit("a"))).mean(),
        "agg(pl.col('x', 'y').mean())",
    ),
    "quantile of texts": (lambda s: s.group_by("x").quantile(0.5), "pl.col('t', 'y', 'id').quantile(q)"),
    "seconds for milliseconds": (
        lambda s: s.collect(heartbeat_timeout_ms="10 sec"),
        "it is a number of milliseconds: heartbeat_timeout_ms=10000",
    ),
    "windows": (lambda s: windows(s).size(), "group_by_dynamic(…) has no 'size'"),
}


@pytest.mark.parametrize("habit", CALLS)
def test_habits_are_answered_with_what_to_write(habit: str) -> None:
    write, said = CALLS[habit]
    with pytest.raises((AttributeError, TypeError, sl.StreamlabError)) as caught:
        write(stream())
    assert said in str(caught.value)


def test_each_way_to_aggregate_every_column_does_what_polars_does() -> None:
    good = stream().select("k", "x", "y")
    for how in ("sum", "mean", "median", "min", "max", "n_unique"):
        assert (
            getattr(good.group_by("k"), how)().schema
            == getattr(ROWS.lazy().select("k", "x", "y").group_by("k"), how)().collect_schema()
        )


RETURNED: dict[str, tuple[Callable[[pl.DataFrame], object], Any, Callable[[pl.DataFrame], pl.DataFrame]]] = {
    "a Series": (lambda b: b["x"] + 1, None, lambda b: b.with_columns(b["x"] + 1)),
    "a Series alone": (lambda b: b["x"], {"x": pl.Int64}, lambda b: b["x"].to_frame()),
    "an Expr": (lambda _: pl.col("x") + 1, None, lambda b: b.with_columns(pl.col("x") + 1)),
    "a int": (lambda b: b.height, {"x": pl.Int64}, lambda b: pl.DataFrame({"x": [b.height]})),
    "a NoneType": (lambda _: None, None, lambda b: b),
    "a dict": (lambda b: {"x": b["x"]}, {"x": pl.Int64}, lambda b: pl.DataFrame({"x": b["x"]})),
}


@pytest.mark.parametrize("got", RETURNED)
def test_a_function_that_returns_no_frame_is_told_what_to_return(got: str) -> None:
    wrong, schema, right = RETURNED[got]
    with pytest.raises(sl.StepFailed, match=rf"got {got.removesuffix(' alone')}\.\n  → (return|end it with)"):
        stream().map_batches(wrong, schema=schema).collect()
    assert stream().map_batches(right, schema=schema).collect().height > 0


def test_a_generator_that_returns_no_frame_is_told_what_to_return() -> None:
    with pytest.raises(sl.PlanError, match=r"got a Series\.\n  → return series\.to_frame\(\)"):
        sl.generate(lambda start, n: pl.Series("x", range(start, start + n)), limit=3)
    made = sl.generate(lambda start, n: pl.Series("x", range(start, start + n)).to_frame(), limit=3)
    assert made.collect().height == 3
