"""NDJSON: one JSON object a line.

Polars' reader takes whole chunks. Only when it refuses one are the lines looked at: those that are no JSON object, and
those with a value that is not of its column's type, become dead letters. Blank lines are no records. A key that the
schema lacks is left out of its row, which a dead letter says once for each file.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import polars as pl

from streamlab.connectors.contracts.source import Position, Split, SplitReader
from streamlab.connectors.formats.base import FileRefused, Format, Learned, Target
from streamlab.connectors.formats.convert import converted, parsed
from streamlab.connectors.formats.ndjson_keys import NewKeys
from streamlab.connectors.formats.text import (
    BOM,
    Parsed,
    TextParser,
    TextReader,
    lines_of,
    read_halves,
    sample,
    whole_file,
)
from streamlab.connectors.formats.time_text import time_in
from streamlab.core.errors import PlanError, explained
from streamlab.core.event_time.time import is_time

_READABLE = (pl.Int32, pl.Int64, pl.UInt32, pl.UInt64, pl.Float32, pl.Float64, pl.Boolean, pl.String, pl.Date)
_SAMPLE_BYTES = 2**20


@dataclass(frozen=True)
class NdjsonFormat(Format):
    """NDJSON.

    Attributes
    ----------
    infer_schema_length : int | None
        Objects to look at for the schema; None means the first mebibyte.
    overrides : tuple[tuple[str, pl.DataType], ...]
        Dtypes of columns that are not to be inferred.
    """

    infer_schema_length: int | None = None
    overrides: tuple[tuple[str, pl.DataType], ...] = field(default=())

    suffixes: ClassVar[tuple[str, ...]] = (".ndjson", ".jsonl", ".json")

    def infer(self, path: str, event_time: str | None) -> Learned:
        """Infer from the first objects; an event time in text or numbers is read as what it says."""
        data = sample(path, _NdjsonParser(self, None), _SAMPLE_BYTES)
        schema = infer_objects(data, self.infer_schema_length)
        if not schema:
            text = "it has no line with a JSON object"
            raise FileRefused(text)
        overrides = dict(self.overrides)
        known = schema.get(event_time or "")
        if (
            event_time is not None
            and event_time not in overrides
            and known is not None
            and (known == pl.String or known.is_numeric())
        ):
            lines = pl.read_ndjson(io.BytesIO(b"\n".join(_objects(data))), schema={event_time: pl.String()})
            dtype = time_in(lines.get_column(event_time), self.event_time_format)
            schema[event_time] = dtype if is_time(dtype) else known
        unsure = frozenset(name for name, dtype in schema.items() if dtype == pl.Null)
        return Learned(pl.Schema({**schema, **overrides}), unsure - overrides.keys())

    def check_schema(self, schema: pl.Schema) -> None:
        """Refuse what JSON has no form for."""
        for name, dtype in schema.items():
            if not _is_nested(dtype) and isinstance(dtype, pl.Binary | pl.Object):
                got = f"column {name!r} of type {dtype}"
                raise PlanError(explained("scan_ndjson", needed="types that JSON can hold", got=got))

    def parts(self, target: Target) -> Sequence[Split]:
        """One: the file."""
        return whole_file(target, _NdjsonParser(self, target))

    def open(self, target: Target, part: str, position: Position) -> SplitReader:
        """Read from a chunk's offset."""
        return TextReader(target, _NdjsonParser(self, target), position)

    def text_parser(self, target: Target) -> TextParser:
        """Return what understands a file's lines."""
        return _NdjsonParser(self, target)


class _NdjsonParser(TextParser):
    def __init__(self, form: NdjsonFormat, target: Target | None) -> None:
        self._target = target
        column = target.timing.event_time if target else None
        said = form.event_time_format
        self._forms = {column: said} if column is not None and said is not None else {}
        self._new_keys = NewKeys(target.schema) if target is not None and target.policy == "strict" else None

    def begin(self, head: bytes) -> tuple[int, int]:
        return (len(BOM), 0) if head.startswith(BOM) else (0, 0)

    def cut(self, data: bytes) -> int:
        return data.rfind(b"\n") + 1

    def parse(self, data: bytes, line: int) -> Parsed:
        rows = parse_objects(data, self._schema, line, self._forms)
        new = self._new_keys.found(data, line, rows.frame) if self._new_keys is not None else ()
        return Parsed(rows.frame, (*rows.bad, *new)) if new else rows

    @property
    def told(self) -> str:
        return self._new_keys.told if self._new_keys is not None else ""

    def recall(self, told: str) -> None:
        if self._new_keys is not None:
            self._new_keys.recall(told)

    def check(self, data: bytes, parsed: Parsed) -> None:
        if self._target is None or self._target.policy == "coerce":
            return
        data = data if len(data) <= _SAMPLE_BYTES else data[: self.cut(data[:_SAMPLE_BYTES])] or data
        got = infer_objects(data)
        if not got:
            return
        expected = self._schema
        found = [f"column {name!r} is missing" for name in expected if name not in got]
        # A column of another type leaves no good line.
        for name, dtype in expected.items() if parsed.bad else ():
            if name in got and got[name] != dtype and _none_fits(data, name, dtype, self._forms.get(name)):
                found.append(f"column {name!r} is {got[name]}, not {dtype}")
        if found:
            raise FileRefused.schema(found)

    @property
    def _schema(self) -> pl.Schema:
        return self._target.schema if self._target else pl.Schema()


