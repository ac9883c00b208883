"""How the sources of a replay come to one place before it takes a checkpoint. Pure.

Tasks of a replay take their inputs in the order in which those of the job that is replayed took them. A barrier of the
replay's own must not contradict that order: what was taken before something else cannot come behind a barrier that
this comes before. Barriers do not where the other job had one, too. So each source is asked for that job's next
checkpoint from where it is, behind which it does not read; then all are told to halt at the last of these, and when all
stand there the checkpoint is taken. The end of the notes is such a place as well. A subtask that has ended was behind a
checkpoint of that job then, and whatever it gave comes before the next one.
"""

from __future__ import annotations

from collections.abc import Collection

from streamlab.runtime.coordinator.checkpoint_tracker import TaskKey
from streamlab.runtime.messages.protocol import Command, HaltSources, SourceHalts


class Gathering:
    """Where the sources of one job are; see the module.

    Parameters
    ----------
    needed
        Whether a checkpoint must wait for them at all.
    """

    def __init__(self, *, needed: bool) -> None:
        self.needed = needed
        self._number = 0
        self._places: dict[TaskKey, int] = {}
        """What the sources have answered."""
        self._at: int | None = None
        """Where they are told to halt; 0 while they are asked, None when nothing is under way."""
        self._least = 0
        """Behind the ends of those that have ended."""

    @property
    def is_under_way(self) -> bool:
        """Whether sources were told to halt."""
        return self._at is not None

    def end(self) -> bool:
        """Forget where they are, and return whether they had been told to halt."""
        was_under_way, self._at = self.is_under_way, None
        return was_under_way

    def begin_attempt(self) -> None:
        """Forget what was known of the sources of another attempt."""
        self._at, self._least = None, 0

    def take(self, event: SourceHalts) -> None:
        """Note what a source has answered, or where it has ended."""
        if not event.number:
            self._least = max(self._least, event.at + 1)
        elif self.is_under_way and event.number == self._number:
            self._places[event.vertex, event.subtask] = event.at

    def go_on(self, sources: Collection[TaskKey]) -> list[Command] | None:
        """Return what is to be done next, or None when all these sources stand at one place."""
        if not self.needed:
            return None
        if self._at is None:
            return self._tell(0)
        if any(key not in self._places for key in sources):
            return []
        if self._at:
            return None
        return self._tell(max(self._least, *(self._places[key] for key in sources)))

    def _tell(self, at: int) -> list[Command]:
        self._number += 1
        self._places, self._at = {}, at
        return [HaltSources(self._number, at)]
