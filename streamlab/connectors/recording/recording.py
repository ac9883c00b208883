"""A recording read as a source of its own: what a live source gave to a job, for what-if runs.

It ends where the recording ended when :func:`scan_recording` was called, also while the job goes on. Splits, positions
and cuts are those of the job, so a position from one of its checkpoints can be opened here too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, Self

import polars as pl

from streamlab.connectors.contracts.source import START, Position, Read, Source, Split, SplitReader, pace_name
from streamlab.connectors.contracts.timing import DurationLike, Pace, check_timing, timing
from streamlab.connectors.files.paths import PathLike, absolute_paths, warn_of_strangers
from streamlab.connectors.recording.logged_reads import LoggedReads
from streamlab.connectors.recording.recording_log import end_of, first_header, segments
from streamlab.connectors.recording.recording_notes import NOTES, read_notes, read_schema, read_splits
from streamlab.core.errors import OptionError, SourceError, explained

STEP = "scan_recording"
FOLDER = "recordings"
"""Folder of a job that holds its recordings, one folder for each source."""


def scan_recording(
    path: PathLike,
    source: str | None = None,
    *,
    event_time: str | None = None,
    watermark: DurationLike | None = None,
    idle_timeout: DurationLike | None = None,
    pace: Pace = "max",
    pace_by: Literal["event_time", "arrival"] = "event_time",
    max_advance: DurationLike | None = None,
) -> RecordingSource:
    """Return a source that reads what a job recorded of a live source, with the same cuts into batches.

    Parameters
    ----------
    path
        Folder of a recording, or of a job that made one.
    source
        Which of a job's recordings, when there are several: the name of the source, or of its folder.
    event_time, watermark, max_advance
        As in every source; what is left out is as in the job, unless another `event_time` is given.
    idle_timeout
        After how long without rows a split no longer holds the watermark back.
    pace
        ``"max"``, ``"realtime"`` or a factor such as ``"60x"``.
    pace_by
        What a pace follows: the event times, or the times at which the rows arrived.

    Raises
    ------
    OptionError
        If there is no recording, there are several, or an argument makes no sense.
    PlanError
        If the event time is no time column.
    SourceError
        If the recording is damaged.

    Examples
    --------
    ``sl.scan_recording("~/recordings/sensors", pace="60x")``, or ``job.recording`` for what a job recorded.
    """
    folder = _find(absolute_paths(STEP, path)[0], source)
    warn_of_strangers(STEP, folder, folder / NOTES)
    notes, schema = read_notes(folder), read_schema(folder)
    if pace_by not in {"event_time", "arrival"}:
        raise OptionError(explained("pace_by", needed="'event_time' or 'arrival'", got=repr(pace_by)))
    by_arrival = pace_by == "arrival"
    known = notes.timing
    if event_time is None:
        event_time = known.event_time
        watermark = known.watermark if watermark is None else watermark
        max_advance = known.max_advance if max_advance is None else max_advance
    said = timing(event_time, watermark, idle_timeout, "max" if by_arrival else pace, max_advance)
    check_timing(STEP, schema, said)
    logs = tuple(_log(split, at) for split, at in read_splits(folder).items())
    factor = timing("any", pace=pace).pace if by_arrival else None
    return RecordingSource(STEP, schema, str(folder), notes.described, logs, factor, timing=said)


@dataclass(frozen=True)
class RecordedLog:
    """A split's log as it was when it was looked at.

    Attributes
    ----------
    split : str
        The split's id.
    folder : str
        Where the log is.
    first, end : int
        Number of its oldest record, and of the first that is not read any more.
    rows : int
        Rows in the records between them.
    first_us : int | None
        When the oldest one arrived; None when there is none.
    """

    split: str
    folder: str
    first: int
    end: int
    rows: int
    first_us: int | None


@dataclass(frozen=True)
class RecordingSource(Source):
    """Reads a recording; made by :func:`scan_recording`.

    Attributes
    ----------
    folder : str
        The recording's.
    described : str
        What was recorded.
    logs : tuple[RecordedLog, ...]
        One for each split.
    arrival_pace : float | None
        How many times faster than they arrived rows are given out; None means that arrival times do not matter.
    """

    folder: str
    described: str
    logs: tuple[RecordedLog, ...] = field(repr=False)
    arrival_pace: float | None = None

    @property
    def bounded(self) -> bool:
        """Always."""
        return True

    @property
    def pace_name(self) -> str:
        """As in every source, or that of the arrivals."""
        return super().pace_name if self.arrival_pace is None else pace_name(self.arrival_pace)

    def at_pace(self, factor: float | None) -> Self:
        """Return it with another pace, which goes by what it went by before."""
        return super().at_pace(factor) if self.arrival_pace is None else replace(self, arrival_pace=factor)

    @property
    def keeps_batches(self) -> bool:
        """Always: rows are judged with those that they arrived with."""
        return True

    def splits(self) -> Sequence[Split]:
        """Those of the recorded source."""
        return [Split(log.split, log.rows) for log in self.logs]

    def open(self, split: Split, position: Position) -> SplitReader:
        """Start at a record; the beginning is the oldest that is left. Raises SourceError when it is not there."""
        log = next((log for log in self.logs if log.split == split.id), None)
        if log is None:
            got = ", ".join(repr(log.split) for log in self.logs) or "none"
            raise SourceError(explained(STEP, needed=f"the split {split.id!r} in {self.folder}", got=got))
        if position != START:
            return _Recording(log, self.schema, position, None, self.arrival_pace)
        began = [log.first_us for log in self.logs if log.first_us is not None]
        return _Recording(log, self.schema, log.first, min(began, default=None), self.arrival_pace)

    def describe(self) -> str:
        """Say of what, and where."""
        return f"{self.name}: {self.described}, from {self.folder}"


class _Recording(SplitReader):
    def __init__(
        self,
        log: RecordedLog,
        schema: pl.Schema,
        position: Position,
        begins_us: int | None,
        pace: float | None,
    ) -> None:
        self._log = log
        self._logged = LoggedReads(Path(log.folder), position, schema)
        if self._logged.position not in range(log.end + 1) and self._logged.number >= log.end:
            # To end here would leave out silently what is missing.
            needed = f"records up to {self._logged.number:,} in {log.folder}, from where reading goes on"
            hint = "its files were cut short or deleted"
            raise SourceError(explained(STEP, needed=needed, got=f"{log.end:,}", hint=hint))
        self._pace = pace
        self._begins_us = begins_us
        self._started_us: int | None = None
        self._looked_us = 0

    @property
    def done(self) -> bool:
        return self._logged.number >= self._log.end

    def read(self, limit: int, now_us: int) -> Read | None:
        if self.done or now_us < self._due_us(now_us):
            return None
        read = self._logged.next(limit)
        if read is None:
            needed = f"records up to {self._log.end:,} in {self._log.folder}, as when the source was made"
            raise SourceError(explained(STEP, needed=needed, got=f"{self._logged.number:,}"))
        return read

    def change_pace(self, source: Source) -> None:
        if isinstance(source, RecordingSource):
            self._begins_us = self._stands_us()
            self._pace, self._started_us = source.arrival_pace, None

    def wakeup_us(self, now_us: int) -> int | None:
        return now_us if self.done else self._due_us(now_us)

    def close(self) -> None:
        self._logged.close()

    def _due_us(self, now_us: int) -> int:
        """Return when the next record is due: as long after the first read as it arrived after the beginning."""
        record = self._logged.look() if self._pace is not None else None
        if record is None or self._pace is None:
            return now_us
        self._looked_us, arrived_us = now_us, record.header.arrived_us
        if self._begins_us is None:
            self._begins_us = arrived_us
        if self._started_us is None:
            self._started_us = now_us
        return self._started_us + int((arrived_us - self._begins_us) / self._pace)

    def _stands_us(self) -> int | None:
        """Return up to which arrival the records are due, as of the last look; what was held up is not counted."""
        record = self._logged.look()
        if record is None or self._pace is None or self._begins_us is None or self._started_us is None:
            return None
        reached_us = self._begins_us + int((self._looked_us - self._started_us) * self._pace)
        return min(reached_us, record.header.arrived_us)


def _log(split: str, folder: Path) -> RecordedLog:
    there = segments(folder)
    end = end_of(there)
    begin = first_header(there[0], is_last=len(there) == 1) if there else None
    if begin is None:
        return RecordedLog(split, str(folder), end.records, end.records, 0, None)
    return RecordedLog(split, str(folder), begin.number, end.records, end.rows - begin.first_row, begin.arrived_us)


def _find(path: str, source: str | None) -> Path:
    """Return the folder of the recording that is meant."""
    folder = Path(path)
    if os.path.lexists(folder / NOTES) and source in {None, folder.name, read_notes(folder).source}:
        return folder
    below = folder / FOLDER if (folder / FOLDER).is_dir() else folder
    names = {found.parent: read_notes(found.parent).source for found in sorted(below.glob(f"*/{NOTES}"))}
    meant = [at for at, name in names.items() if source in {None, name, at.name}]
    if len(meant) == 1:
        return meant[0]
    needed = f"a recording{'' if source is None else f' of {source!r}'} in {path}"
    if not names:
        hint = "a job records its sources when they cannot be read again and checkpoints are on"
        raise OptionError(explained(STEP, needed=needed, got="none", hint=hint))
    every = ", ".join(f"{at.name!r} of {name!r}" for at, name in names.items())
    hint = f"say which: source={next(iter(names)).name!r}"
    raise OptionError(explained(STEP, needed=needed, got=every, hint=hint))
