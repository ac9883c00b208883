"""What sinks that write to a table share: transactions, modes, and when rows become visible.

Rows of a transaction and the id of its checkpoint go to the target in one transaction of the target's own. A commit
whose id is not above the one that is there does nothing, so repeating it is harmless. Without checkpoints rows are
written in transactions of reasonable size or age.

``append`` adds rows. ``upsert`` keeps one row for each key and applies changelogs: ``+I`` and ``+U`` write the row,
``-D`` deletes it, and so does a ``-U`` unless a ``+U`` of the same key follows, as none does when a filter lets through
the row before and not the row after.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, ClassVar, Literal

import polars as pl

from streamlab.connectors.contracts.sink import Guarantee, Pending, Sink, SinkContext, SinkWriter
from streamlab.connectors.sinks.staging import Staging, Transaction
from streamlab.core.changelog import ROW_KIND, RowKind
from streamlab.core.column_names.own_columns import own
from streamlab.core.errors import OptionError, SinkError, explained
from streamlab.core.failpoints import reach

Mode = Literal["append", "upsert"]
ROLL_ROWS = 500_000
ROLL_BYTES = 128 * 2**20
ROLL_AGE_MS = 1_000
DELETED = own("deleted")
"""Stands beside the rows of an upsert that are merged into a table; in no table."""
_TAKEN_BACK = (int(RowKind.UPDATE_BEFORE), int(RowKind.DELETE))


class Table(ABC):
    """A target that is open."""

    @abstractmethod
    def check(self) -> None:
        """Refuse a table that is there but cannot take the rows. Raises SinkError."""

    @abstractmethod
    def create(self) -> None:
        """Make the table when it is not there."""

    @abstractmethod
    def committed(self, job: str, step: str, parallelism: int) -> int | None:
        """Return the newest checkpoint of which any subtask of the job's sink committed rows."""

    @abstractmethod
    def apply(self, frames: Iterable[pl.DataFrame], transaction: Transaction | None) -> None:
        """Write rows, all or none, unless the transaction is there already; frames are not looked at then."""


@dataclass(frozen=True, kw_only=True)
class TableSink(Sink):
    """Writes to one table; a sink for each kind of target follows.

    Attributes
    ----------
    table : str
        Its name.
    schema : pl.Schema
        Columns and dtypes of the rows, without the row kind.
    mode : {"append", "upsert"}
        Whether rows are added, or replace those of the same key.
    keys : tuple[str, ...]
        The columns that a row is known by; for upserts only.
    roll_rows, roll_bytes : int
        Rows are staged (without checkpoints: written) when there are so many, or so many bytes in memory.
    roll_age_ms : int
        Without checkpoints rows are written when the oldest is this old.
    """

    table: str
    schema: pl.Schema = field(repr=False)
    mode: Mode = "append"
    keys: tuple[str, ...] = ()
    roll_rows: int = ROLL_ROWS
    roll_bytes: int = ROLL_BYTES
    roll_age_ms: int = ROLL_AGE_MS
    target: ClassVar[str]
    """What it writes to, for messages."""

    def __post_init__(self) -> None:
        if not isinstance(self.table, str) or not self.table or "\0" in self.table:
            raise OptionError(explained(self.name, needed="the name of a table", got=repr(self.table)))
        if self.mode not in ("append", "upsert"):
            raise OptionError(explained(self.name, needed="mode='append' or 'upsert'", got=repr(self.mode)))
        if self.mode == "append" and self.keys:
            hint = "mode='upsert' keeps one row for each key"
            raise OptionError(explained(self.name, needed="no keys to append rows", got=repr(self.keys), hint=hint))
        if self.mode == "upsert" and not self.keys:
            text = explained(self.name, needed="the columns that a row is known by", got="none", hint="keys=['id']")
            raise OptionError(text)
        missing = [key for key in self.keys if key not in self.schema]
        if missing or len(set(self.keys)) < len(self.keys):
            needed = f"keys among the columns {', '.join(self.schema)}, each once"
            raise OptionError(explained(self.name, needed=needed, got=repr(self.keys)))

    @property
    def guarantee(self) -> Guarantee:
        """Appended rows are there once; upserts may be repeated, with the same result."""
        return "exactly-once" if self.mode == "append" else "effectively-once"

    @property
    def guarantee_without_checkpoints(self) -> Guarantee:
        """A job that starts again appends its rows again."""
        return "at-least-once" if self.mode == "append" else "effectively-once"

    @property
    def accepts_updates(self) -> bool:
        """As upserts."""
        return self.mode == "upsert"

    @property
    def needs_update_before(self) -> bool:
        """A row is replaced by its key."""
        return False

    @property
    def max_parallelism(self) -> int | None:
        """One: the target takes one writer at a time."""
        return 1

    def check_schema(self, schema: pl.Schema) -> None:
        """Refuse columns that the target cannot hold, and a table that is there and has others. Raises SinkError."""
        seen: dict[str, str] = {}
        for name, dtype in schema.items():
            self.check_name(name)
            twin = seen.setdefault(self.folded(name), name)
            if twin != name:
                got = f"{twin!r} and {name!r}"
                raise SinkError(explained(self.name, needed="columns that differ not only by case", got=got))
            if self.column_type(dtype) is None:
                needed = f"types that a column of {self.target} can hold"
                got = f"column {name!r} of type {dtype}"
                raise SinkError(explained(self.name, needed=needed, got=got, hint=self.cast_hint(dtype)))
        if self.is_there():
            with self.connect() as table:
                table.check()

    def open(self, context: SinkContext) -> SinkWriter:
        """Make the table if it is not there. Raises SinkError."""
        return TableWriter(self, context)

    def describe(self) -> str:
        """Say where and how."""
        how = f"upsert by {', '.join(self.keys)}" if self.mode == "upsert" else "append"
        return f"{self.name}: {self.place()}, {how}"

    def check_name(self, name: str) -> None:
        """Refuse a column's name that the target cannot have. Raises SinkError."""
        if not name or "\0" in name:
            raise SinkError(explained(self.name, needed="columns with names", got=repr(name)))

    def folded(self, name: str) -> str:
        """Return what two names must not share; most targets know no case."""
        return name.lower()

    def unfit(self, name: str, dtype: pl.DataType) -> Unfit | None:
        """Return which values of a column the target cannot hold, or as keys cannot tell apart; None when it can all.

        They are looked for before rows are staged: a transaction that can never be committed would hold up the job for
        good.
        """
        return None

    def nulled(self, frame: pl.DataFrame) -> int:
        """Return how many values of these rows the target has no word for, so that null is written."""
        return 0

    def cast_hint(self, dtype: pl.DataType) -> str:
        """Return what to do with a column that the target cannot hold."""
        if isinstance(dtype, pl.Null):
            return "cast it to the type that its values would have: pl.col(...).cast(pl.Int64)"
        if isinstance(dtype, pl.Duration):
            return "write a number: pl.col(...).dt.total_microseconds()"
        if isinstance(dtype, pl.Datetime | pl.Time):
            return "pl.col(...).dt.cast_time_unit('us')"
        if dtype.is_nested():
            return "unnest or explode it, or write JSON: pl.struct(...).struct.json_encode()"
        return "cast it to another type"

    @abstractmethod
    def place(self) -> str:
        """Return where the table is, without secrets."""

    @abstractmethod
    def is_there(self) -> bool:
        """Return whether there is something to connect to, or that can only be found out by connecting."""

    @abstractmethod
    def column_type(self, dtype: pl.DataType) -> str | None:
        """Return the target's type for a dtype; None when it has none."""

    @abstractmethod
    def connect(self) -> AbstractContextManager[Table]:
        """Open the target; its errors leave as SinkErrors that tell no secrets."""


