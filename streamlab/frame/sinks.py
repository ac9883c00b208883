"""The ends of a query that write somewhere: each starts a job."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from streamlab.connectors.contracts.sink import Sink
from streamlab.connectors.sinks.batches import BatchesSink
from streamlab.connectors.sinks.files import CsvSink, FolderSink, NdjsonSink, ParquetSink
from streamlab.core.errors import OptionError, PlanError, explained
from streamlab.frame.base import FrameBase
from streamlab.frame.outputs import run_options
from streamlab.plan import nodes
from streamlab.plan.event_time import updating_step

if TYPE_CHECKING:
    from streamlab.job.job import Job

_OPTIONS = (
    "name",
    "parallelism",
    "detach",
    "checkpoint_every",
    "from_savepoint",
    "allow_non_restored_state",
    "paused",
)
_APPENDS = "start() keeps an updating result table; windows without trigger and allowed_lateness append"
_JOINS_APPEND = "start() keeps an updating result table; of joins only how='inner' and how='semi' append"


class SinkMethods(FrameBase):
    """``sink_parquet`` and its like."""

    __slots__ = ()

    def sink_parquet(self, folder: str | Path, *, roll_rows: int | None = None, **options: Any) -> Job:
        """Start a job that writes Parquet files to a folder; a file that is visible is whole.

        Parameters
        ----------
        folder
            Where; made when it is not there, and what is in it stays.
        roll_rows
            A file is full when it holds so many rows.
        **options
            ``name``, ``parallelism``, ``detach``, ``checkpoint_every``, ``paused`` and further options, as for
            ``start``.

        Raises
        ------
        PlanError
            If the stream is an updating one: written rows cannot be taken back.
        SinkError
            If the files cannot hold a column.

        Examples
        --------
        ``hourly.sink_parquet("hourly", checkpoint_every="1m")`` shows new files each minute, each row in exactly one.
        """
        return self._write("sink_parquet", ParquetSink, folder, roll_rows, options)

    def sink_csv(self, folder: str | Path, *, roll_rows: int | None = None, **options: Any) -> Job:
        """Start a job that writes CSV files to a folder; as :meth:`sink_parquet`."""
        return self._write("sink_csv", CsvSink, folder, roll_rows, options)

    def sink_ndjson(self, folder: str | Path, *, roll_rows: int | None = None, **options: Any) -> Job:
        """Start a job that writes files of JSON lines to a folder; as :meth:`sink_parquet`."""
        return self._write("sink_ndjson", NdjsonSink, folder, roll_rows, options)

    def sink_batches(
        self, function: Callable[[pl.DataFrame], Any], *, update_before: bool = True, **options: Any
    ) -> Job:
        """Start a job that calls a function, in the workers, with each batch of rows.

        Parameters
        ----------
        function
            What it returns is not looked at. After a failure it may see rows again. Of an updating stream it sees the
            changes, with ``+I``, ``-U``, ``+U`` or ``-D`` in the column ``op``.
        update_before
            Whether there are ``-U`` rows; a function that knows rows by their keys can do without, which is cheaper.
            A row that a filter lets through no more is then a ``-D``.
        **options
            As for :meth:`sink_parquet`.

        Raises
        ------
        OptionError
            If it is no function.

        Examples
        --------
        ``alerts.sink_batches(lambda batch: print(batch))`` prints into the job's log.
        """
        if not callable(function):
            raise OptionError(explained("sink_batches", needed="a function", got=f"a {type(function).__name__}"))
        sink = BatchesSink("sink_batches", function, bool(update_before), self._plan.row_key)
        return self._run_sink(sink, options)

    def write_to(self, sink: Sink, **options: Any) -> Job:
        """Start a job that writes to any sink; the way out for sinks that are not streamlab's own.

        Parameters
        ----------
        sink
            A :class:`streamlab.connectors.contracts.sink.Sink`.
        **options
            As for :meth:`sink_parquet`.

        Raises
        ------
        PlanError
            If the stream is an updating one and the sink takes no updates.
        SinkError
            If the sink cannot hold a column.
        """
        self._check_sink(sink.name, sink)
        sink.check_schema(self._plan.schema)
        return self._run_sink(sink, options)

    def _write(
        self,
        step: str,
        kind: Callable[..., FolderSink],
        folder: str | Path,
        roll_rows: int | None,
        options: dict[str, Any],
    ) -> Job:
        if not isinstance(folder, str | Path) or not str(folder):
            raise OptionError(explained(step, needed="a folder", got=repr(folder)))
        sink = kind(step, str(folder), **({} if roll_rows is None else {"roll_rows": roll_rows}))
        self._check_sink(step, sink)
        sink.check_schema(self._plan.schema)
        return self._run_sink(sink, options)

    def _check_sink(self, step: str, sink: Sink, hint: str = _APPENDS) -> None:
        """Raise PlanError when the sink takes no updates and the stream has them."""
        source = updating_step(self._plan)
        if source is not None and not sink.accepts_updates:
            raise PlanError(
                explained(
                    step,
                    needed="an append-only stream, since written rows can't be taken back",
                    got=f"one that {source.step!r} makes an updating one",
                    hint=_JOINS_APPEND if hint == _APPENDS and isinstance(source, nodes.StreamJoin) else hint,
                )
            )

    def _run_sink(self, sink: Sink, options: dict[str, Any]) -> Job:
        known = {"checkpoint_every": "10s"} | {name: options.pop(name) for name in _OPTIONS if name in options}
        return self._runner.run(self._plan, run_options(**known, more=options), sink)
