"""A sink that writes to a Delta Lake table.

A transaction is one commit in the table's log, which carries the sink's own name and the checkpoint's id as Delta's
application transaction: that is how a repeated commit is recognised. The sink has one subtask, so a checkpoint adds
one version and few files. Upserts are Delta's merges. Unsigned integers become wider signed ones, categories strings,
and times are kept in UTC to the microsecond.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar
from urllib.parse import urlsplit

import polars as pl

from streamlab.connectors.sinks.sql_tables import quoted
from streamlab.connectors.sinks.staging import Transaction
from streamlab.connectors.sinks.tables import (
    DELETED,
    Table,
    TableSink,
    last_changes,
    optional,
    with_deleted,
)
from streamlab.core.errors import SinkError, explained
from streamlab.core.redaction import redacted

_TRIES = 5
_MIN_SECRET = 4
_STORED: dict[type[pl.DataType], pl.DataType] = {
    pl.Boolean: pl.Boolean(),
    pl.Int8: pl.Int8(),
    pl.Int16: pl.Int16(),
    pl.Int32: pl.Int32(),
    pl.Int64: pl.Int64(),
    pl.UInt8: pl.Int16(),
    pl.UInt16: pl.Int32(),
    pl.UInt32: pl.Int64(),
    pl.UInt64: pl.Decimal(20, 0),
    pl.Float32: pl.Float32(),
    pl.Float64: pl.Float64(),
    pl.String: pl.String(),
    pl.Categorical: pl.String(),
    pl.Enum: pl.String(),
    pl.Binary: pl.Binary(),
    pl.Date: pl.Date(),
}


@dataclass(frozen=True, kw_only=True)
class DeltaSink(TableSink):
    """Writes to Delta Lake.

    Attributes
    ----------
    table : str
        The table's folder or URI; made when it is not there.
    storage_options : Mapping[str, str]
        What the storage behind a URI asks for, as deltalake takes it.
    """

    table: str = field(repr=False)
    storage_options: Mapping[str, str] = field(default_factory=dict, repr=False)
    target: ClassVar[str] = "Delta Lake"

    def __post_init__(self) -> None:
        super().__post_init__()
        if "://" not in self.table:
            object.__setattr__(self, "table", os.path.abspath(os.path.expanduser(self.table)))

    def place(self) -> str:
        """Name the folder or the URI without what may be secret in it."""
        if "://" not in self.table:
            return f"the Delta table {self.table}"
        uri = urlsplit(self.table)
        return f"the Delta table {uri.scheme}://{uri.netloc.rpartition('@')[2]}{uri.path}"

    def is_there(self) -> bool:
        """Whether there is a table."""
        library = optional(self.name, "deltalake", "delta")
        with self._explained(library):
            return bool(library.DeltaTable.is_deltatable(self.table, self._options()))

    def column_type(self, dtype: pl.DataType) -> str | None:
        """Return the dtype whose values Delta keeps, as text."""
        stored = stored_dtype(dtype)
        return None if stored is None else str(stored)

    @contextmanager
    def connect(self) -> Iterator[Table]:
        """Nothing stays open."""
        library = optional(self.name, "deltalake", "delta")
        with self._explained(library):
            yield _DeltaTable(self, library, self._options())

    def _options(self) -> dict[str, str] | None:
        return dict(self.storage_options) or None

    @contextmanager
    def _explained(self, library: Any) -> Iterator[None]:
        try:
            yield
        except (library.exceptions.DeltaError, OSError, ValueError) as error:
            # Options also hold regions and switches, whose short values stand in any message.
            secrets = [value for value in self.storage_options.values() if len(value) >= _MIN_SECRET]
            user = urlsplit(self.table).netloc.rpartition("@")[0] if "://" in self.table else ""
            got = redacted(" ".join(str(error).split()), [*secrets, user])
            # Without its cause: that may tell secrets.
            raise SinkError(explained(self.name, needed=f"to write to {self.place()}", got=got)) from None


class _DeltaTable(Table):
    def __init__(self, sink: DeltaSink, library: Any, options: dict[str, str] | None) -> None:
        self._sink = sink
        self._library = library
        self._options = options
        self._schema = pl.Schema({name: _known(stored_dtype(dtype)) for name, dtype in sink.schema.items()})

    def check(self) -> None:
        """Compare names and types."""
        there = {column.name: column.type for column in self._open().schema().fields}
        for column in self._library.Schema.from_arrow(self._schema).fields:
            if there.get(column.name) != column.type:
                found = there.get(column.name)
                needed = f"a column {column.name!r} of {column.type} in {self._sink.place()}, which is there already"
                got = "none" if found is None else str(found)
                raise SinkError(explained(self._sink.name, needed=needed, got=got), lasting=True)

    def create(self) -> None:
        """Make the table, or check the one that is there."""
        if self._sink.is_there():
            self.check()
        else:
            schema = self._library.Schema.from_arrow(self._schema)
            self._library.DeltaTable.create(self._sink.table, schema, mode="ignore", storage_options=self._options)

    def committed(self, job: str, step: str, parallelism: int) -> int | None:
        """Return the newest version of the sink's application transactions."""
        table = self._open()
        versions = (table.transaction_version(_application(job, step, subtask)) for subtask in range(parallelism))
        return max((version for version in versions if version is not None), default=None)

    def apply(self, frames: Iterable[pl.DataFrame], transaction: Transaction | None) -> None:
        """Write rows as one commit of the log; when others were quicker, look again whether it is there."""
        rows: pl.DataFrame | None = None
        for tries_left in reversed(range(_TRIES)):
            table = self._open()
            if transaction is not None and self._has(table, transaction):
                return
            rows = pl.concat(frames) if rows is None else rows
            try:
                self._write(table, rows, self._properties(transaction))
            except self._library.exceptions.CommitFailedError:
                if not tries_left:
                    raise
            else:
                return

    def _open(self) -> Any:
        return self._library.DeltaTable(self._sink.table, storage_options=self._options)

    def _has(self, table: Any, transaction: Transaction) -> bool:
        version = table.transaction_version(_application(transaction.job, transaction.step, transaction.subtask))
        return version is not None and version >= transaction.checkpoint

    def _properties(self, transaction: Transaction | None) -> Any:
        if transaction is None:
            return None
        name = _application(transaction.job, transaction.step, transaction.subtask)
        mark = self._library.Transaction(name, transaction.checkpoint)
        return self._library.CommitProperties(app_transactions=[mark])

    def _write(self, table: Any, rows: pl.DataFrame, properties: Any) -> None:
        columns = [pl.col(name).cast(dtype) for name, dtype in self._schema.items()]
        if self._sink.mode == "append":
            self._library.write_deltalake(table, rows.select(columns), mode="append", commit_properties=properties)
            return
        changes = with_deleted(last_changes(rows, self._sink.keys)).select(*columns, DELETED)
        keys = [quoted(key) for key in self._sink.keys]
        values = {quoted(name): f"s.{quoted(name)}" for name in self._schema}
        others = {quoted(name): f"s.{quoted(name)}" for name in self._schema if name not in self._sink.keys}
        merger = table.merge(
            changes,
            # In parentheses: DataFusion takes what stands behind DISTINCT FROM for one value, up to the end.
            predicate=" AND ".join(f"(t.{key} IS NOT DISTINCT FROM s.{key})" for key in keys),
            source_alias="s",
            target_alias="t",
            commit_properties=properties,
        ).when_matched_delete(f"s.{quoted(DELETED)}")
        if others:
            merger = merger.when_matched_update(others)
        merger.when_not_matched_insert(values, predicate=f"NOT s.{quoted(DELETED)}").execute()


