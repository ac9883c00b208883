"""Whether, and when, a job that failed is tried again. Pure: time comes in as what has passed.

The first restart is made at once, the second after a delay, and every further one after twice the one before, up to a
maximum (Flink's exponential-delay strategy). An attempt that has run for long enough is stable: failures before it are
forgotten. What fails in the same way at the same rows for the third time is not tried again, since it never will work;
what a sink says of the place that it writes to (a database is away, a disk is full) has nothing to do with rows. What
says of itself that it will last (a table with other columns) is not tried again at all.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import msgspec

from streamlab.core.options import JobOptions
from streamlab.observe.status import Failure

_SAME_AT_MOST = 3
_OF_A_PLACE = "SinkError"
_COUNTED = re.compile(r"_POLARS_TMP_\w+")
"""Names in Polars' errors that hold how many expressions the process has run."""


@dataclass(frozen=True)
class Restart:
    """Try again after a delay."""

    delay_us: int


@dataclass(frozen=True)
class GiveUp:
    """The job has failed, with this cause."""

    failure: Failure


class RestartPolicy:
    """Remembers the failures of one job.

    Parameters
    ----------
    options
        Of the job.
    """

    def __init__(self, options: JobOptions) -> None:
        self._options = options
        self._enabled = options.checkpoint_every_ms is not None
        self._failures = 0
        self._same = 0
        self._last: Failure | None = None
        self._running_us = 0

    def on_running(self, elapsed_us: int) -> None:
        """Count time in which the job's tasks ran."""
        self._running_us += elapsed_us
        if self._running_us >= self._options.stable_ms * 1000:
            self._failures = self._same = 0
            self._last = None

    def on_failure(self, failure: Failure, *, from_outside: bool = False) -> Restart | GiveUp:
        """Decide what follows a failure.

        Parameters
        ----------
        failure
            What ended the attempt.
        from_outside
            Whether the rows at hand certainly had no part in it, such as a signal sent by somebody.
        """
        self._running_us = 0
        if not self._enabled or failure.lasting:
            return GiveUp(failure)
        from_outside = from_outside or failure.kind == _OF_A_PLACE
        is_same = not from_outside and self._last is not None and _cause(failure) == _cause(self._last)
        self._same = self._same + 1 if is_same else 1
        self._last = None if from_outside else failure
        if self._same >= _SAME_AT_MOST:
            return GiveUp(failure)
        self._failures += 1
        if self._failures > self._options.max_restarts:
            text = f"{failure.message}\nNot tried again after {self._options.max_restarts} restarts (max_restarts)."
            return GiveUp(msgspec.structs.replace(failure, message=text))
        if self._failures == 1:
            return Restart(0)
        delay_ms = self._options.restart_delay_ms * 2 ** (self._failures - 2)
        return Restart(min(delay_ms, self._options.max_restart_delay_ms) * 1000)


def _cause(failure: Failure) -> tuple[str, str, str, str]:
    return failure.kind, failure.step, _COUNTED.sub("", failure.message), failure.sample
