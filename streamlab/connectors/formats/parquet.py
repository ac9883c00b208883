"""Parquet, read lazily where its statistics allow it, so that later steps reach into the scan.

A part is a run of row groups with up to a million rows, a position a row within the part. What is read in one go are
whole row groups as far as the limit goes. The footer says how many rows there are, and the statistics their earliest
and latest time; a writer that left the statistics out costs one look at the time column.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import polars as pl

from streamlab.connectors.contracts.dead_letters import row_letters
from streamlab.connectors.contracts.source import Position, Read, Split, SplitReader
from streamlab.connectors.formats.base import UNREADABLE, FileRefused, Fit, Format, Learned, Target, file_letter
from streamlab.connectors.formats.convert import converted
from streamlab.core.event_time.time import FARTHEST_TIME_US, is_usable, time_us

PART_ROWS = 1_000_000
_US = {"MILLISECONDS": (1_000, 1), "MICROSECONDS": (1, 1), "NANOSECONDS": (1, 1_000), "DAYS": (86_400_000_000, 1)}


Times = tuple[int | None, int | None, int]
"""Earliest time, latest time (None when there is none) and number of nulls."""


@dataclass(frozen=True)
class BufferedGroups:
    """A run of row groups, as the footer describes it.

    Attributes
    ----------
    first, last : int
        Which row groups, both included.
    start : int
        Rows before them in the file.
    sizes : tuple[int, ...]
        Rows of each.
    times : tuple[Times | None, ...]
        Earliest and latest time and count of nulls of each, None where the footer does not say.
    """

    first: int
    last: int
    start: int
    sizes: tuple[int, ...]
    times: tuple[Times | None, ...]

    @property
    def rows(self) -> int:
        """Rows in all of them."""
        return sum(self.sizes)

    @property
    def earliest_us(self) -> int | None:
        """Earliest time, when all say theirs."""
        if any(times is None for times in self.times):
            return None
        return min((times[0] for times in self.times if times is not None and times[0] is not None), default=None)


@dataclass(frozen=True)
class ParquetFormat(Format):
    """Parquet, without options."""

    suffixes: ClassVar[tuple[str, ...]] = (".parquet", ".pq")

    def infer(self, path: str, event_time: str | None) -> Learned:
        """Read the footer."""
        return Learned.of(_schema_of(path))

    def parts(self, target: Target) -> Sequence[Split]:
        """Cut the file between row groups."""
        try:
            parts = _parts(target)
            if len(parts) > 1 and target.fit(_schema_of(target.path)).converts:
                return [Split("")]
        except (FileRefused, *UNREADABLE):
            return [Split("")]  # what is wrong with the file is said when it is read
        firsts = [_first_us(target, p) for p in parts]
        return [Split(f"{p.first}-{p.last}", p.rows, p.earliest_us, f) for p, f in zip(parts, firsts, strict=True)]

    def open(self, target: Target, part: str, position: Position) -> SplitReader:
        """Read some row groups, or all; a file with another schema is coerced or refused."""
        fit = target.fit(_schema_of(target.path))
        parts = _parts(target, part_rows=None if not part else PART_ROWS)
        groups = next((p for p in parts if not part or f"{p.first}-{p.last}" == part), None)
        if groups is None:
            text = f"its row groups {part} are gone"
            raise FileRefused(text)
        return _ParquetReader(target, groups, int(str(position)), fit)


def _schema_of(path: str) -> pl.Schema:
    return pl.Schema(pl.read_parquet_schema(path))


class _ParquetReader(SplitReader):
    def __init__(self, target: Target, groups: BufferedGroups, position: int, fit: Fit) -> None:
        self._target = target
        self._groups = groups
        self._at = position
        self._fit = fit
        self._held: tuple[int, pl.DataFrame] | None = None

    @property
    def done(self) -> bool:
        return self._at >= self._groups.rows

    def read(self, limit: int, now_us: int) -> Read | None:
        if self.done:
            return None
        start, end, whole = self._next(limit)
        read = self._eager(start, end) if self._fit.converts else self._lazy(start, end, whole=whole)
        self._at = end
        if start or self._groups.start or not self._fit.new:
            return read
        return replace(read, dead_letters=file_letter(self._target, self._fit))

    def _next(self, limit: int) -> tuple[int, int, bool]:
        """Return the rows to read next, and whether they are whole row groups."""
        begin = 0
        end = self._at
        for size in self._groups.sizes:
            if begin >= self._at and begin == end and begin + size <= self._at + limit:
                end = begin + size
            begin += size
        whole = end > self._at
        return self._at, end if whole else min(self._at + limit, self._end_of_group()), whole

    def _end_of_group(self) -> int:
        end = 0
        for size in self._groups.sizes:
            end += size
            if end > self._at:
                break
        return end

    def _lazy(self, start: int, end: int, *, whole: bool) -> Read:
        column = self._target.timing.event_time
        if column is None:
            return Read(self._scan(start, end), end, end - start)
        times = self._known_times(start, end) if whole else None
        if times is None and not whole and (end - start) * 4 < self._end_of_group() - start:
            return self._eager(start, end)
        earliest, latest, nulls = times or self._looked_up(column, start, end)
        if nulls or latest is None:
            return self._eager(start, end)
        return Read(self._scan(start, end), end, end - start, latest, min_time_us=earliest)

    def _eager(self, start: int, end: int) -> Read:
        """Read rows now; a row group that is taken in small bites is kept until it is eaten."""
        held_from, held = self._held or (0, None)
        if held is None or not held_from <= start < end <= held_from + held.height:
            held_from = start
            held = self._scan(start, max(end, self._end_of_group())).collect()
        self._held = None if end >= held_from + held.height else (held_from, held)
        frame = held.slice(start - held_from, end - start)
        if not self._fit.converts:
            return Read(frame, end, frame.height)
        good, reasons = converted(frame, self._target.schema)
        failed = reasons.is_not_null()
        if not failed.any():
            return Read(good, end, good.height)
        bad = frame.filter(failed)
        letters = row_letters(self._target.step, bad, reasons.filter(failed), self._target.path)
        good = good.filter(~failed)
        return Read(good, end, good.height, dead_letters=letters)

    def _scan(self, start: int, end: int) -> pl.LazyFrame:
        frame = pl.scan_parquet(self._target.path, glob=False, hive_partitioning=False)
        if not self._fit.converts:
            frame = frame.select(self._fit.columns)
        offset = self._groups.start
        return frame.slice(offset + start, end - start)

    def _looked_up(self, column: str, start: int, end: int) -> tuple[int | None, int | None, int]:
        """Return the earliest and the latest time, and how many are no good, by looking at them."""
        unusable = ~is_usable(column, self._target.schema[column]).fill_null(value=False)
        time = time_us(column)
        found = self._scan(start, end).select(earliest=time.min(), latest=time.max(), nulls=unusable.sum()).collect()
        earliest, latest, nulls = found.row(0)
        return earliest, latest, nulls

    def _known_times(self, start: int, end: int) -> tuple[int | None, int | None, int] | None:
        """Return the earliest and the latest time, and how many are null, if the footer says it."""
        begin, found = 0, []
        for size, times in zip(self._groups.sizes, self._groups.times, strict=True):
            if start <= begin < end:
                found.append(times)
            begin += size
        known = [times for times in found if times is not None]
        earliest = min((earliest for earliest, _, _ in known if earliest is not None), default=None)
        if len(known) < len(found) or (earliest is not None and earliest < -FARTHEST_TIME_US):
            return None
        latest = max((latest for _, latest, _ in known if latest is not None), default=None)
        return earliest, latest, sum(nulls for _, _, nulls in known)


def _footer(path: str) -> Any:
    """Return what a file says of itself. Raises one of `UNREADABLE` if that is damaged."""
    import pyarrow as pa  # noqa: PLC0415 - only for files of this format: it takes as long to import as Polars
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        return pq.read_metadata(path)
    except pa.ArrowException as error:
        raise pl.exceptions.ComputeError(str(error)) from error


def _parts(target: Target, part_rows: int | None = PART_ROWS) -> list[BufferedGroups]:
    """Return the runs of row groups that a file is cut into; one run when `part_rows` is None."""
    footer = _footer(target.path)
    column = _column(footer, target.timing.event_time)
    sizes = [footer.row_group(i).num_rows for i in range(footer.num_row_groups)]
    times = [_times(footer.row_group(i), column) for i in range(footer.num_row_groups)]
    cuts, rows = [0], 0
    for at, size in enumerate(sizes):
        if part_rows is not None and rows and rows + size > part_rows:
            cuts.append(at)
            rows = 0
        rows += size
    ends = [*cuts[1:], len(sizes)]
    return [
        BufferedGroups(a, b - 1, sum(sizes[:a]), tuple(sizes[a:b]), tuple(times[a:b]))
        for a, b in zip(cuts, ends, strict=True)
    ]


def _first_us(target: Target, groups: BufferedGroups) -> int | None:
    """Return the event time of the first row, which only a paced replay asks for."""
    timing = target.timing
    if timing.event_time is None or timing.pace is None:
        return None
    scan = pl.scan_parquet(target.path, glob=False, hive_partitioning=False).slice(groups.start, 1)
    first: list[int] = scan.select(time_us(timing.event_time)).collect().to_series().drop_nulls().to_list()
    return first[0] if first else groups.earliest_us


def _column(footer: Any, name: str | None) -> tuple[int, int, int] | None:
    """Return where the time column is, and what its numbers are multiplied and divided by to give microseconds."""
    for at in range(footer.num_columns if name is not None else 0):
        column = footer.schema.column(at)
        if column.path != name:
            continue
        said = json.loads(column.logical_type.to_json())
        unit = "DAYS" if said.get("Type") == "Date" else str(said.get("timeUnit", "")).upper()
        return (at, *_US[unit]) if unit in _US else None
    return None


def _times(group: Any, column: tuple[int, int, int] | None) -> Times | None:
    if column is None:
        return None
    at, times, divided = column
    said = group.column(at).statistics
    if said is None or not said.has_null_count:
        return None
    if said.null_count == group.num_rows:
        return None, None, said.null_count
    if not said.has_min_max or not isinstance(said.min_raw, int):
        return None
    return said.min_raw * times // divided, said.max_raw * times // divided, said.null_count