def stored_dtype(dtype: pl.DataType) -> pl.DataType | None:
    """Return the dtype under which Delta keeps the values of another; None when it cannot.

    Examples
    --------
    >>> stored_dtype(pl.List(pl.UInt8))
    List(Int16)
    """
    if isinstance(dtype, pl.Datetime):
        return None if dtype.time_unit == "ns" else pl.Datetime("us", None if dtype.time_zone is None else "UTC")
    if isinstance(dtype, pl.Decimal):
        return dtype
    if isinstance(dtype, pl.List | pl.Array):
        inner = stored_dtype(pl.Schema({"inner": dtype.inner})["inner"])
        return None if inner is None else pl.List(inner)
    if isinstance(dtype, pl.Struct):
        fields = {name: stored_dtype(inner) for name, inner in pl.Schema(dtype.to_schema()).items()}
        known = {name: inner for name, inner in fields.items() if inner is not None}
        return pl.Struct(known) if fields and len(known) == len(fields) else None
    return _STORED.get(type(dtype))


def _known(dtype: pl.DataType | None) -> pl.DataType:
    """Return a dtype that was asked for before."""
    return pl.Null() if dtype is None else dtype


def _application(job: str, step: str, subtask: int) -> str:
    return f"streamlab/{job}/{step}/{subtask}"
