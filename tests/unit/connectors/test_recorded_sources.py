"""Live sources that are recorded: what the reader of a job sees of it."""

from __future__ import annotations

import errno
import pickle
import socket as net
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal
from reading import Run

from streamlab.connectors.contracts.source import Source
from streamlab.connectors.reading.reader import SourceReader
from streamlab.connectors.recording import recording_writer
from streamlab.connectors.recording.recorded import RecordedSource, recorded
from streamlab.connectors.recording.recording_notes import split_folder
from streamlab.connectors.recording.recording_writer import LogWriter
from streamlab.connectors.sources.frames import from_frame
from streamlab.connectors.sources.sockets import socket
from streamlab.connectors.sources.system_metrics import system_metrics
from streamlab.core.errors import PlanError, SourceError
from streamlab.core.event_time.time import Duration
from streamlab.core.messages import End

SECOND_US = 1_000_000


def metrics(folder: Path, **options: object) -> RecordedSource:
    source = recorded(system_metrics("1s"), str(folder / "metrics"), **options)
    assert isinstance(source, RecordedSource)
    return source


def log_of(source: RecordedSource) -> Path:
    return split_folder(Path(source.folder), source.splits()[0].id)


def sampled(source: Source, seconds: range, **options: object) -> Run:
    run = Run(source, **options)
    for second in seconds:
        run.poll(second * SECOND_US)
    return run


def test_only_what_cannot_be_read_again_is_recorded(tmp_path: Path) -> None:
    again = from_frame(pl.DataFrame({"n": [1]}))
    assert recorded(again, str(tmp_path)) is again
    live = system_metrics("1s")
    source = recorded(live, str(tmp_path), limit_bytes=10, limit=Duration.parse("1h"))
    assert (source.name, source.schema, source.timing) == (live.name, live.schema, live.timing)
    assert source.describe() == live.describe()
    assert source.replayable
    assert not source.bounded
    assert not source.discovers
    assert source.max_parallelism == 1
    assert source.finder(lambda split: split != "machine").find() == []
    assert pickle.loads(pickle.dumps(source)) == source
    assert list(tmp_path.iterdir()) == []


def test_columns_of_python_objects_cannot_be_recorded(tmp_path: Path) -> None:
    live = system_metrics("1s")
    odd = type(live)("odd", pl.Schema({"x": pl.Object()}), Duration.parse("1s"))
    with pytest.raises(PlanError, match="columns that can be recorded"):
        recorded(odd, str(tmp_path))


def test_metrics_are_read_again_then_go_on(tmp_path: Path) -> None:
    first = sampled(metrics(tmp_path), range(6))
    assert first.rows.height == 5
    middle = first.reader.snapshot()
    first.poll(7 * SECOND_US)
    first.reader.close()
    again = sampled(metrics(tmp_path), range(20, 30))
    assert again.rows.height > 6
    assert_frame_equal(again.rows.head(6), first.rows)
    again.reader.close()
    rest = sampled(metrics(tmp_path), range(30, 60), snapshot=middle)
    assert_frame_equal(rest.rows.head(again.rows.height - 5), again.rows.slice(5))
    assert rest.rows.get_column("time").is_sorted()
    rest.reader.close()


def test_what_a_socket_sent_once_is_there_for_the_next_attempt(tmp_path: Path) -> None:
    with net.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(20)
        live = socket("127.0.0.1", server.getsockname()[1], schema={"n": pl.Int64})
        source = recorded(live, str(tmp_path / "socket"))
        run = Run(source, batch_ms=0)
        run.poll(0)
        peer, _ = server.accept()
        with peer:
            peer.sendall(b'{"n":1}\n{"n":2}\noops\n')
            run.until(lambda: run.reader.rows_read == 3)
        run.reader.close()
        # Its process ended before it saw that the server hung up: the next one connects again.
        again = Run(source, batch_ms=0)
        again.until(lambda: again.reader.rows_read == 3)
        assert again.rows.get_column("n").to_list() == [1, 2]
        assert again.letters.row(0)[3].endswith("line 3")
        again.poll(again.now_us + SECOND_US)
        peer, _ = server.accept()
        with peer:
            peer.sendall(b'{"n":3}\noops\n')
            again.until(lambda: again.letters.height == 2)
        assert again.letters.row(1)[3].endswith("line 5")
        again.until(lambda: any(isinstance(message, End) for message in again.messages))
    ended = Run(source).to_end()
    assert ended.rows.get_column("n").to_list() == [1, 2, 3]
    assert_frame_equal(ended.letters, again.letters)


def test_a_second_process_waits_for_the_first_and_reads_what_it_wrote(tmp_path: Path) -> None:
    source = metrics(tmp_path)
    first = sampled(source, range(3))
    second = sampled(source, range(10, 14))
    assert_frame_equal(second.rows, first.rows)
    assert second.reader.wakeup_us(14 * SECOND_US) == 14 * SECOND_US + 50_000
    first.poll(20 * SECOND_US)
    assert second.poll(21 * SECOND_US)
    assert_frame_equal(second.rows, first.rows)
    first.reader.close()
    for second_now in range(22, 25):
        second.poll(second_now * SECOND_US)
    assert second.rows.height > first.rows.height
    second.reader.close()


