"""Reads what a job's workers have written to its result table and side tables, from any process, while the job runs."""

from __future__ import annotations

import threading
from collections import deque
from io import BytesIO
from pathlib import Path

import msgspec
import polars as pl

from streamlab.core.changelog import ADDS, ROW_KIND, RowKind, fold
from streamlab.core.column_names.own_columns import own
from streamlab.core.errors import StateError, explained
from streamlab.core.messages import LATE_ROWS, MAIN
from streamlab.runtime.job_folder.attempts import Attempt, read_attempts
from streamlab.runtime.tables.record_log import LogReader, Record, standing

NEWEST_ROWS = 1_000
"""How many of the newest changes are kept at hand."""
_WHOLE_ROWS = 100_000
"""A frame of so many rows is not merged with others any more."""
_AT, _TURN, _KIND = own("at"), own("turn"), own("kind")


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


def with_update_before(changelog: pl.DataFrame, keys: tuple[str, ...]) -> pl.DataFrame:
    """Return a changelog in which each ``+U`` follows the ``-U`` of the row that it replaces, if it had none.

    Examples
    --------
    >>> log = pl.DataFrame({"k": ["a", "a"], "n": [1, 2], ROW_KIND: [0, 2]}, schema_overrides={ROW_KIND: pl.Int8})
    >>> with_update_before(log, ("k",)).rows()
    [('a', 1, 0), ('a', 1, 1), ('a', 2, 2)]
    """
    kinds = changelog.get_column(ROW_KIND)
    if (kinds == RowKind.UPDATE_BEFORE).any() or not (kinds == RowKind.UPDATE_AFTER).any():
        return changelog
    numbered = changelog.with_row_index(_AT).with_columns(pl.lit(1, pl.Int8).alias(_TURN))
    values = pl.exclude(_AT, _TURN, *keys)
    earlier = values.shift(1).over(*keys) if keys else values.shift(1)
    before = (
        numbered.with_columns(earlier, pl.col(ROW_KIND).alias(_KIND))
        .filter(pl.col(_KIND) == RowKind.UPDATE_AFTER, pl.col(ROW_KIND).is_not_null())
        .with_columns(pl.lit(int(RowKind.UPDATE_BEFORE), pl.Int8).alias(ROW_KIND), pl.lit(0, pl.Int8).alias(_TURN))
        .drop(_KIND)
    )
    return pl.concat([numbered, before]).sort(_AT, _TURN).drop(_AT, _TURN)


class TableFacts(msgspec.Struct, frozen=True):
    """What a reader must know of a result table."""

    keys: tuple[str, ...] | None
    schema_bytes: bytes

    @property
    def schema(self) -> pl.Schema:
        """Columns of the table."""
        return pl.read_ipc_stream(self.schema_bytes).schema


def write_table_facts(results: Path, schema: pl.Schema, keys: tuple[str, ...] | None) -> None:
    """Store the schema and the keys of the result table, for readers in any process."""
    buffer = BytesIO()
    schema.to_frame().write_ipc_stream(buffer)
    facts = TableFacts(keys, buffer.getvalue())
    (results / "table.msgpack").write_bytes(msgspec.msgpack.encode(facts))


