"""The live result table of a job, and its side tables (late rows, dead letters).

Workers append frames to logs in the job's folder (`record_log`); clients read them while the job runs and after it has
ended. An endless append-only table keeps its newest rows only; the log of an updating table is rewritten when it has
grown far beyond the table that it describes.
"""

from __future__ import annotations

import errno
import threading
import time
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path

import msgspec
import polars as pl

from streamlab.connectors.sink import Guarantee, Pending, Sink, SinkContext, SinkWriter
from streamlab.core.changelog import ADDS, ROW_KIND, fold
from streamlab.core.errors import SinkError, explained
from streamlab.core.messages import DEAD_LETTER_SCHEMA, DEAD_LETTERS, LATE_ROWS, MAIN
from streamlab.runtime.record_log import LogReader, LogWriter
from streamlab.runtime.task import SideOutput

_BUFFER_ROWS = 65_536
_COMPACT_ROWS = 1_000_000
_COMPACT_FACTOR = 4
_SIDE_INTERVAL_S = 0.05
_WHOLE_ROWS = 100_000
"""A frame of so many rows is not merged with others any more."""


@dataclass(frozen=True)
class ResultTable(Sink):
    """The sink that a job's result table is fed by.

    Attributes
    ----------
    schema : pl.Schema
        Columns of the table.
    keys : tuple[str, ...] | None
        Columns that identify a row of an updating table, when they are known: then folding it is quick.
    keep_rows : int | None
        Newest rows that an append-only table keeps; None keeps all.
    """

    schema: pl.Schema
    keys: tuple[str, ...] | None = None
    keep_rows: int | None = None

    @property
    def guarantee(self) -> Guarantee:
        """Every change is in the table once."""
        return "exactly-once"

    @property
    def accepts_updates(self) -> bool:
        """It folds changelogs."""
        return True

    def open(self, context: SinkContext) -> SinkWriter:
        """Start writing this subtask's part of the table."""
        return ResultWriter(self, context)

    def describe(self) -> str:
        """Say how many rows are kept."""
        return "result table" if self.keep_rows is None else f"result table of the newest {self.keep_rows:,} rows"


class ResultWriter(SinkWriter):
    """Writes one subtask's part of the result table."""

    def __init__(self, table: ResultTable, context: SinkContext) -> None:
        self._keys = table.keys
        self._step = context.step
        keep = None if table.keep_rows is None else -(-table.keep_rows // context.parallelism)
        with _writing(self._step):
            self._log = LogWriter(
                Path(context.folder) / "results" / MAIN, str(context.subtask), context.attempt, keep_rows=keep
            )
        self._waiting: list[pl.DataFrame] = []
        self._waiting_rows = 0
        self._compact_at = _COMPACT_ROWS

    @property
    def rows_dropped(self) -> int:
        """Rows of an append-only table that are no longer kept."""
        return self._log.rows_dropped

    def write(self, frame: pl.DataFrame) -> None:
        """Take rows; they are shown at the next flush, or when there are many."""
        self._waiting.append(frame)
        self._waiting_rows += frame.height
        if self._waiting_rows >= _BUFFER_ROWS:
            self.flush()

    def prepare(self, checkpoint_id: int) -> Pending:
        """Write what waits; there is nothing to commit apart."""
        self.flush()
        return ()

    def flush(self) -> None:
        """Write what waits."""
        if not self._waiting:
            return
        frame = pl.concat(self._waiting) if len(self._waiting) > 1 else self._waiting[0]
        self._waiting, self._waiting_rows = [], 0
        with _writing(self._step):
            self._log.append(frame)
            if ROW_KIND in frame.columns and self._log.kept_rows >= self._compact_at:
                self._compact()

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def _compact(self) -> None:
        log = pl.concat([record.frame for record in self._log.records()])
        table = fold_keyed(log, self._keys)
        self._log.rewrite(table.with_columns(pl.lit(0, pl.Int8).alias(ROW_KIND)))
        self._compact_at = max(_COMPACT_ROWS, _COMPACT_FACTOR * table.height)


class SideTables:
    """Writes the side outputs of all tasks of one worker.

    Parameters
    ----------
    folder
        The job's results folder.
    worker, attempt
        Whose side outputs.
    keep_rows
        Newest rows of each table that are kept.
    """

    def __init__(self, folder: Path, worker: int, attempt: int, keep_rows: int | None = None) -> None:
        self._folder = folder
        self._prefix = f"w{worker}"
        self._attempt = attempt
        self._keep_rows = keep_rows
        self._logs: dict[str, LogWriter] = {}
        self._waiting: dict[tuple[str, str], list[pl.DataFrame]] = {}
        self._flushed = 0.0

    def store(self, output: SideOutput) -> None:
        """Take rows; they are written at a flush."""
        if output.frame.height:
            self._waiting.setdefault((output.tag, output.step), []).append(output.frame)

    def flush(self, *, now: bool = False) -> None:
        """Write what waits, but not all the time unless `now`."""
        if not self._waiting or (not now and time.monotonic() - self._flushed < _SIDE_INTERVAL_S):
            return
        self._flushed = time.monotonic()
        waiting, self._waiting = self._waiting, {}
        for (tag, step), frames in waiting.items():
            with _writing(step):
                if tag not in self._logs:
                    self._logs[tag] = LogWriter(
                        self._folder / tag, self._prefix, self._attempt, keep_rows=self._keep_rows
                    )
                self._logs[tag].append(pl.concat(frames), step=step)

    def close(self) -> None:
        """Close all logs."""
        for log in self._logs.values():
            log.close()


class _writing:  # noqa: N801 - reads as a word at its uses
    """Turns what the system says while a log is written into a SinkError."""

    def __init__(self, step: str) -> None:
        self._step = step

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            full = error.errno in {errno.ENOSPC, errno.EDQUOT}
            text = explained(
                self._step,
                needed="free space in the job's folder" if full else "a writable job folder",
                got=f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}",
                hint="free some space, lower keep_rows, or set STREAMLAB_HOME to another disk",
            )
            raise SinkError(text) from error


