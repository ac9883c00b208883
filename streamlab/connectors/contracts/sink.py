"""The contract of a sink: two-phase commit.

Order of calls on a writer: ``write()`` any number of times, ``prepare(id)`` when a checkpoint's barrier passes, and
once the checkpoint is complete ``commit(pending)`` with what ``prepare`` gave, or ``abort(pending)`` when it was
abandoned. A commit may be repeated after a recovery, by another writer in another process, so it must be idempotent.
The transactions of one subtask are committed in the order of their checkpoints, and those of the checkpoint that an
attempt goes on from are committed before the first barrier of that attempt; ids of checkpoints only grow, over all
attempts. ``abort`` is for rows that will be read again: what was prepared for a checkpoint that came to nothing, in a
job that goes on, is committed with the next one.
At the end of a job: ``prepare``, ``commit``, ``close``. After a failure ``close`` alone is called, and what was not
committed must stay invisible.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import Literal

import polars as pl

Guarantee = Literal["exactly-once", "effectively-once", "at-least-once"]
Pending = tuple[tuple[str, str], ...]
"""What a prepared transaction needs to be committed later: pairs of strings, plain enough for a checkpoint."""


@dataclass(frozen=True)
class SinkContext:
    """Where a writer runs.

    Attributes
    ----------
    folder : str
        The job's own folder.
    subtask, parallelism, attempt : int
        Which of how many writers, in which attempt of the job.
    step : str
        Name of the sink's step.
    checkpoints : bool
        Whether checkpoints are taken: then nothing may become visible before a commit.
    restored : int | None
        The checkpoint that the attempt starts from; None when it starts from the beginning.
    keep_checkpoints : int
        How many complete checkpoints are kept: the job may be restored from the oldest of them.
    """

    folder: str
    subtask: int
    parallelism: int
    attempt: int
    step: str
    checkpoints: bool = False
    restored: int | None = None
    keep_checkpoints: int = 3


class SinkWriter(ABC):
    """Writes the rows of one subtask."""

    @property
    def rows_dropped(self) -> int:
        """How many of the oldest rows are no longer kept, in a sink that keeps only so many."""
        return 0

    @property
    def values_nulled(self) -> int:
        """How many values, such as NaN, it has written as null because its target has no word for them."""
        return 0

    @abstractmethod
    def write(self, frame: pl.DataFrame) -> None:
        """Take rows; they need not be visible before a commit. Raises SinkError."""

    def prepare(self, checkpoint_id: int) -> Pending:
        """End the current transaction and return what commits it. Everything written so far is durable, not visible."""
        return ()

    def commit(self, pending: Pending) -> None:
        """Make a prepared transaction visible. Idempotent."""

    def take_over(self, pending: Pending) -> None:
        """Commit what another job prepared for the checkpoint that this one starts from. Idempotent.

        Does nothing when it is committed already, or was meant for another place.
        """

    def abort(self, pending: Pending) -> None:
        """Remove a prepared transaction. Idempotent."""

    def flush(self) -> None:
        """Show what can be shown; called when the task has nothing else to do."""

    def close(self) -> None:
        """Release what is open; uncommitted rows stay invisible or go away."""


@dataclass(frozen=True)
class Sink(ABC):
    """Description of a sink, part of the plan."""

    name: str

    @property
    @abstractmethod
    def guarantee(self) -> Guarantee:
        """What a reader of the sink can count on when checkpoints are taken."""

    @property
    def guarantee_without_checkpoints(self) -> Guarantee:
        """What a reader can count on when none are taken: a job that starts again begins at the beginning."""
        return self.guarantee

    @property
    def promise(self) -> str:
        """Both guarantees as text, for plans."""
        without = self.guarantee_without_checkpoints
        return self.guarantee if without == self.guarantee else f"{self.guarantee}; {without} without checkpoints"

    @property
    def accepts_updates(self) -> bool:
        """Whether it can take a changelog; a sink that can't refuses an updating stream when the plan is built."""
        return False

    @property
    def needs_update_before(self) -> bool:
        """Whether of an updating stream it must see the ``-U`` rows; one that knows rows by their keys need not."""
        return True

    @property
    def max_parallelism(self) -> int | None:
        """How many writers there may be; None means any number."""
        return None

    @property
    def is_user_code(self) -> bool:
        """Whether writing calls a user's Python function, whose input is worth showing when it fails."""
        return False

    def check_schema(self, schema: pl.Schema) -> None:
        """Refuse columns that it cannot hold; called when the plan is built. Raises SinkError."""

    @abstractmethod
    def open(self, context: SinkContext) -> SinkWriter:
        """Start writing."""

    def describe(self) -> str:
        """Return one line for plans: what is written and where, without secrets."""
        return self.name
