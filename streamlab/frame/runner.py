"""What a StreamFrame needs of whatever runs it; :mod:`streamlab.job` has the real one, tests have their own."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import polars as pl

from streamlab.connectors.contracts.sink import Sink
from streamlab.plan.nodes import Node

if TYPE_CHECKING:
    from streamlab.job.job import Job

KeepRows = int | None | Literal["auto"]
CheckpointEvery = str | dt.timedelta | None


@dataclass(frozen=True)
class Collected:
    """What a bounded query came to.

    Attributes
    ----------
    rows : pl.DataFrame
        Its rows, changelogs folded.
    dead_letters : pl.DataFrame
        Input that was set aside as not understood.
    far_ahead : str
        What is said of a row that is so far ahead of others that these were late; empty when there is none.
    """

    rows: pl.DataFrame
    dead_letters: pl.DataFrame
    far_ahead: str = ""


@dataclass(frozen=True)
class RunOptions:
    """How a job is to run, as far as the user has said so; None leaves it to the runner.

    Attributes
    ----------
    name : str | None
        The job's name.
    parallelism : int | None
        Subtasks per step, and worker processes.
    keep_rows : int | None | "auto"
        Newest rows that the result table of an append-only stream keeps; None keeps all, and "auto" keeps all of a
        bounded stream and a million of an endless one.
    detach : bool
        Whether the job goes on when this process ends.
    checkpoint_every_ms : int | None
        Time between checkpoints; None takes none.
    from_savepoint : str | PathLike | None
        The savepoint that the job starts from.
    allow_non_restored_state : bool
        Whether state in it that fits nowhere is left out.
    paused : bool
        Whether it starts paused, with a clock that stands, for steps by hand.
    more : Mapping[str, Any]
        Further fields of :class:`streamlab.core.options.JobOptions` by name.
    """

    name: str | None = None
    parallelism: int | None = None
    keep_rows: KeepRows = "auto"
    detach: bool = False
    checkpoint_every_ms: int | None = None
    from_savepoint: str | os.PathLike[str] | None = None
    allow_non_restored_state: bool = False
    paused: bool = False
    more: Mapping[str, Any] = field(default_factory=dict)


class Runner(Protocol):
    """Runs plans."""

    def run(self, plan: Node, options: RunOptions, sink: Sink | None = None) -> Job:
        """Start a job in the background and return at once; without a sink its rows go to its result table."""
        ...

    def stream(self, plan: Node, options: RunOptions, timeout_s: float | None = None) -> Iterator[pl.DataFrame]:
        """Yield the rows of a job as they come; nothing of it is left when the iterator ends or is closed.

        Raises what made the job fail, and warns of input that was set aside. With a timeout it ends, without an error,
        when that time is over.
        """
        ...

    def collect(self, plan: Node, options: RunOptions) -> Collected:
        """Run a bounded plan to its end and return what it came to; nothing of the job is left.

        Raises what made the job fail.
        """
        ...

    def explain(self, plan: Node, parallelism: int | None) -> str:
        """Return the text of the job graph that would run."""
        ...
