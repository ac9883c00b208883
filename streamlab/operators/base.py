"""The contract of an operator.

An :class:`OperatorSpec` is a frozen, printable, picklable value in the job graph; :meth:`OperatorSpec.build` makes the
:class:`Operator` that runs, from an optional snapshot. Outputs are returned as messages in order, never pushed; time is
an argument. Alignment of barriers, metrics, chaining and retries are the driver's business.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import polars as pl

from streamlab.core.messages import Batch, Idle, Message, Watermark
from streamlab.observe.status import ClockStatus
from streamlab.observe.time_notes import TimeNotes
from streamlab.state.forms import StateForm
from streamlab.state.snapshot import Snapshot

_HALF = re.compile(r" \((?:local|keys|left keys|right keys)\)$")
"""What the name of an operator before an exchange has behind that of the whole step."""


@dataclass(frozen=True)
class OperatorContext:
    """Where an operator runs: which of how many subtasks."""

    subtask: int = 0
    parallelism: int = 1


class Operator(ABC):
    """One running step of one subtask.

    Order of calls: ``process``, ``on_watermark`` and ``on_timer`` in any order and number, watermarks never falling; at
    the end of bounded input ``on_watermark(MAX_TIME_US)`` and then ``on_end()``; nothing after that. ``snapshot()`` may
    be called between any two calls.
    """

    accepts_lazy: ClassVar[bool] = False
    """Whether ``process`` can take a batch whose frame is still a LazyFrame."""
    is_row_wise: ClassVar[bool] = False
    """Whether it keeps no state and treats each row alike whatever else is in the batch."""
    carries_row_watermarks: ClassVar[bool] = False
    """Whether ``process`` can take rows that bring their watermarks along, in a column that no user's code may see."""

    @abstractmethod
    def process(self, batch: Batch, port: int = 0) -> list[Message]:
        """Return what the rows bring about. Output batches keep ``batch.ingested_us``."""

    def on_watermark(self, us: int) -> list[Message]:
        """Return what the watermark brings about, and then the watermark that this operator itself promises.

        An operator may promise less than `us` (its own event time lies behind its input's), never more, and may leave
        the watermark out when its own promise does not grow.
        """
        return [Watermark(us)]

    def on_idle(self) -> list[Message]:
        """Return what follows when all inputs have become idle; rows or a watermark end it."""
        return [Idle()]

    def on_timer(self, now_us: int) -> list[Message]:
        """Return what the passing of processing time brings about. Called at or after :attr:`next_timer_us`."""
        return []

    @property
    def next_timer_us(self) -> int | None:
        """When `on_timer` wants to be called, in processing time; None when it has no wish."""
        return None

    def advance_watermark(self, us: int) -> list[Message]:
        """Raise the watermark that this operator makes by hand; nothing for one that passes on those from above."""
        return []

    @property
    def made_watermark_us(self) -> int | None:
        """The watermark that it makes in place of those from above; None when it passes those on."""
        return None

    @property
    def done(self) -> bool:
        """Whether it will never give rows again, so that the stream can end here (a ``head`` that is full)."""
        return False

    def on_end(self) -> list[Message]:
        """Return what is left when the input has ended, after the last watermark."""
        return []

    def snapshot(self) -> Snapshot:
        """Return the state as an immutable value; later calls never change it."""
        return Snapshot()

    notes: TimeNotes | None = None
    """What it has noticed of event time since somebody last took it; no part of its state."""

    @property
    def clock(self) -> ClockStatus | None:
        """How it makes watermarks of event times; None when it does not."""
        return None

    def panes(self) -> pl.DataFrame | None:
        """Return the newest of its windows, with the columns of `observe.panes`; None when it has none."""
        return None

    def metrics(self) -> dict[str, float]:
        """Return extra gauges and counters of this operator, by names from ``observe``."""
        return {}


@dataclass(frozen=True)
class OperatorSpec(ABC):
    """Description of an operator in the job graph.

    Attributes
    ----------
    step : str
        Id of the step, unique in the job; state is matched by it.
    title : str
        What users see instead, unique in the job as well; empty: the id.
    runs_python : bool
        Whether its expressions call Python functions of the user.
    """

    step: str
    title: str = field(default="", kw_only=True, compare=False)
    runs_python: bool = field(default=False, kw_only=True)

    @property
    def shown(self) -> str:
        """Name of the step as users see it."""
        return self.title or self.step

    @property
    def written(self) -> str:
        """Name of the step that a user wrote, of which this operator may be the half before the exchange."""
        return _HALF.sub("", self.shown)

    @abstractmethod
    def build(self, context: OperatorContext, snapshot: Snapshot | None = None) -> Operator:
        """Return the operator, with the state of `snapshot` if there is one."""

    @property
    def is_user_code(self) -> bool:
        """Whether it calls a user's Python function: its input is worth showing, and its time is limited."""
        return self.runs_python

    @property
    def goes_by_clock(self) -> bool:
        """Whether the time of day decides when it gives something, so that a second run gives it elsewhere."""
        return False

    @property
    def state_form(self) -> StateForm | None:
        """What its state is made of, so that a savepoint of another query can be compared; None: it keeps none."""
        return None

    def combined_state(self, part: str, rows: pl.DataFrame) -> pl.DataFrame:
        """Return rows of one of its tables, as snapshots of subtasks have them, so that each key has one, if it can."""
        return rows

    def __str__(self) -> str:
        return self.step


def run(operator: Operator, frames: Sequence[Batch | Watermark], now_us: int | None = None) -> list[Message]:
    """Feed messages to an operator and return everything that it gave; for tests and tools.

    With `now_us`, due timers run after each message.
    """
    out: list[Message] = []
    for message in frames:
        out += operator.process(message) if isinstance(message, Batch) else operator.on_watermark(message.us)
        if now_us is not None and (due := operator.next_timer_us) is not None and due <= now_us:
            out += operator.on_timer(now_us)
    return out
