"""Columns that no file holds: what the folders of a hive layout say, such as ``day=2024-01-01``, and a file's path."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import unquote

import polars as pl

from streamlab.connectors.files.paths import HAS_WILDCARD
from streamlab.connectors.formats.base import FileRefused
from streamlab.connectors.formats.convert import parsed

_NULL_FOLDER = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class PathColumns:
    """Which columns a file's path gives.

    Attributes
    ----------
    roots : tuple[str, ...]
        Absolute paths, globs and folders that files are found by; folders below them count.
    hive : tuple[tuple[str, pl.DataType], ...]
        Columns from folders whose names are ``name=value``.
    path : str | None
        The column that holds the path itself.
    """

    roots: tuple[str, ...] = ()
    hive: tuple[tuple[str, pl.DataType], ...] = ()
    path: str | None = None

    @property
    def schema(self) -> pl.Schema:
        """The columns."""
        return pl.Schema({**dict(self.hive), **({} if self.path is None else {self.path: pl.String()})})

    def of(self, path: str) -> pl.DataFrame:
        """Return their values for one file, as one row. Raises FileRefused when its folders do not tell them."""
        said = dict(_folders(path, self.roots))
        values = []
        for name, dtype in self.hive:
            if name not in said:
                text = f"no folder {name}=… leads to it"
                raise FileRefused(text)
            value = parsed(pl.Series(name, [said[name]], pl.String), dtype)
            if value[0] is None and said[name] is not None:
                text = f"its folder {name}={said[name]} is no {dtype}"
                raise FileRefused(text)
            values.append(value)
        if self.path is not None:
            values.append(pl.Series(self.path, [path], pl.String))
        return pl.DataFrame(values)


def hive_columns(
    files: Iterable[str], roots: tuple[str, ...], known: Mapping[str, pl.DataType], *, dates: bool
) -> tuple[tuple[str, pl.DataType], ...]:
    """Return the columns of a hive layout: those of the first file, with the dtypes that all values have.

    Parameters
    ----------
    files
        Absolute paths.
    roots
        What they were found by.
    known
        Dtypes that need not be inferred.
    dates
        Whether values that look like times are times.
    """
    layouts = [dict(_folders(path, roots)) for path in files]
    first = layouts[0] if layouts else {}
    return tuple(
        (name, known[name] if name in known else _dtype_of({one[name] for one in layouts if name in one}, dates=dates))
        for name in first
    )


def _dtype_of(values: set[str | None], *, dates: bool) -> pl.DataType:
    texts = sorted(value for value in values if value is not None)
    if not texts or any(set(text) & set(',"\n\r') for text in texts):
        return pl.String()
    data = "\n".join(texts).encode()
    try:
        frame = pl.read_csv(data, has_header=False, infer_schema_length=None, try_parse_dates=dates)
    except pl.exceptions.PolarsError:
        return pl.String()
    dtype = frame.dtypes[0]
    return dtype if parsed(pl.Series(texts), dtype).null_count() == 0 else pl.String()


def _folders(path: str, roots: tuple[str, ...]) -> Iterator[tuple[str, str | None]]:
    """Yield name and value of each folder of a hive layout that leads to a file."""
    below = max((fixed for fixed in map(_fixed, roots) if path.startswith(fixed)), key=len, default="")
    for part in os.path.dirname(path)[len(below) :].split(os.sep):
        name, is_hive, value = part.partition("=")
        if is_hive and name:
            yield unquote(name), None if value in {_NULL_FOLDER, ""} else unquote(value)


def _fixed(root: str) -> str:
    """Return the folder that a path, glob or folder stands in or is, without wildcards; nothing for a file."""
    if os.path.isdir(root):
        return root
    wild = HAS_WILDCARD.search(root)
    return root[: root.rfind(os.sep, 0, wild.start())] if wild else ""
