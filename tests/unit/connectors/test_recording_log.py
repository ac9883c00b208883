"""The log of a recording: one writer, torn ends, damage, limits."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from streamlab.connectors.recording import recording_writer
from streamlab.connectors.recording.recording_log import LogCursor, end_of, segments
from streamlab.connectors.recording.recording_writer import LogWriter
from streamlab.core.errors import SourceError

ROWS = pl.DataFrame({"n": [1, 2, 3], "text": ["a", None, "c"]})
SECOND_US = 1_000_000


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "recording" / "split"


def acquired(folder: Path, limit_bytes: int = 2**40, limit_us: int | None = None) -> LogWriter:
    writer = LogWriter.acquire(folder, limit_bytes=limit_bytes, limit_us=limit_us)
    assert writer is not None
    return writer


def write(folder: Path, records: int) -> None:
    writer = acquired(folder)
    for _ in range(records):
        at = writer.end.records
        writer.append(ROWS.with_columns(at=at), ROWS if at % 2 else None, at, at * SECOND_US)
    writer.close()


def read_all(folder: Path, number: int = 0) -> list[int]:
    cursor, found = LogCursor(folder, number), []
    try:
        while (record := cursor.next()) is not None:
            assert_frame_equal(record.frame, ROWS.with_columns(at=record.header.number))
            assert (record.letters is None) == (record.header.number % 2 == 0)
            found.append(record.header.number)
    finally:
        cursor.close()
    return found


@pytest.fixture(params=[1, 2**26], ids=["a segment for each record", "one segment"])
def segment_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(recording_writer, "SEGMENT_BYTES", request.param)
    return int(request.param)


def test_every_writer_goes_on_where_the_last_one_stopped(folder: Path, segment_bytes: int) -> None:
    for _ in range(3):
        write(folder, 3)
    assert read_all(folder) == list(range(9))
    assert len(segments(folder)) == (9 if segment_bytes == 1 else 1)
    for number in range(9):
        assert read_all(folder, number) == list(range(number, 9))
    assert read_all(folder, 9) == []
    end = end_of(segments(folder))
    assert (end.records, end.rows, end.inner, end.arrived_us) == (9, 27, 8, 8 * SECOND_US)
    assert not end.is_closed


def test_a_cursor_follows_the_writer(folder: Path, segment_bytes: int) -> None:
    cursor = LogCursor(folder, 0)
    assert cursor.next() is None
    for at in range(4):
        write(folder, 1)
        record = cursor.next()
        assert record is not None
        assert record.header.number == at
        assert cursor.next() is None
        cursor.make_durable()
    cursor.close()
    cursor.close()


@settings(deadline=None, max_examples=40)
@given(lost=st.integers(1, 10_000))
def test_a_torn_end_is_cut_off(lost: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("recording")
    write(folder, 3)
    [segment] = segments(folder)
    os.truncate(segment.path, max(0, segment.path.stat().st_size - lost))
    left = read_all(folder)
    assert left == list(range(len(left)))
    write(folder, 2)
    assert read_all(folder) == list(range(len(left) + 2))


@pytest.mark.parametrize("zeros", [1, 40, 3 * 2**20])
def test_zeros_at_the_end_are_cut_off(zeros: int, folder: Path) -> None:
    write(folder, 3)
    [segment] = segments(folder)
    os.truncate(segment.path, segment.path.stat().st_size + zeros)
    assert read_all(folder) == [0, 1, 2]
    write(folder, 1)
    assert read_all(folder) == [0, 1, 2, 3]


@settings(deadline=None, max_examples=60)
@given(data=st.data(), size=st.sampled_from([1, 2**26]))
def test_every_flipped_bit_is_found_and_its_file_named(
    data: st.DataObject, size: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("recording")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(recording_writer, "SEGMENT_BYTES", size)
        write(folder, 3)
    path = data.draw(st.sampled_from(segments(folder))).path
    content = bytearray(path.read_bytes())
    at = data.draw(st.integers(0, len(content) - 1))
    content[at] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(content)
    with pytest.raises(SourceError, match="damaged") as error:
        read_all(folder)
    assert str(path) in str(error.value)


def test_a_file_cut_short_before_others_is_damage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recording_writer, "SEGMENT_BYTES", 1)
    write(folder, 4)
    first, second, third, _ = segments(folder)
    os.truncate(second.path, second.path.stat().st_size - 1)
    for number in (0, 1):
        with pytest.raises(SourceError, match="cut short"):
            read_all(folder, number)
    second.path.unlink()
    third.path.unlink()
    for number in (0, 1):
        with pytest.raises(SourceError, match="record 3 where record 1 belongs"):
            read_all(folder, number)
    with pytest.raises(SourceError, match="its end where record 1 belongs"):
        read_all(folder, 2)
    first.path.unlink()
    with pytest.raises(SourceError, match="record 3 as the oldest that is left"):
        read_all(folder)


def test_an_empty_segment_behind_others_must_belong_there(folder: Path) -> None:
    write(folder, 3)
    (folder / "000000000003.records").touch()
    write(folder, 1)
    assert read_all(folder) == [0, 1, 2, 3]
    (folder / "000000000009.records").touch()
    with pytest.raises(SourceError, match="record 9 as its first where record 4 belongs"):
        acquired(folder)


def test_what_cannot_be_written_leaves_nothing_behind(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = acquired(folder)
    writer.append(ROWS.with_columns(at=0), None, 0, 0)
    real = os.write

    def full(file: int, part: bytes | memoryview) -> int:
        if len(part) > 100:
            real(file, part[:90])
            raise OSError(errno.ENOSPC, "no space left")
        return real(file, part)

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full)
        with pytest.raises(OSError, match="no space"):
            writer.append(ROWS.with_columns(at=1), ROWS, 1, 0)
    assert read_all(folder) == [0]
    writer.append(ROWS.with_columns(at=1), ROWS, 1, 0)
    writer.make_durable()
    writer.close()
    assert read_all(folder) == [0, 1]


def test_one_process_writes_and_a_killed_one_lets_go(folder: Path) -> None:
    code = (
        "import sys, pathlib\n"
        "from streamlab.connectors.recording.recording_writer import LogWriter\n"
        "writer = LogWriter.acquire(pathlib.Path(sys.argv[1]), limit_bytes=2**40, limit_us=None)\n"
        "print('has it', flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"has it\n"
        assert LogWriter.acquire(folder, limit_bytes=1, limit_us=None) is None
        other.kill()
        other.wait()
    writer = acquired(folder)
    assert LogWriter.acquire(folder, limit_bytes=1, limit_us=None) is None
    writer.close()
    writer.close()
    acquired(folder).close()


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments of two records."""
    monkeypatch.setattr(recording_writer, "SEGMENT_BYTES", 800)


