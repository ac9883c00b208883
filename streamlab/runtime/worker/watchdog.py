"""The thread of a worker that speaks with the coordinator, whatever the main thread is doing.

It reads commands from one pipe and writes events to another, gives a sign of life several times a second, and watches
three things:

*the main thread*   A call of a user's code that does not return in time is reported with the place where it hangs, and
                    so is, much later, any turn of the worker's loop that does not end, and a part of a checkpoint that
                    cannot be stored in the time that a whole one may take.
*the coordinator*   When its pipe ends, or nothing comes from it any more, the job cannot go on: the worker writes that
                    into the job's status, removes what the coordinator can no longer remove, and ends.
*its pipes*         A user's function that closes descriptors which are not its own takes them away: the worker ends,
                    alone, with a code that says so.
*itself*            A native call that never gives back the interpreter stops this thread too. The coordinator finds
                    that out; for when it is gone as well, a timer in C (faulthandler's) is set back again and again,
                    and ends the worker when it is not.

Time is counted in rounds of this thread, each for a second at most: when a whole machine or container was frozen,
nobody was silent.
"""

from __future__ import annotations

import contextlib
import faulthandler
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections import deque
from pathlib import Path

import msgspec

from streamlab.core.options import JobOptions
from streamlab.observe.status import Failure, TaskStatus
from streamlab.runtime.job_folder.folder import JobFolder
from streamlab.runtime.job_folder.socket_folders import remove_sockets_folder
from streamlab.runtime.messages.pipes import READY, FrameBuffer, PipeWriter, framed, read_available
from streamlab.runtime.messages.protocol import Hello, Ping, TaskFailed, ToWorker, WorkerEvent, WorkerReport
from streamlab.runtime.process.forked_children import end_forked_children
from streamlab.runtime.process.processes import PIPES_LOST, kill_group
from streamlab.runtime.process.surroundings import current_folder
from streamlab.runtime.supervisor.heir import start_heir
from streamlab.runtime.worker.call_deadlines import StepClock
from streamlab.runtime.worker.task_runner import stack_text

REPORT_S = 0.2
_ENVIRONMENT = dict(os.environ)
"""As it was when this process was started."""
_LONGEST_ROUND_S = 1.0
_ARM_S = 10.0
_LAST_RESORT_S = 600.0


