"""The live result table of a job, and its side tables (late rows, dead letters).

Workers append frames to logs in the job's folder (`record_log`); clients read them while the job runs and after it has
ended (`table_reader`). An endless append-only table keeps its newest rows only; the log of an updating table is
rewritten when it has grown far beyond the table that it describes. With checkpoints each record says which one it
follows, and only what no restore can withdraw any more is rewritten.
"""

from __future__ import annotations

import errno
import time
from collections import deque
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from streamlab.connectors.contracts.sink import Guarantee, Pending, Sink, SinkContext, SinkWriter
from streamlab.core.changelog import ROW_KIND
from streamlab.core.errors import SinkError, explained
from streamlab.core.messages import MAIN
from streamlab.observe.late_notes import KEPT, LATE_NOTES
from streamlab.runtime.coordinator.placement import worker_count
from streamlab.runtime.job_folder.attempts import read_attempts, same_keys_since
from streamlab.runtime.tables.record_log import LogWriter, Record, RecordHeader, orphans, standing
from streamlab.runtime.tables.table_reader import fold_keyed
from streamlab.runtime.task.task_values import SideOutput

_BUFFER_ROWS = 65_536
_COMPACT_ROWS = 1_000_000
_COMPACT_RECORDS = 5_000
"""A table whose few rows change all the time is quick to open all the same."""
_COMPACT_FACTOR = 4
_SIDE_INTERVAL_S = 0.05
_CHECKPOINT = "checkpoint"
_WORKER = "w"
"""What the names of side tables' writers begin with."""


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
    has_update_before : bool
        Whether ``-U`` rows are kept although the keys are known, for readers that look at changes one by one. Without
        them they are worked out from the rows before when somebody asks for the changes.
    """

    schema: pl.Schema
    keys: tuple[str, ...] | None = None
    keep_rows: int | None = None
    has_update_before: bool = False

    @property
    def guarantee(self) -> Guarantee:
        """Every change is in the table once."""
        return "exactly-once"

    @property
    def accepts_updates(self) -> bool:
        """It folds changelogs."""
        return True

    @property
    def needs_update_before(self) -> bool:
        """Rows with known keys replace each other."""
        return self.keys is None or self.has_update_before

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
        self._attempts = read_attempts(Path(context.folder) / "results")
        self._durable = context.checkpoints
        self._epoch = context.restored or 0
        self._committed: deque[int] = deque(maxlen=context.keep_checkpoints)
        self._has_prepared = False
        keep = None if table.keep_rows is None else -(-table.keep_rows // context.parallelism)
        folder = Path(context.folder) / "results" / MAIN
        with _writing(self._step):
            self._log = LogWriter(
                folder,
                str(context.subtask),
                context.attempt,
                keep_rows=keep,
                attempts=self._attempts,
                inherits=orphans(folder, "", context.subtask, context.parallelism),
            )
        self._waiting: list[pl.DataFrame] = []
        self._waiting_rows = 0
        self._compact_at = _COMPACT_ROWS
        self._records = 0
        """Records since the log was last compacted, those that could not be compacted then included."""
        self._compact_at_records = _COMPACT_RECORDS

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
        """Write what waits; it is shown already, and withdrawn if the job is restored from an earlier checkpoint."""
        self.flush()
        self._epoch = checkpoint_id
        self._has_prepared = True
        if self._durable:
            with _writing(self._step):
                self._log.sync()
        return ((_CHECKPOINT, str(checkpoint_id)),)

    def commit(self, pending: Pending) -> None:
        """Note that a checkpoint is complete: what lies before the oldest one that is kept will never be withdrawn.

        Of several that are committed in a row only the last one is known to be complete: the others may have been given
        up, and nothing can be restored from those.
        """
        if not self._has_prepared and self._committed:
            self._committed.pop()
        self._has_prepared = False
        self._committed += [int(value) for name, value in pending if name == _CHECKPOINT]

    def flush(self) -> None:
        """Write what waits."""
        if not self._waiting:
            return
        frame = pl.concat(self._waiting) if len(self._waiting) > 1 else self._waiting[0]
        self._waiting, self._waiting_rows = [], 0
        with _writing(self._step):
            self._log.append(frame, epoch=self._epoch)
            self._records += 1
            is_long = self._log.kept_rows >= self._compact_at or self._records >= self._compact_at_records
            if ROW_KIND in frame.columns and is_long:
                self._compact()

    def close(self) -> None:
        """Close the log."""
        self._log.close()

    def _compact(self) -> None:
        """Fold the changes that are settled into the table that they describe.

        What was written under another parallelism stays as it is: its keys may have newer changes in other logs.
        """
        since = same_keys_since(self._attempts)
        records = standing(self._log.records(), self._attempts)
        settled: list[Record] = []
        rest: list[Record] = []
        for record in records:
            if record.header.attempt >= since:
                (settled if self._is_settled(record) else rest).append(record)
        self._compact_at = max(_COMPACT_ROWS, _COMPACT_FACTOR * sum(record.header.rows for record in rest))
        self._records = len(rest) + 1
        self._compact_at_records = max(_COMPACT_RECORDS, _COMPACT_FACTOR * self._records)
        if settled:
            table = fold_keyed(pl.concat([record.frame for record in settled]), self._keys)
            last = settled[-1].header
            base = RecordHeader(last.attempt, last.epoch, last.first_row + last.rows, table.height)
            rewritten = [(base, table.with_columns(pl.lit(0, pl.Int8).alias(ROW_KIND)))]
            rewritten += [(record.header, record.frame) for record in rest]
            self._log.rewrite(rewritten, min(record.segment for record in settled))
            self._compact_at = max(_COMPACT_ROWS, _COMPACT_FACTOR * self._log.kept_rows)

    def _is_settled(self, record: Record) -> bool:
        if not self._durable:
            return True
        return len(self._committed) == self._committed.maxlen and record.header.epoch < self._committed[0]


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
        self._worker = worker
        self._attempt = attempt
        self._keep_rows = keep_rows
        self._attempts = read_attempts(folder)
        vertices = self._attempts[-1].layout.vertices if self._attempts else ()
        self._workers = max(worker_count(vertex.parallelism for vertex in vertices), worker + 1)
        self._logs: dict[str, LogWriter] = {}
        self._waiting: dict[tuple[str, str, int], list[pl.DataFrame]] = {}
        self._flushed = 0.0

    def store(self, output: SideOutput) -> None:
        """Take rows; they are written at a flush."""
        if output.frame.height:
            self._waiting.setdefault((output.tag, output.step, output.epoch), []).append(output.frame)

    def flush(self, *, now: bool = False) -> None:
        """Write what waits, but not all the time unless `now`."""
        if not self._waiting or (not now and time.monotonic() - self._flushed < _SIDE_INTERVAL_S):
            return
        self._flushed = time.monotonic()
        waiting, self._waiting = self._waiting, {}
        for (tag, step, epoch), frames in waiting.items():
            with _writing(step):
                if tag not in self._logs:
                    folder = self._folder / tag
                    self._logs[tag] = LogWriter(
                        folder,
                        f"{_WORKER}{self._worker}",
                        self._attempt,
                        keep_rows=KEPT if tag == LATE_NOTES else self._keep_rows,
                        attempts=self._attempts,
                        inherits=orphans(folder, _WORKER, self._worker, self._workers),
                    )
                self._logs[tag].append(pl.concat(frames), step=step, epoch=epoch)

    def sync(self) -> None:
        """Write everything that waits, and make it durable."""
        self.flush(now=True)
        for tag, log in self._logs.items():
            with _writing(tag):
                log.sync()

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
                hint=f"{'free some space, lower keep_rows, or ' if full else ''}set STREAMLAB_HOME to another disk",
            )
            raise SinkError(text) from error
