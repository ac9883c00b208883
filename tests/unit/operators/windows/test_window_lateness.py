"""What is noted of late rows: outcome, watermark, window, and how much more delay would have kept them."""

from __future__ import annotations

import datetime as dt

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from window_model import Pipeline, hopping, rows_frame, session, specs

from streamlab.core.event_time.windows import Windows
from streamlab.core.messages import LATE_ROWS
from streamlab.observe.late_notes import KEPT, SHOWN, shown
from streamlab.observe.time_notes import TimeNotes, bucket_end_ms

NOTED_US = 1_700_000_000_000_000


def notes_of(pipeline: Pipeline) -> TimeNotes:
    notes = pipeline.keyed[0].notes
    assert notes is not None
    return notes


def noted(pipeline: Pipeline) -> pl.DataFrame:
    stored = notes_of(pipeline).take_late(NOTED_US)
    return shown([] if stored is None else [("windows", stored)])


def played(windows: Windows, *steps: tuple[int, str] | int, lateness_ms: int = 0) -> Pipeline:
    pipeline = Pipeline(specs(windows, lateness_ms=lateness_ms))
    for step in steps:
        if isinstance(step, tuple):
            pipeline.add(rows_frame([(*step, 7)]))
        else:
            pipeline.advance(step * 1000)
    return pipeline


def moment(ms: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(0, dt.UTC) + dt.timedelta(milliseconds=ms)


def test_a_dropped_row_is_noted_with_the_window_that_it_missed() -> None:
    table = noted(played(hopping("10ms"), (25, "a"), 21, (13, "b")))
    assert table.columns == [*SHOWN, "t", "k", "v"]
    (row,) = table.rows(named=True)
    assert row == {
        "outcome": "set aside",
        "step": "windows",
        "noted_at": dt.datetime.fromtimestamp(NOTED_US / 1e6, dt.UTC),
        "event_time": moment(13),
        "watermark": moment(21),
        "behind_ms": 8.0,
        "window_start": moment(10),
        "window_end": moment(20),
        "closed_for_ms": 1.0,
        "t": moment(13).replace(tzinfo=None),
        "k": "b",
        "v": 7,
    }


def test_a_row_within_the_allowed_lateness_is_merged() -> None:
    pipeline = played(hopping("10ms"), (25, "a"), 21, (13, "b"), (3, "c"), (22, "d"), lateness_ms=5)
    table = noted(pipeline)
    assert table.select("outcome", "k").rows() == [("set aside", "c"), ("merged", "b")]
    assert notes_of(pipeline).merged_rows == 1
    arrivals = notes_of(pipeline).take("windows", 5)
    assert arrivals is not None
    assert (arrivals.late_rows, arrivals.late_sample_us) == (1, (3_000,))
    assert (arrivals.merged_rows, arrivals.merged_sample_us) == (1, (13_000,))
    # Each was judged by the watermark of its time, which may have risen since.
    assert (arrivals.late_watermark_us, arrivals.merged_watermark_us) == ((21_000,), (21_000,))
    assert (arrivals.rows, arrivals.watermark_us, arrivals.until_us) == (0, 21_000, 5)


def test_a_hopping_row_names_its_last_window_when_dropped_and_its_last_closed_one_when_merged() -> None:
    steps = [(60, "a"), 41, (12, "late"), (22, "merged")]
    table = noted(played(hopping("10ms", "20ms"), *steps, lateness_ms=3))
    assert table.select("outcome", "k", "window_start", "window_end").rows() == [
        ("merged", "merged", moment(20), moment(40)),
        ("set aside", "late", moment(10), moment(30)),
    ]


def test_a_row_that_is_on_time_for_one_of_its_windows_is_not_late() -> None:
    table = noted(played(hopping("10ms", "20ms"), (40, "a"), 31, (22, "b")))
    assert table.height == 0


def test_a_late_session_row_is_noted_with_the_session_that_it_would_have_been() -> None:
    (row,) = noted(played(session("5ms"), (40, "a"), 30, (12, "b"))).rows(named=True)
    assert (row["outcome"], row["window_start"], row["window_end"]) == ("set aside", moment(12), moment(17))


def test_rows_that_are_on_time_leave_no_trace() -> None:
    notes = notes_of(played(hopping("10ms"), (5, "a"), 3, (9, "b"), (1, "c"), lateness_ms=5))
    assert (notes.take_late(0), notes.take("windows", 0), notes.late_by, notes.merged_rows) == (None, None, {}, 0)


rows_of_time = st.lists(st.tuples(st.integers(0, 200), st.sampled_from("ab")), min_size=1, max_size=30)


@given(rows=rows_of_time, delay=st.integers(0, 20), lateness_ms=st.sampled_from([0, 4]))
@settings(max_examples=25)
def test_the_noted_delay_would_have_kept_the_rows(rows, delay, lateness_ms) -> None:
    """With a delay longer by a bucket's bound, at most the rows of later buckets are dropped."""

    def dropped(delay_ms: float) -> Pipeline:
        pipeline = Pipeline(specs(hopping("10ms", "15ms"), lateness_ms=lateness_ms))
        latest = -(10**6)
        for at, key in rows:
            pipeline.add(rows_frame([(at, key, 1)]))
            latest = max(latest, at)
            pipeline.advance((latest - 1) * 1000 - int(delay_ms * 1000))
        return pipeline

    def count(pipeline: Pipeline) -> int:
        return sum(frame.height for frame in pipeline.frames(LATE_ROWS))

    first = dropped(delay)
    late_by = notes_of(first).late_by
    assert sum(late_by.values()) == count(first)
    for bucket in late_by:
        left = sum(number for other, number in late_by.items() if other > bucket)
        assert count(dropped(delay + bucket_end_ms(bucket))) <= left


def test_of_many_late_rows_the_newest_are_kept() -> None:
    pipeline = Pipeline(specs(hopping("10ms")))
    pipeline.advance(10**9)
    for start in range(0, 5 * KEPT, KEPT // 2):
        pipeline.add(rows_frame([(at, "a", at) for at in range(start, start + KEPT // 2)]))
    assert sum(notes_of(pipeline).late_by.values()) == 5 * KEPT
    assert sorted(noted(pipeline)["v"].to_list()) == list(range(4 * KEPT, 5 * KEPT))
    assert noted(pipeline).height == 0


@pytest.mark.parametrize("name", ["step", "outcome", "event_time"])
def test_a_column_of_the_user_with_a_name_of_ours_is_shown_as_the_rows(name) -> None:
    schema = pl.Schema({"t": pl.Datetime("ms"), name: pl.String})
    pipeline = Pipeline(specs(hopping("10ms"), schema=schema, keys=(pl.col(name),), aggregates=(pl.len(),)))
    pipeline.advance(10**6)
    pipeline.add(pl.DataFrame({"t": [moment(1)], name: ["mine"]}, schema=schema))
    table = noted(pipeline)
    assert table.columns == [*SHOWN, "t", f"row.{name}"]
    assert table[f"row.{name}"].to_list() == ["mine"]


def test_steps_with_other_columns_share_the_table() -> None:
    one = notes_of(played(hopping("10ms"), 50, (1, "a"))).take_late(1)
    other = notes_of(played(hopping("10ms"), 50, (2, "b"))).take_late(2)
    assert one is not None
    assert other is not None
    table = shown([("one", one.drop("v")), ("other", other)])
    assert table.select("step", "v").rows() == [("other", 7), ("one", None)]
    assert shown([]).schema == SHOWN