class TableReader:
    """Reads a result table while it grows; each call takes only what is new from disk. May be used by several threads.

    Rows that a restart of the job has withdrawn are gone from the next call on.

    Parameters
    ----------
    results
        The job's results folder.
    """

    def __init__(self, results: Path) -> None:
        self._results = results
        self._log = LogReader(results / MAIN)
        self._lock = threading.Lock()
        self._attempts: tuple[Attempt, ...] = ()
        self._newest_attempt = 0
        self._rows: dict[tuple[str, int], list[pl.DataFrame]] = {}
        """Append-only rows, by the file that they are in."""
        self._folded: pl.DataFrame | None = None
        """The table of an updating stream."""
        self._newest: deque[pl.DataFrame] = deque()
        """The newest changes as they were written, of all writers."""
        self._newest_height = 0
        self._known: TableFacts | None = None

    @property
    def schema(self) -> pl.Schema:
        """Columns of the table; empty for a job that has none."""
        return facts.schema if (facts := self._facts) else pl.Schema()

    @property
    def keys(self) -> tuple[str, ...] | None:
        """Columns that identify a row of an updating table, when they are known."""
        return facts.keys if (facts := self._facts) else None

    @property
    def _facts(self) -> TableFacts | None:
        """What is known of the table. Raises StateError when the file that says so is damaged."""
        path = self._results / "table.msgpack"
        if self._known is None and path.exists():
            try:
                self._known = msgspec.msgpack.decode(path.read_bytes(), type=TableFacts)
            except msgspec.MsgspecError as error:
                text = explained(f"reading {path}", needed="a table's columns", got=str(error), hint="it was damaged")
                raise StateError(text) from error
        return self._known

    def table(self) -> pl.DataFrame:
        """Return the table as it is now, changelogs folded. Raises StateError when rows that count are damaged."""
        with self._lock:
            # In this order, since an attempt is on record before there are rows of it.
            records = list(self._log.read_new())
            attempts = read_attempts(self._results)
            late = any(record.header.attempt < self._newest_attempt for record in records)
            if attempts != self._attempts or late or any(record.header.voids_from >= 0 for record in records):
                self._forget()
                records = list(self._log.read_new())
                self._attempts = attempts = read_attempts(self._results)
            try:
                self._take(standing(records, attempts))
            except StateError:
                # The next call, too, is to find what is damaged.
                self._forget()
                raise
            for dropped in self._rows.keys() - self._log.segments():
                del self._rows[dropped]
            frames = [frame for frames in self._rows.values() for frame in frames]
            if self._folded is not None:
                frames.append(self._folded)
            return pl.concat(frames) if frames else self.schema.to_frame()

    def newest(self) -> pl.DataFrame:
        """Return the newest changes that are there, newest last, with row kinds; -U only where it was written."""
        self.table()
        with self._lock:
            frames = [
                frame if ROW_KIND in frame.columns else frame.with_columns(pl.lit(0, pl.Int8).alias(ROW_KIND))
                for frame in self._newest
            ]
        empty = pl.Schema({**self.schema, ROW_KIND: pl.Int8()}).to_frame()
        return pl.concat(frames, how="vertical_relaxed").tail(NEWEST_ROWS) if frames else empty

    def changelog(self, *, before: int | None = None) -> pl.DataFrame:
        """Return the changes that are kept, oldest first for each writer; append-only rows count as insertions.

        With `before`, those only that belong to the checkpoint of this id.
        """
        records = _standing(self._results, MAIN)
        records.sort(key=lambda record: record.header.attempt)
        frames = [r.frame for r in records if before is None or r.header.epoch < before]
        log = pl.concat(frames) if frames else self.schema.to_frame()
        if ROW_KIND not in log.columns:
            return log.with_columns(pl.lit(0, pl.Int8).alias(ROW_KIND))
        keys = self._facts.keys if self._facts else None
        return log if keys is None else with_update_before(log, keys)

    def _forget(self) -> None:
        self._log.restart()
        self._rows, self._folded = {}, None
        self._newest.clear()
        self._newest_height = 0

    def _take(self, records: list[Record]) -> None:
        changes: list[Record] = []
        for record in records:
            self._newest_attempt = max(self._newest_attempt, record.header.attempt)
            self._keep_newest(record.frame)
            if ROW_KIND in record.frame.columns:
                changes.append(record)
            else:
                _append(self._rows.setdefault((record.prefix, record.segment), []), record.frame)
        if not changes:
            return
        # Within an attempt a key's changes are in one log; a later attempt may have given it to another.
        changes.sort(key=lambda record: record.header.attempt)
        known = [] if self._folded is None else [self._folded.with_columns(pl.lit(0, pl.Int8).alias(ROW_KIND))]
        keys = self._facts.keys if self._facts else None
        self._folded = fold_keyed(pl.concat([*known, *(record.frame for record in changes)]), keys)

    def _keep_newest(self, frame: pl.DataFrame) -> None:
        self._newest.append(frame.tail(NEWEST_ROWS))
        self._newest_height += self._newest[-1].height
        while self._newest_height - self._newest[0].height >= NEWEST_ROWS:
            self._newest_height -= self._newest.popleft().height


def _append(frames: list[pl.DataFrame], frame: pl.DataFrame) -> None:
    """Append a frame and merge small ones, so that a table that trickles in does not come in thousands of pieces."""
    frames.append(frame)
    while len(frames) > 1 and frames[-1].height < _WHOLE_ROWS and frames[-2].height <= 2 * frames[-1].height:
        last = frames.pop()
        frames[-1] = pl.concat([frames[-1], last], rechunk=True)


def read_late_rows(results: Path) -> pl.DataFrame:
    """Return the late rows of all steps, as they came to the steps that refused them."""
    frames = read_side_rows(results, LATE_ROWS)
    return pl.concat(frames, how="diagonal_relaxed") if frames else pl.DataFrame()


def read_side_rows(results: Path, tag: str, *, before: int | None = None) -> list[pl.DataFrame]:
    """Return the rows of a side table as they were written, or those only that belong to a checkpoint."""
    records = _standing(results, tag)
    return [record.frame for record in records if before is None or record.header.epoch < before]


def _standing(results: Path, tag: str) -> list[Record]:
    """Return all records of a log that count; attempts are read last, as in `TableReader.table`."""
    records = list(LogReader(results / tag).read_new())
    return standing(records, read_attempts(results))
