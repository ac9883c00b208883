"""The ends of a query that write to a table of a database: each starts a job."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streamlab.connectors.sinks.delta import DeltaSink
from streamlab.connectors.sinks.duckdb import DuckdbSink
from streamlab.connectors.sinks.postgres import PostgresSink
from streamlab.connectors.sinks.sqlite import SqliteSink
from streamlab.connectors.sinks.tables import Mode, TableSink
from streamlab.core.errors import OptionError, PlanError, explained
from streamlab.frame.sinks import SinkMethods
from streamlab.plan.event_time import updating_step
from streamlab.plan.schema import show_columns

if TYPE_CHECKING:
    from streamlab.job.job import Job


class TableSinkMethods(SinkMethods):
    """``sink_sqlite`` and its like."""

    __slots__ = ()

    def sink_sqlite(
        self,
        path: str | Path,
        table: str,
        *,
        mode: Mode = "append",
        keys: str | Sequence[str] | None = None,
        **options: Any,
    ) -> Job:
        """Start a job that writes to a table of an SQLite database.

        With checkpoints the rows of each become visible together, in one transaction, once: also when the job fails
        in between and goes on. Without checkpoints they do every second or half a million rows.

        Parameters
        ----------
        path
            The database's file; made when it is not there, in a folder that is.
        table
            The table; made when it is not there. One that is there must have the columns, and may have more.
        mode
            ``"append"`` adds rows. ``"upsert"`` keeps one row for each key, and applies the changes of an updating
            stream: it writes what is new or changed, and deletes what is gone.
        keys
            With ``"upsert"``, the columns that a row is known by. None takes those of the result itself, such as what
            was grouped by.
        **options
            ``name``, ``parallelism``, ``detach`` and further options, as for ``start``.

        Raises
        ------
        PlanError
            If the stream is an updating one and rows are to be appended, or the keys of the result are not known.
        SinkError
            If SQLite cannot hold a column, or the table that is there does not fit.

        Examples
        --------
        ``counts.sink_sqlite("results.db", "counts", mode="upsert")`` keeps one row per key up to date.
        """
        place = {"name": "sink_sqlite", "path": _path("sink_sqlite", path), "table": table}
        return self._write_table(SqliteSink, place, mode, keys, options)

    def sink_duckdb(
        self,
        path: str | Path,
        table: str,
        *,
        mode: Mode = "append",
        keys: str | Sequence[str] | None = None,
        **options: Any,
    ) -> Job:
        """Start a job that writes to a table of a DuckDB database; as :meth:`sink_sqlite`.

        Needs ``streamlab[duckdb]``. A DuckDB file can be open in one process only: the job holds it for the moments
        in which it writes, and waits up to half a minute while others do.

        Raises
        ------
        PlanError
            As :meth:`sink_sqlite`.
        SinkError
            As :meth:`sink_sqlite`, or if the library is not installed.
        """
        place = {"name": "sink_duckdb", "path": _path("sink_duckdb", path), "table": table}
        return self._write_table(DuckdbSink, place, mode, keys, options)

    def sink_postgres(
        self,
        dsn: str,
        table: str,
        *,
        namespace: str | None = None,
        mode: Mode = "append",
        keys: str | Sequence[str] | None = None,
        **options: Any,
    ) -> Job:
        """Start a job that writes to a table of a PostgreSQL database; as :meth:`sink_sqlite`.

        Needs ``streamlab[postgres]``. Every subtask writes its part, in transactions of its own.

        Parameters
        ----------
        dsn
            Where the database is, as libpq takes it: ``"postgresql://user@host/database"`` or ``"host=… dbname=…"``.
            A password in it is shown nowhere, but is stored in the job's folder; one in ``~/.pgpass`` or the
            environment is not.
        table
            The table; made when it is not there. One that is there needs a unique index on the keys of upserts.
        namespace
            The table's schema; None leaves it to the search path.
        mode, keys, **options
            As for :meth:`sink_sqlite`.

        Raises
        ------
        PlanError
            As :meth:`sink_sqlite`.
        SinkError
            As :meth:`sink_sqlite`, or if the library is not installed.
        """
        if not isinstance(dsn, str):
            text = explained("sink_postgres", needed="a connection string", got=f"a {type(dsn).__name__}")
            raise OptionError(text)
        place = {"name": "sink_postgres", "dsn": dsn, "table": table, "namespace": namespace}
        return self._write_table(PostgresSink, place, mode, keys, options)

    def sink_delta(
        self,
        table: str | Path,
        *,
        mode: Mode = "append",
        keys: str | Sequence[str] | None = None,
        storage_options: Mapping[str, str] | None = None,
        **options: Any,
    ) -> Job:
        """Start a job that writes to a Delta Lake table; as :meth:`sink_sqlite`.

        Needs ``streamlab[delta]``. Each checkpoint is one version of the table.

        Parameters
        ----------
        table
            The table's folder or URI; made when it is not there.
        storage_options
            What the storage behind a URI asks for, as deltalake takes it; shown nowhere, but kept in the job's folder.
        mode, keys, **options
            As for :meth:`sink_sqlite`.

        Raises
        ------
        PlanError
            As :meth:`sink_sqlite`.
        SinkError
            As :meth:`sink_sqlite`, or if the library is not installed.
        """
        options_of = dict(storage_options or {})
        place = {"name": "sink_delta", "table": _path("sink_delta", table), "storage_options": options_of}
        return self._write_table(DeltaSink, place, mode, keys, options)

    def _write_table(
        self,
        kind: type[TableSink],
        place: dict[str, Any],
        mode: Mode,
        keys: str | Sequence[str] | None,
        options: dict[str, Any],
    ) -> Job:
        step, schema = place["name"], self._plan.schema
        sink = kind(schema=schema, mode=mode, keys=self._sink_keys(step, mode, keys), **place)
        self._check_sink(step, sink, hint="mode='upsert' applies the changes of an updating stream")
        sink.check_schema(schema)
        return self._run_sink(sink, options)

    def _sink_keys(self, step: str, mode: Mode, keys: str | Sequence[str] | None) -> tuple[str, ...]:
        """Return the columns that a row is known by. Raises PlanError when they cannot be those of the result."""
        given = (keys,) if isinstance(keys, str) else tuple(keys or ())
        if mode != "upsert":
            return given
        own = self._plan.row_key or ()
        if not given and not own:
            got = "a stream that has none of its own"
            hint = f"keys=[…], with those of {show_columns(self._plan.schema)} that no two rows have alike"
            raise PlanError(explained(step, needed="the columns that a row is known by", got=got, hint=hint))
        source = updating_step(self._plan)
        if given and not own and source is not None:
            text = explained(
                step,
                needed="keys that no two rows of the result have alike",
                got=f"{list(given)}, unknown behind {source.step!r}: a row could take another's place",
            )
            warnings.warn(text, UserWarning, stacklevel=4)
        if given and own and source is not None and set(given) != set(own):
            raise PlanError(
                explained(
                    step,
                    needed=f"keys={list(own)}, by which {source.step!r} changes its rows",
                    got=repr(list(given)),
                    hint="leave keys out",
                )
            )
        return given or own


def _path(step: str, path: str | Path) -> str:
    if not isinstance(path, str | Path) or not str(path):
        raise OptionError(explained(step, needed="a path", got=repr(path)))
    return str(path)
