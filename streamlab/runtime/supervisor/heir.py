"""Who goes on with a job that has lost its coordinator and its guardian: ``python -m`` this module ``<folder>``.

A worker that finds its coordinator gone starts one and ends. So does the client when all of its job's processes are
gone. Mostly there is a guardian, which starts another
coordinator: then the heir sees that and ends, too. When there is none, it becomes the guardian itself. Each worker
starts an heir, so several may try; the lock of the job's folder lets one coordinator in.
"""

from __future__ import annotations

import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from streamlab.core.errors import StateError
from streamlab.runtime.job_folder.folder import JobFolder
from streamlab.runtime.messages.protocol import KEY_BYTES
from streamlab.runtime.process.processes import process_id
from streamlab.runtime.supervisor.guardian import Guardian
from streamlab.runtime.supervisor.guardian_watch import patience_s

_LOOK_S = 0.05


def start_heir(
    folder: JobFolder, worker: int, environment: Mapping[str, str], current: str | None
) -> subprocess.Popen[bytes]:
    """Start and return one, and note it so that clients do not take the job for lost. Raises OSError.

    Parameters
    ----------
    folder
        The job's folder.
    worker
        In which worker's place; -1: a client's.
    environment, current
        The environment and the current folder that the worker was started with: user code may have changed them.
    """
    with folder.coordinator_log.open("ab") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "streamlab.runtime.supervisor.heir", str(folder.path)],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=dict(environment),
            cwd=current,
            start_new_session=True,
        )
    heir = process_id(process.pid)
    if heir is not None:
        folder.write_heir(worker, heir)
    return process


def inherit(folder: JobFolder) -> int:
    """Wait until somebody goes on with a job; when nobody will, be its guardian, and return how it ended."""
    options = folder.read_meta().options
    while True:
        status = folder.read_status()
        processes = folder.read_processes()
        if processes is None or processes.coordinator.is_alive or (status is not None and status.state.is_final):
            return 0
        if processes.guardian is None or not processes.guardian.is_alive:
            return Guardian(str(folder.path), patience_s=patience_s(options)).succeed(secrets.token_bytes(KEY_BYTES))
        time.sleep(_LOOK_S)


def main(path: str) -> int:
    """Run this process as the heir of the job in a folder."""
    # The worker that has started it ignored it, as its coordinator and this process do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return inherit(JobFolder(Path(path)))
    except StateError as error:
        # The folder is gone, or damaged.
        sys.exit(str(error))


if __name__ == "__main__":
    sys.exit(abs(main(*sys.argv[1:])))