@dataclass(frozen=True)
class Unfit:
    """Values that a target cannot take.

    Attributes
    ----------
    found : pl.Expr
        Whether a value is one of them.
    what : str
        What they are.
    hint : str
        What to do with them.
    """

    found: pl.Expr
    what: str
    hint: str


class TableWriter(SinkWriter):
    """Stages the rows of one subtask, or writes them when no checkpoints are taken.

    Parameters
    ----------
    sink
        Where to.
    context
        Where it runs.
    """

    def __init__(self, sink: TableSink, context: SinkContext) -> None:
        self._sink = sink
        self._context = context
        self._staging = Staging(context) if context.checkpoints else None
        self._frames: list[pl.DataFrame] = []
        self._rows = self._bytes = 0
        self._since_s = 0.0
        self._nulled = 0
        unfit = {name: sink.unfit(name, dtype) for name, dtype in sink.schema.items()}
        self._unfit = {name: found for name, found in unfit.items() if found is not None}
        with sink.connect() as table:
            table.create()
            if self._staging is not None:
                self._check_not_behind(table, self._staging.job)

    @property
    def values_nulled(self) -> int:
        """How many NaN became null."""
        return self._nulled

    def write(self, frame: pl.DataFrame) -> None:
        """Take rows."""
        if not frame.height:
            return
        if not self._frames:
            self._since_s = time.monotonic()
        self._frames.append(frame)
        self._nulled += self._sink.nulled(frame)
        self._rows += frame.height
        self._bytes += int(frame.estimated_size())
        if self._rows >= self._sink.roll_rows or self._bytes >= self._sink.roll_bytes:
            self._roll()
        else:
            self.flush()

    def prepare(self, checkpoint_id: int) -> Pending:
        """Stage what is left; without checkpoints write it."""
        self._roll()
        return () if self._staging is None else self._staging.prepare(checkpoint_id, self._sink.place())

    def commit(self, pending: Pending) -> None:
        """Write the staged rows, unless they are there."""
        if not pending:
            return
        staging, transaction = self._of(pending)
        if transaction.files:
            with self._sink.connect() as table:
                table.apply(staging.frames(transaction), transaction)
            reach("sink.publish")
        staging.remove(transaction)
        staging.remove_leftovers(transaction)

    def take_over(self, pending: Pending) -> None:
        """Write what another job staged for this table, unless it is there."""
        if pending:
            staging, transaction = self._of(pending)
            if transaction.target == self._sink.place() and staging.holds(transaction):
                self.commit(pending)

    def abort(self, pending: Pending) -> None:
        """Remove the staged rows."""
        if pending:
            staging, transaction = self._of(pending)
            staging.remove(transaction)

    def flush(self) -> None:
        """Write rows that have waited long enough, when no checkpoint says when."""
        age_ms = (time.monotonic() - self._since_s) * 1000
        if self._staging is None and self._frames and age_ms >= self._sink.roll_age_ms:
            self._roll()

    def close(self) -> None:
        """Forget what was not prepared."""
        self._frames, self._rows, self._bytes = [], 0, 0
        if self._staging is not None:
            self._staging.forget()

    def _roll(self) -> None:
        if not self._frames:
            return
        frame = pl.concat(self._frames)
        if self._sink.mode == "upsert":
            frame = last_changes(frame, self._sink.keys)
        self._check_values(frame)
        if not frame.height:
            pass
        elif self._staging is not None:
            self._staging.add(frame)
        else:
            with self._sink.connect() as table:
                table.apply([frame], None)
        self._frames, self._rows, self._bytes = [], 0, 0

    def _check_values(self, frame: pl.DataFrame) -> None:
        """Raise SinkError when there are values that could not be committed later, or would hit the wrong row."""
        for name, unfit in self._unfit.items():
            if frame.select(unfit.found.any()).item():
                tell_apart = " and tell apart" if name in self._sink.keys else ""
                needed = f"values that {self._sink.target} can hold{tell_apart}"
                got = f"{unfit.what} in the column {name!r}"
                raise SinkError(explained(self._sink.name, needed=needed, got=got, hint=unfit.hint), lasting=True)

    def _of(self, pending: Pending) -> tuple[Staging, Transaction]:
        # A job that takes no checkpoints may still have been restored from one.
        staging = self._staging or Staging(self._context)
        return staging, Transaction.of(self._sink.name, pending)

    def _check_not_behind(self, table: Table, job: str) -> None:
        """Raise SinkError when the rows to come are in the table already, and adding them would double them."""
        if self._sink.mode != "append":
            return
        context = self._context
        committed = table.committed(job, context.step, context.parallelism)
        if committed is None or (context.restored is not None and committed <= context.restored):
            return
        start = "a start from the beginning" if context.restored is None else f"checkpoint {context.restored}"
        raise SinkError(
            explained(
                self._sink.name,
                needed=f"to go on from checkpoint {committed} or a later one, whose rows are in {self._sink.place()}",
                got=f"{start}: its rows would be there twice",
                hint="write to another table, or with mode='upsert', which may repeat rows",
            )
        )


