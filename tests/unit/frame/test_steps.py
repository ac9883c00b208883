"""Row-wise methods: Polars' schemas, the event time followed, errors that name the step and the columns."""

from __future__ import annotations

import copy
import os

import polars as pl
import polars.selectors as cs
import pytest

from streamlab.core.errors import OptionError, PlanError
from streamlab.frame.stream_frame import StreamFrame
from streamlab.plan import nodes

SAME_AS_POLARS = {
    "select": lambda f: f.select("n", pl.col("delay") / 60, total=pl.col("n") * 2),
    "select_list": lambda f: f.select(["n", "ts"]),
    "select_selector": lambda f: f.select(cs.numeric().name.suffix("_x")),
    "select_seq": lambda f: f.select_seq("n"),
    "with_columns": lambda f: f.with_columns(pl.col("n").cast(pl.Int8), hour=pl.col("ts").dt.hour(), one=1),
    "with_columns_seq": lambda f: f.with_columns_seq(pl.all().exclude("ts", "tags", "place").fill_null(0)),
    "filter": lambda f: f.filter(pl.col("n") > 1, pl.col("carrier").is_in(["UA", "AA"]), carrier="UA"),
    "filter_name": lambda f: f.with_columns(late=pl.col("delay") > 0).filter("late"),
    "filter_list": lambda f: f.filter([pl.col("n") > 1, pl.col("delay") > 1]),
    "filter_true": lambda f: f.filter(True),
    "remove": lambda f: f.remove(pl.col("n") > 1, carrier="UA"),
    "drop": lambda f: f.drop("n", cs.float()),
    "drop_lenient": lambda f: f.drop("n", "nothing", strict=False),
    "rename": lambda f: f.rename({"n": "number"}),
    "rename_function": lambda f: f.rename(str.upper),
    "rename_lenient": lambda f: f.rename({"x": "y"}, strict=False),
    "cast": lambda f: f.cast({"n": pl.Float32, cs.temporal(): pl.Datetime("ms")}),
    "cast_all": lambda f: f.select("n", "delay").cast(pl.String),
    "drop_nulls": lambda f: f.drop_nulls(),
    "drop_nulls_subset": lambda f: f.drop_nulls(["n", "delay"]),
    "drop_nans": lambda f: f.drop_nans("delay"),
    "fill_null": lambda f: f.fill_null(0),
    "fill_null_zero": lambda f: f.fill_null(strategy="zero"),
    "fill_nan": lambda f: f.fill_nan(None),
    "explode": lambda f: f.explode("tags"),
    "explode_options": lambda f: f.explode("tags", empty_as_null=True, keep_nulls=False),
    "unnest": lambda f: f.unnest("place"),
    "unnest_separator": lambda f: f.unnest("place", separator="."),
    "unpivot": lambda f: f.unpivot(["n", "delay"], index="ts"),
    "unpivot_names": lambda f: f.unpivot(["n", "delay"], index="ts", variable_name="what", value_name="how_much"),
    "set_sorted": lambda f: f.set_sorted("ts"),
    "head": lambda f: f.head(3),
    "limit": lambda f: f.limit(),
    "slice": lambda f: f.slice(0, 3),
    "pipe": lambda f: f.pipe(lambda g, k: g.select(pl.col("n") * k), 2),
    "lazy": lambda f: f.lazy().clone().cache(),
    "null_count": lambda f: f.null_count(),
    "count": lambda f: f.count(),
    "sum": lambda f: f.select("n", "delay").sum(),
    "mean": lambda f: f.select("n", "delay").mean(),
    "min_max": lambda f: f.select("n", "carrier").max(),
    "min": lambda f: f.select("n", "carrier").min(),
    "std": lambda f: f.select("n").std(ddof=0),
    "var": lambda f: f.select("n").var(),
}


@pytest.mark.parametrize("query", SAME_AS_POLARS.values(), ids=SAME_AS_POLARS.keys())
def test_schema_is_polars_own(flights: StreamFrame, query) -> None:
    expected = query(pl.LazyFrame(schema=flights.schema)).collect_schema()

    result = query(flights)

    assert list(result.schema.items()) == list(expected.items())
    assert result.collect_schema() == result.schema
    assert result.columns == expected.names()
    assert result.dtypes == expected.dtypes()
    assert result.width == len(expected)


