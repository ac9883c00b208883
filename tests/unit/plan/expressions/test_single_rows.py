"""The partial result of a single row, without grouping, is that of a group of this row alone."""

from __future__ import annotations

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from streamlab.plan.expressions.single_rows import of_single_rows
from streamlab.plan.expressions.split import split_aggregates

FRAME = pl.DataFrame(
    {
        "k": [1, 2, 1, 3, None],
        "i": pl.Series([1, None, -3, 2**31 - 1, 0], dtype=pl.Int32),
        "l": [2**62, -(2**62), None, 1, 0],
        "f": [1.5, float("nan"), None, -0.0, float("inf")],
        "b": [True, None, False, True, None],
        "s": ["x", None, "", "y", "x"],
        "d": pl.Series([1, None, 3, 4, 5], dtype=pl.Duration("ms")),
    }
)
SINGLE = {
    "len": pl.len(),
    "count": pl.col("s").count(),
    "sum of int32": pl.col("i").sum(),
    "sum of int64": pl.col("l").sum(),
    "sum of floats": pl.col("f").sum(),
    "sum of booleans": pl.col("b").sum(),
    "sum of an expression": (pl.col("i") * 2 + 1).sum(),
    "mean": pl.col("f").mean(),
    "min and max": pl.col("f").max() - pl.col("f").min(),
    "max of text": pl.col("s").max(),
    "sum of durations": pl.col("d").sum(),
}


@pytest.mark.parametrize("name", SINGLE)
def test_a_row_on_its_own_gives_what_a_group_of_one_gives(name: str) -> None:
    split = split_aggregates([pl.col("k")], [SINGLE[name].alias("x")], FRAME.schema)
    assert split.single, name
    numbered = FRAME.with_row_index("row")
    grouped = numbered.group_by("row", maintain_order=True).agg(*split.partial).drop("row")
    assert_frame_equal(numbered.select("row", *split.single).drop("row"), grouped)


@pytest.mark.parametrize(
    "expression",
    [pl.col("f").var(), pl.col("s").first(), pl.col("i").filter(pl.col("b")).sum(), pl.col("i").n_unique()],
    ids=str,
)
def test_what_has_no_such_form_is_not_guessed(expression: pl.Expr) -> None:
    split = split_aggregates([pl.col("k")], [expression.alias("x"), pl.len()], FRAME.schema)
    assert split.is_incremental
    assert split.single == ()


def test_an_unknown_shape_has_none() -> None:
    assert of_single_rows([(pl.col("i") + pl.col("i").sum()).alias("x")], FRAME.schema) == ()
