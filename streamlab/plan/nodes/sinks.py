"""Where plans end."""

from __future__ import annotations

from dataclasses import dataclass

from streamlab.connectors.contracts.sink import Sink
from streamlab.plan.nodes.base import Unary


@dataclass(frozen=True, eq=False)
class Write(Unary):
    """Ends the plan: rows go to a sink."""

    sink: Sink

    def describe(self) -> str:
        """Return what the sink says of itself, and what it promises."""
        return f"{self.sink.describe()}, {self.sink.promise}"
