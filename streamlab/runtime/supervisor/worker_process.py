"""A worker as its coordinator has it: a process that is started, spoken with over two pipes, watched and ended."""

from __future__ import annotations

import contextlib
import math
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import msgspec

from streamlab.core.errors import explained
from streamlab.observe.status import Failure
from streamlab.runtime.job_folder.folder import JobFolder
from streamlab.runtime.messages import protocol
from streamlab.runtime.messages.pipes import READY, FrameBuffer, PipeWriter, read_available
from streamlab.runtime.process.crash_record import read_black_box, read_fault, shown_fault
from streamlab.runtime.process.processes import exit_reason, has_ended, kill_group
from streamlab.runtime.process.worker_start import StartedWorker, start_worker

_INSPECTION_S = 0.2
_ANSWER_S = 1.0
"""For how long a worker that stood by may leave its coordinator without an answer."""
_IMPORTS_S = 60.0
"""How old it may be before it has imported everything and can answer at all."""
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(protocol.WorkerEvent)


@dataclass
class WorkerProcess:
    """One worker of one attempt.

    Attributes
    ----------
    index, attempt : int
        Which worker of which attempt.
    process : subprocess.Popen[bytes]
        Leads a process group of its own.
    commands : PipeWriter
        The pipe to it.
    events_fd : int
        The pipe from it; -1 once its end has been read.
    lost : bool
        Whether it has ended and its return code was taken.
    inspected : bool
        Whether it was ended because it was silent.
    is_ready_again : bool
        Whether it has done all that there was to do, and waits to be told who it is next.
    answers_by_s : float
        When it must have said something, on the monotonic clock, or a fresh one takes its place.
    """

    index: int
    attempt: int
    process: subprocess.Popen[bytes]
    commands: PipeWriter
    events_fd: int
    lost: bool = False
    inspected: bool = False
    answers_by_s: float = math.inf
    is_ready_again: bool = False
    _was_ready: bool = False
    _frames: FrameBuffer = field(default_factory=FrameBuffer)

    @classmethod
    def start(cls, folder: JobFolder, job_id: str, index: int, attempt: int) -> WorkerProcess:
        """Start a worker; what it prints goes to its log in the job's folder. Raises OSError."""
        with folder.worker_log(index).open("ab") as log:
            started = start_worker(job_id, log)
        return cls(index, attempt, started.process, PipeWriter(started.commands_fd), started.events_fd)

    @classmethod
    def standing_by(cls, started: StartedWorker, index: int, attempt: int) -> WorkerProcess:
        """Take one that was started before it was known what for; it is told with the first command."""
        frames = FrameBuffer()
        is_ready = started.is_ready or READY in frames.feed(read_available(started.events_fd) or b"")
        answers_by_s = time.monotonic() + _ANSWER_S if is_ready else started.started_s + _IMPORTS_S
        return cls(
            index,
            attempt,
            started.process,
            PipeWriter(started.commands_fd),
            started.events_fd,
            answers_by_s=answers_by_s,
            _was_ready=is_ready,
            _frames=frames,
        )

    @property
    def has_been_silent(self) -> bool:
        """Whether it stood by, and has not said a word since it was told who it is."""
        return self.answers_by_s < math.inf

    @property
    def has_ended(self) -> bool:
        """Whether the process has ended, taken note of or not."""
        return has_ended(self.process.pid)

    def send(self, command: protocol.ToWorker | None = None) -> None:
        """Send a command, or go on with those that the pipe had no room for."""
        # One that has died is found out by who watches it, with the reason.
        with contextlib.suppress(BrokenPipeError):
            self.commands.send(b"" if command is None else _encoder.encode(command))

    def read(self, selector: selectors.BaseSelector, take: Callable[[protocol.WorkerEvent], None]) -> None:
        """Take what it has said; at the end of the pipe, close that."""
        data = read_available(self.events_fd) if self.events_fd >= 0 else None
        if data is None:
            return
        if not data:
            self._close_events(selector)
            return
        for frame in self._frames.feed(data):
            if frame == READY:
                self.is_ready_again = self._was_ready
                self._was_ready = True
            else:
                self.answers_by_s = math.inf
                take(_decoder.decode(frame))

    def inspect(self) -> None:
        """End a silent one, but have its interpreter tell its tracebacks first, also while native code hogs it."""
        self.inspected = True
        os.kill(self.process.pid, signal.SIGABRT)
        deadline = time.monotonic() + _INSPECTION_S
        while not self.has_ended and time.monotonic() < deadline:
            time.sleep(0.01)
        kill_group(self.process.pid)

    def kill(self) -> int:
        """End it and all that it has started, wait until it is gone, and return its return code."""
        kill_group(self.process.pid)
        self.lost = True
        return self.process.wait()

    def stand_by(self, selector: selectors.BaseSelector) -> StartedWorker:
        """Return it as one that waits to be told who it is."""
        selector.unregister(self.events_fd)
        self.lost = True
        return StartedWorker(self.process, self.commands.fd, self.events_fd, time.monotonic(), is_ready=True)

    def close(self, selector: selectors.BaseSelector) -> None:
        """Close the pipes."""
        if self.events_fd >= 0:
            self._close_events(selector)
        self.commands.close()

    def loss(self, folder: JobFolder, code: int, heartbeat_timeout_ms: int) -> protocol.WorkerLost:
        """Return how it was lost, from its return code and what it has left in the job's folder."""
        step, sample = read_black_box(folder.black_box(self.index))
        fault = read_fault(folder.fault_log(self.index))
        stuck = self.inspected or "Timeout (" in fault
        silent_s = heartbeat_timeout_ms / 1000
        text = explained(
            step or "start",
            needed=f"worker process {self.index} to stay alive",
            got=f"it did not answer for {silent_s:g} s and was ended" if stuck else exit_reason(code),
            hint=f"what it printed: job.log(), or {folder.worker_log(self.index)}",
        )
        failure = Failure(message=text, step=step, traceback=shown_fault(fault), sample=sample, kind="WorkerLost")
        return protocol.WorkerLost(self.index, self.attempt, failure, from_outside=stuck or code == -signal.SIGKILL)

    def _close_events(self, selector: selectors.BaseSelector) -> None:
        selector.unregister(self.events_fd)
        os.close(self.events_fd)
        self.events_fd = -1
