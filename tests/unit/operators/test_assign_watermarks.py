"""Watermarks from a column: after the rows that raise them, without those from above, nulls apart."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from streamlab.core.errors import OptionError, PlanError
from streamlab.core.event_time.row_watermarks import ROW_WATERMARK
from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US
from streamlab.core.messages import DEAD_LETTER_SCHEMA, DEAD_LETTERS, MAIN, Batch, Idle, Watermark
from streamlab.observe.status import ClockStatus
from streamlab.operators.base import Operator, OperatorContext
from streamlab.operators.watermarks import AssignWatermarksSpec


def build(delay_us: int = 0, idle_us: int | None = None, unit: str = "us") -> Operator:
    spec = AssignWatermarksSpec("with_watermark", "t", pl.Datetime(unit), delay_us, idle_us)
    return spec.build(OperatorContext())


def at(*times_us: int | None, unit: str = "us") -> Batch:
    times = pl.Series("t", times_us, dtype=pl.Int64).cast(pl.Datetime("us")).cast(pl.Datetime(unit))
    return Batch(pl.DataFrame({"n": pl.Series(range(len(times_us)), dtype=pl.Int64), "t": times}))


def test_follows_the_rows_that_raise_it() -> None:
    operator = build(delay_us=10)
    rows = at(100, 90)
    passed, watermark = operator.process(rows)
    assert passed.frame.equals(rows.frame)
    assert watermark == Watermark(89)
    assert [type(m) for m in operator.process(at(99))] == [Batch]
    assert operator.process(at(-5_000))[1:] == []


def test_a_tick_is_the_unit_of_the_column() -> None:
    assert build(unit="ms").process(at(5_000, unit="ms"))[-1] == Watermark(4_000)
    assert build(unit="ns").process(at(5, unit="ns"))[-1] == Watermark(4)


def test_watermarks_from_above_are_dropped_but_for_the_last() -> None:
    operator = build()
    assert operator.on_watermark(7) == []
    assert operator.on_watermark(MAX_TIME_US) == [Watermark(MAX_TIME_US)]


def test_null_times_go_to_the_dead_letters() -> None:
    letters, rows, watermark = build().process(at(5, None, 3))
    assert letters.tag == DEAD_LETTERS
    assert letters.frame.schema == DEAD_LETTER_SCHEMA
    assert letters.frame["step"].to_list() == ["with_watermark"]
    assert letters.frame["input"].to_list() == ['{"n":1,"t":null}']
    assert "'t' is null" in letters.frame["reason"].item()
    assert rows.tag == MAIN
    assert_frame_equal(rows.frame.drop(ROW_WATERMARK), at(5, None, 3).frame.filter(pl.col("t").is_not_null()))
    assert rows.frame[ROW_WATERMARK].to_list() == [MIN_TIME_US, 4]  # the second lies behind what the first allows
    assert watermark == Watermark(4)


def test_rows_that_json_has_no_word_for_become_dead_letters_too() -> None:
    frame = pl.DataFrame({"t": pl.Series([None], dtype=pl.Datetime("us")), "b": [b"\x00\xff"]})
    (letters,) = build().process(Batch(frame))
    assert letters.frame["input"].to_list() == ['{"t":null,"b":"00ff"}']


def test_only_null_times_say_nothing_about_time() -> None:
    assert [m.tag for m in build().process(at(None, None))] == [DEAD_LETTERS]


def test_goes_idle_on_the_clock_and_wakes_with_rows() -> None:
    operator = build(idle_us=1_000)
    assert operator.next_timer_us is not None
    assert operator.on_timer(10_000) == []
    operator.process(at(50))
    out = []
    for now in range(10_000, 13_000, 10):
        if operator.next_timer_us <= now:
            out += operator.on_timer(now)
    assert out == [Idle()]
    assert operator.process(at(60))[-1] == Watermark(59)


def test_without_a_timeout_it_needs_no_clock() -> None:
    assert build().next_timer_us is None


def test_goes_on_from_its_watermark() -> None:
    operator = build()
    operator.process(at(100))
    spec = AssignWatermarksSpec("with_watermark", "t", pl.Datetime("us"), 0)
    again = spec.build(OperatorContext(), operator.snapshot())
    assert len(again.process(at(100))) == 1
    assert again.process(at(101))[-1] == Watermark(100)


def test_dates_and_time_zones() -> None:
    spec = AssignWatermarksSpec("w", "d", pl.Date(), 0)
    out = spec.build(OperatorContext()).process(Batch(pl.DataFrame({"d": [dt.date(1970, 1, 3)]})))
    assert out[-1] == Watermark(86_400_000_000)
    zoned = pl.Datetime("us", "Europe/Berlin")
    frame = pl.DataFrame({"t": [dt.datetime(1970, 1, 1, tzinfo=dt.UTC)]}, schema={"t": zoned})
    assert AssignWatermarksSpec("w", "t", zoned, 0).build(OperatorContext()).process(Batch(frame))[-1] == Watermark(-1)


def test_refuses_what_is_no_time_and_no_timeout() -> None:
    with pytest.raises(PlanError, match="Datetime or Date"):
        AssignWatermarksSpec("w", "n", pl.Int64(), 0)
    with pytest.raises(OptionError, match="idle_timeout above zero"):
        AssignWatermarksSpec("w", "t", pl.Datetime("us"), 0, 0)


def test_it_is_a_clock_and_notes_what_arrived() -> None:
    operator = build(delay_us=10_000, idle_us=5_000)
    assert operator.clock == ClockStatus(step="with_watermark", delay_ms=10.0, idle_timeout_ms=5.0)
    assert build().clock == ClockStatus(step="with_watermark", delay_ms=0.0)
    operator.process(at(50_000, 20_000))
    operator.process(at(30_000, None))
    assert operator.notes is not None
    arrived = operator.notes.take("with_watermark", 7)
    assert arrived is not None
    assert (arrived.rows, arrived.earliest_us, arrived.latest_us) == (3, 20_000, 50_000)
    assert (arrived.watermark_us, set(arrived.sample_us)) == (39_999, {20_000, 30_000, 50_000})
    known = dict(zip(arrived.sample_us, arrived.sample_watermark_us, strict=True))
    assert known == {50_000: None, 20_000: 39_999, 30_000: 39_999}