def test_a_frame_never_changes(flights: StreamFrame) -> None:
    before = flights.columns

    flights.drop("n")

    assert flights.columns == before
    assert copy.copy(flights).plan is flights.plan


FORBIDDEN = {
    "select": (lambda f: f.select("N"), ["select", "'N'", "did you mean 'n'", "carrier String"]),
    "with_columns": (lambda f: f.with_columns(x=pl.col("delai") + 1), ["with_columns", "'delai'", "'delay'"]),
    "with_columns_dtype": (lambda f: f.with_columns(pl.col("n").str.to_uppercase()), ["with_columns", "String", "i64"]),
    "with_columns_arithmetic": (lambda f: f.with_columns(pl.col("carrier") + 1), ["with_columns", "str", "n Int64"]),
    "filter": (lambda f: f.filter(pl.col("carier") == "UA"), ["filter", "'carier'", "did you mean 'carrier'"]),
    "filter_dtype": (lambda f: f.filter(pl.col("n")), ["filter", "Boolean", "Int64", "pl.col('n') > 0"]),
    "filter_compare": (lambda f: f.filter(pl.col("carrier") > 1), ["filter", "compare string", "carrier String"]),
    "filter_constraint": (lambda f: f.filter(origin="JFK"), ["filter", "'origin'"]),
    "filter_mask": (lambda f: f.filter([True, False]), ["filter", "mask"]),
    "filter_series": (lambda f: f.filter(pl.Series([True])), ["filter", "Series", "row numbers"]),
    "remove": (lambda f: f.remove(pl.col("m") > 1), ["remove", "'m'", "n Int64"]),
    "drop": (lambda f: f.drop("nn"), ["drop", "'nn'", "n Int64"]),
    "rename": (lambda f: f.rename({"x": "y"}), ["rename", "'x'", "carrier String"]),
    "rename_twice": (lambda f: f.rename({"n": "ts"}), ["rename", "'ts'", "duplicate"]),
    "cast": (lambda f: f.cast({"nn": pl.Int8}), ["cast", "'nn'"]),
    "drop_nulls": (lambda f: f.drop_nulls("q"), ["drop_nulls", "'q'"]),
    "drop_nans": (lambda f: f.drop_nans("q"), ["drop_nans", "'q'"]),
    "fill_null": (lambda f: f.fill_null(strategy="forward"), ["fill_null", "'forward'", "other rows"]),
    "fill_null_expression": (lambda f: f.fill_null(pl.col("n").mean()), ["fill_null", "mean"]),
    "fill_nan_expression": (lambda f: f.fill_nan(pl.col("n").mean()), ["fill_nan", "mean"]),
    "explode": (lambda f: f.explode("tag"), ["explode", "'tag'", "did you mean 'tags'"]),
    "explode_no_list": (lambda f: f.explode("delay"), ["explode", "columns of lists", "'delay'", "Float64"]),
    "unnest": (lambda f: f.unnest("n"), ["unnest", "Struct", "Int64"]),
    "unpivot": (lambda f: f.unpivot("q"), ["unpivot", "'q'"]),
    "set_sorted": (lambda f: f.set_sorted("q"), ["set_sorted", "'q'"]),
    "select_twice": (lambda f: f.select("n", pl.col("n")), ["select", "duplicate"]),
    "reserved": (
        lambda f: f.with_columns(pl.lit(1).alias("__row_kind")),
        ["with_columns", "__row_kind", "keep for itself"],
    ),
    "reserved_rename": (lambda f: f.rename({"n": "__sl_row"}), ["rename", "__sl_row"]),
    "literals": (lambda f: f.select(pl.lit(1)), ["select", "literals"]),
    "nothing": (lambda f: f.select(), ["select", "at least one column", "nothing"]),
    "mixed": (lambda f: f.select("carrier", pl.col("n").sum()), ["select", "sum", "group_by"]),
    "cum_sum": (lambda f: f.with_columns(pl.col("n").cum_sum()), ["with_columns", "cum_sum looks at other rows"]),
    "over": (lambda f: f.with_columns(pl.col("n").sum().over("carrier")), ["with_columns", "over"]),
    "shift": (lambda f: f.select(pl.col("n").shift(1)), ["select", "shift", "group_by_dynamic"]),
    "filter_aggregate": (lambda f: f.filter(pl.col("n") > pl.col("n").mean()), ["filter", "mean"]),
    "sorted": (lambda f: f.select(pl.col("n").sort()), ["select", "sort"]),
    "slice": (lambda f: f.slice(2, 3), ["slice", "offset 2"]),
}


