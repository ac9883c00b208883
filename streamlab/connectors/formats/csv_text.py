"""CSV, with quoted fields that may hold separators and line ends.

Polars' typed reader takes whole chunks. Only when it refuses one, or what it gave may hide a short record (it fills
missing fields with nulls), are the records looked at one by one. A line with a quote that is never closed is bad by
itself: it does not swallow the lines after it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import IO, Any, ClassVar

import polars as pl

from streamlab.connectors.convert import converted, time_in
from streamlab.connectors.formats.base import FileRefused, Format, Target
from streamlab.connectors.formats.text import (
    BOM,
    CHUNK_BYTES,
    Parsed,
    TextParser,
    TextReader,
    lines_of,
    read_halves,
    sample,
    whole_file,
)
from streamlab.connectors.source import Position, Split, SplitReader, Timing
from streamlab.core.errors import OptionError, PlanError, explained
from streamlab.core.time import is_time

_SAMPLE_BYTES = 2**20
_MAX_REPAIRS = 1_000
_HEADER_BYTES = 2**20
_LONGEST_RECORD = 8 * CHUNK_BYTES


@dataclass(frozen=True)
class CsvFormat(Format):
    """CSV and its dialect; the arguments are those of ``pl.scan_csv``.

    Attributes
    ----------
    separator : str
        One character.
    quote_char : str | None
        One character, or None when quotes mean nothing.
    has_header : bool
        Whether the first record holds the column names.
    null_values : tuple[str, ...]
        Texts that mean null, besides the empty field.
    infer_schema_length : int | None
        Rows to look at for the schema; None means the first mebibyte.
    try_parse_dates : bool
        Whether text that looks like a time becomes one; an event time always does.
    overrides : tuple[tuple[str, pl.DataType], ...]
        Dtypes of columns that are not to be inferred.
    """

    separator: str = ","
    quote_char: str | None = '"'
    has_header: bool = True
    null_values: tuple[str, ...] = ()
    infer_schema_length: int | None = 1_000
    try_parse_dates: bool = False
    overrides: tuple[tuple[str, pl.DataType], ...] = field(default=())
    suffixes: ClassVar[tuple[str, ...]] = (".csv", ".tsv", ".txt")

    def __post_init__(self) -> None:
        for name, value in (("separator", self.separator), ("quote_char", self.quote_char)):
            if value is not None and (len(value) != 1 or not value.isascii()):
                raise OptionError(explained(name, needed="one ASCII character", got=repr(value)))

    @property
    def reading(self) -> dict[str, Any]:
        """The options as Polars' reader takes them."""
        return {
            "separator": self.separator,
            "quote_char": self.quote_char,
            "null_values": list(self.null_values) or None,
        }

    def infer(self, path: str, event_time: str | None) -> pl.Schema:
        """Infer from the first records."""
        parser = _CsvParser(self, None)
        data = sample(path, parser, _SAMPLE_BYTES)
        schema = self._infer(data, parser.header, try_parse_dates=self.try_parse_dates)
        overrides = dict(self.overrides)
        if event_time is not None and schema.get(event_time) == pl.String and event_time not in overrides:
            schema[event_time] = self._time_in(data, parser.header, event_time)
        return pl.Schema({**schema, **overrides})

    def _infer(self, data: bytes, header: list[str], *, try_parse_dates: bool) -> pl.Schema:
        if not data.strip():
            return pl.Schema(dict.fromkeys(header, pl.String()))
        options: dict[str, Any] = {
            **self.reading,
            "has_header": False,
            "infer_schema_length": self.infer_schema_length,
            "try_parse_dates": try_parse_dates,
        }
        try:
            frame = pl.read_csv(data, **options)
        except pl.exceptions.PolarsError:
            good = self._whole_records(data, len(header))
            if not good:
                return pl.Schema(dict.fromkeys(header, pl.String()))
            frame = pl.read_csv(good, **options, ignore_errors=True)
        names = header or frame.columns
        return pl.Schema(dict(zip(names, frame.schema.dtypes(), strict=False)))

    def _time_in(self, data: bytes, header: list[str], column: str) -> pl.DataType:
        """Return the time dtype that a text column holds, or String; a few damaged values don't count."""
        dtype = self._infer(data, header, try_parse_dates=True)[column]
        if is_time(dtype):
            return dtype
        target = Target("", "", pl.Schema(dict.fromkeys(header, pl.String())), "coerce", Timing())
        parser = _CsvParser(self, target)
        parser.header = header
        return time_in(parser.parse(data, 1).frame.get_column(column))

    def _whole_records(self, data: bytes, width: int) -> bytes:
        if not width:
            return data
        records = _records(data, 1, width, self)
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


