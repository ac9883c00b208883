"""A process that was started before it was known what for, as whoever has started it holds it, and as it is itself.

Its standard input is one end of a socket pair. What goes over it, in this order:

==========  =====================================================================================================
who         what
==========  =====================================================================================================
process     ``r`` as soon as it has imported everything
starter     its arguments: four bytes of length, then the arguments with zero bytes in between
process     ``t``: taken; from here on it is what a process is that was started with them on its command line
starter     the job's key, and whatever else such a process is told
==========  =====================================================================================================

One that imports still is told everything at once: it is ahead of a process that would be started now. From one that
has said ``r`` the ``t`` comes within milliseconds, or it hangs, is ended, and a fresh one starts in its place; the key
comes after that, so no two of them ever begin the same job. When the pipe ends before, the process ends, whatever
became of its starter.

Coordinators begin with this, so it imports next to nothing.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from typing import IO

COORDINATOR = (sys.executable, "-P", "-m", "streamlab.runtime.supervisor.coordinator_process")
"""Starts one that will be a coordinator; the folder of all jobs and the number of workers follow."""
READY, TAKEN = b"r", b"t"
_LENGTH = 4
_ANSWER_S = 0.5
"""For how long one that is ready may leave its starter without an answer."""
_END_S = 1.0
_IMPORTS_S = 20.0
"""How old one may be that is not ready yet."""
_ORPHANED_S = 10.0
"""How often one that waits looks whether its starter is still there."""


class Standby:
    """One such process, as its starter holds it.

    Parameters
    ----------
    process
        It leads a process group of its own.
    channel
        The starter's end of the socket pair.
    """

    def __init__(self, process: subprocess.Popen[bytes], channel: socket.socket) -> None:
        self.process = process
        self.channel = channel
        self._started_s = time.monotonic()
        self._said = b""
        self._listening = threading.Lock()
        self._jobs = 0

    @classmethod
    def start(
        cls, command: Sequence[str], env: Mapping[str, str] | None = None, log: IO[bytes] | int | None = None
    ) -> Standby:
        """Start one; what it prints goes to `log`, by default where this process prints. Raises OSError."""
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                process = subprocess.Popen(
                    command, stdin=theirs.fileno(), stdout=log, stderr=log, env=env, start_new_session=True
                )
        except BaseException:
            ours.close()
            raise
        return cls(process, ours)

    @property
    def has_ended(self) -> bool:
        """Whether it is no longer there."""
        return self.process.poll() is not None

    @property
    def is_ready(self) -> bool:
        """Whether it waits for a job, with everything imported."""
        return self._hears(READY, self._jobs + 1, 0)

    def hand_over(self, arguments: Sequence[str], key: bytes) -> bool:
        """Make it what it is to be, and return whether it is; if not, it must be ended.

        Parameters
        ----------
        arguments
            Those that it would have had on its command line.
        key
            The job's key.
        """
        is_ready = self.is_ready
        if self.has_ended or not (is_ready or time.monotonic() - self._started_s < _IMPORTS_S):
            return False
        self._jobs += 1
        body = b"\0".join(os.fsencode(argument) for argument in arguments)
        if not self.tell(len(body).to_bytes(_LENGTH, "little") + body):
            return False
        if is_ready and not self._hears(TAKEN, self._jobs, _ANSWER_S):
            return False
        return self.tell(key)

    def tell(self, said: bytes) -> bool:
        """Say something, and return whether it could be said: one that has died is found out by who watches it."""
        try:
            self.channel.sendall(said)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Let go of it: one that waits ends by itself."""
        self.channel.close()

    def end(self) -> None:
        """End it and what it has started, by force if it does not go at once, and wait until it is gone."""
        self.close()
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            self.process.wait(_END_S)
        except subprocess.TimeoutExpired:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def listen(self, wait_s: float) -> bool:
        """Wait until it says something or ends; return whether there is more to be waited for. From any thread."""
        channel = select.poll()
        try:
            channel.register(self.channel, select.POLLIN)
            if not channel.poll(wait_s * 1000):
                return True
            with self._listening:
                said = self.channel.recv(64, socket.MSG_DONTWAIT)
                self._said += said
        except BlockingIOError:
            # Another thread has heard it.
            return True
        except (OSError, ValueError):
            return False
        return bool(said)

    def _hears(self, word: bytes, times: int, wait_s: float) -> bool:
        """Return whether it has said a word so many times, or does so in time."""
        deadline = time.monotonic() + wait_s
        while self._said.count(word) < times:
            left_s = max(deadline - time.monotonic(), 0.0)
            before = len(self._said)
            if not self.listen(left_s) or (left_s == 0.0 and len(self._said) == before):
                return False
        return True


def wait_for_arguments(fd: int) -> list[str] | None:
    """Say that this process is ready, wait, and return its arguments; None when its starter has ended or let go."""
    starter = os.getppid()
    _say(fd, READY)
    try:
        # Somebody else may hold the other end as well: a process that was forked from the starter.
        while not select.select([fd], [], [], _ORPHANED_S)[0]:
            if os.getppid() != starter:
                return None
        body = read_exactly(fd, int.from_bytes(read_exactly(fd, _LENGTH), "little"))
    except EOFError:
        return None
    _say(fd, TAKEN)
    return [os.fsdecode(argument) for argument in body.split(b"\0")]


def _say(fd: int, word: bytes) -> None:
    # A starter may have let go of one that goes on without it: what it has said before can be read all the same.
    with contextlib.suppress(BrokenPipeError):
        os.write(fd, word)


def read_exactly(fd: int, count: int) -> bytes:
    """Return so many bytes. Raises EOFError if the other side has ended before."""
    out = b""
    while len(out) < count:
        piece = read_or_end(fd, count - len(out))
        if not piece:
            raise EOFError
        out += piece
    return out


def read_or_end(fd: int, count: int) -> bytes:
    """Return up to so many bytes; none when the other side has ended, also without having read everything."""
    try:
        return os.read(fd, count)
    except ConnectionResetError:
        return b""
