"""The few rows that are shown of a result table."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from hypothesis import given
from polars.testing.parametric import dataframes

from streamlab.observe.preview import MAX_CELL, preview


def test_the_newest_windows_come_first() -> None:
    hours = [dt.datetime(2013, 1, 1, hour, tzinfo=dt.UTC) for hour in (3, 9, 5, 9)]
    shown = preview(pl.DataFrame({"origin": ["a", "c", "d", "b"], "t": hours}), 3)
    assert [row[0] for row in shown.rows] == ["b", "c", "d"]
    assert (shown.height, shown.order) == (4, "newest t first")


def test_a_table_without_time_stands_still_while_its_values_change() -> None:
    before = preview(pl.DataFrame({"k": ["b", "a"], "n": [1, 2]}), 5)
    after = preview(pl.DataFrame({"k": ["a", "b"], "n": [9, 8]}), 5)
    assert [row[0] for row in before.rows] == [row[0] for row in after.rows] == ["a", "b"]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        (None, None),
        (12.0, "12"),
        (-0.0, "0"),
        (0.1 + 0.2, "0.3"),
        (1e-9, "1e-09"),
        (float("nan"), "NaN"),
        (float("-inf"), "-inf"),
        (2013, "2013"),
        (True, "true"),
        ("<b>", "<b>"),
        (dt.date(1960, 2, 29), "1960-02-29"),
        (dt.datetime(2013, 1, 1, 5, tzinfo=dt.UTC), "2013-01-01 05:00:00"),
        ([1, 2], "[1, 2]"),
    ],
)
def test_cells(value: object, cell: str | None) -> None:
    assert preview(pl.DataFrame({"x": [value]}), 1).rows == ((cell,),)


def test_numbers_of_a_column_have_the_same_decimals() -> None:
    shown = preview(pl.DataFrame({"x": [-4.0, 6.51, None, 1e-9]}), 9)
    assert [row[0] for row in shown.rows] == [None, "-4.00", "1e-09", "6.51"]


def test_long_cells_are_cut() -> None:
    (cell,) = preview(pl.DataFrame({"x": ["y" * 500]}), 1).rows[0]
    assert cell is not None
    assert len(cell) == MAX_CELL


@given(dataframes(max_cols=4, max_size=6, allow_null=True))
def test_any_table_can_be_shown(table: pl.DataFrame) -> None:
    shown = preview(table, 3)
    assert shown.height == table.height
    assert len(shown.rows) == min(3, table.height)
    assert all(len(row) == len(shown.columns) == len(shown.numeric) for row in shown.rows)


def test_a_table_without_columns() -> None:
    assert preview(pl.DataFrame(), 3).rows == ()
