"""Files as a source: a path, glob, folder or list; once, or followed as new files appear."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import polars as pl

from streamlab.connectors.contracts.source import Timing
from streamlab.connectors.contracts.timing import DurationLike, Pace, check_timing, timing
from streamlab.connectors.files.file_source import FileSource, Follow
from streamlab.connectors.files.growing_files import rotated_keys
from streamlab.connectors.files.listing import FileListing
from streamlab.connectors.files.path_columns import PathColumns, hive_columns
from streamlab.connectors.files.paths import PathLike, absolute_paths
from streamlab.connectors.formats.base import (
    UNREADABLE,
    FileRefused,
    Format,
    Learned,
    SchemaPolicy,
    cannot_infer,
    complete_schema,
    first_line,
)
from streamlab.connectors.formats.csv_dialect import Dialect, null_texts
from streamlab.connectors.formats.csv_text import CsvFormat
from streamlab.connectors.formats.encodings import Encoding
from streamlab.connectors.formats.ipc import IpcFormat
from streamlab.connectors.formats.ndjson import NdjsonFormat
from streamlab.connectors.formats.parquet import ParquetFormat
from streamlab.connectors.formats.time_text import checked_form
from streamlab.core.errors import OptionError, PlanError, explained

Paths = PathLike | Sequence[PathLike]
SchemaLike = Mapping[str, Any] | SchemaPolicy | None
OnError = Literal["fail", "dead_letter"] | None

_MAX_TRIED = 20


def scan_parquet(
    paths: Paths,
    *,
    schema: SchemaLike = None,
    schema_policy: SchemaPolicy | None = None,
    follow: Follow = False,
    on_error: OnError = None,
    hive_partitioning: bool | None = None,
    hive_schema: Mapping[str, Any] | None = None,
    try_parse_hive_dates: bool = True,
    glob: bool = True,
    include_file_paths: str | None = None,
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
        A file, a glob, a folder (all Parquet files below it), or a list of them. Files whose names begin with ``.`` or
        ``_``, or end like ``.tmp``, belong to no folder; a glob means them if it matches them and is not followed.
    schema
        Columns and dtypes of all files; read from the first one when it is left out. ``"strict"`` or ``"coerce"`` here
        is taken as `schema_policy`.
    schema_policy
        What happens to a file with another schema: to the dead letters (``"strict"``, the default) or adapted. Either
        way one with more columns is read without them (``"strict"`` says so in a dead letter), and one with dtypes that
        lose nothing is cast.
    follow
        Whether files that appear later are read too, without end. Each counts once, by its path, when it has been left
        alone for half a second: what is written into it, or in its place, after that is not read, and is said to be
        there by a dead letter for the file. So write a file elsewhere, and rename it into the folder when it is whole.
        Logs and other files of lines that grow are read on with ``"append"``: see :func:`scan_ndjson`.
    on_error
        Whether bad input fails the job or goes to the dead letters; None leaves it to the job's options.
    hive_partitioning, hive_schema, try_parse_hive_dates
        Whether folders named ``day=2024-01-01`` are columns, and of which dtypes; by default they are when all paths
        are folders, as in Polars.
    glob
        Whether ``*``, ``?`` and ``[`` in paths stand for other names.
    include_file_paths
        The column that gets the path of each row's file.
    event_time, watermark, idle_timeout, pace, max_advance
        See :func:`~streamlab.connectors.contracts.timing.timing`.

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
    beside = _Beside(hive_partitioning, hive_schema, try_parse_hive_dates, include_file_paths)
    how = _Reading(schema, schema_policy, follow, on_error, beside, glob)
    return _scan("scan_parquet", ParquetFormat(), paths, how, said)


def scan_ipc(
    paths: Paths,
    *,
    schema: SchemaLike = None,
    schema_policy: SchemaPolicy | None = None,
    follow: Follow = False,
    on_error: OnError = None,
    hive_partitioning: bool | None = None,
    hive_schema: Mapping[str, Any] | None = None,
    try_parse_hive_dates: bool = True,
    glob: bool = True,
    include_file_paths: str | None = None,
    event_time: str | None = None,
    watermark: DurationLike | None = None,
    idle_timeout: DurationLike | None = None,
    pace: Pace = "max",
    max_advance: DurationLike | None = None,
) -> FileSource:
    """Return a source that reads Arrow IPC (Feather) files; arguments and errors as those of :func:`scan_parquet`."""
    said = timing(event_time, watermark, idle_timeout, pace, max_advance)
    beside = _Beside(hive_partitioning, hive_schema, try_parse_hive_dates, include_file_paths)
    how = _Reading(schema, schema_policy, follow, on_error, beside, glob)
    return _scan("scan_ipc", IpcFormat(), paths, how, said)


def scan_ndjson(
    paths: Paths,
    *,
    schema_overrides: Mapping[str, Any] | None = None,
    infer_schema_length: int | None = None,
    schema: SchemaLike = None,
    schema_policy: SchemaPolicy | None = None,
    follow: Follow = False,
    on_error: OnError = None,
    glob: bool = True,
    include_file_paths: str | None = None,
    event_time: str | None = None,
    event_time_format: str | None = None,
    watermark: DurationLike | None = None,
    idle_timeout: DurationLike | None = None,
    pace: Pace = "max",
    max_advance: DurationLike | None = None,
) -> FileSource:
    r"""Return a source that reads files of one JSON object a line; arguments as those of :func:`scan_parquet`.

    Lines that cannot be read go to the dead letters with their number. An event time may be text or numbers.

    Parameters
    ----------
    paths
        As for :func:`scan_parquet`.
    follow
        As for :func:`scan_parquet`. ``"append"`` reads files on as they grow, whole lines only, and goes on with the
        same file when it is renamed (``app.log`` to ``app.log.1``) and with the new one under its old name: no row is
        lost or comes twice, whatever restarts. A file that was emptied (``copytruncate``) is read from its start, and a
        dead letter says so. A file that is there may always grow, and holds the watermark back; ``idle_timeout`` lets
        quiet ones be left out.
    schema_overrides, infer_schema_length
        Dtypes that are not to be inferred, and how many objects the others are inferred from: by default all of the
        first mebibyte.
    event_time_format
        How the event time is written: a format as ``str.to_datetime`` takes it, or the unit of numbers since 1970
        (``"s"``, ``"ms"``, ``"us"``, ``"ns"``). By default each value may have any of the usual forms.

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
    overrides = tuple(complete_schema("scan_ndjson", schema_overrides or {}).items())
    form = NdjsonFormat(infer_schema_length, overrides, event_time_format=checked_form(event_time_format))
    how = _Reading(schema, schema_policy, follow, on_error, _Beside(path=include_file_paths), glob)
    return _scan("scan_ndjson", form, paths, how, said)


