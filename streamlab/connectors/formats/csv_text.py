"""CSV, with quoted fields that may hold separators and line ends.

Polars' typed reader takes whole chunks. When it refuses one for a time that is written in a form of its own, times are
read as text and then understood. Only when that fails, too, or what Polars gave may hide a short record (it fills
missing fields with nulls), are the records looked at one by one. A line with a quote that is never closed is bad by
itself: it does not swallow the lines after it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import polars as pl

from streamlab.connectors.contracts.source import Position, Split, SplitReader, Timing
from streamlab.connectors.formats.base import FileRefused, Format, Learned, Target, left_out
from streamlab.connectors.formats.convert import converted, parsed
from streamlab.connectors.formats.csv_dialect import Dialect
from streamlab.connectors.formats.csv_records import records_of, usual_width
from streamlab.connectors.formats.encodings import Encoding
from streamlab.connectors.formats.text import (
    CHUNK_BYTES,
    Parsed,
    TextParser,
    TextReader,
    read_halves,
    sample,
    whole_file,
)
from streamlab.connectors.formats.time_text import time_in
from streamlab.core.errors import PlanError, explained
from streamlab.core.event_time.time import is_time

_SAMPLE_BYTES = 2**20
_LONGEST_RECORD = 8 * CHUNK_BYTES
_BEGINS_AS_UTF16 = (b"\xff\xfe", b"\xfe\xff")


@dataclass(frozen=True)
class CsvFormat(Format):
    """CSV in one dialect; the arguments are those of ``pl.scan_csv``.

    Attributes
    ----------
    dialect : Dialect
        How records are written.
    infer_schema_length : int | None
        Rows to look at for the schema; None means the first mebibyte, 0 makes all columns text.
    try_parse_dates : bool
        Whether text that looks like a time becomes one; an event time always does.
    overrides : tuple[tuple[str, pl.DataType], ...]
        Dtypes of columns that are not to be inferred.
    """

    dialect: Dialect = field(default_factory=Dialect)
    infer_schema_length: int | None = 1_000
    try_parse_dates: bool = False
    overrides: tuple[tuple[str, pl.DataType], ...] = field(default=())
    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv", ".txt")

    def infer(self, path: str, event_time: str | None) -> Learned:
        """Infer from the first records."""
        parser = _CsvParser(self, None)
        data = sample(path, parser, _SAMPLE_BYTES)
        if not data and not parser.header:
            text = "it is empty"
            raise FileRefused(text)
        schema, empty = self._infer(data, parser, try_parse_dates=self.try_parse_dates)
        overrides = dict(self.overrides)
        if event_time is not None and event_time in schema.keys() - overrides and not is_time(schema[event_time]):
            schema[event_time] = self._time_in(data, parser, schema, event_time)
        return Learned(pl.Schema({**schema, **overrides}), frozenset(empty) - overrides.keys())

    def _infer(self, data: bytes, parser: _CsvParser, *, try_parse_dates: bool) -> tuple[pl.Schema, list[str]]:
        """Return the schema, and the columns that show no value."""
        options: dict[str, Any] = {
            **self.dialect.reading,
            "has_header": self.dialect.has_header,
            "new_columns": list(self.dialect.new_columns) or None,
            "infer_schema_length": self.infer_schema_length,
            "try_parse_dates": try_parse_dates,
        }
        if not data:
            return pl.Schema(dict.fromkeys(parser.header, pl.String())), parser.header
        try:
            frame = pl.read_csv(parser.header_record + data, **options)
        except pl.exceptions.PolarsError:
            good = self._whole_records(data, len(parser.header))
            if not good:
                return pl.Schema(dict.fromkeys(parser.header, pl.String())), parser.header
            frame = pl.read_csv(parser.header_record + good, **options, ignore_errors=True)
        # A column of times that Polars could not read has values all the same.
        empty = [one.name for one in frame.get_columns() if one.null_count() == one.len() and not is_time(one.dtype)]
        return frame.schema, empty

    def _time_in(self, data: bytes, parser: _CsvParser, schema: pl.Schema, column: str) -> pl.DataType:
        """Return the time dtype that a column of text or numbers holds, or what it is; damaged values don't count."""
        if self.event_time_format is None and schema[column] == pl.String:
            dtype = self._infer(data, parser, try_parse_dates=True)[0][column]
            if is_time(dtype):
                return dtype
        names = parser.header or schema.names()
        target = Target("", "", pl.Schema(dict.fromkeys(names, pl.String())), "coerce", Timing())
        texts = _CsvParser(self, target, header=names).parse(data, 1).frame.get_column(column)
        dtype = time_in(texts, self.event_time_format)
        return dtype if is_time(dtype) else schema[column]

    def _whole_records(self, data: bytes, width: int) -> bytes:
        if not width:
            return data
        records = records_of(data, 1, (0, width), self.dialect)
        return "\n".join(records.filter(pl.col("reason").is_null()).get_column("text")).encode()

    def check_schema(self, schema: pl.Schema) -> None:
        """Refuse what CSV has no form for."""
        for name, dtype in schema.items():
            if dtype.is_nested() or isinstance(dtype, pl.Binary | pl.Object):
                got = f"column {name!r} of type {dtype}"
                raise PlanError(explained("scan_csv", needed="types that CSV can hold", got=got))

    def parts(self, target: Target) -> Sequence[Split]:
        """One: the file."""
        return whole_file(target, _CsvParser(self, target))

    def open(self, target: Target, part: str, position: Position) -> SplitReader:
        """Read from a chunk's offset."""
        return TextReader(target, _CsvParser(self, target), position)

    def text_parser(self, target: Target) -> TextParser:
        """Return what understands a file's records."""
        return _CsvParser(self, target)


