"""The guardian of a job that takes checkpoints: ``python -m`` this module ``<job folder> [flags]``.

The job's first coordinator starts it. When that is killed or fails, the guardian starts another one, which takes the
job over from its last checkpoint, and another when that one dies. A coordinator that hangs is ended by its workers; one
that has none, by its guardian, which sees that the job's status is no longer written.
It does nothing else and imports next to nothing, so that there is little that could end it.

Standard input is a pipe from the coordinator that has started it: first the job's key, which it hands on to each
coordinator that it starts, then nothing. When the pipe ends, that coordinator has died: one whose job has ended ends
its guardian first. Coordinators that the guardian starts see for themselves whether the client lives. When it is killed
itself, the coordinator that there is starts another guardian (`guarding`).
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
from pathlib import Path

from streamlab.core.failpoints import reach
from streamlab.runtime.process.fault_injection import arm_from_environment
from streamlab.runtime.process.standby import read_exactly

DEFECT = 70
"""How a coordinator ends that has failed and leaves the job to the next one; not a code that Python itself gives."""
PATIENCE = "--patience="
"""Says for how many seconds a coordinator may be silent."""
GUARDIAN = "--guardian="
"""Tells a coordinator which process its guardian is: the parent of an orphan is somebody else, whom it may not end."""
FOLLOWED = "--followed"
"""Tells a coordinator that there is a next one when it fails."""
FOLLOWS = "--follows="
"""Tells a guardian which process the coordinator is."""
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
    coordinator_fd
        The pipe from the coordinator that has started this process; -1: none has.
    coordinator
        Its number.
    patience_s
        For how long the status may stay as it is.
    """

    def __init__(
        self, folder: str, coordinator_fd: int = -1, coordinator: int = 0, patience_s: float = math.inf
    ) -> None:
        self._folder = folder
        self._coordinator_fd = coordinator_fd
        self._coordinator = coordinator
        self._patience_s = patience_s
        self._seen = (0, 0.0, 0.0)
        """When the status was written, when that was looked up, and for how long it has been the latest."""
        self._woken, wake = os.pipe()
        for fd in (self._woken, wake):
            os.set_blocking(fd, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(wake)
        signal.signal(signal.SIGINT, signal.SIG_IGN)

    def run(self) -> int:
        """Keep a coordinator running until the job has ended; return how the last one ended."""
        try:
            key = read_exactly(self._coordinator_fd, _KEY_BYTES)
        except EOFError:
            sys.exit("the coordinator ended before it had handed over the job")
        self._wait_for_death(self._coordinator)
        return self.succeed(key)

    def succeed(self, key: bytes) -> int:
        """Keep a coordinator running, now that there is none; return how the last one ended."""
        deaths, code = 1, 0
        while deaths <= _MOST_TAKEOVERS:
            time.sleep(min(_DELAY_S * 2 ** (deaths - 1), _MAX_DELAY_S))
            began = time.monotonic()
            code = self._run_coordinator(key, followed=deaths < _MOST_DEFECTS)
            if code >= 0 and code != DEFECT:
                return code
            deaths = 1 if time.monotonic() - began > _STABLE_S else deaths + 1
        self._give_up()
        return code

    def _give_up(self) -> None:
        """Say in the status that nobody goes on: heirs that workers have started would begin anew."""
        from streamlab.core.errors import StateError  # noqa: PLC0415 - nothing that is not needed until now
        from streamlab.runtime.job_folder.folder import JobFolder  # noqa: PLC0415

        with contextlib.suppress(OSError, StateError):
            reason = f"its coordinator process ended unexpectedly, {_MOST_TAKEOVERS} times in a row"
            JobFolder(Path(self._folder)).write_lost(reason)

    def _wait_for_death(self, coordinator: int) -> None:
        """Wait until the coordinator that has started this process has died, and see to it that it does not hang."""
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: os.kill(coordinator, signal.SIGTERM))
        self._seen = (0, time.monotonic(), 0.0)
        while not select.select([self._coordinator_fd], [], [], _LOOK_S)[0]:
            reach("guardian.watch")
            # As long as the pipe is open, the number is that of the coordinator.
            if self._is_silent():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(coordinator, signal.SIGKILL)

    def _run_coordinator(self, key: bytes, *, followed: bool) -> int:
        flags = [f"{GUARDIAN}{os.getpid()}", *([FOLLOWED] if followed else [])]
        coordinator = subprocess.Popen(
            [sys.executable, "-P", "-m", "streamlab.runtime.supervisor.supervisor", self._folder, *flags],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, lambda *_: coordinator.terminate())
        pipe = coordinator.stdin
        if pipe is None:
            return 1
        # Closing the pipe writes what could not be written before, and fails once more.
        with contextlib.suppress(BrokenPipeError), pipe:
            pipe.write(key)
            pipe.flush()
            self._seen = (0, time.monotonic(), 0.0)
            while coordinator.poll() is None:
                self._wait()
                if self._is_silent():
                    coordinator.kill()
                    coordinator.wait()
        return coordinator.wait()

    def _wait(self) -> None:
        """Wait until a child has ended."""
        reach("guardian.watch")
        if select.select([self._woken], [], [], _LOOK_S)[0]:
            with contextlib.suppress(BlockingIOError):
                os.read(self._woken, 64)

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


def main(folder: str, *flags: str) -> int:
    """Run this process as the guardian of the job in a folder."""
    arm_from_environment("guardian")
    patience = [float(flag.removeprefix(PATIENCE)) for flag in flags if flag.startswith(PATIENCE)]
    follows = [int(flag.removeprefix(FOLLOWS)) for flag in flags if flag.startswith(FOLLOWS)]
    return Guardian(folder, 0, max(follows), min(patience, default=math.inf)).run()


if __name__ == "__main__":
    sys.exit(abs(main(*sys.argv[1:])))
