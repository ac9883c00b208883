"""What the world outside a simulated job sees of it: rows shown at once, and rows in transactions.

One sink writes both. *Shown* rows are like those of a result table: each knows its attempt and the checkpoint that it
follows, and a restart withdraws some of them (`runtime.attempts`). *Transactions* are like those of a table in a data
base: staged and durable once prepared, visible once committed, never withdrawn. Only when a checkpoint was damaged, so
that a job has to go back behind what it had committed, the test takes them back, as a user would have to do.

The ledger complains when somebody does what no sink could bear: a commit of rows that no complete checkpoint holds, of
a transaction that is gone, by an attempt that is over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from streamlab.connectors.contracts.sink import Guarantee, Pending, Sink, SinkContext, SinkWriter
from streamlab.core.changelog import ROW_KIND
from streamlab.core.messages import MAIN
from streamlab.runtime.job_folder.attempts import Attempt, is_void
from streamlab.testing.sources import Shelf

Owner = tuple[int, int]
"""Attempt and worker (or subtask of the sink) that wrote something."""


@dataclass
class ShownRows:
    """Rows that were written to a log, by the process that wrote them."""

    tag: str
    attempt: int
    epoch: int
    frame: pl.DataFrame
    owner: Owner
    synced: bool = False


@dataclass(frozen=True)
class _Transaction:
    attempt: int
    subtask: int
    checkpoint: int
    frames: tuple[pl.DataFrame, ...]


@dataclass
class Ledger:
    """See the module.

    Attributes
    ----------
    complaints : list[str]
        What was done that must never be done.
    complete : set[str]
        Transactions that a durable manifest names.
    may_go_back : bool
        Whether a checkpoint was damaged, so that going back behind what was committed is no fault.
    shelf : Shelf
        Where splits appear, for a query that follows them.
    """

    complaints: list[str] = field(default_factory=list)
    complete: set[str] = field(default_factory=set)
    may_go_back: bool = False
    newest_attempt: int = 0
    shelf: Shelf = field(default_factory=Shelf)
    _shown: list[ShownRows] = field(default_factory=list)
    _staged: dict[str, _Transaction] = field(default_factory=dict)
    _committed: dict[str, _Transaction] = field(default_factory=dict)

    # -- shown rows ------------------------------------------------------------------------------------------------

    def show(self, rows: ShownRows) -> None:
        """Take rows that are seen at once."""
        self._shown.append(rows)

    def sync(self, owner: Owner) -> None:
        """Make what an owner has shown durable."""
        for rows in self._shown:
            rows.synced = rows.synced or rows.owner == owner

    def lose_unsynced(self, attempt: int) -> None:
        """Lose what an attempt's processes had not synced when the power failed."""
        self._shown = [rows for rows in self._shown if rows.synced or rows.attempt != attempt]

    def shown(self, tag: str, attempts: Sequence[Attempt], *, since: int = 0) -> list[pl.DataFrame]:
        """Return the rows that stand, of those that follow a checkpoint, oldest attempt first."""
        standing = [r for r in self._shown if r.tag == tag and not is_void(r.attempt, r.epoch, attempts)]
        standing = [r for r in standing if r.epoch >= since]
        return [rows.frame for rows in sorted(standing, key=lambda rows: rows.attempt)]

    # -- transactions ----------------------------------------------------------------------------------------------

    def begin(self, attempt: int, restored: int) -> None:
        """Let a writer of an attempt begin, at a checkpoint: earlier attempts may not commit any more."""
        if attempt < self.newest_attempt:
            self.complaints.append(f"attempt {attempt} begins after attempt {self.newest_attempt}")
        self.newest_attempt = max(self.newest_attempt, attempt)
        behind = {name: one for name, one in self._committed.items() if one.checkpoint > restored}
        if behind and not self.may_go_back:
            newest = max(one.checkpoint for one in behind.values())
            self.complaints.append(
                f"attempt {attempt} starts from checkpoint {restored}, but rows of {newest} are committed"
            )
        for name in behind:
            del self._committed[name]

    def prepare(self, attempt: int, subtask: int, checkpoint: int, frames: Sequence[pl.DataFrame]) -> Pending:
        """Stage rows, durably; subtask 0 also names what earlier attempts have left."""
        pending: list[tuple[str, str]] = []
        if subtask == 0:
            pending += [("leftover", name) for name, one in self._staged.items() if one.attempt < attempt]
        if frames:
            name = f"{attempt}-{subtask}-{checkpoint}"
            self._staged[name] = _Transaction(attempt, subtask, checkpoint, tuple(frames))
            pending.append(("rows", name))
        return tuple(pending)

    def commit(self, attempt: int, pending: Pending) -> None:
        """Make a transaction visible; doing it again changes nothing, nor does an attempt that is over."""
        if attempt < self.newest_attempt:
            return
        for kind, name in pending:
            if kind == "leftover":
                self._staged.pop(name, None)
            elif name in self._staged:
                if name not in self.complete:
                    self.complaints.append(f"transaction {name} is committed before its checkpoint is durable")
                self._committed[name] = self._staged.pop(name)
            elif name not in self._committed:
                self.complaints.append(f"transaction {name} is to be committed, and is gone")

    @property
    def hidden(self) -> list[str]:
        """Transactions that nobody has committed or removed."""
        return sorted(self._staged)

    def committed(self) -> list[pl.DataFrame]:
        """Return the rows of all committed transactions, oldest checkpoint first."""
        in_order = sorted(self._committed.values(), key=lambda one: (one.checkpoint, one.attempt, one.subtask))
        return [frame for one in in_order for frame in one.frames]


