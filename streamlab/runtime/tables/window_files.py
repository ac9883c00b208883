"""The newest windows of a job, written by its workers into the job's folder while somebody looks.

A client that wants to see them touches a file; workers look at its time now and then. What they write says which touch
it answers. To look costs a worker at most half a hundredth of its time: the more work it was, the later it looks again.
A worker of a paused job has the time: whoever steps through a job sees the windows as they are after the step.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import msgspec
import polars as pl

from streamlab.observe.panes import STORED, together
from streamlab.runtime.coordinator.placement import worker_count
from streamlab.runtime.job_folder.attempts import read_attempts
from streamlab.runtime.task.task import Task

_FOLDER = "panes"
_ASKED = "asked"
_LEASE_S = 5.0
"""How long somebody who has asked counts as looking."""
_SHARE = 200
_PAUSED_SHARE = 4
_SHORTEST_S = 0.5
_POLL_S = 0.02


class PaneFile(msgspec.Struct, frozen=True, array_like=True):
    """What one worker knows.

    Attributes
    ----------
    attempt : int
        Attempt of the job.
    asked_ns : int
        Time of the touch that it answers.
    tables : tuple[tuple[str, bytes], ...]
        Step and table of each of its tasks with windows, as Arrow IPC.
    """

    attempt: int
    asked_ns: int
    tables: tuple[tuple[str, bytes], ...]


class PaneWriter:
    """A worker's side.

    Parameters
    ----------
    folder
        The job's folder.
    worker, attempt
        Whose windows.
    """

    def __init__(self, folder: Path, worker: int, attempt: int) -> None:
        self._asked = folder / _FOLDER / _ASKED
        self._path = folder / _FOLDER / f"{worker}.msgpack"
        self._attempt = attempt
        self._begun_s: float | None = None
        self._took_s = 0.0

    def write_if_asked(self, tasks: Sequence[Task], *, paused: bool = False) -> None:
        """Write the windows of a worker's tasks if somebody looks, and it was not done just now."""
        now_s = time.monotonic()
        rest_s = self._took_s * _PAUSED_SHARE if paused else max(_SHORTEST_S, self._took_s * _SHARE)
        if self._begun_s is not None and now_s < self._begun_s + rest_s:
            return
        asked_ns = _asked_ns(self._asked)
        if abs(time.time_ns() - asked_ns) < _LEASE_S * 1e9:
            worked_s = time.process_time()
            self.write(tasks, asked_ns)
            # On a machine that is busy with other things, what this has cost is less than what it took.
            self._took_s = min(time.monotonic() - now_s, time.process_time() - worked_s)
            self._begun_s = now_s

    def write(self, tasks: Sequence[Task], asked_ns: int | None = None) -> None:
        """Write the windows of a worker's tasks. That there is no room for them is no reason to fail."""
        found = [pane for task in tasks for pane in task.panes()]
        content = PaneFile(
            self._attempt,
            _asked_ns(self._asked) if asked_ns is None else asked_ns,
            tuple((step, _encoded(table)) for step, table in found),
        )
        aside = self._path.with_suffix(".new")
        with contextlib.suppress(OSError):
            self._path.parent.mkdir(mode=0o700, exist_ok=True)
            aside.write_bytes(msgspec.msgpack.encode(content))
            aside.replace(self._path)


def ask(folder: Path) -> int:
    """Say that somebody looks, and return the time of that."""
    path = folder / _FOLDER / _ASKED
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.touch(mode=0o600)
    return _asked_ns(path)


class PaneReader:
    """A client's side; reads what workers have written anew only when they have.

    Parameters
    ----------
    folder
        The job's folder.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: tuple[object, pl.DataFrame] | None = None
        self._looked_s = -_LEASE_S
        self._unanswered_ns: int | None = None
        """The touch with which the present look began, until all workers have answered."""

    def look(self) -> tuple[pl.DataFrame, bool]:
        """Ask without waiting, and return what there is, and whether all workers have told it since this look began.

        A look goes on while it is renewed sooner than workers stop telling.
        """
        asked_ns, now_s = ask(self._folder), time.monotonic()
        if now_s - self._looked_s >= _LEASE_S:
            self._unanswered_ns = asked_ns
        self._looked_s = now_s
        if self._unanswered_ns is not None and wait_for_answer(self._folder, self._unanswered_ns, 0.0):
            self._unanswered_ns = None
        return self.read(), self._unanswered_ns is None

    def read(self) -> pl.DataFrame:
        """Return the windows that the workers of the newest attempt have written last."""
        attempts = read_attempts(self._folder / "results")
        newest = attempts[-1].number if attempts else 0
        # Looked at before the files are read: what is written in between is read again.
        seen = newest, tuple(_stamp(path) for path in _paths(self._folder))
        if self._read is None or self._read[0] != seen:
            files = [file for file in _files(self._folder) if file.attempt == newest]
            tables = [
                (step, pl.read_ipc_stream(table).select(STORED.names()))
                for file in files
                for step, table in file.tables
            ]
            self._read = seen, together(tables)
        return self._read[1].clone()


def wait_for_answer(folder: Path, asked_ns: int, timeout_s: float) -> bool:
    """Wait until every worker has answered a touch; return whether all have in time."""
    deadline = time.monotonic() + timeout_s
    while True:
        attempts = read_attempts(folder / "results")
        if attempts:
            workers = worker_count(vertex.parallelism for vertex in attempts[-1].layout.vertices)
            newest = attempts[-1].number
            answers = [f for f in _files(folder) if f.attempt == newest and f.asked_ns >= asked_ns]
            if len(answers) >= workers:
                return True
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_S)


def _paths(folder: Path) -> list[Path]:
    return sorted((folder / _FOLDER).glob("*.msgpack"))


def _stamp(path: Path) -> tuple[str, int, int, int]:
    """Return what is another after a file was replaced."""
    try:
        facts = path.stat()
    except FileNotFoundError:
        return path.name, 0, 0, 0
    return path.name, facts.st_ino, facts.st_mtime_ns, facts.st_size


def _files(folder: Path) -> list[PaneFile]:
    found: list[PaneFile] = []
    for path in _paths(folder):
        with contextlib.suppress(FileNotFoundError, msgspec.MsgspecError):
            found.append(msgspec.msgpack.decode(path.read_bytes(), type=PaneFile))
    return found


def _asked_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0


def _encoded(table: pl.DataFrame) -> bytes:
    body = BytesIO()
    table.write_ipc_stream(body)
    return body.getvalue()
