"""A source that cannot be read again, recorded first: what it gives is in a log before anybody sees it.

Rules
-----
- A position counts records of the log, so a split is read again from any position: first what the log holds, cut as it
  was cut, with the same dead letters, then the recorded source again. Every record is a batch of its own, so that
  lateness is judged as it was.
- What the source gives within 10 ms is one record.
- The end of the recorded source is recorded too: what has ended is not asked again.
- A checkpoint's positions are durable before it is: :meth:`SplitReader.make_durable` syncs the log.
- One process writes to a log. While the process of an earlier attempt is still there, its records are read, and its
  end is awaited.

What the log cannot tell is how the rows of *several* splits took turns, and when a silent split was idle: with several
splits or an `idle_timeout`, rows near such moments may be judged otherwise by a scan. A replay follows the reader's own
notes of that (see :mod:`.cuts`).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from streamlab.connectors.contracts.source import START, Position, Read, Source, Split, SplitFinder, SplitReader
from streamlab.connectors.recording.logged_reads import LoggedReads
from streamlab.connectors.recording.recording_notes import check_recordable, split_folder, write_notes, write_split
from streamlab.connectors.recording.recording_writer import LogWriter
from streamlab.core.errors import SourceError, StreamlabError, explained
from streamlab.core.event_time.time import Duration
from streamlab.core.options import JobOptions

LIMIT_BYTES = JobOptions.recording_limit_bytes
"""How large a split's log may become unless told otherwise."""
_GATHER_US = 10_000
_LOOK_US = 50_000
_PATIENCE_US = 30_000_000


def recorded(source: Source, folder: str, *, limit_bytes: int = LIMIT_BYTES, limit: Duration | None = None) -> Source:
    """Return a source that can be read again: the source itself, or one that records it.

    Parameters
    ----------
    source
        What is read.
    folder
        Where the recording is kept; of this source alone, and the same in every attempt of a job.
    limit_bytes
        How large the log of a split may become. Segments that no checkpoint needs any more are deleted to stay below,
        oldest first; when all are needed the source fails before more is read.
    limit
        For how long records are kept that no checkpoint needs; None means as long as there is room.

    Raises
    ------
    PlanError
        If an Arrow file cannot hold its columns.
    """
    if source.replayable:
        return source
    check_recordable(source)
    return RecordedSource(
        source.name,
        source.schema,
        source,
        folder,
        limit_bytes,
        limit,
        timing=source.timing,
        on_error=source.on_error,
    )


@dataclass(frozen=True)
class RecordedSource(Source):
    """Records a source and reads the recording; made by :func:`recorded`.

    Attributes
    ----------
    source : Source
        What is recorded.
    folder : str
        Where the recording is kept.
    limit_bytes : int
        How large the log of a split may become.
    limit : Duration | None
        For how long records are kept that no checkpoint needs.
    """

    source: Source
    folder: str
    limit_bytes: int = LIMIT_BYTES
    limit: Duration | None = None

    @property
    def bounded(self) -> bool:
        """As the recorded source."""
        return self.source.bounded

    @property
    def pace_name(self) -> str:
        """None: the source is live."""
        return ""

    @property
    def discovers(self) -> bool:
        """As the recorded source."""
        return self.source.discovers

    @property
    def keeps_batches(self) -> bool:
        """Always, so that the cuts are the same when the log is read again."""
        return True

    @property
    def max_parallelism(self) -> int | None:
        """As the recorded source."""
        return self.source.max_parallelism

    def splits(self) -> Sequence[Split]:
        """As the recorded source."""
        return self.source.splits()

    def finder(self, wanted: Callable[[str], bool], open_now: Collection[str] = ()) -> SplitFinder:
        """As the recorded source."""
        return self.source.finder(wanted, open_now)

    def find(self, ids: Collection[str]) -> Sequence[Split]:
        """As the recorded source."""
        return self.source.find(ids)

    def open(self, split: Split, position: Position) -> SplitReader:
        """Start at a record; the recorded source is opened when the log has been read.

        Raises
        ------
        SourceError
            If the folder cannot be used, or holds a recording of other columns.
        """
        folder = Path(self.folder)
        with _writing(self, folder):
            write_notes(folder, self)
            write_split(split_folder(folder, split.id), split.id)
        return _Recorder(self, split, position)

    def describe(self) -> str:
        """Say what is recorded."""
        return self.source.describe()


@dataclass(frozen=True)
class _Gathered:
    """What the recorded source gave and the log does not hold yet."""

    frame: pl.DataFrame
    letters: pl.DataFrame | None
    inner: Position
    max_time_us: int | None
    is_last: bool