def test_two_jobs_on_one_folder_are_refused(tmp_path: Path) -> None:
    first = sampled(metrics(tmp_path), range(3))
    second = sampled(metrics(tmp_path), range(29))
    with pytest.raises(SourceError, match="the only one that writes"):
        second.poll(40 * SECOND_US)
    first.reader.close()


def test_a_folder_of_other_columns_is_refused(tmp_path: Path) -> None:
    sampled(metrics(tmp_path), range(3)).reader.close()
    other = recorded(socket("h", 1, schema={"n": pl.Int64}), str(tmp_path / "metrics"))
    with pytest.raises(SourceError, match="a recording of its own columns"):
        Run(other).poll(0)


def test_a_log_shorter_than_a_checkpoint_says_is_refused(tmp_path: Path) -> None:
    source = metrics(tmp_path)
    run = sampled(source, range(4))
    snapshot = run.reader.snapshot()
    run.reader.close()
    for path in log_of(source).glob("*.records"):
        path.unlink()
    with pytest.raises(SourceError, match="needs 3 records"):
        Run(source, snapshot=snapshot).poll(0)
    with pytest.raises(SourceError, match="a position in a log"):
        source.open(source.splits()[0], "middle")


def test_the_source_fails_before_it_reads_what_there_is_no_room_for(tmp_path: Path) -> None:
    source = metrics(tmp_path, limit_bytes=40_000)
    run = Run(source)
    for second in range(100):
        run.poll(second * SECOND_US)
        if second % 10 == 0:
            run.reader.release(run.reader.snapshot())
    assert run.rows.height == 99
    assert sum(path.stat().st_size for path in log_of(source).glob("*.records")) < 43_000

    def go_on() -> None:
        for second in range(100, 200):
            run.poll(second * SECOND_US)

    with pytest.raises(SourceError, match="raise recording_limit_bytes"):
        go_on()
    assert 99 < run.rows.height < 150
    run.reader.release(run.reader.snapshot())
    before = run.rows.height
    run.poll(300 * SECOND_US)
    assert run.rows.height == before + 1
    run.reader.close()


def test_rows_that_cannot_be_written_are_not_given_out_and_not_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = metrics(tmp_path)
    run = sampled(source, range(3))

    def full(file: int, parts: list[bytes]) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(recording_writer, "_write", full)
        with pytest.raises(SourceError, match="No space left"):
            run.poll(3 * SECOND_US)
    assert run.rows.height == 2
    run.poll(3 * SECOND_US)
    assert run.rows.get_column("time").dt.epoch("s").to_list() == [1, 2, 3]
    run.reader.close()


def test_a_snapshot_is_taken_only_when_its_rows_are_durable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = sampled(metrics(tmp_path), range(3))
    synced: list[Path] = []
    monkeypatch.setattr(recording_writer, "sync", synced.append)
    run.reader.snapshot()
    assert [path.suffix for path in synced].count(".records") == 1
    assert log_of(metrics(tmp_path)) in synced
    synced.clear()
    run.reader.snapshot()
    assert synced == []
    run.poll(4 * SECOND_US)
    run.reader.snapshot()
    assert [path.suffix for path in synced] == [".records"]

    def broken(path: Path) -> None:
        raise OSError(errno.EIO, "Input/output error")

    run.poll(5 * SECOND_US)
    monkeypatch.setattr(recording_writer, "sync", broken)
    with pytest.raises(SourceError, match="Input/output error"):
        run.reader.snapshot()
    run.reader.close()


def test_a_folder_that_cannot_be_made_is_an_error_that_names_it(tmp_path: Path) -> None:
    (tmp_path / "metrics").touch()
    with pytest.raises(SourceError, match=r"to record its rows in .*metrics"):
        Run(metrics(tmp_path)).poll(0)


def test_rows_are_gathered_for_ten_milliseconds(tmp_path: Path) -> None:
    source = recorded(system_metrics("1ms"), str(tmp_path / "fast"))
    assert isinstance(source, RecordedSource)
    run = Run(source)
    for now_us in range(0, 100_000, 1_000):
        run.poll(now_us)
    heights = [message.collected().height for message in run.messages if hasattr(message, "collected")]
    assert 8 <= len(heights) <= 11
    wish = run.reader.wakeup_us(99_000)
    assert wish is not None
    assert 99_000 < wish <= 109_000
    run.reader.close()
    writer = LogWriter.acquire(log_of(source), limit_bytes=1, limit_us=None)
    assert writer is not None
    assert writer.end.records == len(heights)
    writer.close()


def test_positions_of_a_reader_belong_to_its_snapshot(tmp_path: Path) -> None:
    run = sampled(metrics(tmp_path), range(4))
    assert run.reader.snapshot().splits["machine"].position == 3
    run.reader.close()
    source = metrics(tmp_path)
    empty = SourceReader(source, source.splits())
    assert empty.snapshot().splits == {}
    empty.close()
