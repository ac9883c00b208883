"""How a client starts a coordinator: ``python -m streamlab.runtime.supervisor.coordinator_process <home> <workers>``.

The workers that it will need are started first, so that they import what they need while it does the same. Then it
waits for its arguments (see `standby`), those of `supervisor`, and is the coordinator of that job from there on. When
the job has ended well, and its workers are as good as fresh ones (see `untouched`), it waits once more.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import NoReturn

from streamlab.runtime.process.standby import read_exactly, wait_for_arguments
from streamlab.runtime.process.worker_start import StartedWorker, start_worker

_KEY_BYTES = 32


def main(home: str, workers: str) -> None:
    """Run this process as the coordinator of the job that it will be told, and of others after that."""
    waiting: list[StartedWorker] = []
    _leave_when_told(waiting)
    waiting += [start_worker(home) for _ in range(int(workers))]
    from streamlab.runtime.process.job_log import print_to  # noqa: PLC0415
    from streamlab.runtime.supervisor import supervisor  # noqa: PLC0415 - meanwhile the workers import, too

    while True:
        arguments = wait_for_arguments(0)
        if arguments is None:
            _leave(waiting)
        try:
            key = read_exactly(0, _KEY_BYTES)
        except EOFError:
            _leave(waiting)
        print_to(os.path.join(arguments[0], "log", "coordinator.log"))
        waiting = supervisor.main(*arguments, key=key, standing_by=waiting)
        sys.stdout.flush()
        sys.stderr.flush()
        if not waiting:
            # Nothing is left to do, and to take an interpreter down takes a while.
            os._exit(0)
        _leave_when_told(waiting)
        print_to(os.devnull)


def _leave_when_told(waiting: list[StartedWorker]) -> None:
    signal.signal(signal.SIGTERM, lambda *_: _leave(waiting))


def _leave(waiting: list[StartedWorker]) -> NoReturn:
    """End this process, which has no job, and its workers."""
    for worker in waiting:
        worker.end()
    os._exit(0)


if __name__ == "__main__":
    main(*sys.argv[1:])
