"""Recordings as sources of their own."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from reading import Run

from streamlab.connectors.contracts.source import Position, Split, SplitReader
from streamlab.connectors.reading.reader import SourceReader
from streamlab.connectors.recording.recorded import recorded
from streamlab.connectors.recording.recording import scan_recording
from streamlab.connectors.recording.recording_notes import NOTES, SCHEMA, split_folder
from streamlab.connectors.recording.recording_writer import LogWriter
from streamlab.connectors.sources.frames import from_frame
from streamlab.connectors.sources.system_metrics import SystemMetricsSource, system_metrics
from streamlab.core.errors import OptionError, PlanError, SourceError
from streamlab.core.messages import Batch

SECOND_US = 1_000_000
Arrivals = dict[str, list[int]]


@dataclass(frozen=True)
class Numbers(SystemMetricsSource):
    """A live source of which only the description matters."""

    ids: tuple[str, ...] = ("a",)

    def splits(self) -> list[Split]:
        return [Split(name) for name in self.ids]

    def open(self, split: Split, position: Position) -> SplitReader:
        return from_frame(pl.DataFrame(schema=self.schema)).open(split, 0)


def record(folder: Path, arrivals: Arrivals, name: str = "numbers") -> Path:
    """Make a recording of one row for each arrival (in seconds), whose event time is ten times that."""
    like = system_metrics("1s", watermark="5s", max_advance="1000s")
    schema = pl.Schema({"time": pl.Datetime("us"), "n": pl.Int64})
    live = Numbers(name, schema, like.interval, tuple(arrivals), timing=like.timing)
    source = recorded(live, str(folder))
    for split in source.splits():
        source.open(split, 0).close()
        writer = LogWriter.acquire(split_folder(folder, split.id), limit_bytes=2**40, limit_us=None)
        assert writer is not None
        for number, second in enumerate(arrivals[split.id]):
            row = pl.DataFrame({"time": [second * 10 * SECOND_US], "n": [number]}).cast(dict(schema))
            writer.append(row, None, number, second * SECOND_US)
        writer.close()
    return folder


def numbers(run: Run) -> list[int]:
    return run.rows.get_column("n").to_list()


def test_a_recording_is_a_bounded_source_with_the_cuts_and_timing_of_the_job(tmp_path: Path) -> None:
    record(tmp_path, {"a": [1, 2, 4]})
    source = pickle.loads(pickle.dumps(scan_recording(tmp_path)))
    assert source.bounded
    assert source.replayable
    assert [(split.id, split.rows) for split in source.splits()] == [("a", 3)]
    assert source.describe() == f"scan_recording: numbers: every 1s, from {tmp_path}"
    said = source.timing
    assert (said.event_time, str(said.watermark), str(said.max_advance), said.pace) == ("time", "5s", "1000s", None)
    run = Run(source).to_end()
    assert numbers(run) == [0, 1, 2]
    assert [m.collected().height for m in run.messages if isinstance(m, Batch)] == [1, 1, 1]


def test_what_is_said_about_time_counts(tmp_path: Path) -> None:
    record(tmp_path, {"a": [1]})
    assert str(scan_recording(tmp_path, watermark="7s", idle_timeout="1s").timing.watermark) == "7s"
    other = scan_recording(tmp_path, event_time="time").timing
    assert (other.event_time, other.watermark, other.max_advance) == ("time", None, None)
    assert scan_recording(tmp_path, pace="60x").timing.pace == 60
    with pytest.raises(PlanError, match="event_time"):
        scan_recording(tmp_path, event_time="n")
    with pytest.raises(OptionError, match="pace_by"):
        scan_recording(tmp_path, pace_by="heart")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match="pace"):
        scan_recording(tmp_path, pace="quick", pace_by="arrival")


def test_it_ends_where_the_recording_ended_when_it_was_called(tmp_path: Path) -> None:
    source = scan_recording(record(tmp_path, {"a": [1, 2]}))
    record(tmp_path, {"a": [3]})
    assert numbers(Run(source).to_end()) == [0, 1]
    assert numbers(Run(scan_recording(tmp_path)).to_end()) == [0, 1, 0]
    empty = scan_recording(record(tmp_path / "empty", {"a": [], "b": []}))
    assert Run(empty).to_end().rows.height == 0


def test_a_pace_can_follow_event_times_or_arrivals(tmp_path: Path) -> None:
    record(tmp_path, {"a": [1, 2, 4], "b": [3]})
    for pace_by, pace, seconds in (("event_time", "10x", 1), ("arrival", "realtime", 1), ("arrival", 0.5, 2)):
        run = Run(scan_recording(tmp_path, pace=pace, pace_by=pace_by), batch_ms=0)
        start_us = 7 * SECOND_US

        def there(at_us: int, run: Run = run) -> int:
            for _ in range(3):
                run.poll(at_us)
            return run.rows.height

        assert there(start_us) == 1
        for row in (1, 2, 3):
            due_us = start_us + row * seconds * SECOND_US
            assert [there(due_us - 1), there(due_us)] == [row, row + 1]
        run.reader.close()


def test_a_paced_recording_says_when_to_come_back_and_goes_on_from_a_position(tmp_path: Path) -> None:
    source = scan_recording(record(tmp_path, {"a": [10, 20, 50]}), pace="10x", pace_by="arrival")
    run = Run(source, batch_ms=0)
    run.poll(0)
    assert numbers(run) == [0]
    run.poll(0)
    assert run.reader.wakeup_us(0) == SECOND_US
    run.poll(SECOND_US)
    snapshot = run.reader.snapshot()
    run.reader.close()
    rest = Run(source, batch_ms=0, snapshot=snapshot)
    rest.poll(100)
    assert numbers(rest) == [2]
    assert numbers(Run(source).to_end()) == [0, 1, 2]


def test_the_pace_of_arrivals_can_be_changed_too(tmp_path: Path) -> None:
    source = scan_recording(record(tmp_path, {"a": [10, 20, 50, 60]}), pace="realtime", pace_by="arrival")
    assert source.pace_name == "realtime"
    assert source.at_pace(None).arrival_pace is None
    run = Run(source, batch_ms=0)
    run.poll(0)
    run.poll(5 * SECOND_US)
    run.reader.set_pace(10.0)
    run.poll(5 * SECOND_US)
    # Half of the way to the second record is done; what is left of it, and the others, come ten times faster.
    due = {5.5: 2, 8.5: 3, 9.5: 4}
    for second, rows in due.items():
        for us, height in ((int(second * SECOND_US) - 1, rows - 1), (int(second * SECOND_US), rows)):
            run.poll(us)
            run.poll(us)
            assert run.rows.height == height
    run.reader.close()


def test_a_pause_is_not_made_up_for(tmp_path: Path) -> None:
    source = scan_recording(record(tmp_path, {"a": [10, 20, 30]}), pace="realtime", pace_by="arrival")
    run = Run(source, batch_ms=0)
    run.poll(0)
    run.poll(4 * SECOND_US)
    run.reader.pause(4 * SECOND_US)
    for us, height in ((100, 1), (106 - 1e-6, 1), (106, 2), (116 - 1e-6, 2), (116, 3)):
        run.poll(round(us * SECOND_US))
        run.poll(round(us * SECOND_US))
        assert run.rows.height == height
    run.reader.close()


def test_a_jobs_folder_holds_recordings_by_name(tmp_path: Path) -> None:
    with pytest.raises(OptionError, match="a job records its sources"):
        scan_recording(tmp_path)
    one = record(tmp_path / "recordings" / "1-numbers", {"a": [1]})
    assert scan_recording(tmp_path).folder == str(one)
    assert scan_recording(tmp_path / "recordings").folder == str(one)
    two = record(tmp_path / "recordings" / "2-more", {"a": [1, 2]}, name="more")
    with pytest.raises(OptionError, match="say which: source='1-numbers'"):
        scan_recording(tmp_path)
    for source in ("more", "2-more"):
        assert scan_recording(tmp_path, source).folder == str(two)
        assert scan_recording(two, source).folder == str(two)
    for path in (tmp_path, two):
        with pytest.raises(OptionError, match="a recording of 'none'"):
            scan_recording(path, "none")


def test_what_is_gone_or_damaged_is_named(tmp_path: Path) -> None:
    source = scan_recording(record(tmp_path, {"a": [1, 2]}))
    [segment] = tmp_path.glob("a/*.records")
    os.truncate(segment, segment.stat().st_size - 1)
    run = Run(source)
    run.poll(0)
    with pytest.raises(SourceError, match="records up to 2"):
        run.poll(1)
    run.reader.close()
    segment.rename(segment.with_name("000000000007.records"))
    with pytest.raises(SourceError, match="record 0"):
        scan_recording(tmp_path)
    (tmp_path / "a" / "split.json").write_text("{")
    with pytest.raises(SourceError, match=r"split\.json"):
        scan_recording(tmp_path)
    (tmp_path / SCHEMA).write_bytes(b"ARROW1")
    with pytest.raises(SourceError, match=r"schema\.arrow"):
        scan_recording(tmp_path)
    notes = (tmp_path / NOTES).read_text()
    (tmp_path / NOTES).write_text(notes.replace('"version": 1', '"version": 2'))
    with pytest.raises(SourceError, match="a later streamlab wrote it"):
        scan_recording(tmp_path)
    (tmp_path / NOTES).write_text(notes[:-5])
    with pytest.raises(SourceError, match=r"recording\.json"):
        scan_recording(tmp_path)


@pytest.mark.parametrize("position", [3, (2, 1)])
def test_a_recording_that_was_cut_short_before_a_position_does_not_end_there_silently(
    tmp_path: Path, position: Position
) -> None:
    source = scan_recording(record(tmp_path, {"a": [1, 2]}))
    assert source.open(Split("a"), 2).done
    with pytest.raises(SourceError, match=r"(?s)records up to \d in .*got 2.*cut short"):
        source.open(Split("a"), position)
    with pytest.raises(SourceError, match="the split 'b'"):
        source.open(Split("b"), 0)


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "é" * 200, "x" * 300, "127.0.0.1:80", "a b"])
def test_every_split_has_a_folder_of_its_own(name: str, tmp_path: Path) -> None:
    record(tmp_path, {name: [1], "other": [1]})
    assert {path.parent for path in tmp_path.glob("*/split.json")} == {
        split_folder(tmp_path, name),
        split_folder(tmp_path, "other"),
    }
    assert {split.id for split in scan_recording(tmp_path).splits()} == {name, "other"}


def test_a_position_of_a_checkpoint_opens_the_recording_too(tmp_path: Path) -> None:
    live = recorded(system_metrics("1s"), str(tmp_path))
    reader = SourceReader(live, live.splits())
    for second in range(6):
        reader.poll(second * SECOND_US)
        if second == 3:
            snapshot = reader.snapshot()
    reader.close()
    whole = Run(scan_recording(tmp_path)).to_end().rows
    assert whole.height == 5
    assert_frame_equal(Run(scan_recording(tmp_path), snapshot=snapshot).to_end().rows, whole.slice(3))
