"""How a client starts a coordinator: ``python -m streamlab.runtime.coordinator_process <home> <workers>``.

The workers that it will need are started first, so that they import what they need while it does the same. Then it
waits for its arguments (see `standby`), those of `supervisor`, and is the coordinator of that job from there on.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from streamlab.runtime.standby import read_exactly, wait_for_arguments
from streamlab.runtime.worker_start import StartedWorker, start_worker

COMMAND = (sys.executable, "-P", "-m", "streamlab.runtime.coordinator_process")
_KEY_BYTES = 32


def main(home: str, workers: str) -> None:
    """Run this process as the coordinator of the job that it will be told."""
    started: list[StartedWorker] = []
    signal.signal(signal.SIGTERM, lambda *_: _leave(started))
    started += [start_worker(home) for _ in range(int(workers))]
    from streamlab.runtime import supervisor  # noqa: PLC0415 - meanwhile the workers import, too
    from streamlab.runtime.job_log import print_to  # noqa: PLC0415

    arguments = wait_for_arguments(0)
    if arguments is None:
        _leave(started)
    try:
        key = read_exactly(0, _KEY_BYTES)
    except EOFError:
        _leave(started)
    print_to(os.path.join(arguments[0], "log", "coordinator.log"))
    supervisor.main(*arguments, key=key, standing_by=started)
    sys.stdout.flush()
    sys.stderr.flush()
    # Nothing is left to do, and to take an interpreter down takes a while.
    os._exit(0)


def _leave(started: list[StartedWorker]) -> NoReturn:
    """End this process, which has no job, and its workers."""
    for worker in started:
        worker.end()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
