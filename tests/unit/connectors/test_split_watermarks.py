"""The watermarks of splits, combined: what ends, what is left out, and what a restart knows."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from streamlab.connectors.contracts.source import START, Split
from streamlab.connectors.files.files import FileSource, scan_csv
from streamlab.connectors.reading.event_time_check import Vetting
from streamlab.connectors.reading.progress import ReaderSnapshot, SplitProgress
from streamlab.connectors.reading.reader import SourceReader
from streamlab.connectors.reading.split_cursor import SplitCursor
from streamlab.connectors.reading.split_watermarks import SplitWatermarks
from streamlab.connectors.reading.stepped_reader import SteppedReader
from streamlab.connectors.sources.frames import from_frame
from streamlab.core.event_time.time import MIN_TIME_US
from streamlab.core.messages import Batch, Idle, Watermark

SECOND_US = 1_000_000


@pytest.fixture
def source(tmp_path: Path) -> FileSource:
    # A folder in which files are looked for.
    return scan_csv(tmp_path, schema={"at": pl.Datetime("us")}, follow=True, event_time="at", watermark="2s")


@pytest.fixture
def marks(source: FileSource) -> SplitWatermarks:
    return SplitWatermarks(source, ReaderSnapshot())


def added(marks: SplitWatermarks, source: FileSource, name: str) -> SplitCursor:
    split = Split(name)
    cursor = SplitCursor(source, split, Vetting(source))
    marks.add(cursor, split, None)
    return cursor


def at(second: int) -> Watermark:
    return Watermark((second - 2) * SECOND_US - 1)


def test_a_split_that_has_ended_holds_nobody_back(source, marks):
    marks.observe(added(marks, source, "a"), 5 * SECOND_US)
    marks.observe(added(marks, source, "b"), 9 * SECOND_US)
    assert marks.emit() == [at(5)]
    assert marks.end("a", is_last=False) == at(5).us
    assert marks.emit() == [at(9)]


def test_between_two_splits_the_watermark_stays_where_it_is(source, marks):
    marks.observe(added(marks, source, "a"), 5 * SECOND_US)
    marks.end("a", is_last=True)
    assert marks.emit() == [at(5)]
    later = added(marks, source, "b")
    assert marks.emit() == []
    marks.observe(later, 9 * SECOND_US)
    assert marks.emit() == [at(9)]


def test_splits_that_are_left_out_are_idle_until_rows_come(source, marks):
    first, other = added(marks, source, "a"), added(marks, source, "b")
    marks.observe(first, 5 * SECOND_US)
    assert marks.emit() == []
    marks.leave_out(["b"])
    assert marks.emit() == [at(5)]
    marks.leave_out(["a"])
    assert marks.emit() == [Idle()]
    marks.observe(other, 9 * SECOND_US)
    assert marks.emit() == [at(9)]


def test_a_restart_knows_the_latest_time_from_the_watermark(marks):
    begun = SplitProgress(START, 1, marks.behind(7 * SECOND_US), finished=False)
    assert marks.latest_before(begun) == 7 * SECOND_US
    assert marks.latest_before(SplitProgress(START, 1, MIN_TIME_US, finished=False)) is None


def test_no_more_rows_are_given_than_until_says():
    rows = from_frame(pl.DataFrame({"n": range(9)}))
    ahead = SteppedReader(rows, rows.splits())
    ahead.step(0, 2)
    bounded = SourceReader(rows, rows.splits(), until=ahead.snapshot())
    batches = [message for _ in range(3) for message in bounded.poll(0) if isinstance(message, Batch)]
    assert [batch.collected()["n"].to_list() for batch in batches] == [[0, 1]]
    assert bounded.reached
