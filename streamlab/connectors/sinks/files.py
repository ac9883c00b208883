"""Sinks that write files to a folder: Parquet, CSV and lines of JSON. How they become visible: see `part_files`."""

from __future__ import annotations

import os
from abc import abstractmethod
from dataclasses import dataclass, field
from typing import IO, ClassVar

import polars as pl

from streamlab.connectors.sink import Guarantee, Sink, SinkContext, SinkWriter
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
                got = f"column {name!r} of type {dtype}"
                raise SinkError(explained(self.name, needed=f"types that {self.suffix} files can hold", got=got))

    @abstractmethod
    def cannot_hold(self, dtype: pl.DataType) -> bool:
        """Return whether a column of this dtype cannot be written."""

    @abstractmethod
    def encode(self, frame: pl.DataFrame, file: IO[bytes]) -> None:
        """Write rows as one whole file."""


@dataclass(frozen=True)
class ParquetSink(FolderSink):
    """Writes Parquet."""

    suffix: ClassVar[str] = "parquet"

    def cannot_hold(self, dtype: pl.DataType) -> bool:
        """Python objects only."""
        return isinstance(dtype, pl.Object)

    def encode(self, frame: pl.DataFrame, file: IO[bytes]) -> None:
        """With statistics, so that reading it can skip."""
        frame.write_parquet(file)


@dataclass(frozen=True)
class CsvSink(FolderSink):
    """Writes CSV, each file with a header."""

    suffix: ClassVar[str] = "csv"

    def cannot_hold(self, dtype: pl.DataType) -> bool:
        """Nested values, bytes and Python objects."""
        return dtype.is_nested() or isinstance(dtype, pl.Binary | pl.Object)

    def encode(self, frame: pl.DataFrame, file: IO[bytes]) -> None:
        """In Polars' dialect."""
        frame.write_csv(file)


@dataclass(frozen=True)
class NdjsonSink(FolderSink):
    """Writes one JSON object a line."""

    suffix: ClassVar[str] = "ndjson"

    def cannot_hold(self, dtype: pl.DataType) -> bool:
        """Bytes and Python objects, at any depth."""
        if isinstance(dtype, pl.List | pl.Array):
            return self.cannot_hold(pl.Schema({"inner": dtype.inner})["inner"])
        if isinstance(dtype, pl.Struct):
            return any(self.cannot_hold(inner) for inner in pl.Schema(dtype.to_schema()).values())
        return isinstance(dtype, pl.Binary | pl.Object)

    def encode(self, frame: pl.DataFrame, file: IO[bytes]) -> None:
        """In Polars' form of JSON."""
        frame.write_ndjson(file)
