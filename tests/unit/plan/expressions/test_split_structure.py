"""What a split looks like: what is shared, what is buffered and why, names, columns, order."""

from __future__ import annotations

import pickle

import polars as pl
import polars.selectors as cs
import pytest
from expression_frames import assert_same, cuts, frames
from expression_splits import KEY, grouped, in_parts
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlab.plan.expressions import split_aggregates

A, B = pl.col("i64"), pl.col("f64")


def digits(number: int) -> int:
    return len(repr(number))


COMPOUND = {
    "ratio": (A.sum() / pl.len()).round(2).alias("x"),
    "several leaves": (A.max() - A.min() + A.mean()).alias("x"),
    "of an expression": ((A * 2 - B).abs() > 1).sum().alias("x"),
    "choice": pl.when(pl.len() > 2).then(B.mean()).otherwise(pl.lit(None)),
    "struct": pl.struct(A.sum(), B.max().alias("top"), n=pl.len()).alias("x"),
    "suffix": B.mean().name.suffix("_mean"),
    "keep": (A + 1).name.keep().sum(),
    "kept inside": pl.struct((B.sum() + A.sum()).name.keep(), A.max()).alias("x"),
    "kept above": (A.sum() + B.sum()).name.keep(),
    "literal": pl.lit(7).alias("seven"),
    "text": pl.format("{} of {}", A.count(), pl.len()),
    "filtered share": (B.filter(pl.col("yes")).len() / pl.len()).fill_null(0.0).alias("share"),
    "function of filtered": B.filter(pl.col("yes")).abs().sum(),
    "two filtered": (A.filter(pl.col("yes")) * B.filter(pl.col("yes"))).sum(),
    "dropped": B.drop_nans().drop_nulls().len(),
    "list": A.implode().list.len().alias("x"),
    "list eval": A.implode().list.eval(pl.element().sum()).list.first().alias("x"),
    "of a list eval": pl.concat_list("i64", "i64").list.eval(pl.element() + 1).list.sum().max().alias("x"),
    "weighted": ((A * B).sum() / B.sum()).alias("x"),
    "key": KEY.max().alias("k"),
    "cast": A.sum().cast(pl.Float32),
    "python": A.map_elements(digits, return_dtype=pl.Int64).sum(),
    "python above": B.count().map_elements(digits, return_dtype=pl.Int64),
    "is_in": A.is_in([0, 1, 2]).any(),
    "selector": cs.float().max(),
    "all": pl.all().exclude("at", "yes").count(),
    "several columns": pl.col("i64", "f64").mean().name.prefix("mean_"),
}


@settings(deadline=None)
@given(
    data=st.data(),
    names=st.lists(st.sampled_from(sorted(COMPOUND)), min_size=1, max_size=3, unique=True),
    keyed=st.booleans(),
    engine=st.sampled_from(["in-memory", "streaming"]),
)
def test_compound_expressions_give_what_polars_gives(
    data: st.DataObject, names: list[str], keyed: bool, engine: str
) -> None:
    frame = data.draw(frames(["i64", "f64"]))
    aggregates = [COMPOUND[name].name.prefix(f"{at}_") for at, name in enumerate(names)]
    split = split_aggregates([KEY] if keyed else [], aggregates, frame.schema)
    assert split.is_incremental, split.reports
    pieces = data.draw(cuts(frame))
    got = in_parts(split, pieces, [2], engine, keyed=keyed)
    expected = grouped(frame.lazy(), aggregates, keyed=keyed).collect(engine="in-memory")
    # A sum of floats is as exact as the largest of them.
    assert_same(*(one.sort("key") if keyed else one for one in (got, expected)), tolerance=1e-6)


BUFFERED = {
    "median": (A.median(), "median needs all rows of the group"),
    "quantile": (A.quantile(0.9), "quantile needs all rows of the group"),
    "mode": (A.mode().first(), "mode looks at other rows"),
    "cum_sum": (A.cum_sum().last(), "cum_sum looks at other rows"),
    "rolling": (A.rolling_mean(2).max(), "rolling_mean looks at other rows"),
    "over": (A.sum().over("f64").max(), "over(...) looks at other rows"),
    "sort_by": (A.sort_by("f64").last(), "sort_by looks at other rows"),
    "sort": (A.sort().first(), "sort looks at other rows"),
    "slice": (A.head(2).sum(), "slice inside an expression changes the number of rows"),
    "deviation": ((A - A.mean()).pow(2).sum(), "mean aggregates all rows"),
    "filter by aggregate": (A.filter(A.max() == A).sum(), "max aggregates all rows"),
    "list": (A, "it gives a list of the rows of the group"),
    "filtered list": (A.filter(A > 1), "it gives a list of the rows of the group"),
    "list arithmetic": ((A + A.mean()).alias("x"), "it gives a list of the rows of the group"),
    "unequal filters": (
        (A.filter(A > 1) + B.filter(A > 2)).sum(),
        "columns filtered in different ways stand side by side",
    ),
    "by filtered": (A.filter(A > 1).min_by(B), "columns filtered in different ways stand side by side"),
    "filter of a filter": (
        A.filter(A > 1).filter(A.filter(A > 1) > 2).sum(),
        "filter(...) inside an expression changes the number of rows",
    ),
    "literal": (pl.lit(1).sum(), "an aggregation of a literal sees one value"),
    "series": (A.sum() + pl.lit(pl.Series([1])), "a Series has rows of its own"),
    "python": (A.map_batches(lambda s: s).sum(), "a Python function sees a whole batch"),
    "item": (A.item(), "item needs all rows of the group"),
    "arg_min": (A.arg_min(), "arg_min needs all rows of the group"),
    "corr": (pl.corr("i64", "f64"), "corr needs all rows of the group"),
    "sum of dates": (pl.col("at").sum(), "sum of Datetime"),
    "shift": (A.shift(1).sum(), "shift looks at other rows"),
    "unique length": (A.unique().len(), "unique looks at other rows"),
    "struct fields": (
        pl.struct(A.sum()).struct.with_fields(pl.field("i64").sum()),
        "struct.with_fields(...) needs all rows",
    ),
    "get": (A.get(0), "get needs all rows of the group"),
}


