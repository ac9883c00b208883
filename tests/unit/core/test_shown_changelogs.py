"""Changelogs as users see them: the kind of each row stands in front."""

from __future__ import annotations

import polars as pl

from streamlab.core.changelog import ROW_KIND, with_op

KINDS = pl.Series(ROW_KIND, [0, 1, 2, 3], dtype=pl.Int8)


def test_kinds_are_shown_as_signs():
    log = pl.DataFrame({"n": [1, 2, 3, 4]}).with_columns(KINDS)
    assert with_op(log).columns == ["op", "n"]
    assert with_op(log)["op"].to_list() == ["+I", "-U", "+U", "-D"]


def test_rows_that_are_only_added_are_inserts():
    rows = pl.DataFrame({"n": [1, 2]})
    assert with_op(rows).rows() == [("+I", 1), ("+I", 2)]
    assert with_op(rows.head(0)).schema == pl.Schema({"op": pl.String, "n": pl.Int64})


def test_a_column_op_of_the_rows_is_told_apart():
    log = pl.DataFrame({"op": ["sell", "buy", "buy", "buy"], "n": [1, 2, 3, 4]}).with_columns(KINDS)
    assert with_op(log).columns == ["op", "row.op", "n"]
    assert with_op(log).row(0) == ("+I", "sell", 1)
    assert with_op(log.drop(ROW_KIND)).row(3) == ("+I", "buy", 4)
