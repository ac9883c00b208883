"""What a task gives to its driver, and what it starts from: plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from streamlab.connectors.contracts.sink import Pending
from streamlab.connectors.reading.progress import ReaderSnapshot
from streamlab.runtime.task.exchange import Emission
from streamlab.state.checkpoints.manifest import TaskOrder
from streamlab.state.snapshot import Snapshot


@dataclass(frozen=True)
class SideOutput:
    """Rows for the job's side tables, which the driver stores.

    Attributes
    ----------
    tag : str
        `LATE_ROWS`, `DEAD_LETTERS`, or `LATE_NOTES` for what is noted of late rows.
    step : str
        The step that gave them.
    frame : pl.DataFrame
        The rows.
    epoch : int
        The checkpoint that the rows follow: when the job is restored from it or an earlier one, they are void.
    """

    tag: str
    step: str
    frame: pl.DataFrame
    epoch: int = 0


@dataclass(frozen=True)
class Snapshotted:
    """State of a task at a barrier or at its end, for the driver to make durable and then to acknowledge.

    Attributes
    ----------
    checkpoint_id : int
        The barrier's; at the end one above the last barrier's.
    operators : Mapping[str, Snapshot]
        State of each operator by the name of its step; empty at the end.
    source : ReaderSnapshot | None
        Positions and watermarks of the source's splits, as plain values.
    pending : tuple[Pending, ...]
        What commits the sink's transactions that are not committed yet, oldest first.
    finished : bool
        Whether the task has ended.
    counters : Mapping[str, int]
        The figures that go on after a restore.
    order : TaskOrder | None
        Where it stood between its inputs and its outputs; None at the end.
    """

    checkpoint_id: int
    operators: Mapping[str, Snapshot]
    source: ReaderSnapshot | None = None
    pending: tuple[Pending, ...] = ()
    finished: bool = False
    counters: Mapping[str, int] = field(default_factory=dict)
    order: TaskOrder | None = None


@dataclass(frozen=True)
class Restored:
    """What a task starts from.

    Attributes
    ----------
    checkpoint_id : int
        The checkpoint; 0 for the beginning.
    operators : Mapping[str, Snapshot]
        State of each operator by the name of its step.
    pending : tuple[Pending, ...]
        Transactions of the sink that belong to the checkpoint: they are committed, perhaps once more.
    finished : bool
        Whether the task had ended: then it only says so again.
    counters : Mapping[str, int]
        Where counting goes on.
    order : TaskOrder | None
        Where it stands between its inputs and its outputs, when those are the ones of the checkpoint.
    """

    checkpoint_id: int = 0
    operators: Mapping[str, Snapshot] = field(default_factory=dict)
    pending: tuple[Pending, ...] = ()
    finished: bool = False
    counters: Mapping[str, int] = field(default_factory=dict)
    order: TaskOrder | None = None


@dataclass(frozen=True)
class Passed:
    """A barrier of a step by hand has gone through the task: what follows from the step so far has been given.

    Attributes
    ----------
    number : int
        The barrier's.
    """

    number: int


Output = Emission | SideOutput | Snapshotted | Passed