def scan_csv(
    paths: Paths,
    *,
    has_header: bool = True,
    separator: str = ",",
    comment_prefix: str | None = None,
    quote_char: str | None = '"',
    skip_lines: int = 0,
    skip_rows: int = 0,
    skip_rows_after_header: int = 0,
    new_columns: Sequence[str] | None = None,
    null_values: str | Sequence[str] | Mapping[str, str] | None = None,
    empty_string_is_null: bool = True,
    schema_overrides: Mapping[str, Any] | None = None,
    infer_schema: bool = True,
    infer_schema_length: int | None = 1_000,
    try_parse_dates: bool = False,
    decimal_comma: bool = False,
    truncate_ragged_lines: bool = False,
    encoding: str = "utf8",
    schema: SchemaLike = None,
    schema_policy: SchemaPolicy | None = None,
    follow: Follow = False,
    on_error: OnError = None,
    glob: bool = True,
    include_file_paths: str | None = None,
    event_time: str | None = None,
    event_time_format: str | None = None,
    watermark: DurationLike | None = None,
    idle_timeout: DurationLike | None = None,
    pace: Pace = "max",
    max_advance: DurationLike | None = None,
) -> FileSource:
    r"""Return a source that reads CSV files; other arguments as those of :func:`scan_parquet`.

    Lines that cannot be read go to the dead letters with their number; a column of text or numbers that is the event
    time is read as a time. A record with fewer fields than the header has names is one of those lines, unless no record
    of the file has more: then the last columns are null.

    Parameters
    ----------
    paths
        As for :func:`scan_parquet`.
    follow
        As for :func:`scan_ndjson`.
    has_header, separator, comment_prefix, quote_char, skip_lines, skip_rows, skip_rows_after_header, new_columns
        How records are written, as ``pl.scan_csv`` has it.
    null_values, empty_string_is_null, decimal_comma, truncate_ragged_lines
        How values are written, as there.
    schema_overrides, infer_schema, infer_schema_length, try_parse_dates
        How dtypes are found, as there.
    encoding
        ``"utf8"``, ``"utf8-lossy"``, or an encoding that Python knows, such as ``"latin-1"`` or ``"utf-16"``.
    event_time_format
        As for :func:`scan_ndjson`.

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
    dialect = Dialect(
        separator,
        quote_char,
        comment_prefix,
        bool(has_header),
        tuple(new_columns or ()),
        skip_rows,
        skip_rows_after_header,
        null_texts(null_values),
        bool(empty_string_is_null),
        bool(decimal_comma),
        bool(truncate_ragged_lines),
        Encoding.named(encoding),
        skip_lines,
    )
    overrides = tuple(complete_schema("scan_csv", schema_overrides or {}).items())
    length = infer_schema_length if infer_schema else 0
    time_form = checked_form(event_time_format)
    form = CsvFormat(dialect, length, bool(try_parse_dates), overrides, event_time_format=time_form)
    how = _Reading(schema, schema_policy, follow, on_error, _Beside(path=include_file_paths), glob)
    return _scan("scan_csv", form, paths, how, said)


@dataclass(frozen=True)
class _Beside:
    """What the user wants to have of paths; None for `hive` leaves it to the paths."""

    hive: bool | None = False
    hive_schema: Mapping[str, Any] | None = None
    hive_dates: bool = True
    path: str | None = None


@dataclass(frozen=True)
class _Reading:
    schema: SchemaLike
    policy: SchemaPolicy | None
    follow: Follow
    on_error: OnError
    beside: _Beside = field(default_factory=_Beside)
    glob: bool = True


def _scan(step: str, form: Format, paths: Paths, how: _Reading, said: Timing) -> FileSource:
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
    _check_follow(step, form, how.follow)
    complete = None if given is None else complete_schema(step, given)
    needs_files = complete is None or not how.follow or how.beside.hive is not False
    grows = how.follow == "append"
    listing = FileListing(
        step,
        found,
        form.suffixes,
        may_be_gone=grows and not needs_files,
        leaves_hidden=bool(how.follow),
        glob=how.glob,
    )
    files = listing.new_files() if needs_files or grows else []
    beside = _beside(step, found, files, how.beside, complete)
    schema = _learn(step, form, found, files, said.event_time) if complete is None else complete
    added = beside.schema
    if beside.path is not None and beside.path in schema:
        got = f"{beside.path!r}, which the files have"
        raise PlanError(explained(step, needed="include_file_paths to name a new column", got=got))
    schema = pl.Schema({**{name: dtype for name, dtype in schema.items() if name not in added}, **added})
    form.check_schema(schema)
    check_timing(step, schema, said)
    return FileSource(
        step,
        schema,
        form,
        found,
        how.follow,
        "coerce" if policy == "coerce" else "strict",
        beside,
        how.glob,
        rotated=rotated_keys([*files, *found]) if grows else (),
        timing=said,
        on_error=how.on_error,
    )


def _check_follow(step: str, form: Format, follow: object) -> None:
    if follow not in (True, False, "append"):
        raise OptionError(explained(step, needed="follow to be True, False or 'append'", got=repr(follow)))
    if follow == "append" and not isinstance(form, CsvFormat | NdjsonFormat):
        needed, hint = "a format of lines to read files on as they grow", "write whole files, and follow=True"
        raise OptionError(explained(step, needed=needed, got="follow='append'", hint=hint))


def _beside(
    step: str, paths: tuple[str, ...], files: Sequence[str], wanted: _Beside, given: pl.Schema | None
) -> PathColumns:
    """Return the columns that the paths of the files tell."""
    is_hive = all(map(os.path.isdir, paths)) if wanted.hive is None else wanted.hive
    if not is_hive:
        return PathColumns(paths, path=wanted.path)
    known = {**(given or {}), **complete_schema(step, wanted.hive_schema or {})}
    return PathColumns(paths, hive_columns(files, paths, known, dates=wanted.hive_dates), wanted.path)


def _learn(step: str, form: Format, paths: tuple[str, ...], files: Sequence[str], event_time: str | None) -> pl.Schema:
    """Return the schema of the first file that has one; of columns that it has no value for, that of later files."""
    if not files:
        kinds = ", ".join(form.suffixes)
        raise cannot_infer(step, f"no file ({kinds}) in {', '.join(map(repr, paths))}")
    learned: Learned | None = None
    problems = []
    for path in files[:_MAX_TRIED]:
        try:
            found = form.infer(path, event_time)
        except (FileRefused, *UNREADABLE) as error:
            problems.append(f"{os.path.basename(path)}: {first_line(error)}")
            continue
        learned = found if learned is None else learned.with_another(found)
        if not learned.unsure:
            break
    if learned is None:
        raise cannot_infer(step, "; ".join(problems[:3]))
    return learned.schema