class _Recorder(SplitReader):
    """Reads the log to its end, then becomes its writer."""

    def __init__(self, source: RecordedSource, split: Split, position: Position) -> None:
        self._source, self._split = source, split
        self._folder = split_folder(Path(source.folder), split.id)
        self._logged = LoggedReads(self._folder, position, source.schema)
        self._inner: SplitReader | None = None
        self._writer: LogWriter | None = None
        self._gathered: _Gathered | None = None
        self._error: StreamlabError | None = None
        self._dry_us: int | None = None
        self._waits_since_us: int | None = None

    @property
    def done(self) -> bool:
        return self._logged.is_closed

    def read(self, limit: int, now_us: int) -> Read | None:
        read = self._logged.next(limit)
        if read is not None or self.done:
            return read
        if self._writer is None:
            self._writer = self._acquire(now_us)
            if self._writer is None:
                return None
            # The log's last writer may have written more before it ended.
            read = self._logged.next(limit)
            self._logged.is_closed |= read is None and self._writer.end.is_closed
        if read is None and not self.done and self._record(self._writer, limit, now_us):
            read = self._logged.next(limit)
        return read

    def wakeup_us(self, now_us: int) -> int | None:
        if self._writer is None:
            return now_us if self._waits_since_us is None else now_us + _LOOK_US
        if self._inner is None or self._gathered is not None or self._error is not None:
            return now_us
        wish = self._inner.wakeup_us(now_us)
        if not self._gathers(now_us) or self._dry_us is None:
            return wish
        return max(self._dry_us + _GATHER_US, now_us if wish is None else wish)

    def make_durable(self) -> None:
        with _writing(self._source, self._folder):
            self._logged.make_durable()
            if self._writer is not None:
                self._writer.make_durable()

    def release(self, position: Position) -> None:
        if self._writer is not None:
            number = position[0] if isinstance(position, tuple) else position
            with _writing(self._source, self._folder):
                self._writer.release(int(number))

    def close(self) -> None:
        self._logged.close()
        if self._inner is not None:
            self._inner.close()
            self._inner = None
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    # -- becoming the writer -------------------------------------------------------------------------------------

    def _acquire(self, now_us: int) -> LogWriter | None:
        """Return the log's writer, or None while another process is."""
        limit = self._source.limit
        limit_us = None if limit is None else limit.fixed_us("recording_limit")
        with _writing(self._source, self._folder):
            writer = LogWriter.acquire(self._folder, limit_bytes=self._source.limit_bytes, limit_us=limit_us)
        if writer is None:
            if self._waits_since_us is None or now_us < self._waits_since_us:
                self._waits_since_us = now_us
            if now_us - self._waits_since_us >= _PATIENCE_US:
                needed = f"to be the only one that writes to {self._folder}"
                hint = "end the process of the earlier attempt, or the other job on this folder"
                got = "another process that does"
                raise SourceError(explained(self._source.name, needed=needed, got=got, hint=hint))
            return None
        if writer.end.records < self._logged.number:
            writer.close()
            needed = f"{self._logged.number:,} records in {self._folder}, as the checkpoint says"
            raise SourceError(explained(self._source.name, needed=needed, got=f"{writer.end.records:,}"))
        return writer

    # -- recording -----------------------------------------------------------------------------------------------

    def _record(self, writer: LogWriter, limit: int, now_us: int) -> bool:
        """Write a record of what has come, and return whether something has."""
        if writer.is_full:
            needed = f"room: its log in {self._folder} may hold {self._source.limit_bytes:,} bytes"
            got = f"{writer.size_bytes:,} bytes that checkpoints still need"
            hint = "raise recording_limit_bytes, take checkpoints more often, or keep fewer of them"
            raise SourceError(explained(self._source.name, needed=needed, got=got, hint=hint))
        if self._gathered is None:
            self._gathered = self._gather(writer, limit, now_us)
        found = self._gathered
        if found is None:
            return False
        # What cannot be written stays, and is tried again if the caller goes on.
        with _writing(self._source, self._folder):
            record = writer.append(
                found.frame,
                found.letters,
                found.inner,
                now_us,
                max_time_us=found.max_time_us,
                is_last=found.is_last,
            )
            if found.is_last:
                writer.make_durable()
        self._gathered = None
        self._logged.put(record)
        return True

    def _gathers(self, now_us: int) -> bool:
        """Return whether rows are still to be waited for, since there were none a moment ago."""
        return self._dry_us is not None and 0 <= now_us - self._dry_us < _GATHER_US

    def _gather(self, writer: LogWriter, limit: int, now_us: int) -> _Gathered | None:
        """Read on until a record is full or the recorded source has no more."""
        if self._error is not None:
            raise self._error
        if self._gathers(now_us):
            return None
        before = START if writer.end.inner is None else writer.end.inner
        if self._inner is None:
            self._inner = self._source.source.open(self._split, before)
        reads: list[Read] = []
        try:
            reads.extend(self._reads(self._inner, limit, now_us))
        except StreamlabError as error:
            self._error = error
            if not reads:
                raise
        at = reads[-1].position if reads else before
        has_content = any(read.rows or read.dead_letters is not None for read in reads)
        if not has_content and at == before and not self._inner.done:
            return None
        frames = [read.frame.lazy().collect() for read in reads]
        letters = [read.dead_letters for read in reads if read.dead_letters is not None]
        times = [read.max_time_us for read in reads if read.rows]
        known = [time for time in times if time is not None]
        return _Gathered(
            pl.concat([pl.DataFrame(schema=self._source.schema), *frames]),
            pl.concat(letters) if letters else None,
            at,
            max(known) if known and len(known) == len(times) else None,
            self._inner.done,
        )

    def _reads(self, inner: SplitReader, limit: int, now_us: int) -> Iterator[Read]:
        rows = 0
        while rows < limit and not inner.done:
            read = inner.read(limit - rows, now_us)
            if read is None:
                self._dry_us = now_us
                return
            yield read
            rows += read.rows
            if not read.rows or self._source.source.keeps_batches:
                return


@contextmanager
def _writing(source: Source, folder: Path) -> Iterator[None]:
    """Turn what the file system raises into a SourceError that names the folder."""
    try:
        yield
    except OSError as error:
        needed = f"to record its rows in {folder}"
        raise SourceError(explained(source.name, needed=needed, got=str(error))) from error