def fold_keyed(changelog: pl.DataFrame, keys: tuple[str, ...] | None) -> pl.DataFrame:
    """Return the table that a changelog describes; with known keys only the last change of each key counts.

    Examples
    --------
    >>> log = pl.DataFrame({"k": ["a", "a"], "n": [1, 2], ROW_KIND: [0, 2]}, schema_overrides={ROW_KIND: pl.Int8})
    >>> fold_keyed(log, ("k",)).rows()
    [('a', 2)]
    """
    if keys is None or ROW_KIND not in changelog.columns:
        return fold(changelog)
    last = changelog.unique(subset=list(keys), keep="last", maintain_order=True) if keys else changelog.tail(1)
    return last.filter(pl.col(ROW_KIND).is_in([int(kind) for kind in ADDS])).drop(ROW_KIND)


class TableFacts(msgspec.Struct, frozen=True):
    """What a reader must know of a result table."""

    keys: tuple[str, ...] | None
    schema_bytes: bytes

    @property
    def schema(self) -> pl.Schema:
        """Columns of the table."""
        return pl.read_ipc_stream(self.schema_bytes).schema


def write_table_facts(results: Path, table: ResultTable) -> None:
    """Store the schema and the keys of the result table, for readers in any process."""
    buffer = BytesIO()
    table.schema.to_frame().write_ipc_stream(buffer)
    facts = TableFacts(table.keys, buffer.getvalue())
    (results / "table.msgpack").write_bytes(msgspec.msgpack.encode(facts))


class TableReader:
    """Reads a result table while it grows; each call takes only what is new from disk. May be used by several threads.

    Parameters
    ----------
    results
        The job's results folder.
    """

    def __init__(self, results: Path) -> None:
        self._folder = results / MAIN
        self._log = LogReader(self._folder)
        self._lock = threading.Lock()
        self._rows: dict[tuple[str, int], list[pl.DataFrame]] = {}
        """Append-only rows, by the file that they are in."""
        self._folded: dict[str, pl.DataFrame] = {}
        """Tables of an updating stream, by the subtask that wrote them."""
        path = results / "table.msgpack"
        self._facts = msgspec.msgpack.decode(path.read_bytes(), type=TableFacts) if path.exists() else None

    @property
    def schema(self) -> pl.Schema:
        """Columns of the table; empty for a job that has none."""
        return self._facts.schema if self._facts else pl.Schema()

    def table(self) -> pl.DataFrame:
        """Return the table as it is now, changelogs folded."""
        with self._lock:
            changes: dict[str, list[pl.DataFrame]] = {}
            for record in self._log.read_new():
                if ROW_KIND in record.frame.columns:
                    if record.header.is_base:
                        changes[record.prefix] = []
                        self._folded.pop(record.prefix, None)
                    changes.setdefault(record.prefix, []).append(record.frame)
                else:
                    _append(self._rows.setdefault((record.prefix, record.segment), []), record.frame)
            self._fold(changes)
            for dropped in self._rows.keys() - self._log.segments():
                del self._rows[dropped]
            frames = [*self._folded.values(), *(frame for frames in self._rows.values() for frame in frames)]
            return pl.concat(frames) if frames else self.schema.to_frame()

    def changelog(self) -> pl.DataFrame:
        """Return the changes that are kept, oldest first for each writer; append-only rows count as insertions."""
        frames: dict[str, list[pl.DataFrame]] = {}
        for record in LogReader(self._folder).read_new():
            if record.header.is_base:
                frames[record.prefix] = []
            frames.setdefault(record.prefix, []).append(record.frame)
        log = pl.concat([frame for parts in frames.values() for frame in parts]) if frames else self.schema.to_frame()
        return log if ROW_KIND in log.columns else log.with_columns(pl.lit(0, pl.Int8).alias(ROW_KIND))

    def _fold(self, changes: dict[str, list[pl.DataFrame]]) -> None:
        keys = self._facts.keys if self._facts else None
        for prefix, frames in changes.items():
            past = self._folded.get(prefix)
            known = [] if past is None else [past.with_columns(pl.lit(0, pl.Int8).alias(ROW_KIND))]
            self._folded[prefix] = fold_keyed(pl.concat([*known, *frames]), keys)


def _append(frames: list[pl.DataFrame], frame: pl.DataFrame) -> None:
    """Append a frame and merge small ones, so that a table that trickles in does not come in thousands of pieces."""
    frames.append(frame)
    while len(frames) > 1 and frames[-1].height < _WHOLE_ROWS and frames[-2].height <= 2 * frames[-1].height:
        last = frames.pop()
        frames[-1] = pl.concat([frames[-1], last], rechunk=True)


def read_late_rows(results: Path) -> pl.DataFrame:
    """Return the late rows of all steps, as they came to the steps that refused them."""
    frames = [record.frame for record in LogReader(results / LATE_ROWS).read_new()]
    return pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame()


def read_dead_letters(results: Path) -> pl.DataFrame:
    """Return the input that could not be understood."""
    frames = [record.frame for record in LogReader(results / DEAD_LETTERS).read_new()]
    return pl.concat([DEAD_LETTER_SCHEMA.to_frame(), *frames])