class _CsvParser(TextParser):
    def __init__(self, form: CsvFormat, target: Target | None) -> None:
        self._format = form
        self._target = target
        self.header: list[str] = []

    @property
    def _schema(self) -> pl.Schema:
        return self._target.schema if self._target else pl.Schema()

    def begin(self, file: IO[bytes]) -> tuple[int, int]:
        head = file.read(_HEADER_BYTES)
        start = len(BOM) if head.startswith(BOM) else 0
        if not self._format.has_header:
            self.header = list(self._schema)
            return start, 0
        end = self._header_end(head, start)
        try:
            record = head[start:end].decode()
        except UnicodeDecodeError:
            text = "its first line is not UTF-8"
            raise FileRefused(text) from None
        if record.strip():
            self.header = pl.read_csv(record.encode(), **self._format.reading, infer_schema=False).columns
        if self._target is not None and end > start:
            self._compare_names()
        return end, head.count(b"\n", 0, end)

    def cut(self, data: bytes) -> int:
        end = data.rfind(b"\n") + 1
        if self._format.quote_char is None:
            return end
        quote = self._format.quote_char.encode()
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
        schema = self._schema
        if not data.strip(b"\r\n"):
            return Parsed(pl.DataFrame(schema=schema))
        there = self._file_schema
        try:
            frame = pl.read_csv(data, has_header=False, schema=there, **self._format.reading)
        except pl.exceptions.PolarsError:
            return self._parse_records(data, line)
        if self._may_hide_short_records(frame, data):
            return self._parse_records(data, line)
        return Parsed(self._shaped(frame))

    def check(self, data: bytes) -> None:
        if self._target is None or self._target.policy == "coerce":
            return
        records = _records(data[: self.cut(data[:_SAMPLE_BYTES])] or data, 1, len(self.header), self._format)
        good = records.filter(pl.col("reason").is_null()).get_column("text").to_list()
        frames, _ = read_halves(good, self._read_text)
        if not frames:
            return
        text = pl.concat(frames)
        typed = pl.read_csv(
            "\n".join(good).encode(), has_header=False, schema=self._text_schema, **self._format.reading
        )
        found = []
        for name, dtype in self._schema.items():
            values = text.get_column(name).drop_nulls()
            values = values.filter(values.str.strip_chars() != "")
            if values.len() and self._values_of(values, dtype).null_count() == values.len():
                found.append(f"column {name!r} is no {dtype}, as in {values[0]!r}")
        if found and typed.height:
            raise FileRefused.schema(found)

    # -- the file's columns --------------------------------------------------------------------------------------

    def _header_end(self, head: bytes, start: int) -> int:
        """Return where the header record ends, quoted line ends included."""
        quote = self._format.quote_char.encode() if self._format.quote_char else None
        end = head.find(b"\n", start) + 1
        while end and quote is not None and head.count(quote, start, end) % 2:
            end = head.find(b"\n", end) + 1
        return end or head.find(b"\n", start) + 1 or len(head)

    def _compare_names(self) -> None:
        missing = [f"column {name!r} is missing" for name in self._schema if name not in self.header]
        new = [f"column {name!r} is new" for name in self.header if name not in self._schema]
        if self._target is not None and self._target.policy == "strict" and (missing or new):
            raise FileRefused.schema(missing + new)

    @property
    def _file_schema(self) -> pl.Schema:
        return pl.Schema({name: self._schema.get(name, pl.String()) for name in self.header})

    @property
    def _text_schema(self) -> pl.Schema:
        return pl.Schema(dict.fromkeys(self.header, pl.String()))

    def _shaped(self, frame: pl.DataFrame) -> pl.DataFrame:
        missing = [pl.lit(None, dtype).alias(n) for n, dtype in self._schema.items() if n not in frame.columns]
        return frame.with_columns(missing).select(self._schema.names())

    # -- record by record ----------------------------------------------------------------------------------------

    def _may_hide_short_records(self, frame: pl.DataFrame, data: bytes) -> bool:
        """Return whether fields must be counted: a short record, and a blank line, has null in the last column."""
        width = len(self.header)
        if width <= 1 or not frame.to_series(width - 1).null_count():
            return False
        lines = data.count(b"\n") + (not data.endswith(b"\n"))
        quote = self._format.quote_char
        if quote is not None and quote.encode() in data:
            return True
        return frame.height != lines or data.count(self._format.separator.encode()) != lines * (width - 1)

    def _parse_records(self, data: bytes, line: int) -> Parsed:
        records = _records(data, line, len(self.header), self._format)
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
        for name, dtype in self._file_schema.items():
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
        frame = pl.DataFrame(columns).filter(~failed)
        return Parsed(self._shaped(frame), tuple(bad.select("line", "reason", "text").rows()))

    def _read_text(self, records: Sequence[str]) -> pl.DataFrame:
        data = ("\n".join(records) + "\n").encode()
        return pl.read_csv(data, has_header=False, schema=self._text_schema, **self._format.reading)

    def _values_of(self, text: pl.Series, dtype: pl.DataType) -> pl.Series:
        """Read the texts of one column as Polars' reader reads them, null where it cannot."""
        if dtype == pl.String:
            return text
        column = text.str.strip_chars().to_frame()
        escaped = pl.col(text.name).str.replace_all('"', '""', literal=True).fill_null("")
        data = "\n".join(column.select(pl.format('"{}"', escaped)).to_series()).encode()
        try:
            typed = pl.read_csv(data, has_header=False, schema={text.name: dtype}, ignore_errors=True).to_series()
        except pl.exceptions.PolarsError:
            typed = text.clear()
        return typed if typed.len() == text.len() else converted(column, pl.Schema({text.name: dtype}))[0].to_series()