@pytest.mark.usefixtures("small")
def test_segments_are_deleted_when_released_and_the_limit_asks_for_it(folder: Path) -> None:
    write(folder, 20)
    size, count = sum(s.path.stat().st_size for s in segments(folder)), len(segments(folder))
    assert count > 5
    writer = acquired(folder, limit_bytes=size + 1)
    writer.release(11)
    assert len(segments(folder)) == count
    for at in range(20, 60):
        if writer.is_full:
            break
        writer.append(ROWS.with_columns(at=at), ROWS if at % 2 else None, at, at)
    assert writer.is_full
    oldest = segments(folder)[0].first
    assert 0 < oldest <= 11
    writer.release(5)
    writer.close()
    assert read_all(folder, 11)[0] == 11
    with pytest.raises(SourceError, match="raise the recording's limits"):
        read_all(folder, 0)
    again = acquired(folder, limit_bytes=size // 2)
    assert again.is_full
    again.append(ROWS.with_columns(at=at), ROWS if at % 2 else None, at, at)
    assert segments(folder)[0].first == oldest
    again.release(at)
    assert not again.is_full
    again.close()
    assert read_all(folder, at) == [at]


@pytest.mark.usefixtures("small")
def test_what_was_released_is_known_to_the_next_writer(folder: Path) -> None:
    write(folder, 20)
    writer = acquired(folder)
    writer.release(15)
    writer.close()
    again = acquired(folder, limit_bytes=2_000)
    again.append(ROWS.with_columns(at=20), None, 20, 20)
    again.close()
    assert 9 < segments(folder)[0].first <= 15
    (folder / "released").write_bytes(b"nonsense")
    acquired(folder).close()


def test_old_segments_go_when_released_and_time_is_limited(folder: Path) -> None:
    writer = acquired(folder, limit_us=8 * SECOND_US)
    for at in range(30):
        writer.append(ROWS.with_columns(at=at), ROWS if at % 2 else None, at, at * SECOND_US)
    assert len(segments(folder)) == 30
    writer.release(10)
    assert segments(folder)[0].first == 9
    writer.release(30)
    assert segments(folder)[0].first == 20
    writer.append(ROWS.with_columns(at=30), None, 30, 30 * SECOND_US)
    assert segments(folder)[0].first == 21
    writer.close()


@settings(deadline=None, max_examples=40)
@given(
    steps=st.lists(
        st.tuples(st.sampled_from(["append", "append", "release", "reopen"]), st.integers(0, 40)), max_size=60
    ),
    limit_bytes=st.integers(1, 8_000),
    limit_us=st.sampled_from([None, 5]),
)
def test_no_limit_deletes_what_is_not_released(
    steps: list[tuple[str, int]], limit_bytes: int, limit_us: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("recording")
    writer = acquired(folder, limit_bytes, limit_us)
    released = 0
    for step, number in steps:
        at = writer.end.records
        if step == "append":
            writer.append(ROWS.with_columns(at=at), ROWS if at % 2 else None, at, at)
        elif step == "release":
            released = max(released, min(number, at))
            writer.release(min(number, at))
        else:
            writer.close()
            writer = acquired(folder, limit_bytes, limit_us)
        assert writer.size_bytes == sum(s.path.stat().st_size for s in segments(folder))
    writer.close()
    assert read_all(folder, released) == list(range(released, writer.end.records))
