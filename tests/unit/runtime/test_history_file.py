"""The file of samples: read as it grows, replaced under its readers, taken over by another coordinator, damaged."""

from __future__ import annotations

import errno

import pytest

from streamlab.core.errors import StateError
from streamlab.observe.history import Sample
from streamlab.observe.status import JobState, JobStatus, TaskStatus
from streamlab.runtime.job_folder import history_file
from streamlab.runtime.job_folder.history_file import HistoryReader, HistoryWriter

NOW = 1_700_000_000_000_000


def status(at: int, tasks: int = 1) -> JobStatus:
    every = tuple(TaskStatus(vertex=f"v{n}", subtask=0, rows_in=at) for n in range(tasks))
    return JobStatus(id="j", name="n", state=JobState.RUNNING, reported_us=NOW + at * 500_000, rows_in=at, tasks=every)


def numbers(samples: list[Sample]) -> list[int]:
    return [sample.number for sample in samples]


def test_there_is_nothing_before_the_first_sample(tmp_path) -> None:
    assert HistoryReader(tmp_path).read_new() == []


def test_a_reader_gets_each_sample_once(tmp_path) -> None:
    writer, reader = HistoryWriter(tmp_path), HistoryReader(tmp_path)
    seen = []
    for at in range(10):
        writer.note(status(at))
        if at % 3 == 0:
            seen += numbers(reader.read_new())
    assert seen + numbers(reader.read_new()) == list(range(1, 11))
    assert reader.read_new() == []
    assert numbers(HistoryReader(tmp_path).read_new()) == list(range(1, 11))


def test_a_file_that_is_replaced_is_read_on(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(history_file, "_MORE_BYTES", 2_000)
    writer, reader = HistoryWriter(tmp_path), HistoryReader(tmp_path)
    seen, files = [], set()
    for at in range(300):
        writer.note(status(at, tasks=3))
        files.add((tmp_path / "history").stat().st_ino)
        if at % 2:
            seen += numbers(reader.read_new())
    assert len(files) > 1
    assert seen == list(range(1, 301))


def test_the_file_stays_small(tmp_path) -> None:
    writer = HistoryWriter(tmp_path)
    largest = 0
    for at in range(1_500):
        writer.note(status(at, tasks=60))
        largest = max(largest, (tmp_path / "history").stat().st_size)
    assert largest < 3_000_000
    samples = HistoryReader(tmp_path).read_new()
    assert samples[0].from_us == NOW
    assert samples[-1].rows_in == 1_499


def test_another_coordinator_goes_on(tmp_path) -> None:
    first = HistoryWriter(tmp_path)
    for at in range(5):
        first.note(status(at))
    reader = HistoryReader(tmp_path)
    assert len(reader.read_new()) == 5
    second = HistoryWriter(tmp_path)
    second.note(status(10))
    assert numbers(reader.read_new()) == [6]
    assert numbers(HistoryReader(tmp_path).read_new()) == [1, 2, 3, 4, 5, 6]


def test_a_torn_end_is_left_out_and_overwritten(tmp_path) -> None:
    writer = HistoryWriter(tmp_path)
    for at in range(3):
        writer.note(status(at))
    path = tmp_path / "history"
    path.write_bytes(path.read_bytes()[:-5])
    assert numbers(HistoryReader(tmp_path).read_new()) == [1, 2]
    HistoryWriter(tmp_path).note(status(9))
    assert numbers(HistoryReader(tmp_path).read_new()) == [1, 2, 3]


@pytest.mark.parametrize("data", [b"\x01\x00\x00\x00\xff", b"\xff\xff\xff\x7f" + b"x" * 9])
def test_a_damaged_file_is_named_and_replaced(tmp_path, data, capsys) -> None:
    (tmp_path / "history").write_bytes(data)
    with pytest.raises(StateError, match="history"):
        HistoryReader(tmp_path).read_new()
    HistoryWriter(tmp_path).note(status(0))
    assert "begins anew" in capsys.readouterr().err
    assert numbers(HistoryReader(tmp_path).read_new()) == [1]


def test_a_full_disk_is_told_once_and_made_up_for(tmp_path, monkeypatch, capsys) -> None:
    writer = HistoryWriter(tmp_path)
    writer.note(status(0))

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(HistoryWriter, "_append", full)
        broken.setattr(HistoryWriter, "_rewrite", full)
        for at in range(1, 4):
            writer.note(status(at))
    assert capsys.readouterr().err.count("No space left") == 1
    writer.note(status(5))
    assert numbers(HistoryReader(tmp_path).read_new()) == [1, 2, 3, 4, 5]