@pytest.mark.parametrize(("query", "words"), FORBIDDEN.values(), ids=FORBIDDEN.keys())
def test_wrong_queries_fail_where_they_are_written(flights: StreamFrame, query, words: list[str]) -> None:
    with pytest.raises(PlanError) as caught:
        query(flights)

    for word in words:
        assert word in str(caught.value)
    assert caught.value.__cause__ is None
    assert len(str(caught.value)) < 600


@pytest.mark.parametrize("n", [-1, 1.5, "3", True])
def test_head_needs_a_number(flights: StreamFrame, n) -> None:
    with pytest.raises(OptionError, match="head: needs a number of rows"):
        flights.head(n)


def test_head_ends_an_endless_stream(endless: StreamFrame) -> None:
    assert not endless.plan.bounded
    assert endless.head(3).plan.bounded


def test_all_aggregations_are_a_global_aggregate(flights: StreamFrame) -> None:
    total = flights.select(pl.col("n").sum(), pl.len(), mean=pl.col("delay").mean() * 2, one=pl.lit(1))

    assert isinstance(total.plan, nodes.GroupAggregate)
    assert total.plan.keys == ()
    assert total.plan.updating
    assert total.plan.event_time is None
    assert total.columns == ["n", "len", "mean", "one"]


FOLLOWED = {
    "select": (lambda f: f.select("ts", "n"), "ts"),
    "select_alias": (lambda f: f.select(pl.col("ts").alias("t")), "t"),
    "select_both": (lambda f: f.select(t=pl.col("ts"), ts=pl.col("ts")), "ts"),
    "select_prefix": (lambda f: f.select(pl.all().name.prefix("x_")), "x_ts"),
    "select_without": (lambda f: f.select("n"), None),
    "select_computed": (lambda f: f.select(pl.col("ts").dt.offset_by("1h")), None),
    "select_zone": (lambda f: f.select(pl.col("ts").dt.replace_time_zone("UTC")), "ts"),
    "select_local": (lambda f: f.select(pl.col("ts").dt.replace_time_zone("America/New_York")), None),
    "with_columns": (lambda f: f.with_columns(t=pl.col("ts")), "ts"),
    "with_columns_over": (lambda f: f.with_columns(pl.col("ts").dt.truncate("1h")), None),
    "with_columns_other": (lambda f: f.with_columns(pl.col("n").alias("ts")), None),
    "with_columns_finer": (lambda f: f.with_columns(pl.col("ts").cast(pl.Datetime("ns"))), "ts"),
    "with_columns_coarser": (lambda f: f.with_columns(pl.col("ts").cast(pl.Datetime("ms"))), None),
    "with_columns_unit": (lambda f: f.with_columns(pl.col("ts").dt.cast_time_unit("ns")), "ts"),
    "filter": (lambda f: f.filter(n=1), "ts"),
    "drop": (lambda f: f.drop("ts"), None),
    "drop_other": (lambda f: f.drop("n"), "ts"),
    "rename": (lambda f: f.rename({"ts": "t"}), "t"),
    "rename_swap": (lambda f: f.rename({"ts": "n", "n": "ts"}), "n"),
    "rename_function": (lambda f: f.rename(str.upper), "TS"),
    "cast": (lambda f: f.cast({"ts": pl.Datetime("ns")}), "ts"),
    "cast_date": (lambda f: f.cast({"ts": pl.Date}), None),
    "fill_null": (lambda f: f.fill_null(0), "ts"),
    "unpivot": (lambda f: f.unpivot("n", index="ts"), "ts"),
    "unpivot_away": (lambda f: f.unpivot("ts", index="carrier"), None),
    "explode": (lambda f: f.explode("tags"), "ts"),
    "unnest": (lambda f: f.unnest("place"), "ts"),
    "head": (lambda f: f.head(), "ts"),
    "map_batches": (lambda f: f.map_batches(lambda b: b), "ts"),
    "map_batches_without": (lambda f: f.map_batches(lambda b: b, schema={"n": int}), None),
    "group_by": (lambda f: f.group_by("ts").len(), None),
    "window": (lambda f: f.group_by_dynamic("ts", every="1h").agg(pl.len()), "ts"),
}