@pytest.mark.parametrize("name", BUFFERED)
def test_what_cannot_be_merged_is_buffered_and_says_why(name: str) -> None:
    expression, reason = BUFFERED[name]
    schema = pl.Schema({"key": pl.Int64, "i64": pl.Int64, "f64": pl.Float64, "at": pl.Datetime("us")})
    split = split_aggregates([KEY], [pl.len().alias("n"), expression], schema)
    first, second = split.reports
    assert (first.name, first.incremental) == ("n", True)
    assert not second.incremental
    assert second.reason.startswith(reason), second.reason
    assert not split.is_incremental
    assert (split.partial, split.merge, split.final) == ((), (), ())
    assert split.ordered


@settings(deadline=None)
@given(data=st.data(), name=st.sampled_from(sorted({"median", "cum_sum", "sort_by", "list", "deviation", "slice"})))
def test_buffered_expressions_give_what_polars_gives(data: st.DataObject, name: str) -> None:
    frame = data.draw(frames(["i64", "f64"]))
    aggregates = [BUFFERED[name][0].alias("b"), *(COMPOUND[n].alias(n) for n in ("ratio", "filtered share", "struct"))]
    split = split_aggregates([KEY], aggregates, frame.schema)
    rows = frame.lazy().group_by("key")
    got = rows.agg(split.buffered).sort("key").collect(engine="in-memory")
    expected = rows.agg(aggregates).sort("key").collect(engine="in-memory")
    assert_same(got, expected, tolerance=1e-6)


def test_states_are_shared() -> None:
    schema = pl.Schema({"key": pl.Int64, "i64": pl.Int64})
    split = split_aggregates(
        [KEY], [pl.len().alias("n"), A.sum(), A.mean().alias("m"), A.var().alias("v"), A.std().alias("s")], schema
    )
    # length, sum, count, mean and squared deviations
    assert len(split.partial) == 5
    assert [e.meta.output_name() for e in split.partial] == [f"__sl_p{i}" for i in range(5)]
    assert [e.meta.output_name() for e in split.merge] == [f"__sl_p{i}" for i in range(5)]
    assert [e.meta.output_name() for e in split.final] == ["n", "i64", "m", "v", "s"]


@pytest.mark.parametrize("column", ["f64", "i64"])
def test_count_sum_and_mean_need_three_aggregations(column: str) -> None:
    schema = pl.Schema({"key": pl.Int64, "i64": pl.Int64, "f64": pl.Float64})
    values = pl.col(column)
    split = split_aggregates([KEY], [pl.len(), values.sum(), values.mean().alias("mean")], schema)
    assert len(split.partial) == 3


def test_columns_are_those_that_are_read() -> None:
    schema = pl.Schema({"key": pl.Int64, "a": pl.Int64, "b": pl.Int64, "c": pl.Int64, "d": pl.Int64})
    split = split_aggregates([KEY], [pl.col("c").filter(pl.col("a") > 1).sum()], schema)
    assert split.columns == ("a", "c")
    assert split_aggregates([KEY], [pl.len()], schema).columns == ()
    ordered = pl.col("a").over("b", order_by="d").max()
    assert split_aggregates([KEY], [ordered], schema).columns == ("a", "b", "d")
    assert split_aggregates([KEY], [pl.col("a").median()], schema, "d").columns == ("a", "d")


def test_only_what_goes_by_order_is_ordered() -> None:
    schema = pl.Schema({"key": pl.Int64, "i64": pl.Int64})
    assert not split_aggregates([KEY], [A.sum(), A.n_unique().alias("n")], schema).ordered
    assert split_aggregates([KEY], [A.first()], schema).ordered


def test_selectors_leave_out_keys() -> None:
    schema = pl.Schema({"key": pl.Int64, "i64": pl.Int64, "f64": pl.Float64})
    split = split_aggregates([KEY], [pl.all().sum()], schema)
    assert [report.name for report in split.reports] == ["i64", "f64"]
    assert split.is_incremental


def test_an_expression_that_does_not_fit_the_schema_is_polars_own_error() -> None:
    with pytest.raises(pl.exceptions.ColumnNotFoundError):
        split_aggregates([KEY], [pl.col("nope").sum()], pl.Schema({"key": pl.Int64}))


def test_a_split_travels_between_processes() -> None:
    schema = pl.Schema({"key": pl.Int64, "i64": pl.Int64, "f64": pl.Float64})
    split = split_aggregates([KEY], [A.mean(), B.std()], schema)
    again = pickle.loads(pickle.dumps(split))
    assert list(map(str, again.final)) == list(map(str, split.final))
    assert again.reports == split.reports


def test_literals_alone_still_know_their_groups() -> None:
    frame = pl.DataFrame({"key": [1, 1, 2]})
    split = split_aggregates([KEY], [pl.lit("x").alias("x")], frame.schema)
    got = in_parts(split, [frame[:2], frame[2:]], [], "streaming", keyed=True)
    assert got.sort("key").rows() == [(1, "x"), (2, "x")]
