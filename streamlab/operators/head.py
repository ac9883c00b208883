"""The first rows that arrive, then the end of the stream."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from streamlab.core.messages import MAIN, Batch, Message
from streamlab.operators.base import Operator, OperatorContext, OperatorSpec
from streamlab.state.forms import Fact, StateForm
from streamlab.state.snapshot import Snapshot


@dataclass(frozen=True)
class HeadSpec(OperatorSpec):
    """Passes the first `n` rows on. It must run in one subtask: with more, each would pass `n` rows.

    Attributes
    ----------
    n : int
        How many rows, at least 0.
    """

    n: int

    def build(self, context: OperatorContext, snapshot: Snapshot | None = None) -> Operator:
        """Return the operator; its state is how many rows it may still pass."""
        left = snapshot.values.get("left") if snapshot else None
        return _Head(left if isinstance(left, int) else self.n)

    @property
    def state_form(self) -> StateForm:
        """How many rows it passes: what is left of them is no use to another number."""
        return StateForm("head", (Fact("rows", f"{self.n}"),))


class _Head(Operator):
    carries_row_watermarks: ClassVar[bool] = True

    def __init__(self, left: int) -> None:
        self._left = left

    def process(self, batch: Batch, port: int = 0) -> list[Message]:
        if batch.tag != MAIN:
            return [batch]
        frame = batch.collected().head(self._left)
        self._left -= frame.height
        return [Batch(frame, batch.tag, batch.ingested_us)] if frame.height else []

    @property
    def done(self) -> bool:
        """Whether it has passed all its rows."""
        return self._left == 0

    def snapshot(self) -> Snapshot:
        return Snapshot(values={"left": self._left})