class _CsvParser(TextParser):
    def __init__(self, form: CsvFormat, target: Target | None, header: Sequence[str] = ()) -> None:
        self._format = form
        self._dialect = form.dialect
        self._target = target
        self.header: list[str] = list(header)
        self.header_record = b""
        self._lines_before = 0
        self._least = 0
        """Fields that a record has at least; 0: as many as there are columns."""

    @property
    def encoding(self) -> Encoding:
        return self._dialect.encoding

    @property
    def _schema(self) -> pl.Schema:
        return self._target.schema if self._target else pl.Schema()

    def begin(self, head: bytes) -> tuple[int, int]:
        if head.startswith(_BEGINS_AS_UTF16):
            text = "it begins as UTF-16 does, which encoding='utf-16' reads"
            raise FileRefused(text)
        start, header_end, end = self._dialect.prologue(head)
        self._lines_before = head.count(b"\n", 0, start)
        if self._dialect.has_header:
            self._read_header(head[start:header_end])
        else:
            self.header = list(self._schema)
        if self._target is not None and end > start:
            self._compare_names()
        if len(self.header) > 1:
            records = head[end:]
            self._least = usual_width(records[: self.cut(records)] or records, len(self.header), self._dialect)
        return end, head.count(b"\n", 0, end)

    def cut(self, data: bytes) -> int:
        end = data.rfind(b"\n") + 1
        if self._dialect.quote_char is None:
            return end
        data = self._dialect.without_quotes_in_comments(data)
        quote = self._dialect.quote_char.encode()
        inside = data.count(quote, 0, end) % 2
        at = end
        while inside and at:
            # To the start of the line with the quote before: the lines between have none.
            before = data.rfind(b"\n", 0, max(0, data.rfind(quote, 0, at))) + 1
            inside ^= data.count(quote, before, at) % 2
            at = before
        # A quote at the very start may hold a long text, or never close: then it swallows no more than this.
        return at or (end if len(data) >= _LONGEST_RECORD else 0)

    def parse(self, data: bytes, line: int) -> Parsed:
        if not data.strip(b"\r\n"):
            return Parsed(pl.DataFrame(schema=self._schema).clear(data.count(b"\n")))
        frame = self._typed(data, self._file_schema)
        if frame is None and self._text_times:
            frame = self._typed(data, self._file_schema | dict.fromkeys(self._text_times, pl.String()))
        if frame is None or self._may_hide_short_records(frame, data):
            return self._parse_records(data, line)
        return Parsed(self._shaped(frame))

    def check(self, data: bytes, parsed: Parsed) -> None:
        # A column of another type leaves no good record.
        if not parsed.bad or self._target is None or self._target.policy == "coerce":
            return
        good = self._records(data[: self.cut(data[:_SAMPLE_BYTES])] or data, 1).filter(pl.col("reason").is_null())
        frames, _ = read_halves(good.get_column("text").to_list(), self._read_text)
        if not frames:
            return
        text = pl.concat(frames)
        found = []
        for name, dtype in self._schema.items():
            values = text.get_column(name).drop_nulls()
            values = values.filter(values.str.strip_chars() != "")
            if values.len() and self._values_of(values, dtype).null_count() == values.len():
                found.append(f"column {name!r} is no {dtype}, as in {values[0]!r}")
        if found:
            raise FileRefused.schema(found)

    # -- the file's columns --------------------------------------------------------------------------------------

    def _read_header(self, record: bytes) -> None:
        try:
            record.decode()
        except UnicodeDecodeError:
            hint = "; encoding='latin-1' or the like reads others" if self.encoding.is_utf8 else ""
            text = f"its first line is not {self.encoding.shown}{hint}"
            raise FileRefused(text) from None
        if not record.strip(b"\r\n"):
            return
        self.header_record = record if record.endswith(b"\n") else record + b"\n"
        renamed = list(self._dialect.new_columns) or None
        header = pl.read_csv(self.header_record, **self._dialect.reading, infer_schema=False, new_columns=renamed)
        self.header = header.columns

    def _compare_names(self) -> None:
        missing = [f"column {name!r} is missing" for name in self._schema if name not in self.header]
        if self._target is not None and self._target.policy == "strict" and missing:
            raise FileRefused.schema(missing)

    @property
    def news(self) -> Sequence[tuple[int, str, str]]:
        new = [name for name in self.header if name not in self._schema]
        if self._target is None or self._target.policy == "coerce" or not new:
            return ()
        line = self.header_record.decode("utf-8", "replace").rstrip("\r\n")
        return ((1 + self._lines_before, left_out(new), line),)

    @property
    def _file_schema(self) -> dict[str, pl.DataType]:
        there: dict[str, pl.DataType] = {name: self._schema.get(name, pl.String()) for name in self.header}
        return there | dict.fromkeys(self._forms, pl.String())

    @property
    def _forms(self) -> Mapping[str, str]:
        """How the times of columns are written, where the user says it."""
        column = self._target.timing.event_time if self._target else None
        form = self._format.event_time_format
        return {column: form} if column is not None and form is not None and column in self.header else {}

    @property
    def _text_times(self) -> list[str]:
        """Columns of times, which may be written in a form that Polars' reader does not know."""
        return [name for name, dtype in self._schema.items() if is_time(dtype) and name in self.header]

    @property
    def _text_schema(self) -> pl.Schema:
        return pl.Schema(dict.fromkeys(self.header, pl.String()))

    @property
    def _reading(self) -> dict[str, Any]:
        """Options for text without its header, whose first record may have other fields than there are columns."""
        extra = "ignore" if self._dialect.truncate_ragged_lines else "raise"
        return {**self._dialect.reading, "has_header": False, "missing_columns": "insert", "extra_columns": extra}

    def _typed(self, data: bytes, schema: Mapping[str, pl.DataType]) -> pl.DataFrame | None:
        """Return what Polars reads, with times that were text read as such; None when something is no good."""
        try:
            frame = pl.read_csv(data, schema=schema, **self._reading)
        except pl.exceptions.PolarsError:
            return None
        times = pl.Schema({n: self._schema[n] for n, dtype in schema.items() if dtype != self._schema.get(n, dtype)})
        if not times:
            return frame
        values, reasons = converted(frame.select(times.names()), times, self._forms)
        return frame.with_columns(values) if reasons.null_count() == reasons.len() else None

    def _shaped(self, frame: pl.DataFrame) -> pl.DataFrame:
        missing = [pl.lit(None, dtype).alias(n) for n, dtype in self._schema.items() if n not in frame.columns]
        return frame.with_columns(missing).select(self._schema.names())

    # -- record by record ----------------------------------------------------------------------------------------

    @property
    def _fewest(self) -> int:
        return self._least or len(self.header)

    def _may_hide_short_records(self, frame: pl.DataFrame, data: bytes) -> bool:
        """Return whether fields must be counted: a short record has null in the last column that all have."""
        if len(self.header) <= 1 or not frame.to_series(self._fewest - 1).null_count():
            return False
        lines = data.count(b"\n") + (not data.endswith(b"\n"))
        quote = self._dialect.quote_char
        if quote is not None and quote.encode() in data:
            return True
        return frame.height != lines or data.count(self._dialect.separator.encode()) != lines * (self._fewest - 1)

    def _records(self, data: bytes, line: int) -> pl.DataFrame:
        return records_of(data, line, (self._fewest, len(self.header)), self._dialect)

    def _parse_records(self, data: bytes, line: int) -> Parsed:
        records = self._records(data, line)
        good = records.filter(pl.col("reason").is_null())
        texts = good.get_column("text").to_list()
        frames, refused = read_halves(texts, self._read_text)
        text = pl.concat(frames) if frames else pl.DataFrame(schema=self._text_schema)
        if refused:
            why = pl.DataFrame(refused, schema={"index": pl.get_index_type(), "why": pl.String()}, orient="row")
            good = good.with_row_index().join(why, on="index", how="left", maintain_order="left")
            records = pl.concat(
                [
                    records.filter(pl.col("reason").is_not_null()),
                    good.filter(pl.col("why").is_not_null()).select("line", "text", reason="why"),
                ]
            )
            good = good.filter(pl.col("why").is_null()).select("line", "text", "reason")
        columns: list[pl.Series] = []
        reason = good.get_column("reason")
        for name in self.header:
            dtype = self._schema.get(name, pl.String())
            given = text.get_column(name)
            value = self._values_of(given, dtype)
            failed = value.is_null() & given.is_not_null() & (given.str.strip_chars() != "")
            failed = failed.fill_null(value=False)
            said = pl.select(pl.when(failed & reason.is_null()).then(pl.lit(f"column {name!r} is no {dtype}")))
            reason = reason.zip_with(reason.is_not_null(), said.to_series()) if text.height else reason
            columns.append(value)
        failed = reason.is_not_null()
        wrong = good.with_columns(reason.alias("reason")).filter(failed)
        bad = pl.concat([records.filter(pl.col("reason").is_not_null()), wrong]).sort("line")
        # By name: a series without one would get another.
        frame = pl.DataFrame(dict(zip(self.header, columns, strict=True))).filter(~failed)
        return Parsed(self._shaped(frame), tuple(bad.select("line", "reason", "text").rows()))

    def _read_text(self, records: Sequence[str]) -> pl.DataFrame:
        if not any(records):
            return self._text_schema.to_frame().clear(len(records))
        data = ("\n".join(records) + "\n").encode()
        return pl.read_csv(data, schema=self._text_schema, **self._reading)

    def _values_of(self, text: pl.Series, dtype: pl.DataType) -> pl.Series:
        """Read the texts of one column as Polars' reader reads them, times in any form, null where neither can."""
        if dtype == pl.String:
            return text
        if text.name in self._forms:
            return parsed(text, dtype, self._forms[text.name])
        escaped = text.str.strip_chars().str.replace_all('"', '""', literal=True).fill_null("").to_frame("value")
        data = "\n".join(escaped.select(pl.format('"{}"', "value")).to_series()).encode()
        point: dict[str, Any] = {"separator": ";", "decimal_comma": True} if self._dialect.decimal_comma else {}
        try:
            typed = pl.read_csv(
                data, has_header=False, schema={"value": dtype}, ignore_errors=True, **point
            ).to_series()
        except pl.exceptions.PolarsError:
            typed = text.clear()
        if typed.len() != text.len():
            typed = parsed(text, dtype)
        elif is_time(dtype):
            typed = typed.zip_with(typed.is_not_null(), parsed(text, dtype))
        return typed.alias(text.name)
