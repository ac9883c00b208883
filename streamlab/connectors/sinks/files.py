"""Sinks that write files to a folder: Parquet, CSV and lines of JSON. How they become visible: see `part_files`."""

from __future__ import annotations

import os
from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, ClassVar

import polars as pl

from streamlab.connectors.contracts.sink import Guarantee, Sink, SinkContext, SinkWriter
from streamlab.connectors.sinks.not_finite import count_not_finite
from streamlab.connectors.sinks.part_files import PartFileWriter
from streamlab.core.errors import OptionError, SinkError, explained

ROLL_ROWS = 1_000_000
ROLL_BYTES = 256 * 2**20
ROLL_AGE_US = 60_000_000


@dataclass(frozen=True)
class FolderSink(Sink):
    """Writes part files; a sink for each format follows.

    Attributes
    ----------
    folder : str
        Where the files appear; made when it is not there, and what is in it stays.
    roll_rows, roll_bytes : int
        A file is full when it holds as many rows, or as many bytes in memory.
    roll_age_us : int
        Without checkpoints a file is shown when it is this old.
    """

    folder: str
    roll_rows: int = field(default=ROLL_ROWS, kw_only=True)
    roll_bytes: int = field(default=ROLL_BYTES, kw_only=True)
    roll_age_us: int = field(default=ROLL_AGE_US, kw_only=True)
    suffix: ClassVar[str]

    def __post_init__(self) -> None:
        folder = os.path.abspath(os.path.expanduser(self.folder))
        if os.path.exists(folder) and not os.path.isdir(folder):
            raise OptionError(explained(self.name, needed="a folder", got=f"{folder!r}, which is a file"))
        object.__setattr__(self, "folder", folder)
        for name in ("roll_rows", "roll_bytes", "roll_age_us"):
            if getattr(self, name) < 1:
                raise OptionError(explained(self.name, needed=f"{name} above zero", got=repr(getattr(self, name))))

    @property
    def guarantee(self) -> Guarantee:
        """A file's rows are shown by renaming it, once."""
        return "exactly-once"

    @property
    def guarantee_without_checkpoints(self) -> Guarantee:
        """A job that starts again writes its rows again."""
        return "at-least-once"

    def open(self, context: SinkContext) -> SinkWriter:
        """Make the folder. Raises SinkError if that is not possible."""
        return PartFileWriter(self, context)

    def describe(self) -> str:
        """Say where."""
        return f"{self.name}: {self.folder}"

    def check_schema(self, schema: pl.Schema) -> None:
        """Refuse columns that the format cannot hold. Raises SinkError."""
        for name, dtype in schema.items():
            if self.cannot_hold(dtype):
                needed, got = f"types that {self.suffix} files can hold", f"column {name!r} of type {dtype}"
                raise SinkError(explained(self.name, needed=needed, got=got, hint=_hint_for(name, dtype)))

    @abstractmethod
    def cannot_hold(self, dtype: pl.DataType) -> bool:
        """Return whether a column of this dtype cannot be written."""

    def nulled(self, frame: pl.DataFrame) -> int:
        """Return how many values of these rows the format has no word for, so that null is written."""
        return 0

    @abstractmethod
    def encode(self, frame: pl.DataFrame, file: IO[bytes]) -> None:
        """Write rows as one whole file."""


@dataclass(frozen=True)
class ParquetSink(FolderSink):
    """Writes Parquet."""

    suffix: ClassVar[str] = "parquet"

    def cannot_hold(self, dtype: pl.DataType) -> bool:
        """Python objects, and structs without fields, at any depth."""
        return any(isinstance(one, pl.Object) or one == pl.Struct({}) for one in _at_any_depth(dtype))

    def encode(self, frame: pl.DataFrame, file: IO[bytes]) -> None:
        """With statistics, so that reading it can skip."""
        frame.write_parquet(file)


@dataclass(frozen=True)
class CsvSink(FolderSink):
    """Writes CSV, each file with a header."""

    suffix: ClassVar[str] = "csv"

    def cannot_hold(self, dtype: pl.DataType) -> bool:
        """Nested values, bytes, durations and Python objects."""
        return dtype.is_nested() or isinstance(dtype, pl.Binary | pl.Duration | pl.Object)

    def encode(self, frame: pl.DataFrame, file: IO[bytes]) -> None:
        """In Polars' dialect."""
        frame.write_csv(file)


@dataclass(frozen=True)
class NdjsonSink(FolderSink):
    """Writes one JSON object a line."""

    suffix: ClassVar[str] = "ndjson"

    def cannot_hold(self, dtype: pl.DataType) -> bool:
        """Bytes and Python objects, at any depth."""
        return any(isinstance(one, pl.Binary | pl.Object) for one in _at_any_depth(dtype))

    def nulled(self, frame: pl.DataFrame) -> int:
        """Count NaN and infinities."""
        return count_not_finite(frame, infinities=True)

    def encode(self, frame: pl.DataFrame, file: IO[bytes]) -> None:
        """In Polars' form of JSON."""
        frame.write_ndjson(file)


def _at_any_depth(dtype: pl.DataType) -> Iterator[pl.DataType]:
    """Yield a dtype and those of the values within."""
    yield dtype
    if isinstance(dtype, pl.List | pl.Array):
        yield from _at_any_depth(pl.Schema({"inner": dtype.inner})["inner"])
    elif isinstance(dtype, pl.Struct):
        for inner in pl.Schema(dtype.to_schema()).values():
            yield from _at_any_depth(inner)


def _hint_for(name: str, dtype: pl.DataType) -> str:
    """Return what to do with a column that a format cannot hold."""
    column = f"pl.col({name!r})"
    if isinstance(dtype, pl.Duration):
        return f"write a number: {column}.dt.total_microseconds()"
    if isinstance(dtype, pl.Binary):
        return f"write text: {column}.bin.encode('hex')"
    if isinstance(dtype, pl.Struct) and dtype.fields:
        return f"write JSON: {column}.struct.json_encode()"
    return "leave it out, or write another format: sink_parquet(folder)"
