"""When a job's status is made known: at once when something happens, now and then when only figures change. Pure."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from streamlab.observe.status import JobStatus
from streamlab.runtime.messages.protocol import Command, Publish

PUBLISH_US = 200_000
"""Shortest time between two statuses that differ only in figures."""
KEEP_FRESH_US = 1_000_000
"""Longest time between two statuses: an older one means that the coordinator does not run."""


class StatusPace:
    """Remembers what was made known last."""

    def __init__(self) -> None:
        self._last: JobStatus | None = None

    def publish(self, status: JobStatus) -> list[Command]:
        """Make a status known now."""
        self._last = status
        return [Publish(status)]

    def publish_if_due(self, now_us: int, status: Callable[[], JobStatus]) -> list[Command]:
        """Make the status known if there is something new, and it is long enough ago; or if it is very long ago."""
        # A wall clock that was set back must not silence the job: any distance counts.
        age_us = abs(now_us - self._last.reported_us) if self._last is not None else KEEP_FRESH_US
        if age_us < PUBLISH_US:
            return []
        new = status()
        if age_us < KEEP_FRESH_US and self._last is not None:
            same_moment = msgspec.structs.replace(new, reported_us=self._last.reported_us)
            if same_moment == self._last:
                return []
        return self.publish(new)
