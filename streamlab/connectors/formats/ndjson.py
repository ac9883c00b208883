"""NDJSON: one JSON object a line.

Polars' reader takes whole chunks. Only when it refuses one are the lines looked at: those that are no JSON object, and
those with a value that is not of its column's type, become dead letters. Blank lines are no records.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, ClassVar

import polars as pl

from streamlab.connectors.convert import converted, parsed, time_in
from streamlab.connectors.formats.base import FileRefused, Format, Target
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
from streamlab.connectors.source import Position, Split, SplitReader
from streamlab.core.errors import PlanError, explained

_READABLE = (pl.Int32, pl.Int64, pl.UInt32, pl.UInt64, pl.Float32, pl.Float64, pl.Boolean, pl.String, pl.Date)
_SAMPLE_BYTES = 2**20


@dataclass(frozen=True)
class NdjsonFormat(Format):
    """NDJSON, without options."""

    suffixes: ClassVar[tuple[str, ...]] = (".ndjson", ".jsonl", ".json")

    def infer(self, path: str, event_time: str | None) -> pl.Schema:
        """Infer from the first mebibyte; an event time in text is read as what it says."""
        data = sample(path, _NdjsonParser(None), _SAMPLE_BYTES)
        schema = infer_objects(data)
        if not schema:
            text = "it has no line with a JSON object"
            raise FileRefused(text)
        if event_time is not None and schema.get(event_time) == pl.String:
            lines = pl.read_ndjson(io.BytesIO(b"\n".join(_objects(data))), schema={event_time: pl.String()})
            schema[event_time] = time_in(lines.get_column(event_time))
        return schema

    def check_schema(self, schema: pl.Schema) -> None:
        """Refuse what JSON has no form for."""
        for name, dtype in schema.items():
            if not _is_nested(dtype) and isinstance(dtype, pl.Binary | pl.Object):
                got = f"column {name!r} of type {dtype}"
                raise PlanError(explained("scan_ndjson", needed="types that JSON can hold", got=got))

    def parts(self, target: Target) -> Sequence[Split]:
        """One: the file."""
        return whole_file(target, _NdjsonParser(target))

    def open(self, target: Target, part: str, position: Position) -> SplitReader:
        """Read from a chunk's offset."""
        return TextReader(target, _NdjsonParser(target), position)


class _NdjsonParser(TextParser):
    def __init__(self, target: Target | None) -> None:
        self._target = target

    def begin(self, file: IO[bytes]) -> tuple[int, int]:
        return (len(BOM), 0) if file.read(len(BOM)) == BOM else (0, 0)

    def cut(self, data: bytes) -> int:
        return data.rfind(b"\n") + 1

    def parse(self, data: bytes, line: int) -> Parsed:
        return parse_objects(data, self._schema, line)

    def check(self, data: bytes) -> None:
        if self._target is None or self._target.policy == "coerce":
            return
        data = data if len(data) <= _SAMPLE_BYTES else data[: self.cut(data[:_SAMPLE_BYTES])] or data
        got = infer_objects(data)
        if not got:
            return
        expected = self._schema
        found = [f"column {name!r} is missing" for name in expected if name not in got]
        found += [f"column {name!r} is new" for name in got if name not in expected]
        for name, dtype in expected.items():
            if name in got and got[name] != dtype and _none_fits(data, name, dtype):
                found.append(f"column {name!r} is {got[name]}, not {dtype}")
        if found:
            raise FileRefused.schema(found)

    @property
    def _schema(self) -> pl.Schema:
        return self._target.schema if self._target else pl.Schema()


def parse_objects(data: bytes, schema: pl.Schema, line: int) -> Parsed:
    """Parse lines of JSON, the first of which is line `line`; bad lines are kept apart."""
    if not data.strip():
        return Parsed(pl.DataFrame(schema=schema))
    carrier = pl.Schema({name: _carrier(dtype) for name, dtype in schema.items()})
    lines = data.count(b"\n") + (not data.endswith(b"\n"))
    try:
        frame = pl.read_ndjson(data, schema=carrier)
        if carrier != schema:
            frame, reasons = converted(frame, schema)
            if reasons.null_count() < reasons.len():
                return _parse_lines(data, schema, line)
    except pl.exceptions.PolarsError:
        return _parse_lines(data, schema, line)
    return Parsed(frame) if frame.height == lines else _parse_lines(data, schema, line)


def infer_objects(data: bytes) -> pl.Schema:
    """Return the schema that the JSON objects among these lines show; empty when there is none.

    Where objects contradict each other, the first ones count.
    """
    good = _objects(data)
    while good:
        try:
            return pl.read_ndjson(io.BytesIO(b"\n".join(good)), infer_schema_length=None).schema
        except pl.exceptions.PolarsError:
            good = good[: len(good) // 2]
    return pl.Schema()


def _parse_lines(data: bytes, schema: pl.Schema, line: int) -> Parsed:
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
    frame, reasons = converted(frame, schema)
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


def _none_fits(data: bytes, name: str, dtype: pl.DataType) -> bool:
    """Return whether a column has values, but none of the expected type: then the file differs, not a line."""
    lines = b"\n".join(_objects(data))
    if _is_nested(dtype):
        fitting = parse_objects(lines, pl.Schema({name: dtype}), 1).frame.get_column(name)
        return fitting.len() == fitting.null_count()
    text = pl.read_ndjson(io.BytesIO(lines), schema={name: pl.String()})
    values = text.select(pl.col(name), parsed(pl.col(name), dtype).alias("value"))
    return values.get_column("value").null_count() == values.height > values.get_column(name).null_count()


def _carrier(dtype: pl.DataType) -> pl.DataType:
    """Return the dtype that Polars' JSON reader is asked for; it ends the process on others."""
    if isinstance(dtype, _READABLE) or _is_nested(dtype) or isinstance(dtype, pl.Datetime | pl.Null):
        return dtype
    return pl.Int64() if dtype.is_integer() and not isinstance(dtype, pl.Int128 | pl.UInt128) else pl.String()


def _is_nested(dtype: pl.DataType) -> bool:
    return isinstance(dtype, pl.List | pl.Array | pl.Struct)
