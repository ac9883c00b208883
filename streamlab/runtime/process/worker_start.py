"""Starts worker processes, and imports next to nothing: a coordinator does this before it imports what it needs itself.

A worker that nobody has told yet who it is waits for that (``protocol.Hello``), and ends when its coordinator has.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import IO

_ONE_THREAD = {"POLARS_MAX_THREADS": "1"}
"""A job has as many threads that compute as it has workers."""
_DEFAULTS = {"_RJEM_MALLOC_CONF": "dirty_decay_ms:5000", "OPENBLAS_NUM_THREADS": "1"}
"""What a worker's environment says where the user's own says nothing.

Polars keeps freed memory for 5 s, not half a second: the next batch needs it, and to get it anew costs a tenth of the
time where batches change hundreds of thousands of keys. NumPy's linear algebra has one thread, too: others take a
quarter of the time in which a worker starts, just waiting for work.
"""


@dataclass(frozen=True)
class StartedWorker:
    """A worker process and the pipes to it and from it.

    Attributes
    ----------
    process : subprocess.Popen[bytes]
        Leads a process group of its own.
    commands_fd, events_fd : int
        The pipe to it, and the one from it, which does not block.
    started_s : float
        When it was started, on the monotonic clock.
    is_ready : bool
        Whether it is known to wait.
    """

    process: subprocess.Popen[bytes]
    commands_fd: int
    events_fd: int
    started_s: float
    is_ready: bool = False

    def end(self) -> None:
        """End it now, and wait until it is gone."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        os.close(self.commands_fd)
        os.close(self.events_fd)


def start_worker(whose: str, log: IO[bytes] | None = None) -> StartedWorker:
    """Start a worker of this process, a coordinator. Raises OSError.

    Parameters
    ----------
    whose
        The job, or the folder of all jobs, for people who look at processes.
    log
        Where it prints; by default where this process does.
    """
    commands_read, commands_write = os.pipe()
    events_read, events_write = os.pipe()
    try:
        process = subprocess.Popen(
            [
                sys.executable,
                "-P",
                "-u",
                "-m",
                "streamlab.runtime.worker",
                str(events_write),
                whose,
                str(os.getpid()),
            ],
            stdin=commands_read,
            stdout=log,
            stderr=log,
            pass_fds=(events_write,),
            env={**_DEFAULTS, **os.environ, **_ONE_THREAD},
            start_new_session=True,
        )
    except BaseException:
        os.close(commands_write)
        os.close(events_read)
        raise
    finally:
        os.close(commands_read)
        os.close(events_write)
    os.set_blocking(events_read, False)
    return StartedWorker(process, commands_write, events_read, time.monotonic())
