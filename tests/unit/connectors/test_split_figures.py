"""What is told of a source's splits, of the event times of their rows, and of how much of files has been read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import polars as pl
import pytest
from reading import Run
from test_source_reader import SECOND_US, Script, at, script

from streamlab.connectors.files.files import FileSource, scan_csv, scan_ipc, scan_ndjson, scan_parquet
from streamlab.connectors.reading.progress import ReaderSnapshot, SplitProgress, merge_snapshots
from streamlab.connectors.reading.reader import SourceReader
from streamlab.observe.status import ClockStatus, TimeStatus


def told(run: Run, most: int = 30) -> TimeStatus:
    return run.reader.time_status(most)


def names(status: TimeStatus) -> list[str]:
    return [split.split for split in status.splits]


def test_the_split_that_holds_the_watermark_comes_first() -> None:
    run = Run(script([(0, at(10))], [(0, at(4))], [(99, at(1))]))
    run.poll(5)
    status = told(run)
    assert names(status) == ["2", "1", "0"]
    assert [split.watermark_us for split in status.splits] == [None, 4 * SECOND_US - 1, 10 * SECOND_US - 1]
    assert [split.latest_us for split in status.splits] == [None, 4 * SECOND_US, 10 * SECOND_US]
    assert [split.last_row_us for split in status.splits] == [None, 5, 5]
    assert [split.begun for split in status.splits] == [False, True, True]
    assert [split.rows for split in status.splits] == [0, 1, 1]
    assert {split.step for split in status.splits} == {"script"}


def test_a_quiet_split_keeps_the_time_of_its_last_row() -> None:
    run = Run(script([(0, at(10)), (7, at(11))], [(0, at(4))]), batch_ms=10)
    run.poll(0)
    run.poll(20_000)
    assert {split.split: split.last_row_us for split in told(run).splits} == {"0": 20_000, "1": 0}


def test_an_idle_split_stands_behind_those_that_count() -> None:
    run = Run(script([(0, at(4))], [(time, at(10)) for time in range(0, 500_000, 20_000)], idle_timeout="50ms"))
    for now_us in range(0, 500_000, 5_000):
        run.poll(now_us)
    first, last = told(run).splits
    assert (first.split, first.idle, last.split, last.idle) == ("1", False, "0", True)


def test_splits_that_have_ended_are_shown_last_the_newest_first() -> None:
    run = Run(script([(0, at(1))], [(0, at(2))], [(0, at(3)), (9, at(4))], endless=False))
    run.poll(0)
    status = told(run)
    assert names(status) == ["2", "1", "0"]
    assert [split.ended for split in status.splits] == [False, True, True]
    assert status.split_count == 3


@pytest.mark.parametrize("most", [0, 1, 2, 3, 10])
def test_of_many_splits_the_first_are_shown(most: int) -> None:
    run = Run(script([(0, at(1))], [(0, at(2))], [(0, at(3)), (9, at(4))], endless=False))
    run.poll(0)
    status = told(run, most)
    assert names(status) == ["2", "1", "0"][:most]
    assert status.split_count == 3


def test_what_was_restored_is_told() -> None:
    source = script([(0, at(10))], [(0, at(20))])
    ended = SplitProgress(1, 0, 10 * SECOND_US - 1, finished=True, rows=7)
    begun = SplitProgress(0, 0, 5 * SECOND_US, finished=False, rows=3)
    run = Run(source, snapshot=ReaderSnapshot({"0": ended, "1": begun}))
    first, last = told(run).splits
    assert (first.split, first.rows, first.begun, first.watermark_us) == ("1", 3, False, 5 * SECOND_US)
    assert (last.split, last.rows, last.ended) == ("0", 7, True)


def test_a_source_with_a_watermark_is_a_clock() -> None:
    assert told(Run(script([], watermark="2s", idle_timeout="9s"))).clocks == (
        ClockStatus(step="script", delay_ms=2000.0, idle_timeout_ms=9000.0),
    )
    assert told(Run(Script("script", at(0).schema, ((),)))).clocks == ()


def test_arrivals_are_the_event_times_of_what_was_given() -> None:
    run = Run(script([(0, at(10, 3, 7))], [(0, at(4, 5))]))
    run.poll(0)
    arrived = run.reader.notes.take("script", 9)
    assert arrived is not None
    assert (arrived.rows, arrived.earliest_us, arrived.latest_us) == (5, 3 * SECOND_US, 10 * SECOND_US)
    assert arrived.watermark_us == 5 * SECOND_US - 1
    assert {3 * SECOND_US, 7 * SECOND_US, 10 * SECOND_US} <= set(arrived.sample_us)
    assert run.reader.notes.take("script", 10) is None


def test_rows_are_sampled_with_the_watermark_that_stood_before_each_of_them() -> None:
    """Not the one at the end of the interval, which may be hours further in a replay."""
    run = Run(script([(0, at(10, 3, 7, 60)), (0, at(50))], watermark="5s"))
    run.poll(0)
    arrived = run.reader.notes.take("script", 9)
    assert arrived is not None
    known = dict(zip(arrived.sample_us, arrived.sample_watermark_us, strict=True))
    behind = 5 * SECOND_US + 1
    first, last = 10 * SECOND_US - behind, 60 * SECOND_US - behind
    assert arrived.watermark_us == last
    assert known == {10 * SECOND_US: None, 3 * SECOND_US: first, 7 * SECOND_US: first, 60 * SECOND_US: first} | (
        {50 * SECOND_US: last} if 50 * SECOND_US in known else {}
    )


def test_of_several_splits_the_others_hold_a_rows_watermark_back() -> None:
    run = Run(script([(0, at(100)), (9, at(101))], [(0, at(20))], watermark="5s"))
    run.poll(0)
    run.reader.notes.take("script", 1)
    run.poll(9 * SECOND_US)
    arrived = run.reader.notes.take("script", 9)
    assert arrived is not None
    assert arrived.sample_us == (101 * SECOND_US,)
    assert arrived.sample_watermark_us == (15 * SECOND_US - 1,)


def test_rows_that_are_not_due_have_not_arrived() -> None:
    run = Run(script([(0, at(0, 1, 2, 3))], pace="1x"))
    run.poll(0)
    run.poll(SECOND_US)
    arrived = run.reader.notes.take("script", 9)
    assert arrived is not None
    assert (arrived.rows, arrived.earliest_us, arrived.latest_us) == (2, 0, SECOND_US)


def test_rows_that_stay_lazy_arrive_with_the_bounds_of_their_statistics(tmp_path) -> None:
    at(5, 2, 9).write_parquet(tmp_path / "a.parquet")
    run = Run(scan_parquet(tmp_path, event_time="at", watermark="4s"))
    frames = [message.frame for message in run.poll(0) if hasattr(message, "frame")]
    assert any(isinstance(frame, pl.LazyFrame) for frame in frames)
    arrived = run.reader.notes.take("files", 1)
    assert arrived is not None
    assert (arrived.rows, arrived.earliest_us, arrived.latest_us) == (3, 2 * SECOND_US, 9 * SECOND_US)
    assert arrived.sample_us == ()


def test_without_an_event_time_nothing_is_noted() -> None:
    run = Run(Script("script", at(0).schema, (((0, at(1)),),)))
    run.poll(0)
    assert run.reader.notes.take("script", 1) is None


# -- bytes of files, as they lie on disk -------------------------------------------------------------------------------

ROWS = pl.DataFrame({"n": range(1_000), "word": ["a word"] * 1_000})
FORMATS: dict[str, tuple[Callable[..., FileSource], Callable[[Path], None]]] = {
    "csv": (scan_csv, ROWS.write_csv),
    "ndjson": (scan_ndjson, ROWS.write_ndjson),
    "parquet": (scan_parquet, lambda path: ROWS.write_parquet(path, row_group_size=100)),
    "arrow": (scan_ipc, lambda path: ROWS.write_ipc(path, compression="zstd")),
}


@pytest.fixture(params=FORMATS)
def files(request: pytest.FixtureRequest, tmp_path: Path) -> FileSource:
    scan, write = FORMATS[request.param]
    for number in range(3):
        write(tmp_path / f"{number}.{request.param}")
    return scan(tmp_path)


def sizes(source: FileSource) -> list[int]:
    return [Path(split.id.partition("#")[0]).stat().st_size for split in source.splits()]


def total(source: FileSource) -> int:
    return sum(split.bytes or 0 for split in source.splits())


def read_on(source: FileSource, polls: int = 1, snapshot: ReaderSnapshot | None = None) -> SourceReader:
    """Return a reader after so many batches of a hundred rows."""
    reader = SourceReader(source, source.splits(), snapshot=snapshot, batch_rows=100)
    for _ in range(polls):
        reader.poll(0)
    return reader


def test_a_file_counts_with_its_size_on_disk(files: FileSource) -> None:
    assert [split.bytes for split in files.splits()] == sizes(files)


def test_what_is_read_of_a_file_counts_as_soon_as_it_is_given_out(files: FileSource) -> None:
    whole = total(files)
    assert read_on(files, 0).bytes_read == 0
    shares = [read_on(files, polls).bytes_read / whole for polls in (1, 5, 10, 25)]
    assert shares == pytest.approx([1 / 30, 5 / 30, 10 / 30, 25 / 30], abs=0.005)


def test_at_the_end_every_byte_was_read(files: FileSource) -> None:
    assert Run(files, batch_rows=70).to_end().reader.bytes_read == total(files)


def test_subtasks_read_everything_together(files: FileSource) -> None:
    runs = [Run(files, subtask=subtask, parallelism=2).to_end() for subtask in range(2)]
    assert all(run.reader.bytes_read for run in runs)
    assert sum(run.reader.bytes_read for run in runs) == total(files)


@pytest.mark.parametrize("polls", [3, 10, 17, 30])
def test_what_was_read_before_a_restart_counts(files: FileSource, polls: int) -> None:
    before = read_on(files, polls)
    after = read_on(files, 0, before.snapshot())
    assert after.bytes_read == before.bytes_read
    after.poll(0)
    assert after.bytes_read == read_on(files, polls + 1).bytes_read


def test_it_counts_for_another_number_of_subtasks(files: FileSource) -> None:
    before = [SourceReader(files, files.splits(), subtask, 2, batch_rows=100) for subtask in range(2)]
    for reader in before:
        reader.poll(0)
    together = merge_snapshots(reader.snapshot() for reader in before)
    after = SourceReader(files, files.splits(), snapshot=together)
    assert after.bytes_read == sum(reader.bytes_read for reader in before) > 0


def test_rows_that_wait_in_a_chunk_for_their_time_are_not_read_yet(tmp_path: Path) -> None:
    lines = [f"2020-01-01 00:00:{second:02},x" for second in range(60)]
    (tmp_path / "a.csv").write_text("\n".join(["at,word", *lines, ""]))
    run = Run(scan_csv(tmp_path, event_time="at", pace="1x"))
    shares = []
    for second in (0, 14, 29, 59):
        run.poll(second * 1_000_000)
        shares.append(run.reader.bytes_read / total(run.source))
    assert shares == pytest.approx([1 / 60, 15 / 60, 30 / 60, 1], abs=0.02)


def test_a_file_that_cannot_be_read_is_done_with(tmp_path: Path) -> None:
    ROWS.write_csv(tmp_path / "0.csv")
    (tmp_path / "1.csv").write_bytes(b"\x1f\x8b" + b"packed" * 100)
    (tmp_path / "2.csv").write_text("n,word\n1,x\nno number,y\n")
    run = Run(scan_csv(tmp_path)).to_end()
    assert run.letters.height == 2
    assert run.reader.bytes_read == total(run.source) == sum(sizes(run.source))


def test_parts_of_a_file_share_its_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamlab.connectors.formats.parquet.PART_ROWS", 300)
    monkeypatch.setattr("streamlab.connectors.formats.parquet._parts.__defaults__", (300,))
    ROWS.write_parquet(tmp_path / "a.parquet", row_group_size=100)
    source = scan_parquet(tmp_path)
    assert [split.rows for split in source.splits()] == [300, 300, 300, 100]
    assert total(source) == (tmp_path / "a.parquet").stat().st_size
    assert Run(source).to_end().reader.bytes_read == total(source)


@pytest.mark.parametrize("follow", [True, "append"])
def test_what_does_not_end_has_no_size(tmp_path: Path, follow: bool | str) -> None:
    ROWS.write_csv(tmp_path / "0.csv")
    assert [split.bytes for split in scan_csv(tmp_path, follow=follow).splits()] == [None]