@pytest.mark.parametrize(("query", "expected"), FOLLOWED.values(), ids=FOLLOWED.keys())
def test_event_time_is_followed(flights: StreamFrame, query, expected: str | None) -> None:
    assert query(flights).plan.event_time == expected


def test_zones_keep_the_event_time(make_stream) -> None:
    stream = make_stream(pl.Schema({"ts": pl.Datetime("us", "UTC")}))

    local = stream.with_columns(pl.col("ts").dt.convert_time_zone("America/New_York"))

    assert local.plan.event_time == "ts"


def test_map_batches(flights: StreamFrame) -> None:
    mapped = flights.map_batches(len, schema={"n": int, "when": pl.Datetime("us")}, as_="pandas")

    assert mapped.schema == pl.Schema({"n": pl.Int64, "when": pl.Datetime("us")})
    assert isinstance(mapped.plan, nodes.MapBatches)
    assert mapped.plan.function is len
    assert mapped.plan.as_ == "pandas"
    assert flights.map_batches(len).schema == flights.schema


def test_user_code_does_not_run_when_the_plan_is_made(flights: StreamFrame) -> None:
    def fatal(_: object) -> object:
        os._exit(3)

    flights.map_batches(fatal)
    flights.with_columns(pl.col("n").map_elements(fatal, return_dtype=pl.Int64))
    flights.with_columns(pl.col("n").map_batches(fatal, return_dtype=pl.Int64, is_elementwise=True))
    flights.group_by("n").agg(pl.col("delay").map_batches(fatal, return_dtype=pl.Float64, returns_scalar=True))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"function": 3}, "a function"),
        ({"function": len, "as_": "arrow"}, "as_='polars'"),
        ({"function": len, "schema": 3}, "a schema"),
        ({"function": len, "schema": {"n": "nonsense"}}, "a schema"),
    ],
)
def test_map_batches_checks_its_arguments(flights: StreamFrame, arguments, words: str) -> None:
    with pytest.raises(OptionError, match="map_batches") as caught:
        flights.map_batches(**arguments)

    assert words in str(caught.value)


def test_map_batches_refuses_reserved_names(flights: StreamFrame) -> None:
    with pytest.raises(PlanError, match="__sl_row"):
        flights.map_batches(len, schema={"__sl_row": int})


def test_a_stream_has_columns_but_no_truth(flights: StreamFrame) -> None:
    assert "n" in flights
    assert "N" not in flights
    with pytest.raises(TypeError, match="ambiguous"):
        bool(flights)


def test_pipe_with_schema(flights: StreamFrame) -> None:
    assert flights.pipe_with_schema(lambda _, schema: schema.names()) == flights.columns


def test_what_polars_refuses_as_a_plain_value_error_is_explained(flights: StreamFrame) -> None:
    with pytest.raises(PlanError, match=r"fill_null: needs what Polars accepts(.|\n)*the columns are"):
        flights.fill_null()


@pytest.mark.parametrize(
    ("expression", "reason"),
    [
        (pl.repeat(1, 3), "repeat gives rows of its own"),
        (pl.lit(pl.Series([1, 2, 3])), "a Series has rows of its own"),
        (pl.col("n").hist(), "hist looks at other rows"),
        (pl.col("n").sample(1), "sample looks at other rows"),
        (pl.col("n").search_sorted(1), "search_sorted looks at other rows"),
        (pl.col("n").extend_constant(0, 2), "extend_constant looks at other rows"),
    ],
)
def test_what_does_not_fit_to_the_empty_frame_is_refused_for_its_rows(
    flights: StreamFrame, expression: pl.Expr, reason: str
) -> None:
    with pytest.raises(PlanError, match=reason):
        flights.with_columns(x=expression)
