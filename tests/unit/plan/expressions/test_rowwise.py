"""Which expressions can run on a stream batch by batch, and what is said of the others."""

from __future__ import annotations

import datetime as dt

import polars as pl
import polars.selectors as cs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlab.plan.expressions import is_aggregation, is_literal, rowwise_problem

N, X, TEXT, DAY, ITEMS, PAIR = (pl.col(name) for name in ("n", "x", "text", "day", "items", "pair"))
FRAME = pl.DataFrame(
    {
        "n": [3, None, 1, 3, 0, -7],
        "x": [0.5, float("nan"), None, -1.5, 2.0, 0.5],
        "text": ["a b", "", None, "2013-01-01", "ß", "a b"],
        "day": [dt.date(2013, 1, 1), None, dt.date(1969, 7, 20), dt.date(2024, 2, 29), *[dt.date(2000, 1, 1)] * 2],
        "items": [[1, 2], [], None, [3], [1, None], [2]],
        "pair": [{"p": 1, "q": 2.0}, None, {"p": None, "q": 0.0}, *[{"p": 3, "q": 1.0}] * 3],
    }
)

ROWWISE = {
    "column": N,
    "arithmetic": (N * 2 + X) // 3 - N % 2,
    "comparison": (N > 1) & X.is_not_nan() | ~(N == 3),
    "choice": pl.when(N > 1).then(X).when(N == 0).then(N).otherwise(None),
    "cast": N.cast(pl.String),
    "text": TEXT.str.to_uppercase() + "!",
    "date": DAY.dt.truncate("1mo").dt.offset_by("2d"),
    "parse with a format": TEXT.str.to_date("%Y-%m-%d", strict=False),
    "list": ITEMS.list.sum() + ITEMS.list.len(),
    "list eval": ITEMS.list.eval(pl.element().rank()),
    "list agg": ITEMS.list.agg(pl.element().max()),
    "struct field": PAIR.struct.field("q"),
    "struct fields": PAIR.struct.unnest(),
    "struct with fields": PAIR.struct.with_fields(pl.field("p") * 2),
    "struct": pl.struct("n", X * 2),
    "horizontal": pl.sum_horizontal("n", "x") + pl.max_horizontal("n", "x"),
    "coalesce": pl.coalesce(N, X, 0),
    "concat": pl.concat_str("n", "text", separator="-"),
    "is_in": N.is_in([1, 3]),
    "is_in its list": N.is_in(ITEMS),
    "fill": N.fill_null(0) + X.fill_nan(None).fill_null(strategy="zero"),
    "replace": N.replace({3: 30}),
    "replace all": N.replace_strict({3: "x"}, default="y"),
    "clip": N.clip(0, 2),
    "round": X.round(1).abs().sqrt(),
    "hash": TEXT.hash(),
    "between": N.is_between(0, 2),
    "python": N.map_elements(lambda n: len(repr(n)), return_dtype=pl.Int64),
    "python by rows": N.map_batches(lambda s: s + 1, return_dtype=pl.Int64, is_elementwise=True),
    "renamed": (N + 1).name.suffix("_2"),
    "name kept": (N + X).alias("z").name.keep(),
    "selector": cs.numeric() * 2,
    "regex": pl.col("^(n|x)$").is_null(),
    "business days": pl.business_day_count("day", dt.date(2020, 1, 1)),
    "literal": pl.lit(3),
    "function of a literal": pl.lit("2020-01-01").str.to_date("%Y-%m-%d"),
}


@pytest.mark.parametrize("name", ROWWISE)
def test_no_problem_means_that_batches_do_not_matter(name: str) -> None:
    expression = ROWWISE[name]
    assert rowwise_problem(expression, FRAME.schema) is None
    assert not is_aggregation(expression)
    whole = FRAME.with_columns(expression)
    for cut in range(FRAME.height + 1):
        pieces = [piece.with_columns(expression) for piece in (FRAME[:cut], FRAME[cut:])]
        assert pl.concat(pieces).equals(whole)