def last_changes(frame: pl.DataFrame, keys: tuple[str, ...]) -> pl.DataFrame:
    """Return the last change of each key, in the order of these; the row kind stays when there is one.

    Examples
    --------
    >>> log = pl.DataFrame({"k": [1, 1, 1], "n": [5, 5, 6], ROW_KIND: [0, 1, 2]})
    >>> last_changes(log, ("k",)).rows()
    [(1, 6, 2)]
    """
    return frame.unique(subset=list(keys), keep="last", maintain_order=True)


def split_changes(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Return the rows to write and the rows to delete of what :func:`last_changes` gave."""
    if ROW_KIND not in frame.columns:
        return frame, frame.clear()
    deleted = pl.col(ROW_KIND).is_in(_TAKEN_BACK)
    return frame.filter(~deleted).drop(ROW_KIND), frame.filter(deleted).drop(ROW_KIND)


def with_deleted(frame: pl.DataFrame) -> pl.DataFrame:
    """Return what :func:`last_changes` gave with a Boolean column, `DELETED`, in place of the row kind."""
    if ROW_KIND not in frame.columns:
        return frame.with_columns(pl.lit(value=False).alias(DELETED))
    deleted = pl.col(ROW_KIND).is_in(_TAKEN_BACK).alias(DELETED)
    return frame.with_columns(deleted).drop(ROW_KIND)


def finer_keys(name: str) -> Unfit:
    """Return that times of day are told apart to the microsecond only."""
    finer = pl.col(name).cast(pl.Int64) % 1_000 != 0
    return Unfit(finer, "times of day with nanoseconds", f"pl.col({name!r}).cast(pl.Int64) as key")


def optional(step: str, module: str, extra: str) -> Any:
    """Return a library that only this sink needs. Raises SinkError when it is not installed."""
    try:
        return import_module(module)
    except ImportError as error:
        needed, got = f"the library {module!r}", "an environment without it"
        text = explained(step, needed=needed, got=got, hint=f"pip install 'streamlab[{extra}]'")
        raise SinkError(text, lasting=True) from error
