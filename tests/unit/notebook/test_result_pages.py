"""A page of a result table: which rows, in which order, and which of them are new."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from itertools import groupby
from typing import Any

import msgspec
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlab.notebook.charts.wire import Binary
from streamlab.notebook.panel.choice import MOST_ROWS, Choice, TableChoice
from streamlab.notebook.panel.results import (
    CHANGED,
    LONGEST_CELL,
    MARKED_S,
    NEW,
    SAME,
    Marks,
    count_text,
    matching,
    page_of,
)
from streamlab.notebook.panel.tables import ResultPages, packed_table
from streamlab.observe.preview import MAX_COLUMNS, as_text

CITIES = pl.DataFrame({"city": ["Oslo", "Rome", None, "Cairo"], "n": [4, None, 2, 9]})


def rows_of(table: pl.DataFrame, **chosen: Any) -> list[tuple[str | None, ...]]:
    _, page = page_of(table, TableChoice().changed(**chosen))
    return list(page.shown.rows)


@given(st.lists(st.none() | st.integers(-5, 5), max_size=40), st.booleans(), st.integers(1, 7))
def test_all_pages_together_are_the_sorted_table(values: list[int | None], descending: bool, rows: int) -> None:
    table = pl.DataFrame({"n": values}, schema={"n": pl.Int64})
    pages = [
        page_of(table, TableChoice(sort=0, descending=descending, rows=rows, page=page))[0]
        for page in range(max(1, -(-len(values) // rows)))
    ]
    expected = table.sort("n", descending=descending, nulls_last=True, maintain_order=True)
    assert pl.concat(pages).equals(expected)


def test_a_page_beyond_the_end_is_the_last_page() -> None:
    _, page = page_of(CITIES, TableChoice(rows=3, page=99))
    assert (page.first, len(page.shown.rows)) == (3, 1)


def test_a_page_has_500_rows_at_most() -> None:
    assert len(rows_of(pl.DataFrame({"n": range(2000)}), rows=10_000)) == MOST_ROWS == 500


@pytest.mark.parametrize(
    ("where", "cities"),
    [
        ("", ["Oslo", "Rome", None, "Cairo"]),
        ("RO", ["Rome", "Cairo"]),
        ("9", ["Cairo"]),
        ("n > 3", ["Oslo", "Cairo"]),
        ("city is null", [None]),
        ("n > 3 and city like 'C%'", ["Cairo"]),
        ("nothing like it", []),
    ],
)
def test_what_is_looked_for(where: str, cities: list[str | None]) -> None:
    found, error = matching(CITIES, where)
    if where != "nothing like it":
        assert not error
        assert found["city"].to_list() == cities
    else:
        assert error


@pytest.mark.parametrize("where", ["n >", "zz = 4", "n + ' = 1", "city > 4"])
def test_a_condition_that_cannot_be_used_says_why_and_leaves_all_rows(where: str) -> None:
    _, page = page_of(CITIES, TableChoice(where=where))
    assert page.error
    assert page.shown.height == CITIES.height


def test_new_and_changed_rows_are_marked_until_something_else_is_chosen() -> None:
    marks, choice = Marks(), TableChoice()
    before = pl.DataFrame({"k": ["a", "b"], "n": [1, 1]})
    after = pl.DataFrame({"k": ["a", "b", "c"], "n": [1, 2, 1]})
    assert marks.of(before, ("k",), choice, 0.0) == (SAME, SAME)
    assert marks.of(after, ("k",), choice, 0.1) == (SAME, CHANGED, NEW)
    assert marks.of(after, ("k",), choice, 0.1 + MARKED_S) == (SAME, SAME, SAME)
    assert marks.of(before, ("k",), choice.changed(page=1), 9.0) == (SAME, SAME)


@given(st.lists(st.integers(0, 2), min_size=40, max_size=40))
def test_marks_do_not_flicker_at_eight_looks_a_second(values: list[int]) -> None:
    """Once a row is marked it stays so for a while, however often it changes."""
    marks = Marks()
    marks.of(pl.DataFrame({"k": ["old"], "n": [0]}), ("k",), TableChoice(), 0.0)
    frames = (pl.DataFrame({"k": ["old", "new"], "n": [n, n]}) for n in values)
    seen = [marks.of(frame, ("k",), TableChoice(), (look + 1) / 8) for look, frame in enumerate(frames)]
    for row in zip(*seen, strict=True):
        runs = [(mark, len(list(group))) for mark, group in groupby(row)]
        assert all(length >= 8 * MARKED_S for mark, length in runs[:-1] if mark != SAME)


def test_without_keys_a_changed_row_is_a_new_one() -> None:
    marks = Marks()
    marks.of(pl.DataFrame({"n": [[1], [2]]}), None, TableChoice(), 0.0)
    assert marks.of(pl.DataFrame({"n": [[1], [3]]}), None, TableChoice(), 0.1) == (SAME, NEW)


class Tables:
    """A job's tables."""

    key_columns = ("k",)

    def results(self) -> pl.DataFrame:
        return pl.DataFrame({"k": ["a"], "n": [2]})

    def newest_changes(self) -> pl.DataFrame:
        return pl.DataFrame({"op": ["+U", "+I"], "k": ["a", "a"], "n": [2, 1]})