class Watchdog(threading.Thread):
    """See the module.

    Parameters
    ----------
    commands_fd, events_fd
        The pipes from and to the coordinator.
    coordinator
        Its process; when it ends early, this one's parent is somebody else from the beginning.
    """

    def __init__(self, commands_fd: int, events_fd: int, coordinator: int) -> None:
        super().__init__(name="watchdog", daemon=True)
        self.commands: deque[ToWorker] = deque()
        self.clock = StepClock()
        self._tasks: tuple[TaskStatus, ...] = ()
        self._first_row_us: int | None = None
        self._events: deque[WorkerEvent] = deque()
        self._commands_fd = commands_fd
        self._writer = PipeWriter(events_fd)
        self._frames = FrameBuffer()
        self._decoder = msgspec.msgpack.Decoder(ToWorker)
        self._encoder = msgspec.msgpack.Encoder()
        self._coordinator = coordinator
        self._current = current_folder() or None
        self._main = threading.main_thread().ident
        self._round_began = time.monotonic()
        self._heard_s = 0.0
        self._armed_s = -_ARM_S
        self._reported_s = 0.0
        self._hanging = False
        self._ends = False
        self.command_fd, self._command_signal = os.pipe()
        self._event_fd, self._event_signal = os.pipe()
        for fd in (self.command_fd, self._command_signal, self._event_fd, self._event_signal, commands_fd):
            os.set_blocking(fd, False)
        pipes = (commands_fd, events_fd, self.command_fd, self._command_signal, self._event_fd, self._event_signal)
        self._pipes = {fd: _file_behind(fd) for fd in pipes}
        """What the descriptors are of: others may open files under their numbers once they have been closed."""
        end_forked_children((commands_fd, events_fd))
        os.write(events_fd, framed(READY))
        self.hello = self._wait_for_hello()
        self._folder = JobFolder(Path(self.hello.folder))
        self._meta = self._folder.read_meta()
        self.fault_log = os.open(
            self._folder.fault_log(self.hello.worker), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600
        )

    @property
    def options(self) -> JobOptions:
        """The job's options."""
        return self._meta.options

    @property
    def sockets(self) -> Path:
        """The folder for the job's sockets."""
        return Path(self._meta.sockets)

    @property
    def log(self) -> Path:
        """Where this process prints."""
        return self._folder.worker_log(self.hello.worker)

    def report(self, event: WorkerEvent) -> None:
        """Send an event; from any thread."""
        self._events.append(event)
        _wake(self._event_signal)

    def publish(self, tasks: tuple[TaskStatus, ...], first_row_us: int | None, *, now: bool = False) -> None:
        """Set the figures that go with the next sign of life; `now`: with one before anything else is reported."""
        self._tasks, self._first_row_us = tasks, first_row_us
        if now:
            self.report(self._sign_of_life())

    def stop(self) -> None:
        """End this thread, once everything that was reported has been said, and let go of what it holds."""
        self._ends = True
        _wake(self._event_signal)
        self.join()
        faulthandler.cancel_dump_traceback_later()
        faulthandler.disable()
        for fd in (self.command_fd, self._command_signal, self._event_fd, self._event_signal, self.fault_log):
            os.close(fd)

    def run(self) -> None:
        """Speak with the coordinator until the process ends, or this is stopped."""
        try:
            while not self._ends or self._events or self._writer.pending:
                self._round()
        except BaseException:
            # The coordinator and the other workers have no part in it.
            traceback.print_exc()
            os._exit(PIPES_LOST if self._has_lost_pipes else 1)

    @property
    def _has_lost_pipes(self) -> bool:
        return any(_file_behind(fd) != file for fd, file in self._pipes.items())

    def _sign_of_life(self) -> WorkerReport:
        return WorkerReport(self.hello.worker, self.hello.attempt, self._tasks, self._first_row_us)

    def _wait_for_hello(self) -> Hello:
        while not self.commands:
            select.select([self._commands_fd], [], [])
            self._read_commands()
        hello = self.commands.popleft()
        if not isinstance(hello, Hello):
            text = f"expected Hello, got {type(hello).__name__}"
            raise TypeError(text)
        return hello

    def _round(self) -> None:
        waiting = [self._writer.fd] if self._writer.pending else []
        readable, _, _ = select.select([self._commands_fd, self._event_fd], waiting, [], REPORT_S)
        if self._has_lost_pipes:
            text = "something in this process has closed the worker's pipes"
            raise OSError(text)
        began, self._round_began = self._round_began, time.monotonic()
        self.clock.awake_s += min(self._round_began - began, _LONGEST_ROUND_S)
        now = self.clock.awake_s
        if self._commands_fd in readable:
            self._read_commands()
            self._heard_s = now
        if self._event_fd in readable:
            read_available(self._event_fd)
        elif now - self._reported_s >= REPORT_S and not self._writer.pending:
            self._reported_s = now
            self._events.append(self._sign_of_life())
        try:
            self._writer.send()
            while self._events:
                self._writer.send(self._encoder.encode(self._events.popleft()))
        except BrokenPipeError:
            self._orphaned("its coordinator process ended unexpectedly")
        self._watch(now)

    def _read_commands(self) -> None:
        data = read_available(self._commands_fd)
        if data is None:
            return
        if not data:
            self._orphaned("its coordinator process ended unexpectedly")
        for frame in self._frames.feed(data):
            command = self._decoder.decode(frame)
            if not isinstance(command, Ping):
                self.commands.append(command)
                _wake(self._command_signal)

    def _watch(self, now: float) -> None:
        timeout_s = self.options.heartbeat_timeout_ms / 1000
        if now - self._armed_s >= _ARM_S:
            self._armed_s = now
            faulthandler.dump_traceback_later(_LAST_RESORT_S + timeout_s, exit=True, file=self.fault_log)
        if now - self._heard_s > timeout_s:
            self._orphaned(f"its coordinator process did not answer for {timeout_s:g} s")
        if not self._hanging:
            self._look_for_hangs(now)

    def _look_for_hangs(self, now: float) -> None:
        clock, options = self.clock, self.options
        call = clock.limited
        text = "" if call is None else call.overdue(now, options)
        if call is not None and text:
            self._report_hang(self._main, Failure(message=text, step=call.step, sample=call.sample))
        elif text := clock.turn_overdue(now, options):
            self._report_hang(self._main, Failure(message=text))
        elif text := clock.storing_overdue(now, options):
            self._report_hang(clock.storing_thread, Failure(message=text))

    def _report_hang(self, thread: int | None, failure: Failure) -> None:
        self._hanging = True
        place = stack_text(traceback.extract_stack(sys._current_frames().get(thread or 0)))
        failure = msgspec.structs.replace(failure, traceback=place)
        self.report(TaskFailed(self.hello.worker, self.hello.attempt, failure))

    def _orphaned(self, reason: str) -> None:
        """End the job in the coordinator's place, or this attempt when another coordinator will take the job over.

        Every worker may do this: the outcome is the same. One that has not been told of a job just ends: a coordinator
        that needs it no longer lets go of it like this.
        """
        if not hasattr(self, "_meta"):
            os._exit(1)
        is_lost = self._meta.options.checkpoint_every_ms is None
        # The reason goes first: others give another one when they find the coordinator gone. It goes again after that,
        # for until then the coordinator may have written over it.
        for _ in range(2):
            if is_lost:
                with contextlib.suppress(Exception):
                    self._folder.write_lost(reason)
            with contextlib.suppress(OSError):
                if os.getppid() == self._coordinator:
                    os.kill(self._coordinator, signal.SIGKILL)
        if not is_lost:
            # The guardian may be gone as well. What goes wrong here is found out by clients.
            with contextlib.suppress(Exception):
                start_heir(self._folder, self.hello.worker, _ENVIRONMENT, self._current)
        if is_lost:
            remove_sockets_folder(self._meta.sockets, self._meta.id)
        kill_group(os.getpid())
        os._exit(1)


def _file_behind(fd: int) -> tuple[int, int] | None:
    """Return what tells the file of a descriptor from all others; None when it is closed."""
    try:
        facts = os.fstat(fd)
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def _wake(fd: int) -> None:
    with contextlib.suppress(BlockingIOError):
        os.write(fd, b"!")
