"""The guardian of a job that takes checkpoints: ``python -m streamlab.runtime.guardian <job folder> [flags]``.

A client starts it as ``python -m streamlab.runtime.guardian <home> --standby=<workers>``: it starts a coordinator with
so many workers at once, so that all import what they need while it waits for its arguments (see `standby`).

It starts the job's coordinator, and another one when that is killed or fails, which takes the job over from its last
checkpoint. A coordinator that hangs is ended by its workers; one that has none, by its guardian, which sees that the
job's status is no longer written.
It does nothing else and imports next to nothing, so that there is little that could end it.

Standard input is a pipe from the client: first the job's key, which it hands on to each coordinator, then nothing. When
the client has ended, the coordinator is told so and ends the job.

When the guardian itself is killed, the coordinator starts a *successor*. Its standard input is a pipe from that
coordinator: the key, and one word when the job has ended. If the pipe ends without it, the successor goes on like any
guardian, but that its coordinators see for themselves whether the client lives.
"""

from __future__ import annotations

import contextlib
import math
import os
import select
import signal
import subprocess
import sys
import time
from typing import IO, Any, NoReturn

from streamlab.core.failpoints import reach
from streamlab.runtime.fault_injection import arm_from_environment
from streamlab.runtime.job_log import print_to
from streamlab.runtime.standby import COORDINATOR, Standby, read_exactly, read_or_end, wait_for_arguments

CLIENT_ENDED = b"!"
"""What a coordinator is told when the client has ended; without it, it was the guardian that ended."""
DEFECT = 70
"""How a coordinator ends that has failed and leaves the job to the next one; not a code that Python itself gives."""
PATIENCE = "--patience="
"""Says for how many seconds a coordinator may be silent."""
GUARDIAN = "--guardian="
"""Says which process the guardian is: the parent of an orphan is somebody else, whom nobody here may end."""
FOLLOWED = "--followed"
"""Tells a coordinator that there is a next one for that."""
NO_CLIENT = "--no-client"
"""Tells a coordinator that it will not be told when the client ends."""
FOLLOWS = "--follows="
"""Tells a successor which process the coordinator is."""
DETACHED = "--detached"
"""Tells a guardian that the job goes on when the client has ended."""
DISMISSED = b"."
"""What a successor is told when the job has ended."""
STANDBY = "--standby="
"""Says how many workers the coordinator of a guardian will need that does not know its job yet."""
_KEY_BYTES = 32
_MOST_TAKEOVERS = 10
_MOST_DEFECTS = 5
_STABLE_S = 600.0
_DELAY_S = 0.1
_MAX_DELAY_S = 10.0
_LOOK_S = 0.5
_LONGEST_ROUND_S = 1.0


