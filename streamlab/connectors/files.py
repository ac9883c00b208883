"""Files as a source: a path, glob, folder or list; once, or followed as new files appear.

- A file is read whole or not at all, once. One that cannot be opened, is damaged, or has another schema goes to the
  dead letters with its name and the difference. With ``schema_policy="coerce"`` a missing column is null, a new one is
  dropped, and another dtype is cast, row by row.
- A followed file is read when it has been left alone for a while: its size and time of change are the same in two looks
  (or were, long before the first look). Renaming a finished file into the folder is the safe way to hand it over.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from streamlab.connectors.formats.base import (
    UNREADABLE,
    FileRefused,
    Format,
    SchemaPolicy,
    Target,
    cannot_infer,
    complete_schema,
    first_line,
)
from streamlab.connectors.formats.csv_text import CsvFormat
from streamlab.connectors.formats.ipc import IpcFormat
from streamlab.connectors.formats.ndjson import NdjsonFormat
from streamlab.connectors.formats.parquet import ParquetFormat
from streamlab.connectors.letters import letters
from streamlab.connectors.listing import FileListing
from streamlab.connectors.paths import PathLike, absolute_paths
from streamlab.connectors.source import START, Position, Read, Source, Split, SplitFinder, SplitReader
from streamlab.connectors.timing import DurationLike, Pace, check_timing, timing
from streamlab.core.errors import OptionError, explained

Paths = PathLike | Sequence[PathLike]
SchemaLike = Mapping[str, Any] | SchemaPolicy | None
OnError = Literal["fail", "dead_letter"] | None

SETTLE_US = 500_000
"""How long a followed file must stay as it is between two looks."""
_LONG_AGO_US = 5_000_000
_PART = "#part="
_MAX_TRIED = 20


def scan_parquet(
    paths: Paths,
    *,
    schema: SchemaLike = None,
    schema_policy: SchemaPolicy | None = None,
    follow: bool = False,
    on_error: OnError = None,
    event_time: str | None = None,
    watermark: DurationLike | None = None,
    idle_timeout: DurationLike | None = None,
    pace: Pace = "max",
    max_advance: DurationLike | None = None,
) -> FileSource:
    """Return a source that reads Parquet files; big ones in parts, so that subtasks can share them.

    Parameters
    ----------
    paths
        A file, a glob, a folder (all Parquet files below it), or a list of them.
    schema
        Columns and dtypes of all files; read from the first one when it is left out. ``"strict"`` or ``"coerce"`` here
        is taken as `schema_policy`.
    schema_policy
        What happens to a file with another schema: to the dead letters (``"strict"``, the default) or adapted.
    follow
        Whether files that appear later are read too, without end. Each counts once, by its path, when it has been left
        alone for half a second: what is written into it, or in its place, after that is not read. So write a file
        elsewhere, and rename it into the folder when it is whole.
    on_error
        Whether bad input fails the job or goes to the dead letters; None leaves it to the job's options.
    event_time, watermark, idle_timeout, pace, max_advance
        See :func:`~streamlab.connectors.timing.timing`.

    Raises
    ------
    SourceError
        If there is no such path, or no file to learn the schema from.
    PlanError
        If the event time is no time column.

    Notes
    -----
    Files can be read again from any position, so a job that fails goes on with each row once. Rows of a file keep their
    order; which of several files is read next goes by event time, so that the order of the files makes no row late.

    Examples
    --------
    ``sl.scan_parquet("flights/*.parquet", event_time="dep_time", watermark="10m", pace="3600x")`` replays flights at an
    hour a second.
    """
    said = timing(event_time, watermark, idle_timeout, pace, max_advance)
    policy = _Reading(schema, schema_policy, follow, on_error)
    return _scan("scan_parquet", ParquetFormat(), paths, policy, said)


def scan_ipc(
    paths: Paths,
    *,
    schema: SchemaLike = None,
    schema_policy: SchemaPolicy | None = None,
    follow: bool = False,
    on_error: OnError = None,
    event_time: str | None = None,
    watermark: DurationLike | None = None,
    idle_timeout: DurationLike | None = None,
    pace: Pace = "max",
    max_advance: DurationLike | None = None,
) -> FileSource:
    """Return a source that reads Arrow IPC (Feather) files; arguments and errors as those of :func:`scan_parquet`."""
    said = timing(event_time, watermark, idle_timeout, pace, max_advance)
    policy = _Reading(schema, schema_policy, follow, on_error)
    return _scan("scan_ipc", IpcFormat(), paths, policy, said)


def scan_ndjson(
    paths: Paths,
    *,
    schema: SchemaLike = None,
    schema_policy: SchemaPolicy | None = None,
    follow: bool = False,
    on_error: OnError = None,
    event_time: str | None = None,
    watermark: DurationLike | None = None,
    idle_timeout: DurationLike | None = None,
    pace: Pace = "max",
    max_advance: DurationLike | None = None,
) -> FileSource:
    r"""Return a source that reads files of one JSON object a line; arguments as those of :func:`scan_parquet`.

    Lines that cannot be read go to the dead letters with their number; an event time may be ISO 8601 text.

    Raises
    ------
    SourceError, PlanError
        As :func:`scan_parquet`.

    Examples
    --------
    >>> import pathlib, tempfile, streamlab as sl
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = pathlib.Path(folder, "a.ndjson").write_text('{"n": 1}\n{"n": 2}\n')
    ...     sl.scan_ndjson(folder).collect().sort("n").rows()
    [(1,), (2,)]
    """
    said = timing(event_time, watermark, idle_timeout, pace, max_advance)
    policy = _Reading(schema, schema_policy, follow, on_error)
    return _scan("scan_ndjson", NdjsonFormat(), paths, policy, said)


def scan_csv(
    paths: Paths,
    *,
    has_header: bool = True,
    separator: str = ",",
    quote_char: str | None = '"',
    null_values: str | Sequence[str] | None = None,
    schema_overrides: Mapping[str, Any] | None = None,
    infer_schema_length: int | None = 1_000,
    try_parse_dates: bool = False,
    schema: SchemaLike = None,
    schema_policy: SchemaPolicy | None = None,
    follow: bool = False,
    on_error: OnError = None,
    event_time: str | None = None,
    watermark: DurationLike | None = None,
    idle_timeout: DurationLike | None = None,
    pace: Pace = "max",
    max_advance: DurationLike | None = None,
) -> FileSource:
    r"""Return a source that reads CSV files in UTF-8; other arguments as those of :func:`scan_parquet`.

    Lines that cannot be read go to the dead letters with their number; a text column that is the event time is read
    as a time.

    Parameters
    ----------
    paths
        As for :func:`scan_parquet`.
    has_header, separator, quote_char, null_values, schema_overrides, infer_schema_length, try_parse_dates
        The dialect, as ``pl.scan_csv`` has it.

    Raises
    ------
    OptionError
        If an argument of the dialect is not one that Polars takes.
    SourceError, PlanError
        As :func:`scan_parquet`.

    Examples
    --------
    >>> import pathlib, tempfile, streamlab as sl
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = pathlib.Path(folder, "a.csv").write_text("k;n\na;1\n")
    ...     sl.scan_csv(folder, separator=";").collect().rows()
    [('a', 1)]
    """
    said = timing(event_time, watermark, idle_timeout, pace, max_advance)
    nulls = (null_values,) if isinstance(null_values, str) else tuple(null_values or ())
    overrides = tuple(complete_schema("scan_csv", schema_overrides or {}).items())
    form = CsvFormat(separator, quote_char, has_header, nulls, infer_schema_length, try_parse_dates, overrides)
    policy = _Reading(schema, schema_policy, follow, on_error)
    return _scan("scan_csv", form, paths, policy, said)


@dataclass(frozen=True)
class FileSource(Source):
    """Reads files of one format.

    Attributes
    ----------
    format : Format
        How they are read.
    paths : tuple[str, ...]
        Absolute paths, globs and folders.
    follow : bool
        Whether new files are waited for.
    policy : {"strict", "coerce"}
        What happens to a file with another schema.
    """

    format: Format
    paths: tuple[str, ...]
    follow: bool = False
    policy: SchemaPolicy = field(default="strict")

    @property
    def kind(self) -> str:
        """The format of the files."""
        return f"{type(self.format).__name__.removesuffix('Format').lower()} files"

    @property
    def bounded(self) -> bool:
        """Unless files are followed."""
        return not self.follow

    @property
    def discovers(self) -> bool:
        """Whether files are followed."""
        return self.follow

    @property
    def max_parallelism(self) -> int | None:
        """One when files are followed, so that no subtask runs ahead of a file that another one has just found."""
        return 1 if self.follow else None

    def splits(self) -> Sequence[Split]:
        """List files, or their parts; looks into each for its times, if there is an event time."""
        return self.splits_of(self.listing().new_files())

    def listing(self, *, may_be_gone: bool = False) -> FileListing:
        """Return what tells which files there are; of what is followed, a folder may be away for a while."""
        return FileListing(self.name, self.paths, self.format.suffixes, may_be_gone=may_be_gone)

    def splits_of(self, files: Iterable[str]) -> Sequence[Split]:
        """Return files, or their parts, as splits; a followed file is never cut."""
        out = []
        for path in files:
            parts = self.format.parts(self._target(path))
            if self.follow or len(parts) == 1:
                first = parts[0]
                out.append(Split(path, None if self.follow else first.rows, first.min_time_us, first.first_time_us))
            else:
                out += [Split(f"{path}{_PART}{p.id}", p.rows, p.min_time_us, p.first_time_us) for p in parts]
        return out

    def finder(self, wanted: Callable[[str], bool]) -> SplitFinder:
        """Return what finds files that appear."""
        return _FileFinder(self, wanted)

    def find(self, ids: Collection[str]) -> Sequence[Split]:
        """Return those of the files that are there."""
        return self.splits_of(path for path in ids if os.path.exists(path)) if self.follow else super().find(ids)

    def open(self, split: Split, position: Position) -> SplitReader:
        """Start reading a file, or a part of it."""
        path, _, part = split.id.rpartition(_PART) if _PART in split.id else (split.id, "", "")
        return _FileReader(self._target(path), self.format, part, position, settles=self.follow)

    def describe(self) -> str:
        """Say which paths, and whether they are followed."""
        shown = ", ".join(self.paths[:3]) + (", …" if len(self.paths) > 3 else "")  # noqa: PLR2004 - what fits a line
        return f"{self.name}: {shown}{' (followed)' if self.follow else ''}"

    def _target(self, path: str) -> Target:
        return Target(self.name, path, self.schema, self.policy, self.timing)


class _FileFinder(SplitFinder):
    """Finds files that appear; only those that are wanted are looked into."""

    def __init__(self, source: FileSource, wanted: Callable[[str], bool]) -> None:
        self._source, self._wanted = source, wanted
        self._listing = source.listing(may_be_gone=True)

    def find(self) -> Sequence[Split]:
        return self._source.splits_of(path for path in self._listing.new_files() if self._wanted(path))


class _FileReader(SplitReader):
    """Opens a file when its time has come; what is wrong with it becomes a dead letter that ends it."""

    def __init__(self, target: Target, form: Format, part: str, position: Position, *, settles: bool) -> None:
        self._target, self._format, self._part, self._position = target, form, part, position
        self._waits = settles and position == START
        self._seen: tuple[int, tuple[int, int]] | None = None
        self._inner: SplitReader | None = None
        self._broken = False

    @property
    def done(self) -> bool:
        return self._broken or (self._inner is not None and self._inner.done)

    def read(self, limit: int, now_us: int) -> Read | None:
        if self.done:
            return None
        try:
            if self._waits and not self._is_settled(now_us):
                return None
            if self._inner is None:
                self._inner = self._format.open(self._target, self._part, self._position)
                if self._inner.done:
                    return None
            read = self._inner.read(limit, now_us)
        except (FileRefused, *UNREADABLE) as error:
            return self._refuse(error)
        if read is not None:
            self._position = read.position
        return read

    def wakeup_us(self, now_us: int) -> int | None:
        """While the file may still be written: when to look again."""
        if self._waits and self._seen is not None:
            return self._seen[0] + SETTLE_US
        return now_us

    def close(self) -> None:
        if self._inner is not None:
            self._inner.close()

    def _is_settled(self, now_us: int) -> bool:
        state = os.stat(self._target.path)
        look = (state.st_size, state.st_mtime_ns)
        old = state.st_mtime_ns // 1000 + _LONG_AGO_US < now_us
        if self._seen is None or self._seen[1] != look:
            self._seen = (now_us, look)
        elif now_us - self._seen[0] >= SETTLE_US:
            old = True
        self._waits = not old
        return old

    def _refuse(self, error: Exception) -> Read:
        self._broken = True
        begun = self._position != START
        reason = str(error) if isinstance(error, FileRefused) else f"cannot be read: {first_line(error)}"
        if begun:
            reason = f"the rest {reason}"
        dead = letters(self._target.step, [(reason, os.path.basename(self._target.path), self._target.path)])
        return Read(pl.DataFrame(schema=self._target.schema), self._position, 0, dead_letters=dead)


@dataclass(frozen=True)
class _Reading:
    schema: SchemaLike
    policy: SchemaPolicy | None
    follow: bool
    on_error: OnError


def _scan(step: str, form: Format, paths: Paths, how: _Reading, said: Any) -> FileSource:
    found = absolute_paths(step, paths)
    given: Mapping[str, Any] | None = None
    policy: str | None = how.policy
    if isinstance(how.schema, str):
        policy = policy or how.schema
    else:
        given = how.schema
    policy = policy or "strict"
    if policy not in {"strict", "coerce"}:
        raise OptionError(explained(step, needed="schema_policy to be 'strict' or 'coerce'", got=repr(policy)))
    if how.on_error not in {None, "fail", "dead_letter"}:
        raise OptionError(explained(step, needed="on_error to be 'fail' or 'dead_letter'", got=repr(how.on_error)))
    if given is None:
        schema = _learn(step, form, found, said.event_time)
    else:
        schema = complete_schema(step, given)
        if not how.follow:
            FileListing(step, found, form.suffixes).new_files()
    form.check_schema(schema)
    check_timing(step, schema, said)
    return FileSource(
        step,
        schema,
        form,
        found,
        how.follow,
        "coerce" if policy == "coerce" else "strict",
        timing=said,
        on_error=how.on_error,
    )


def _learn(step: str, form: Format, paths: tuple[str, ...], event_time: str | None) -> pl.Schema:
    """Return the schema of the first file that has one."""
    files = FileListing(step, paths, form.suffixes).new_files()
    if not files:
        kinds = ", ".join(form.suffixes)
        raise cannot_infer(step, f"no file ({kinds}) in {', '.join(map(repr, paths))}")
    problems = []
    for path in files[:_MAX_TRIED]:
        try:
            return form.infer(path, event_time)
        except (FileRefused, *UNREADABLE) as error:
            problems.append(f"{os.path.basename(path)}: {first_line(error)}")
    raise cannot_infer(step, "; ".join(problems[:3]))
