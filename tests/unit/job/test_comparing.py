"""What two tables do not have in common: rows exactly, floats to nine digits."""

from __future__ import annotations

import math

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlab.job.history.comparing import differing

FLOATS = st.floats(allow_subnormal=False) | st.none()
ROWS = st.lists(st.tuples(st.integers(0, 2) | st.none(), FLOATS, FLOATS), max_size=12)


def table(rows: list) -> pl.DataFrame:
    return pl.DataFrame(rows, {"k": pl.Int64, "x": pl.Float64, "y": pl.Float64}, orient="row")


def nudged(value: float | None) -> float | None:
    """Return a float that is a little larger, if there is one."""
    return None if value is None else value * (1 + 1e-13) if math.isfinite(value * (1 + 1e-13)) else value


@given(
    rows=st.lists(st.tuples(st.integers(0, 30), FLOATS, FLOATS), max_size=12, unique_by=lambda row: row[0]),
    random=st.randoms(),
)
def test_last_digits_and_order_make_no_difference(rows, random):
    shuffled = [(k, nudged(x), nudged(y)) for k, x, y in random.sample(rows, len(rows))]
    found = differing(table(rows), table(shuffled))
    assert found.columns == ["in", "k", "x", "y"]
    assert found.height == 0


@given(rows=ROWS, more=ROWS)
def test_what_one_side_has_more_of_is_found(rows, more):
    found = differing(table([*rows, *more]), table(rows), tolerance=0)
    assert found["in"].to_list() == ["here"] * len(more)
    assert found.drop("in").sort(pl.all()).equals(table(more).sort(pl.all()))
    assert differing(table([*rows, *more]), table(rows)).filter(pl.col("in") == "here").height >= len(more)


@pytest.mark.parametrize(
    ("mine", "theirs", "differ"),
    [
        (1.0, 1.0 + 1e-12, False),
        (1.0, 1.0 + 1e-8, True),
        (1e300, 1e300 * (1 + 1e-12), False),
        (1e-13, -1e-13, False),
        (1e-5, 2e-5, True),
        (math.nan, math.nan, False),
        (math.nan, 1.0, True),
        (math.inf, math.inf, False),
        (math.inf, -math.inf, True),
        (math.inf, 1e308, True),
        (None, None, False),
        (None, 0.0, True),
    ],
)
def test_how_near_two_floats_must_be(mine, theirs, differ):
    rows = [pl.DataFrame({"k": ["a"], "x": pl.Series([x], dtype=pl.Float64)}) for x in (mine, theirs)]
    assert differing(*rows).height == (2 if differ else 0)


def test_zero_compares_exactly():
    mine, theirs = pl.DataFrame({"x": [0.1 + 0.2]}), pl.DataFrame({"x": [0.3]})
    assert differing(mine, theirs).height == 0
    assert differing(mine, theirs, tolerance=0)["in"].to_list() == ["here", "there"]


def test_rows_of_lists_and_structs_and_floats_of_one_column_only():
    mine = pl.DataFrame({"l": [[1, 2], [3]], "s": [{"a": 1}, {"a": 2}], "x": [1.0, 2.0]})
    theirs = mine.with_columns(pl.col("x") + 1e-13)
    assert differing(mine, theirs).height == 0
    assert differing(mine, theirs.drop("x")).height == 4
    assert differing(mine, theirs.head(1)).rows() == [("here", [3], {"a": 2}, 2.0)]


def test_a_value_that_differs_among_many_that_do_not():
    many = pl.DataFrame({"k": range(1_000), "x": [n / 7 for n in range(1_000)]})
    other = many.with_columns(x=pl.col("x") * (1 + 1e-14) + (pl.col("k") == 500))
    assert differing(many, other)["k"].to_list() == [500, 500]


def test_a_column_in_of_the_tables_is_told_apart():
    found = differing(pl.DataFrame({"in": [1], "x": [0.5]}), pl.DataFrame({"in": [2], "x": [0.5]}))
    assert found.columns == ["in", "row.in", "x"]
    assert found.sort("row.in").rows() == [("here", 1, 0.5), ("there", 2, 0.5)]


@pytest.mark.parametrize("tolerance", [0, 1e-9])
def test_columns_may_have_any_name(tolerance: float) -> None:
    names = ["__count", "__row", "__group", "__rank", "here", "there", "x", "x_there", "len", "literal", ""]
    mine = pl.DataFrame({name: [1.0, 2.0] for name in names})
    theirs = pl.DataFrame({name: [2.0, 3.0] for name in names}).with_columns(more=pl.lit("m"))
    found = differing(mine, theirs.drop("more"), tolerance=tolerance).sort("x")
    assert found.columns == ["in", *names]
    assert found.rows() == [("here", *[1.0] * len(names)), ("there", *[3.0] * len(names))]
    assert differing(mine, theirs, tolerance=tolerance).columns == ["in", *names, "more"]
