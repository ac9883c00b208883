"""Keys of JSON lines that a schema lacks: readers leave them out, so somebody has to be told."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl


class NewKeys:
    """Finds keys that are not in the schema, each once.

    Parameters
    ----------
    schema
        What is read.
    """

    def __init__(self, schema: pl.Schema) -> None:
        self._schema = schema
        self._told: set[str] = set()

    def found(self, data: bytes, line: int, rows: pl.DataFrame) -> Sequence[tuple[int, str, str]]:
        """Return line, reason and text of the first line with each new key; lines are counted from `line` on.

        Most chunks have none, which is seen by counting: there are as many keys as values in the rows that were read,
        or nulls. What stands within a text may look like a key; then it is looked for in vain.
        """
        keys = data.count(b'":') + data.count(b'" :')
        known = sum(map(_values, rows.get_columns()))
        if keys <= known or keys <= known + data.count(b":null") + data.count(b": null"):
            return []
        new = [path for path in dict.fromkeys(self._missing(data.splitlines())) if path not in self._told]
        self._told.update(new)
        return [self._letter(path, data, line) for path in new]

    def _missing(self, lines: Sequence[bytes]) -> Iterator[str]:
        """Yield the paths of keys that the schema lacks, by halves where lines are bad or contradict each other."""
        try:
            there = pl.read_ndjson(io.BytesIO(b"\n".join(lines)), infer_schema_length=None).schema
        except pl.exceptions.PolarsError:
            middle = len(lines) // 2
            for half in (lines[:middle], lines[middle:]) if middle else ():
                yield from self._missing(half)
        else:
            yield from _missing(pl.Struct(there), pl.Struct(self._schema), "")

    def _letter(self, path: str, data: bytes, line: int) -> tuple[int, str, str]:
        name = path.rpartition(".")[2]
        written = (data.find(json.dumps(name, ensure_ascii=is_escaped).encode()) for is_escaped in (False, True))
        at = next((place for place in written if place >= 0), 0)
        start = data.rfind(b"\n", 0, at) + 1
        text = data[start:].partition(b"\n")[0].decode("utf-8", "replace")
        reason = f"key {path!r} is not in the schema, so it is left out of this row and of all that follow"
        return line + data.count(b"\n", 0, at), reason, text


def _values(column: pl.Series) -> int:
    """Return how many values there are, those within values included."""
    there = column.len() - column.null_count()
    if isinstance(column.dtype, pl.Struct):
        there += sum(map(_values, column.struct.unnest().get_columns()))
    elif isinstance(column.dtype, pl.List | pl.Array) and column.dtype.inner.is_nested():
        there += _values(column.explode()) - column.explode().drop_nulls().len()
    return there


def _missing(there: pl.DataType, known: pl.DataType, path: str) -> Iterator[str]:
    """Yield the paths of fields that `known` lacks, as far as both are structs."""
    if isinstance(there, pl.List | pl.Array) and isinstance(known, pl.List | pl.Array):
        yield from _missing(_of(there.inner), _of(known.inner), path)
    if not isinstance(there, pl.Struct) or not isinstance(known, pl.Struct):
        return
    fields = {part.name: _of(part.dtype) for part in known.fields}
    for part in there.fields:
        if part.name not in fields:
            yield path + part.name
        else:
            yield from _missing(_of(part.dtype), fields[part.name], f"{path}{part.name}.")


def _of(dtype: Any) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()