def test_the_modes_show_the_table_the_arrivals_and_the_changes() -> None:
    pages = ResultPages(Tables())
    shown = {mode: pages.page(TableChoice(mode=mode)).shown.rows for mode in ("update", "append", "changelog")}
    assert shown == {
        "update": (("a", "2"),),
        "append": (("a", "1"),),
        "changelog": (("+U", "a", "2"), ("+I", "a", "1")),
    }


def test_huge_and_hostile_cells_become_short_plain_text() -> None:
    evil = "\x1b[31mred\x07\u202eabc\u2066"
    table = pl.DataFrame(
        {"text": ["x" * 10_000_000, evil], "list": [["y" * 2_000_000], [""]], "\x1b[0m": [b"\xff" * 10_000_000, b""]}
    )
    rows, page = page_of(table, TableChoice(sort=0))
    assert rows.height == 2
    assert all(cell is not None and len(cell) <= LONGEST_CELL for row in page.shown.rows for cell in row)
    text = "".join(cell or "" for row in page.shown.rows for cell in row) + "".join(page.shown.columns)
    assert text.isprintable()
    assert not any(sign in text for sign in "\x1b\x07\u202e\u2066")
    assert "␛[31mred" in text


def test_a_packed_table_can_be_read_back() -> None:
    binary = Binary()
    _, page = page_of(CITIES, TableChoice())
    packed = packed_table(page, TableChoice(), binary)
    whole = bytes(binary)
    (cells, ends, nulls) = (whole[start:end] for start, end in packed["cells"][0]["parts"])
    stops = memoryview(ends).cast("I").tolist()
    texts = [cells[start:stop].decode() for start, stop in zip([0, *stops], stops, strict=False)]
    shown = [None if null else text for text, null in zip(texts, nulls, strict=True)]
    assert shown == [row[0] for row in page.shown.rows]
    assert all(part[0] % 8 == 0 for part in packed["cells"][0]["parts"])


def test_how_many_rows_in_words() -> None:
    assert count_text(page_of(CITIES.clear(), TableChoice())[1], "nothing") == "nothing"
    assert count_text(page_of(CITIES, TableChoice(where="zzz"))[1]) == "none of the 4 rows match"
    part = replace(page_of(CITIES, TableChoice(where="zzz"))[1], of_all=90)
    assert count_text(part) == "none of the newest 4 of 90 rows match"
    assert count_text(page_of(CITIES, TableChoice(where="n > 3", rows=1))[1]).startswith("rows 1 to 1 of the 2 that")


def test_columns_that_are_left_out_are_counted() -> None:
    wide = pl.DataFrame({f"c{i}": [i] for i in range(MAX_COLUMNS + 10)})
    assert count_text(page_of(wide, TableChoice())[1]) == "1 row, the first 30 of 40 columns"


def test_cells_that_numbers_and_times_stand_in() -> None:
    zone = "America/New_York"
    hour = dt.datetime(2013, 7, 1, 12, tzinfo=dt.UTC)
    spans = [dt.timedelta(hours=30, seconds=1.5), dt.timedelta(seconds=-61)]
    table = pl.DataFrame({"at": [hour, None], "took": spans, "n": [12345, None]}).with_columns(
        pl.col("at").dt.convert_time_zone(zone)
    )
    shown = as_text(table, 2)
    assert (shown.dtypes, shown.numeric) == ((f"Datetime, {zone}", "Duration", "Int64"), (False, True, True))
    assert shown.rows == (("2013-07-01 08:00:00", "1 d 6:00:01.5", "12345"), (None, "-0:01:01", None))
    assert [row[2] for row in as_text(table, 2, counts=True).rows] == ["12,345", "—"]


@pytest.mark.parametrize("fields", [{"mode": "x"}, {"rows": "many"}, {"colour": 1}, {"sort": "n"}])
def test_a_choice_that_cannot_be(fields: dict[str, Any]) -> None:
    with pytest.raises((msgspec.ValidationError, TypeError)):
        TableChoice().changed(**fields)


def test_each_table_keeps_what_was_chosen_of_it() -> None:
    choice = Choice().changed(of="results", sort=1, page=3).changed(of="past", where="x").changed(tab="flow", at=7)
    assert (choice.results.sort, choice.results.page, choice.past.where, choice.tab, choice.at) == (
        1,
        3,
        "x",
        "flow",
        7,
    )
    assert choice.changed(part="sources").past.where == ""
    with pytest.raises(msgspec.ValidationError):
        choice.changed(tab="nowhere")
