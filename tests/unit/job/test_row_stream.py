"""Rows as they come, from the log of a job that a script plays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import polars as pl
import pytest

from streamlab.core.changelog import ROW_KIND
from streamlab.core.errors import JobError, SourceError
from streamlab.job import row_stream
from streamlab.job.row_stream import stream_rows
from streamlab.observe.status import Failure, JobState, JobStatus
from streamlab.runtime.messages.protocol import CancelRequested, PauseRequested, ResumeRequested
from streamlab.runtime.tables.record_log import LogWriter, RecordHeader


@dataclass
class ScriptedJob:
    """Stands for a JobHandle: `script` is called at each look, and ends the job by returning a final state."""

    results: Path
    script: Callable[[int], JobState]
    rows_out: int = 0
    failure: Failure | None = None
    looks: int = 0
    requests: list[Any] = field(default_factory=list)
    ended: JobState | None = None
    removed: bool = False

    @property
    def folder(self) -> SimpleNamespace:
        return SimpleNamespace(results=self.results, path=self.results)

    def status(self) -> JobStatus:
        if self.ended is None:
            state = self.script(self.looks)
            self.looks += 1
            self.ended = state if state.is_final else None
        return JobStatus(
            id="j", name="job", state=self.ended or JobState.RUNNING, rows_out=self.rows_out, failure=self.failure
        )

    def request(self, request: Any) -> None:
        self.requests.append(type(request))
        if isinstance(request, CancelRequested):
            self.ended = JobState.CANCELLED

    def wait(self) -> JobStatus:
        assert self.ended is not None
        return self.status()

    def remove(self) -> None:
        self.removed = True


def rows(*values: int) -> pl.DataFrame:
    return pl.DataFrame({"n": list(values)})


def merged(log: LogWriter, *values: int) -> None:
    """Have one record stand for everything so far."""
    log.rewrite([(RecordHeader(1, 0, log.rows, len(values)), changes(*values))], 0)


def changes(*values: int) -> pl.DataFrame:
    return rows(*values).with_columns(pl.lit(0, pl.Int8).alias(ROW_KIND))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[LogWriter]:
    writer = LogWriter(tmp_path / "main", "0", 1, segment_bytes=1)
    yield writer
    writer.close()


def test_rows_come_until_the_job_ends(tmp_path: Path, log: LogWriter) -> None:
    def script(look: int) -> JobState:
        if look in {0, 3}:
            log.append(rows(look))
        return JobState.FINISHED if look == 3 else JobState.RUNNING

    job = ScriptedJob(tmp_path, script)

    assert [frame["n"].to_list() for frame in stream_rows(job)] == [[0], [3]]
    assert job.removed
    assert not job.requests


def test_leaving_the_loop_cancels_and_removes_the_job(tmp_path: Path, log: LogWriter) -> None:
    log.append(rows(1))
    job = ScriptedJob(tmp_path, lambda _: JobState.RUNNING)

    stream = stream_rows(job)
    assert next(stream)["n"].to_list() == [1]
    stream.close()

    assert job.requests == [CancelRequested]
    assert job.removed


def test_the_time_is_over(tmp_path: Path, log: LogWriter) -> None:
    log.append(rows(1))
    job = ScriptedJob(tmp_path, lambda _: JobState.RUNNING)

    assert len(list(stream_rows(job, 0))) == 1
    assert job.requests == [CancelRequested]


def test_a_failure_is_raised_after_the_rows(tmp_path: Path, log: LogWriter) -> None:
    log.append(rows(1))
    job = ScriptedJob(tmp_path, lambda _: JobState.FAILED, failure=Failure(message="no such file", kind="SourceError"))

    stream = stream_rows(job)

    assert next(stream)["n"].to_list() == [1]
    with pytest.raises(SourceError, match="no such file"):
        next(stream)
    assert job.removed


def test_a_job_far_ahead_is_paused_until_the_loop_has_caught_up(
    tmp_path: Path, log: LogWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(row_stream, "_AHEAD_ROWS", 2)
    for n in range(6):
        log.append(rows(n))
    job = ScriptedJob(tmp_path, lambda _: JobState.RUNNING, rows_out=6)

    stream = stream_rows(job)
    taken = [next(stream)["n"][0] for _ in range(6)]
    stream.close()

    assert taken == list(range(6))
    assert job.requests == [PauseRequested, ResumeRequested, CancelRequested]


def test_files_that_were_read_are_deleted(tmp_path: Path, log: LogWriter) -> None:
    def script(look: int) -> JobState:
        if look % 5 == 0:
            log.append(rows(look))
        return JobState.FINISHED if look > 60 else JobState.RUNNING

    left = [len(list((tmp_path / "main").iterdir())) for _ in stream_rows(ScriptedJob(tmp_path, script))]

    assert len(left) > 10
    assert max(left) <= 4


def test_a_merged_log_repeats_nothing(tmp_path: Path, log: LogWriter) -> None:
    def script(look: int) -> JobState:
        if look == 0:
            log.append(changes(1, 2))
        if look == 5:
            merged(log, 2)
            log.append(changes(3))
        return JobState.FINISHED if look > 8 else JobState.RUNNING

    assert [frame["n"].to_list() for frame in stream_rows(ScriptedJob(tmp_path, script))] == [[1, 2], [3]]


def test_changes_that_were_merged_unread_are_an_error(tmp_path: Path, log: LogWriter) -> None:
    log.append(changes(1, 2))
    merged(log, 2)
    job = ScriptedJob(tmp_path, lambda _: JobState.RUNNING)

    with pytest.raises(JobError, match=r"iter_batches: .* 2 changes that were merged"):
        list(stream_rows(job))
    assert job.removed