class Guardian:
    """See the module.

    Parameters
    ----------
    folder
        Path of the job's folder.
    client_fd
        The pipe from the client.
    detached
        Whether the job goes on when the client has ended.
    patience_s
        For how long the status may stay as it is.
    follows
        For a successor, the number of the coordinator that there is, which holds the pipe; else 0.
    standby
        A process that can be the first coordinator.
    """

    def __init__(
        self,
        folder: str,
        client_fd: int,
        *,
        detached: bool,
        patience_s: float = math.inf,
        follows: int = 0,
        standby: Standby | None = None,
    ) -> None:
        self._folder = folder
        self._client_fd = client_fd
        self._hears_client = not detached and not follows
        self._follows = follows
        self._standby = standby
        self._patience_s = patience_s
        self._seen = (0, 0.0, 0.0)
        """When the status was written, when that was looked up, and for how long it has been the latest."""
        self._client_ended = False
        self._woken, wake = os.pipe()
        for fd in (self._woken, wake):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def run(self) -> int:
        """Keep a coordinator running until the job has ended; return how the last one ended."""
        key = self._read_key()
        if self._follows and self._ends_in_order(self._follows):
            return 0
        deaths = 0
        while True:
            began = time.monotonic()
            code = self._run_coordinator(key, followed=deaths < _MOST_DEFECTS)
            if (code >= 0 and code != DEFECT) or self._client_ended:
                return code
            deaths = 1 if time.monotonic() - began > _STABLE_S else deaths + 1
            if deaths > _MOST_TAKEOVERS:
                return code
            time.sleep(min(_DELAY_S * 2 ** (deaths - 1), _MAX_DELAY_S))

    def _ends_in_order(self, coordinator: int) -> bool:
        """Wait for the end of a coordinator that has started this process, and return whether the job has ended."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: os.kill(coordinator, signal.SIGTERM))
        self._seen = (0, time.monotonic(), 0.0)
        while not select.select([self._client_fd], [], [], _LOOK_S)[0]:
            reach("guardian.watch")
            # As long as the pipe is open, the number is that of the coordinator.
            if self._is_silent():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(coordinator, signal.SIGKILL)
        return read_or_end(self._client_fd, 64) == DISMISSED

    def _run_coordinator(self, key: bytes, *, followed: bool) -> int:
        flags = [f"{GUARDIAN}{os.getpid()}", *([FOLLOWED] if followed else []), *([NO_CLIENT] if self._follows else [])]
        coordinator, pipe = self._start_coordinator(flags, key)
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: coordinator.terminate())
        # Closing the pipe writes what could not be written before, and fails once more.
        with contextlib.suppress(BrokenPipeError), pipe:
            self._seen = (0, time.monotonic(), 0.0)
            while coordinator.poll() is None and not self._client_ended:
                self._wait()
                if self._is_silent():
                    coordinator.kill()
                    coordinator.wait()
            if self._client_ended:
                pipe.write(CLIENT_ENDED)
        return coordinator.wait()

    def _start_coordinator(self, flags: list[str], key: bytes) -> tuple[subprocess.Popen[bytes], IO[bytes]]:
        """Return a coordinator that has the job's key, and the pipe to it."""
        standby, self._standby = self._standby, None
        if standby is not None:
            if standby.hand_over([self._folder, *flags], key):
                return standby.process, os.fdopen(standby.channel.detach(), "wb")
            standby.end()
        coordinator = subprocess.Popen(
            [sys.executable, "-P", "-m", "streamlab.runtime.supervisor", self._folder, *flags],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        pipe: Any = coordinator.stdin
        # One that has died already is found out by whoever waits for it.
        with contextlib.suppress(BrokenPipeError):
            pipe.write(key)
            pipe.flush()
        return coordinator, pipe

    def _wait(self) -> None:
        """Wait until a child or the client has ended."""
        watched = [self._woken, self._client_fd] if self._hears_client else [self._woken]
        reach("guardian.watch")
        ready, _, _ = select.select(watched, [], [], _LOOK_S)
        if self._woken in ready:
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, 64)
        if self._client_fd in ready:
            self._client_ended = not read_or_end(self._client_fd, 64)

    def _is_silent(self) -> bool:
        """Return whether the coordinator has written no status for too long, not counting time in which all slept."""
        before, looked, silent_s = self._seen
        now = time.monotonic()
        try:
            written = os.stat(os.path.join(self._folder, "status.json")).st_mtime_ns
        except OSError:
            written = 0
        silent_s = silent_s + min(now - looked, _LONGEST_ROUND_S) if written == before else 0.0
        self._seen = written, now, silent_s
        return silent_s > self._patience_s

    def _read_key(self) -> bytes:
        try:
            return read_exactly(self._client_fd, _KEY_BYTES)
        except EOFError:
            if self._standby is not None:
                _leave(self._standby)
            sys.exit("the client ended before it had handed over the job")


def _leave(standby: Standby) -> NoReturn:
    """End this process, which has no job, and the coordinator that it has started."""
    standby.end()
    os._exit(0)


def main(folder: str, *flags: str) -> int:
    """Run this process as the guardian of the job in a folder, or of one that it will be told."""
    standby = None
    if flags and flags[0].startswith(STANDBY):
        standby = Standby.start([*COORDINATOR, folder, flags[0].removeprefix(STANDBY)])
        signal.signal(signal.SIGTERM, lambda *_: _leave(standby))
        arguments = wait_for_arguments(0)
        if arguments is None:
            _leave(standby)
        folder, *flags = arguments  # type: ignore[assignment]
        print_to(os.path.join(folder, "log", "coordinator.log"))
    arm_from_environment("guardian")
    patience = [float(flag.partition("=")[2]) for flag in flags if flag.startswith(PATIENCE)]
    follows = [int(flag.removeprefix(FOLLOWS)) for flag in flags if flag.startswith(FOLLOWS)]
    guardian = Guardian(
        folder,
        0,
        detached=DETACHED in flags,
        patience_s=min(patience, default=math.inf),
        follows=max(follows, default=0),
        standby=standby,
    )
    return guardian.run()


if __name__ == "__main__":
    sys.exit(abs(main(*sys.argv[1:])))
