"""How a coordinator sees to it that it has a guardian: one of its own, or the one that started it while that lives.

The guardian of a job (`runtime.guardian`) starts another coordinator when this one dies. The first coordinator of a job
starts one, which watches it from outside; a coordinator that was started by its guardian has that. A guardian could be
killed as well, and later the coordinator; so a coordinator whose guardian has gone starts another one.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from streamlab.core.options import JobOptions
from streamlab.runtime.process.job_log import say
from streamlab.runtime.process.processes import ProcessId, process_id
from streamlab.runtime.supervisor.guardian import FOLLOWS, PATIENCE

_HEARTBEATS, _LEAST_PATIENCE_S = 1.5, 6.0
"""For how long a coordinator may be silent before its guardian ends it: later than its workers do, and longer than it
waits for them in the end."""
_MOST_SUCCESSORS = 10
_LEAST_LIFE_S = 1.0
"""From one successor to the next, lest one that cannot run is started over and over."""


def patience_s(options: JobOptions) -> float:
    """Return for how long a coordinator may be silent before its guardian ends it."""
    return max(options.heartbeat_timeout_ms / 1000 * _HEARTBEATS, _LEAST_PATIENCE_S)


def guardian_command(folder: Path, options: JobOptions, coordinator: int) -> list[str]:
    """Return what starts a guardian of a job whose coordinator has this number."""
    flags = [f"{PATIENCE}{patience_s(options):g}", f"{FOLLOWS}{coordinator}"]
    return [sys.executable, "-P", "-m", "streamlab.runtime.supervisor.guardian", str(folder), *flags]


class Guarding:
    """The guardian of this process, a coordinator.

    Parameters
    ----------
    folder
        The job's folder.
    options
        The job's options.
    parent
        Number of the guardian that has started this process; 0: a client has.
    wanted
        Whether there is to be one.
    """

    def __init__(self, folder: Path, options: JobOptions, parent: int, *, wanted: bool) -> None:
        self._folder = folder
        self._options = options
        self._parent = parent
        self._wanted = wanted
        self._successor: subprocess.Popen[bytes] | None = None
        self._successors = 0
        self._started_s = -_LEAST_LIFE_S

    @property
    def process(self) -> ProcessId | None:
        """The guardian; None when there is none, or it has died."""
        if not self._lives:
            return None
        return process_id(self._parent if self._successor is None else self._successor.pid)

    def renew(self, key: bytes) -> bool:
        """Start a guardian if there is to be one and there is none; return whether there is a new one.

        Parameters
        ----------
        key
            The job's key, for the coordinators that it will start.
        """
        now = time.monotonic()
        is_enough = self._successors >= _MOST_SUCCESSORS or now - self._started_s < _LEAST_LIFE_S
        if not self._wanted or self._lives or is_enough:
            return False
        self._close()
        self._started_s = now
        self._successors += 1
        command = guardian_command(self._folder, self._options, os.getpid())
        try:
            self._successor = subprocess.Popen(command, stdin=subprocess.PIPE, start_new_session=True)
        except OSError as error:
            say(f"no guardian can be started: {error}")
            return False
        self._tell(key)
        return True

    def dismiss(self) -> None:
        """End the guardian that this process has started: the job has ended. One that is its parent sees that."""
        self._wanted = False
        if self._successor is not None:
            self._successor.kill()
            self._successor.wait()
            self._close()
            self._successor = None

    @property
    def _lives(self) -> bool:
        if self._successor is not None:
            return self._successor.poll() is None
        return bool(self._parent) and os.getppid() == self._parent

    def _close(self) -> None:
        with contextlib.suppress(BrokenPipeError):
            if self._successor is not None and self._successor.stdin is not None:
                self._successor.stdin.close()

    def _tell(self, said: bytes) -> None:
        # One that has died meanwhile is found out by the next look.
        with contextlib.suppress(BrokenPipeError):
            if self._successor is not None and self._successor.stdin is not None:
                self._successor.stdin.write(said)
                self._successor.stdin.flush()