class LedgerWriter(SinkWriter):
    """Writes one subtask's rows."""

    def __init__(self, ledger: Ledger, context: SinkContext) -> None:
        self._ledger = ledger
        self._context = context
        self._epoch = context.restored or 0
        self._frames: list[pl.DataFrame] = []
        ledger.begin(context.attempt, self._epoch)

    def write(self, frame: pl.DataFrame) -> None:
        """Show the rows, and keep them for the next transaction."""
        self._frames.append(frame)
        attempt = self._context.attempt
        self._ledger.show(ShownRows(MAIN, attempt, self._epoch, frame, (attempt, -1 - self._context.subtask)))

    def prepare(self, checkpoint_id: int) -> Pending:
        """Stage what was written since the last time."""
        context = self._context
        self._ledger.sync((context.attempt, -1 - context.subtask))
        self._epoch = checkpoint_id
        frames, self._frames = self._frames, []
        return self._ledger.prepare(context.attempt, context.subtask, checkpoint_id, frames)

    def commit(self, pending: Pending) -> None:
        """Make a transaction visible."""
        self._ledger.commit(self._context.attempt, pending)


@dataclass(frozen=True)
class LedgerSink(Sink):
    """A place in a plan for a ledger."""

    ledger: Ledger = field(repr=False, compare=False)

    @property
    def guarantee(self) -> Guarantee:
        """Every row is committed once."""
        return "exactly-once"

    @property
    def accepts_updates(self) -> bool:
        """Changelogs are kept as they are."""
        return True

    def open(self, context: SinkContext) -> SinkWriter:
        """Start writing."""
        return LedgerWriter(self.ledger, context)


def joined(frames: Sequence[pl.DataFrame], schema: pl.Schema) -> pl.DataFrame:
    """Return frames as one, a changelog with its kinds of rows."""
    if any(ROW_KIND in frame.columns for frame in frames):
        kind = pl.lit(0, pl.Int8).alias(ROW_KIND)
        frames = [frame if ROW_KIND in frame.columns else frame.with_columns(kind) for frame in frames]
        return pl.concat([frame.select(frames[0].columns) for frame in frames])
    return pl.concat([schema.to_frame(), *frames])
