"""The rows of a job as they come, for a loop in the process that started it; nothing of the job is left afterwards.

The rows are read from the log of the job's result table. What was read is deleted, and a job that runs ahead of the
loop is paused, so neither memory nor disk grows with the length of the stream.
"""

from __future__ import annotations

import time
from collections.abc import Iterator

import polars as pl

from streamlab.core.dead_letter_warning import warn_of, warn_of_late_rows
from streamlab.core.errors import JobError, StateError, explained
from streamlab.core.messages import MAIN
from streamlab.job.job import Job
from streamlab.runtime.client.client import JobHandle
from streamlab.runtime.messages.protocol import CancelRequested, PauseRequested, Request, ResumeRequested
from streamlab.runtime.tables.record_log import LogReader

_POLL_S = 0.005
_SEE_THEM = "start() keeps them for job.dead_letters(); on_error='fail' raises instead"
_AHEAD_ROWS = 2_000_000
"""Rows that a job may have given beyond those that the loop has taken, before it is paused."""


def stream_rows(handle: JobHandle, timeout_s: float | None = None) -> Iterator[pl.DataFrame]:
    """Yield the frames of a job's result table as they are written, changelogs with their row kinds.

    Parameters
    ----------
    handle
        A job that was started for this, with a result table that keeps all rows.
    timeout_s
        How long to wait in all; None waits for the job's end.

    Raises
    ------
    StreamlabError
        What made the job fail.
    JobError
        If the loop fell so far behind an updating stream that its changes were merged.
    """
    deadline = None if timeout_s is None else time.monotonic() + timeout_s
    rows = _Rows(handle)
    try:
        while True:
            # Asked before reading: what a job wrote before its end is there when the end is known.
            ended = handle.status().state.is_final
            yield from rows.new()
            if ended:
                break
            if deadline is not None and time.monotonic() >= deadline:
                return
            time.sleep(_POLL_S)
        job = Job(handle)
        failure = job.exception
        if failure is not None:
            raise failure
        warn_of("rows of a stream", job.dead_letters(), _SEE_THEM)
        warn_of_late_rows("rows of a stream", far_ahead(job))
    finally:
        discard(handle)


def far_ahead(job: Job) -> str:
    """Return what is said of a row of an ended job that made others late by being far ahead; empty without any."""
    if not job.report().late_rows:
        return ""
    said = (f"{one.sentence}\n  → {one.move}" for one in job.diagnosis() if one.kind == "far future")
    return next(said, "")


def discard(handle: JobHandle) -> None:
    """End a job if it still runs, and delete what is stored of it."""
    _request(handle, CancelRequested("no longer needed"))
    handle.wait()
    handle.remove()


def _request(handle: JobHandle, request: Request) -> None:
    """Ask for something unless the job has ended, also when it ends right now."""
    try:
        if not handle.status().state.is_final:
            handle.request(request)
    except JobError:
        if not handle.status().state.is_final:
            raise


class _Rows:
    """What the loop has taken, and whether the job is paused."""

    def __init__(self, handle: JobHandle) -> None:
        self._handle = handle
        self._log = LogReader(handle.folder.results / MAIN)
        self._next_row: dict[str, int] = {}
        self._taken = 0
        self._paused = False

    def new(self) -> Iterator[pl.DataFrame]:
        """Yield what is new, and hold the job back while it is far ahead."""
        for record in self._log.read_new():
            if record.damage:
                raise StateError(record.damage)
            first = self._next_row.get(record.prefix, 0)
            rows = 0 if record.header.voids_from >= 0 else record.header.rows
            self._next_row[record.prefix] = record.header.first_row + rows
            if record.header.first_row != first:
                raise JobError(
                    explained(
                        "iter_batches",
                        needed="to keep up with an updating stream",
                        got=f"{record.header.first_row - first:,} changes that were merged before they were read",
                        hint="do less in the loop, or look at job.results() of a started job now and then",
                    )
                )
            if record.header.voids_from >= 0:
                continue
            self._taken += record.header.rows
            yield record.frame
            self._hold_back()
        self._hold_back()
        self._log.drop_read()

    def _hold_back(self) -> None:
        status = self._handle.status()
        if status.state.is_final:
            return
        ahead = status.rows_out - self._taken
        if not self._paused and ahead > _AHEAD_ROWS:
            _request(self._handle, PauseRequested())
            self._paused = True
        elif self._paused and ahead <= _AHEAD_ROWS // 2:
            _request(self._handle, ResumeRequested())
            self._paused = False
