"""Folding a changelog into the table that it describes, for every kind of column."""

from __future__ import annotations

import polars as pl
import pytest

from streamlab.core.changelog import ROW_KIND, fold

CATEGORY = pl.Categorical()
NESTED = [
    (CATEGORY, "a"),
    (pl.List(CATEGORY), ["a", None]),
    (pl.List(CATEGORY), []),
    (pl.Array(CATEGORY, 2), ["a", "b"]),
    (pl.Struct({"x": CATEGORY}), {"x": "a"}),
    (pl.List(pl.Struct({"x": CATEGORY})), [{"x": "a"}, None]),
    (pl.Struct({"x": pl.List(CATEGORY)}), {"x": ["a"]}),
    (pl.List(pl.Enum(["a", "b"])), ["a"]),
]


@pytest.mark.parametrize(("dtype", "value"), NESTED, ids=str)
@pytest.mark.parametrize("beside", [{}, {"n": 1}], ids=["alone", "beside a number"])
@pytest.mark.parametrize("kinds", [[0], [0, 3, 2], [0, 1]], ids=str)
def test_categories_within_lists_and_structs_are_columns_like_others(dtype, value, beside, kinds) -> None:
    rows = pl.DataFrame({"c": pl.Series([value], dtype=dtype)}).with_columns(
        **{k: pl.lit(v) for k, v in beside.items()}
    )
    log = pl.concat([rows.with_columns(pl.lit(kind, pl.Int8).alias(ROW_KIND)) for kind in kinds])
    folded = fold(log)
    assert folded.schema == rows.schema
    assert folded.rows() == (rows.rows() if kinds != [0, 1] else [])
