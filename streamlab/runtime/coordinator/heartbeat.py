"""Signs of life: the coordinator's to its workers, and theirs to it. Pure.

Silence is measured in the time of the ticks, which is monotonic: a jump of the wall clock makes no worker look lost.
"""

from __future__ import annotations

from collections.abc import Mapping

from streamlab.runtime.coordinator.attempt_state import WorkerState
from streamlab.runtime.messages.protocol import Command, InspectWorker, Ping

START_TIMEOUT_US = 60_000_000
"""How long a worker may take to start, before it can give signs of life: imports take a while on a busy machine."""
_PING_US = 1_000_000
_PINGS_PER_TIMEOUT = 4


class Heartbeat:
    """Counts silence.

    Parameters
    ----------
    timeout_us
        Silence of a worker after which it counts as lost.
    """

    def __init__(self, timeout_us: int) -> None:
        self._timeout_us = timeout_us
        self._since_ping_us = 0

    def pass_time(self, elapsed_us: int, workers: Mapping[int, WorkerState]) -> list[Command]:
        """Return a sign of life when it is time for one, and whom to inspect: each worker once."""
        commands: list[Command] = []
        self._since_ping_us += elapsed_us
        if self._since_ping_us >= min(_PING_US, self._timeout_us // _PINGS_PER_TIMEOUT):
            self._since_ping_us = 0
            commands.append(Ping())
        for index, worker in workers.items():
            worker.silent_us += elapsed_us
            limit_us = self._timeout_us if worker.heard else max(self._timeout_us, START_TIMEOUT_US)
            if worker.silent_us > limit_us and not worker.inspected:
                worker.inspected = True
                commands.append(InspectWorker(index))
        return commands
