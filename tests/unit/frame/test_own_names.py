"""Names that begin as streamlab's own do are refused, each with a hint that works; others that look alike are not."""

from __future__ import annotations

from collections.abc import Callable

import polars as pl
import pytest

import streamlab as sl
from streamlab.core.errors import PlanError

ROWS = pl.DataFrame({"__sl_pane": [1, 2], "n": [3, 4]})
REFUSED: dict[str, Callable[[sl.StreamFrame], object]] = {
    "select": lambda f: f.select(pl.col("n").alias("__sl_n")),
    "with_columns": lambda f: f.with_columns(__sl_=1),
    "rename": lambda f: f.rename({"n": "__sl_key_n"}),
    "key": lambda f: f.group_by(__sl_k=pl.col("n") % 2).agg(pl.len()),
    "aggregate": lambda f: f.group_by("n").agg(__sl_p0=pl.len()),
    "kind": lambda f: f.select(pl.col("n").alias("__row_kind")),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_name_of_ours_is_refused(name: str) -> None:
    stream = sl.from_frame(ROWS.select("n"))
    with pytest.raises(PlanError, match=r"names that begin with '__sl_'.*are streamlab's: choose another with \.alias"):
        REFUSED[name](stream)


def test_what_is_read_can_be_renamed_as_the_hint_says() -> None:
    with pytest.raises(PlanError, match=r"'__sl_pane'.*\n.*sl.from_frame\(frame.rename\(\{…\}\)\)"):
        sl.from_frame(ROWS)
    stream = sl.from_frame(ROWS.rename({"__sl_pane": "pane"}))
    assert stream.collect().columns == ["pane", "n"]


def test_names_that_look_alike_are_users() -> None:
    names = ["__slot", "__s", "sl_", "_sl_pane", "a__sl_pane", "__SL_pane", "__key_n", "__row", "__deleted"]
    rows = pl.DataFrame({name: [at] for at, name in enumerate(names)})
    assert sl.from_frame(rows).collect().equals(rows)


def test_a_selector_finds_a_column_whose_key_has_two_underscores_more() -> None:
    rows = pl.DataFrame({"__n": [1, 1, 2], "n": [3, 4, 5]})
    found = sl.from_frame(rows).group_by("__n").agg(pl.all().sum()).collect()
    assert found.sort("__n").rows() == [(1, 7), (2, 5)]
