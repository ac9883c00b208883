"""Rows of keys, however they came, against plain Python lists."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlab.state.tables import keyed_lists, row_pages
from streamlab.state.tables.keyed_lists import KeyedLists
from streamlab.state.tables.row_pages import RowPages

SCHEMA = pl.Schema({"x": pl.Int64, "text": pl.String})

slots = st.lists(st.integers(0, 6), max_size=12)
steps = st.lists(st.tuples(st.sampled_from(["append", "find", "restore"]), slots), max_size=80)


def frame_of(numbers: list[int]) -> pl.DataFrame:
    return pl.DataFrame({"x": numbers, "text": [f"row {n}" for n in numbers]}, schema=SCHEMA)


@pytest.mark.parametrize("most_segments", [1, 3, 16])
@pytest.mark.parametrize("page_rows", [4, 1 << 20])
@given(steps=steps)
def test_lists_hold_what_plain_lists_would(
    page_rows: int, most_segments: int, steps: list[tuple[str, list[int]]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_pages, "PAGE_ROWS", page_rows)
        patch.setattr(keyed_lists, "_MOST_SEGMENTS", most_segments)
        lists, plain, owners = KeyedLists(SCHEMA), defaultdict(list), []
        for name, some in steps:
            if name == "append":
                numbers = list(range(len(owners), len(owners) + len(some)))
                lists.append(np.array(some, np.int64), frame_of(numbers))
                for slot, number in zip(some, numbers, strict=True):
                    plain[slot].append(number)
                owners += some
            elif name == "find":
                asked = [*some, -1, 99]
                at, numbers = lists.find(np.array(asked, np.int64))
                expected = [(place, number) for place, slot in enumerate(asked) for number in plain[slot]]
                found = lists.rows.take(numbers)
                assert list(zip(at.tolist(), found["x"], strict=True)) == expected
                assert found.equals(frame_of([number for _, number in expected]))
            else:
                frames, lists, first = lists.rows.frames(), KeyedLists(SCHEMA), 0
                for frame in frames:
                    lists.append(np.array(owners[first : first + frame.height]), frame)
                    first += frame.height
        assert lists.rows.rows == len(owners)


def test_pages_that_are_full_do_not_change_any_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(row_pages, "PAGE_ROWS", 100)
    pages = RowPages(SCHEMA)
    for first in range(0, 1000, 10):
        pages.append(frame_of(list(range(first, first + 10))))
    before = pages.frames()
    pages.append(frame_of([1000]))
    assert sum(one is other for one, other in zip(before, pages.frames(), strict=False)) >= len(before) - 3
    assert len(before) < 20
    assert pl.concat(pages.frames())["x"].to_list() == list(range(1001))
