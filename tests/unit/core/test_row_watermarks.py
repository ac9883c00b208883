"""Rows that lie behind the watermark that stood before them bring it along; all others, and most batches, do not."""

from __future__ import annotations

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from streamlab.core.event_time import row_watermarks
from streamlab.core.event_time.row_watermarks import (
    ROW_WATERMARK,
    is_marked,
    lowered,
    marked,
    raised,
    together,
    unmarked,
)
from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US

AHEAD = MIN_TIME_US


def at(*times_us: int, marks: list[int] | None = None) -> pl.DataFrame:
    frame = pl.DataFrame({"at": times_us}, schema={"at": pl.Int64}).cast(pl.Datetime("us"))
    return frame if marks is None else frame.with_columns(pl.Series(ROW_WATERMARK, marks, dtype=pl.Int64))


def marks_of(frame: pl.DataFrame) -> list[int]:
    return frame[ROW_WATERMARK].to_list() if is_marked(frame) else [AHEAD] * frame.height


def one_by_one(times_us: list[int], before_us: int | None, behind_us: int) -> list[int]:
    marks, latest = [], before_us
    for us in times_us:
        mark = AHEAD if latest is None else latest - behind_us
        marks.append(mark if us <= mark else AHEAD)
        latest = us if latest is None else max(latest, us)
    return marks


@given(
    times_us=st.lists(st.integers(-50, 50), max_size=20),
    before_us=st.one_of(st.none(), st.integers(-50, 50)),
    behind_us=st.integers(1, 30),
    cut=st.integers(0, 20),
    block_rows=st.integers(1, 5),
)
def test_marks_are_those_of_rows_that_come_one_by_one_however_they_are_cut(
    times_us: list[int], before_us: int | None, behind_us: int, cut: int, block_rows: int
) -> None:
    first, second = times_us[:cut], times_us[cut:]
    between_us = max([us for us in (*first, before_us) if us is not None], default=None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(row_watermarks, "_BLOCK_ROWS", block_rows)
        found = marks_of(marked(at(*first), "at", before_us, behind_us))
        found += marks_of(marked(at(*second), "at", between_us, behind_us))
    assert found == one_by_one(times_us, before_us, behind_us)


def test_a_batch_without_such_a_row_stays_as_it_is() -> None:
    frame = at(5, 4, 9)
    assert marked(frame, "at", 3, 6) is frame
    assert unmarked(frame) is frame


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
def test_every_unit_of_time_is_compared_in_microseconds(unit: str) -> None:
    frame = at(9_000, 2_000).with_columns(pl.col("at").dt.cast_time_unit(unit))
    assert marks_of(marked(frame, "at", None, 4_000)) == [AHEAD, 5_000]


def test_the_mark_is_never_above_the_other_inputs_nor_below_what_was_given_out() -> None:
    frame = at(1, 2, 3, marks=[AHEAD, 8, 20])
    assert marks_of(lowered(frame, 10, 5)) == [AHEAD, 8, 10]
    assert marks_of(lowered(frame, 2, 5)) == [AHEAD, 5, 5]
    assert marks_of(lowered(frame, MAX_TIME_US, AHEAD)) == [AHEAD, 8, 20]


def test_rows_of_an_input_that_is_behind_bring_along_what_was_given_out() -> None:
    assert marks_of(raised(at(3, 7, 5), "at", 5)) == [5, AHEAD, 5]
    assert marks_of(raised(at(3, 7, marks=[2, AHEAD]), None, 5)) == [5, 5]
    ahead = at(6, 7)
    assert raised(ahead, "at", 5) is ahead


def test_batches_with_and_without_marks_are_put_together() -> None:
    both = together([at(1), at(2, marks=[9]), at(3)])
    assert marks_of(both) == [AHEAD, 9, AHEAD]
    assert_frame_equal(unmarked(both), at(1, 2, 3))
