"""Where plans begin: sources, and watermarks that a step makes anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from streamlab.connectors.contracts.source import Source
from streamlab.core.event_time.time import Duration
from streamlab.plan.lengths import length_text
from streamlab.plan.nodes.base import Node, Unary
from streamlab.plan.nodes.words import behind_text


@dataclass(frozen=True, eq=False)
class Scan(Node):
    """Reads a source."""

    source: Source

    @cached_property
    def updating(self) -> bool:
        """A source is append-only."""
        return False

    @cached_property
    def bounded(self) -> bool:
        """As the source says."""
        return self.source.bounded

    keeps_state: ClassVar[bool] = True

    def describe(self) -> str:
        """Return what the source says of itself."""
        return self.source.describe()

    def details(self) -> Sequence[str]:
        """Return how it is read, and what it says of event time."""
        source, timing = self.source, self.source.timing
        facts = ["ends by itself" if source.bounded else "endless"]
        facts.append(f"exactly-once with checkpoints: {'replayable' if source.replayable else 'recorded first'}")
        if source.max_parallelism is not None:
            facts.append(f"at most {source.max_parallelism} subtask{'s' if source.max_parallelism > 1 else ''}")
        lines = ["; ".join(facts)]
        if timing.event_time is not None:
            behind = "watermark only at its end" if timing.watermark is None else behind_text(timing.watermark)
            lines.append(f"event time {timing.event_time}, {behind}")
        if timing.idle_timeout is not None:
            lines.append(f"idle after {length_text(timing.idle_timeout)}")
        if timing.pace is not None:
            lines.append(f"paced at {timing.pace:g} times real time")
        if timing.max_advance is not None:
            lines.append(f"a row may be at most {length_text(timing.max_advance)} ahead")
        return lines


@dataclass(frozen=True, eq=False)
class AssignWatermarks(Unary):
    """Makes watermarks from a column; those from above are dropped, but for the last."""

    column: str
    delay: Duration
    idle_timeout: Duration | None = None

    keeps_state: ClassVar[bool] = True

    def describe(self) -> str:
        """Return the column, the delay, and when it is idle."""
        idle = f", idle after {length_text(self.idle_timeout)}" if self.idle_timeout else ""
        return f"event time {self.column}, {behind_text(self.delay)}{idle}"

    @property
    def title(self) -> str:
        """The column."""
        return f"watermarks of {self.column}"

    @property
    def traits(self) -> list[object]:
        """The column."""
        return [self.step, self.column]
