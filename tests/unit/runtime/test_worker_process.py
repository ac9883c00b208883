"""When a worker is known to wait for another job: not yet when it says for the first time that it is ready."""

from __future__ import annotations

import os
import selectors
import subprocess
import sys
import time
from collections.abc import Iterator

import pytest

from streamlab.runtime.messages.pipes import READY, framed
from streamlab.runtime.process.worker_start import StartedWorker
from streamlab.runtime.supervisor.worker_process import WorkerProcess


@pytest.fixture
def started() -> Iterator[tuple[StartedWorker, int]]:
    """Return a process in a worker's place, and the end of the pipe at which a worker speaks."""
    commands_read, commands_write = os.pipe()
    events_read, events_write = os.pipe()
    os.set_blocking(events_read, False)
    process = subprocess.Popen([sys.executable, "-c", ""], stdin=commands_read, start_new_session=True)
    os.close(commands_read)
    worker = StartedWorker(process, commands_write, events_read, time.monotonic())
    yield worker, events_write
    os.close(events_write)
    worker.end()


def read(worker: WorkerProcess) -> None:
    with selectors.DefaultSelector() as selector:
        worker.read(selector, lambda event: None)


def test_a_fresh_one_says_it_twice(started: tuple[StartedWorker, int]) -> None:
    process, speaks = started
    worker = WorkerProcess.standing_by(process, 0, 1)
    os.write(speaks, framed(READY))
    read(worker)
    assert not worker.is_ready_again
    os.write(speaks, framed(READY))
    read(worker)
    assert worker.is_ready_again


def test_one_that_has_said_so_before_it_was_taken_says_it_once_more(started: tuple[StartedWorker, int]) -> None:
    process, speaks = started
    os.write(speaks, framed(READY))
    worker = WorkerProcess.standing_by(process, 0, 1)
    assert worker.answers_by_s < time.monotonic() + 2.0
    os.write(speaks, framed(READY))
    read(worker)
    assert worker.is_ready_again


def test_job_after_job(started: tuple[StartedWorker, int]) -> None:
    process, speaks = started
    os.write(speaks, framed(READY))
    for _ in range(3):
        worker = WorkerProcess.standing_by(process, 0, 1)
        assert worker.answers_by_s < time.monotonic() + 2.0
        assert not worker.is_ready_again
        with selectors.DefaultSelector() as selector:
            selector.register(worker.events_fd, selectors.EVENT_READ)
            os.write(speaks, framed(READY))
            worker.read(selector, lambda event: None)
            assert worker.is_ready_again
            process = worker.stand_by(selector)
