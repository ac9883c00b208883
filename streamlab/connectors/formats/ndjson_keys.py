"""Keys of JSON lines that a schema lacks: readers leave them out, so somebody has to be told."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

_NULLS = (b'":null', b'": null', b'" :null', b'" : null')
_MOST = 100
"""So many keys are said of each file, since positions in it hold them."""
Path = tuple[str, ...]
"""A key, with those that it stands under before it."""


class NewKeys:
    """Finds keys that are not in the schema, each once.

    Parameters
    ----------
    schema
        What is read.
    """

    def __init__(self, schema: pl.Schema) -> None:
        self._schema = schema
        self._told: dict[Path, None] = {}

    @property
    def told(self) -> str:
        """Those that were found, as text for a position; empty when there are none."""
        return json.dumps([*self._told], separators=(",", ":")) if self._told else ""

    def recall(self, told: str) -> None:
        """Take those for found that somebody else has found, who has read the file up to here."""
        self._told |= dict.fromkeys(map(tuple, json.loads(told)) if told else ())

    def found(self, data: bytes, line: int, rows: pl.DataFrame) -> Sequence[tuple[int, str, str]]:
        """Return line, reason and text of the first line with each new key; lines are counted from `line` on.

        Most chunks have none, which is seen by counting: there are as many keys as values in the rows that were read,
        or nulls. What stands within a text may look like a key; then it is looked for in vain.
        """
        keys = data.count(b'":') + data.count(b'" :')
        known = sum(map(_values, rows.get_columns()))
        if keys <= known or keys <= known + sum(map(data.count, _NULLS)) or len(self._told) >= _MOST:
            return []
        lines = data.split(b"\n")
        new = [path for path in dict.fromkeys(self._missing(lines)) if path not in self._told]
        new = new[: _MOST - len(self._told)]
        self._told |= dict.fromkeys(new)
        at = _first_lines(lines, new)
        last = new[-1] if len(self._told) == _MOST else None
        found = [(at[path], _reason(path, is_last=path == last)) for path in new]
        return [(line + place, why, lines[place].decode("utf-8", "replace")) for place, why in sorted(found)]

    def _missing(self, lines: Sequence[bytes]) -> Iterator[Path]:
        """Yield the paths of keys that the schema lacks, by halves where lines are bad or contradict each other."""
        try:
            there = pl.read_ndjson(io.BytesIO(b"\n".join(lines)), infer_schema_length=None).schema
        except pl.exceptions.PolarsError:
            middle = len(lines) // 2
            for half in (lines[:middle], lines[middle:]) if middle else ():
                yield from self._missing(half)
        else:
            yield from _missing(pl.Struct(there), pl.Struct(self._schema), ())


def _reason(path: Path, *, is_last: bool) -> str:
    more = "; keys that come after this one are not said" if is_last else ""
    return f"key {'.'.join(path)!r} is not in the schema, so it is left out of this row and of all that follow{more}"


def _first_lines(lines: Sequence[bytes], paths: Sequence[Path]) -> dict[Path, int]:
    """Return in which line each key comes first; where a key's name stands for another one does not count."""
    left = {path: tuple(json.dumps(path[-1], ensure_ascii=e).encode() for e in (False, True)) for path in paths}
    found = dict.fromkeys(paths, 0)
    for at, line in enumerate(lines):
        if not left:
            break
        # A name may be written with any of its letters escaped.
        if b"\\" not in line and not any(name in line for names in left.values() for name in names):
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        for path in [path for path in left if _has(value, path)]:
            found[path] = at
            del left[path]
    return found


def _has(value: object, path: Path) -> bool:
    """Return whether a value has a key, in any element of the lists on the way."""
    if isinstance(value, list):
        return any(_has(one, path) for one in value)
    return not path or (isinstance(value, dict) and path[0] in value and _has(value[path[0]], path[1:]))


def _values(column: pl.Series) -> int:
    """Return how many values there are, those within values included."""
    there = column.len() - column.null_count()
    if isinstance(column.dtype, pl.Struct):
        there += sum(map(_values, column.struct.unnest().get_columns()))
    elif isinstance(column.dtype, pl.List | pl.Array) and column.dtype.inner.is_nested():
        there += _values(column.explode()) - column.explode().drop_nulls().len()
    return there


def _missing(there: pl.DataType, known: pl.DataType, path: Path) -> Iterator[Path]:
    """Yield the paths of fields that `known` lacks, as far as both are structs."""
    if isinstance(there, pl.List | pl.Array) and isinstance(known, pl.List | pl.Array):
        yield from _missing(_of(there.inner), _of(known.inner), path)
    if not isinstance(there, pl.Struct) or not isinstance(known, pl.Struct):
        return
    fields = {part.name: _of(part.dtype) for part in known.fields}
    for part in there.fields:
        if part.name not in fields:
            yield (*path, part.name)
        else:
            yield from _missing(_of(part.dtype), fields[part.name], (*path, part.name))


def _of(dtype: Any) -> pl.DataType:
    return dtype if isinstance(dtype, pl.DataType) else dtype()
