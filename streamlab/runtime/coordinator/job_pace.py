"""The pace that was set for a job while it runs. Pure.

It holds for all sources whose pace can be changed, in this attempt and in all that follow. Live sources, and those
whose rows have no times, go on as they do.
"""

from __future__ import annotations

from typing import TypedDict

from streamlab.observe.status import JobStatus
from streamlab.runtime.messages.protocol import Layout, PaceRequested, Refuse, SetPace

_CANNOT = "one without a source whose pace can be changed: they are live, or have no event time"
_SEVERAL = "each its own"


class PaceFigures(TypedDict):
    """What is shown of it, by the names of a status' attributes."""

    pace: str
    pace_set: bool


class JobPace:
    """What was asked for.

    Parameters
    ----------
    status
        The last status of an earlier coordinator.
    """

    def __init__(self, status: JobStatus | None = None) -> None:
        self._set = status.pace if status is not None and status.pace_set else ""

    def take(self, event: PaceRequested, layout: Layout, *, refusal: str) -> list[Refuse | SetPace]:
        """Take a request and return what workers are told; `refusal` says why the job takes none now."""
        if not _own(layout):
            refusal = _CANNOT
        if refusal:
            return [Refuse(refusal)]
        self._set = event.pace
        return [SetPace(event.pace)]

    def before_deploying(self) -> list[SetPace]:
        """Return what the workers of a new attempt must know before they read."""
        return [SetPace(self._set)] if self._set else []

    def figures(self, layout: Layout) -> PaceFigures:
        """Return what is shown of it."""
        own = _own(layout)
        shown = self._set or (own[0] if len(set(own)) == 1 else _SEVERAL)
        return PaceFigures(pace=shown if own else "", pace_set=bool(self._set))


def _own(layout: Layout) -> list[str]:
    """Return the paces that sources have by themselves, of those that can be changed."""
    return [vertex.pace for vertex in layout.vertices if vertex.pace]