PROBLEMS = {
    "cum_sum looks at other rows": N.cum_sum() * 2,
    "shift looks at other rows": N - N.shift(1),
    "diff looks at other rows": N.diff(),
    "pct_change looks at other rows": X.pct_change(),
    "rank looks at other rows": N.rank(),
    "reverse looks at other rows": N.reverse(),
    "sort looks at other rows": N.sort(),
    "sort_by looks at other rows": N.sort_by("x"),
    "over(...) looks at other rows": N.sum().over("text"),
    "rolling(...) looks at other rows": N.sum().rolling("day", period="1d"),
    "rolling_mean looks at other rows": X.rolling_mean(2),
    "rolling_sum_by looks at other rows": X.rolling_sum_by("day", "2d"),
    "ewm_mean looks at other rows": X.ewm_mean(com=1),
    "interpolate looks at other rows": X.interpolate(),
    "fill_null(strategy=...) looks at other rows": N.fill_null(strategy="forward"),
    "is_duplicated looks at other rows": N.is_duplicated(),
    "is_first_distinct looks at other rows": N.is_first_distinct(),
    "unique looks at other rows": N.unique(),
    "str.to_datetime without a format looks at other rows": TEXT.str.to_datetime(),
    "cumulative_eval(...) looks at other rows": N.cumulative_eval(pl.element().sum()),
    "is_in looks at other rows": N.is_in(X.cast(pl.Int64)),
    "int_range gives rows of its own": pl.row_index(),
    "repeat gives rows of its own": pl.repeat(1, 6),
    "rle_id looks at other rows": N.rle_id(),
    "gather inside an expression changes the number of rows": N.gather([0, 1]),
    "approx_n_unique aggregates the whole stream": N.approx_n_unique(),
    "len aggregates the whole stream ": N.len(),
    **{
        f"the Python function of {name} sees whole columns of a batch; "
        "pl.map_batches([…], is_elementwise=True) takes one that looks at single rows": one
        for name, one in {
            "fold": pl.fold(0, lambda a, b: a + b, ["n", "x"]),
            "reduce": pl.reduce(lambda a, b: a + b, ["n", "x"]),
            "cum_fold": pl.cum_fold(0, lambda a, b: a + b, ["n", "x"]),
            "cum_reduce": pl.cum_reduce(lambda a, b: a + b, ["n", "x"]),
        }.items()
    },
    "sum aggregates the whole stream": N.sum(),
    "mean aggregates the whole stream": N - N.mean(),
    "len aggregates the whole stream": N / pl.len(),
    "quantile aggregates the whole stream": X.quantile(0.5),
    "get aggregates the whole stream": N.get(0),
    "implode aggregates the whole stream": N.is_in(pl.col("n").implode()),
    "filter(...) inside an expression changes the number of rows": N.filter(N > 1),
    "drop_nulls inside an expression changes the number of rows": N.drop_nulls(),
    "explode inside an expression changes the number of rows": ITEMS.explode(),
    "slice inside an expression changes the number of rows": N.head(2),
    "a Series has rows of its own": N + pl.lit(pl.Series([1, 2, 3, 4, 5, 6])),
    "a Python function sees a whole batch; map_batches(..., is_elementwise=True) says that it looks at single rows": (
        N.map_batches(lambda s: s)
    ),
    "a Python function that returns a scalar aggregates the whole stream": N.map_batches(
        lambda s: s.sum(), returns_scalar=True, return_dtype=pl.Int64
    ),
}


@pytest.mark.parametrize("reason", PROBLEMS)
def test_what_looks_at_other_rows_is_named(reason: str) -> None:
    assert rowwise_problem(PROBLEMS[reason], FRAME.schema) == reason.strip()


@pytest.mark.parametrize("reason", PROBLEMS)
def test_the_problem_is_found_below_other_functions(reason: str) -> None:
    below = pl.struct(PROBLEMS[reason].alias("inner"), N.alias("outer"))
    assert rowwise_problem(pl.when(N > 0).then(below), FRAME.schema) == reason.strip()


AGGREGATIONS = [
    N.sum(),
    pl.len(),
    (N.sum() / pl.len()).round(2).alias("mean"),
    N.filter(N > 1).median(),
    N.cum_sum().last(),
    pl.struct(N.max(), low=N.min()),
    N.get(0),
    X.quantile(0.5) + 1,
    pl.corr("n", "x"),
    N.has_nulls(),
    TEXT.str.join(","),
    N.implode(),
    pl.when(pl.len() > 3).then(N.sum()).otherwise(0),
    N.map_batches(lambda s: s.sum(), returns_scalar=True, return_dtype=pl.Int64),
]


@pytest.mark.parametrize("expression", AGGREGATIONS, ids=str)
def test_aggregations_give_one_row(expression: pl.Expr) -> None:
    assert is_aggregation(expression)
    assert not is_literal(expression)
    assert FRAME.select(expression).height == 1


def test_literals_give_one_row_and_are_no_aggregations() -> None:
    for expression in (pl.lit(1), pl.lit("a") + "b", pl.lit(None).alias("x")):
        assert is_literal(expression)
        assert not is_aggregation(expression)
    assert not any(map(is_literal, (N, N + 1, pl.len(), pl.lit(1).sum())))


def test_a_node_that_is_not_known_is_a_problem_not_a_crash() -> None:
    problem = rowwise_problem(N.pipe_with_dtype(lambda e, _: e + 1), FRAME.schema)
    assert problem == "this expression cannot be read: node PipeWithDtype"


@settings(deadline=None)
@given(depth=st.lists(st.sampled_from(["add", "abs", "alias", "choose", "struct"]), max_size=8), bad=st.booleans())
def test_row_wise_functions_of_row_wise_functions_are_row_wise(depth: list[str], bad: bool) -> None:
    grow = {
        "add": lambda e: e + 1,
        "abs": lambda e: e.abs(),
        "alias": lambda e: e.alias("z"),
        "choose": lambda e: pl.when(e > 1).then(e).otherwise(X),
        "struct": lambda e: pl.struct(e.alias("a"), N.alias("b")).struct.field("a"),
    }
    expression = N.cum_max() if bad else N * 2
    for step in depth:
        expression = grow[step](expression)
    assert (rowwise_problem(expression, FRAME.schema) is not None) == bad


@pytest.mark.parametrize(
    ("values", "is_rowwise"),
    [(pl.Series([1, 5]), True), (pl.Series([1, 5]).implode(), True), (pl.Series([[1], [5]]), False)],
    ids=["flat", "one list", "a list for each row"],
)
def test_is_in_looks_in_the_values_of_a_series_for_every_row(values: pl.Series, *, is_rowwise: bool) -> None:
    assert (rowwise_problem(pl.col("a").is_in(values), pl.Schema({"a": pl.Int64})) is None) == is_rowwise