def _records(data: bytes, line: int, width: int, form: CsvFormat) -> pl.DataFrame:
    """Cut text into records: columns `line` (of the first), `text`, and `reason`, null when the record looks whole."""
    lines, broken = lines_of(data)
    table = pl.DataFrame(
        {
            "line": pl.int_range(line, line + len(lines), eager=True, dtype=pl.Int64),
            "text": pl.Series(lines, dtype=pl.String),
            "broken": pl.Series([at in broken for at in range(len(lines))], dtype=pl.Boolean),
        }
    )
    parts: list[pl.DataFrame] = []
    for _ in range(_MAX_REPAIRS):
        records = _joined(table, width, form)
        torn = records.filter((pl.col("lines") > 1) & pl.col("reason").is_not_null()).head(1)
        if not torn.height:
            parts.append(records)
            break
        at = torn.item(0, "line")
        parts.append(records.filter(pl.col("line") < at))
        # The quote that opens here closes nowhere sensible: this line alone is bad, the next ones are read anew.
        alone = table.filter(pl.col("line") == at).select(
            "line", "text", lines=pl.lit(1, pl.get_index_type()), reason=pl.lit("a quote that is not closed")
        )
        parts.append(alone)
        table = table.filter(pl.col("line") > at)
        if not table.height:
            break
    else:
        parts.append(_joined(table, width, form))
    records = pl.concat(parts).select("line", "text", "reason")
    return records.filter(pl.col("text") != "") if width > 1 else records


def _joined(table: pl.DataFrame, width: int, form: CsvFormat) -> pl.DataFrame:
    """Join the lines that quotes hold together, and count the fields of each record."""
    plain = pl.col("text")
    ends = plain.str.strip_suffix("\r")
    unclosed: pl.Expr = pl.lit(value=False)
    if form.quote_char is None:
        joined = table.with_columns(ends, lines=pl.lit(1, pl.get_index_type()))
    else:
        quote = form.quote_char
        inside = pl.col("text").str.count_matches(quote, literal=True).cum_sum().shift(1, fill_value=0) % 2
        joined = (
            table.group_by((inside == 0).cum_sum().alias("record"), maintain_order=True)
            .agg(pl.col("line").first(), pl.col("text").str.join("\n"), pl.col("broken").any(), pl.len().alias("lines"))
            .select("line", ends, "broken", "lines")
        )
        mark = re.escape(quote)
        plain = plain.str.replace_all(f"{mark}[^{mark}]*{mark}", "")
        unclosed = plain.str.contains(quote, literal=True)
    fields = plain.str.count_matches(form.separator, literal=True) + 1
    wrong_width = pl.format("{} fields, not {}", fields, pl.lit(width))
    reason = (
        pl.when(pl.col("broken"))
        .then(pl.lit("not UTF-8"))
        .when(unclosed)
        .then(pl.lit("a quote that is not closed"))
        .when((fields != width) & (pl.col("text") != ""))
        .then(wrong_width)
    )
    return joined.select("line", "text", "lines", reason.alias("reason"))