def parse_objects(data: bytes, schema: pl.Schema, line: int, forms: Mapping[str, str] | None = None) -> Parsed:
    """Parse lines of JSON, the first of which is line `line`; bad lines are kept apart.

    `forms` says how the times of columns are written, where that is known.
    """
    if not data.strip():
        return Parsed(pl.DataFrame(schema=schema))
    forms = forms or {}
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    carrier = {name: pl.String() if name in forms else _carrier(dtype) for name, dtype in schema.items()}
    text_times = {name: pl.String() if is_time(dtype) else carrier[name] for name, dtype in schema.items()}
    for read in (carrier, text_times) if text_times != carrier else (carrier,):
        frame = _typed(data, pl.Schema(read), schema, forms)
        if frame is not None and frame.height == lines:
            return Parsed(frame)
    return _parse_lines(data, schema, line, forms)


def _typed(data: bytes, carrier: pl.Schema, schema: pl.Schema, forms: Mapping[str, str]) -> pl.DataFrame | None:
    """Return the rows of whole chunks; None when a value is no good."""
    try:
        frame = pl.read_ndjson(data, schema=carrier)
    except pl.exceptions.PolarsError:
        return None
    if carrier == schema:
        return frame
    frame, reasons = converted(frame, schema, forms)
    return frame if reasons.null_count() == reasons.len() else None


def infer_objects(data: bytes, rows: int | None = None) -> pl.Schema:
    """Return the schema that the JSON objects among these lines show; empty when there is none.

    Where objects contradict each other, the first ones count.
    """
    good = _objects(data)
    while good:
        try:
            return pl.read_ndjson(io.BytesIO(b"\n".join(good)), infer_schema_length=rows).schema
        except pl.exceptions.PolarsError:
            good = good[: len(good) // 2]
    return pl.Schema()


def _parse_lines(data: bytes, schema: pl.Schema, line: int, forms: Mapping[str, str]) -> Parsed:
    """Parse what holds bad lines: drop those that are no objects, then read flat columns as text and convert them."""
    texts, broken = lines_of(data)
    all_lines = pl.DataFrame({"text": pl.Series(texts, dtype=pl.String).str.strip_chars_end()})
    all_lines = all_lines.with_row_index("at", offset=line)
    broken_lines = pl.Series([line + at for at in broken], dtype=pl.get_index_type())
    whole = pl.col("text").str.json_path_match("$").str.starts_with("{").fill_null(value=False)
    all_lines = all_lines.filter(pl.col("text") != "").with_columns(
        pl.when(pl.col("at").is_in(broken_lines.implode()))
        .then(pl.lit("not UTF-8"))
        .when(~whole)
        .then(pl.lit("not a JSON object"))
        .alias("reason")
    )
    good = all_lines.filter(pl.col("reason").is_null())
    text_schema = pl.Schema({n: dtype if _is_nested(dtype) else pl.String() for n, dtype in schema.items()})
    frames, refused = read_halves(
        good.get_column("text").to_list(),
        lambda some: pl.read_ndjson(io.BytesIO("\n".join(some).encode()), schema=text_schema),
    )
    if refused:
        why = pl.DataFrame(refused, schema={"index": pl.get_index_type(), "refused": pl.String()}, orient="row")
        good = good.with_row_index().join(why, on="index", how="left").drop("index", "reason")
        bad = good.filter(pl.col("refused").is_not_null()).rename({"refused": "reason"})
        good = good.filter(pl.col("refused").is_null()).drop("refused")
    else:
        bad = good.clear()
    frame = pl.concat(frames) if frames else pl.DataFrame(schema=text_schema)
    frame, reasons = converted(frame, schema, forms)
    failed = reasons.is_not_null()
    wrong = good.select("at", "text").with_columns(reasons.alias("reason")).filter(failed)
    columns = ["at", "reason", "text"]
    letters = pl.concat(
        [all_lines.filter(pl.col("reason").is_not_null()).select(columns), bad.select(columns), wrong.select(columns)]
    ).sort("at")
    return Parsed(frame.filter(~failed), tuple(letters.rows()))


def _objects(data: bytes) -> list[bytes]:
    texts, broken = lines_of(data)
    lines = pl.Series("text", [text for at, text in enumerate(texts) if at not in broken], dtype=pl.String)
    whole = lines.str.json_path_match("$").str.starts_with("{").fill_null(value=False)
    return [text.encode() for text in lines.filter(whole)]


def _none_fits(data: bytes, name: str, dtype: pl.DataType, form: str | None) -> bool:
    """Return whether a column has values, but none of the expected type: then the file differs, not a line."""
    lines = b"\n".join(_objects(data))
    if _is_nested(dtype):
        fitting = parse_objects(lines, pl.Schema({name: dtype}), 1).frame.get_column(name)
        return fitting.len() == fitting.null_count()
    text = pl.read_ndjson(io.BytesIO(lines), schema={name: pl.String()}).get_column(name)
    return parsed(text, dtype, form).null_count() == text.len() > text.null_count()


def _carrier(dtype: pl.DataType) -> pl.DataType:
    """Return the dtype that Polars' JSON reader is asked for; it ends the process on others."""
    if isinstance(dtype, _READABLE) or _is_nested(dtype) or isinstance(dtype, pl.Datetime | pl.Null):
        return dtype
    return pl.Int64() if dtype.is_integer() and not isinstance(dtype, pl.Int128 | pl.UInt128) else pl.String()


def _is_nested(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.List | pl.Array | pl.Struct)
