"""The contract of a file format: infer a schema, list the parts of a file, open one part."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import polars as pl

from streamlab.connectors.contracts.dead_letters import letters
from streamlab.connectors.contracts.source import Position, Split, SplitReader, Timing
from streamlab.core.errors import PlanError, SourceError, explained
from streamlab.core.event_time.time import time_us

if TYPE_CHECKING:
    from streamlab.connectors.formats.text import TextParser

SchemaPolicy = Literal["strict", "coerce"]

UNREADABLE = (OSError, pl.exceptions.PolarsError, pl.exceptions.PanicException)
"""What opening or reading a damaged file raises; Polars panics at some."""


class FileRefused(Exception):
    """A whole file cannot be read as what the source says it is."""

    @classmethod
    def schema(cls, found: Sequence[str]) -> FileRefused:
        """Return the refusal of a file with another schema."""
        return cls(f"another schema: {'; '.join(found)}; schema_policy='coerce' adapts what can be")


@dataclass(frozen=True)
class Fit:
    """How the columns of a file are made those that are expected.

    Attributes
    ----------
    columns : tuple[pl.Expr, ...]
        The expected ones.
    new : tuple[str, ...]
        Those of the file that are left out, which is to be said.
    converts : bool
        Whether values are converted one by one instead, since some may not fit.
    """

    columns: tuple[pl.Expr, ...] = ()
    new: tuple[str, ...] = ()
    converts: bool = False


@dataclass(frozen=True)
class Target:
    """What to read.

    Attributes
    ----------
    step : str
        Name of the source, for dead letters.
    path : str
        The file.
    schema : pl.Schema
        What its rows must look like.
    policy : {"strict", "coerce"}
        What happens if they don't.
    timing : Timing
        Event time of the source.
    beside : frozenset[str]
        Columns that are told by the file's path, whatever the file itself says of them.
    """

    step: str
    path: str
    schema: pl.Schema
    policy: SchemaPolicy
    timing: Timing
    beside: frozenset[str] = frozenset()

    def fit(self, got: pl.Schema) -> Fit:
        """Return how the columns of a file are made those that are expected. Raises FileRefused if they cannot be."""
        got = pl.Schema({name: dtype for name, dtype in got.items() if name not in self.beside})
        others = {n: dtype for n, dtype in self.schema.items() if n in got and got[n] != dtype}
        new = tuple(name for name in got if name not in self.schema)
        if self.policy == "coerce":
            return Fit(tuple(map(pl.col, self.schema)), converts=bool(others or new or len(got) < len(self.schema)))
        safe = {name for name, dtype in others.items() if is_lossless(got[name], dtype)}
        known = pl.Schema({name: self.schema[name] if name in safe else dtype for name, dtype in got.items()})
        found = [text for text in differences(self.schema, known) if not text.endswith(" is new")]
        if found:
            raise FileRefused.schema(found)
        return Fit(tuple(pl.col(n).cast(self.schema[n]) if n in safe else pl.col(n) for n in self.schema), new)


@dataclass(frozen=True)
class Learned:
    """What a file shows of the schema of all.

    Attributes
    ----------
    schema : pl.Schema
        Its columns.
    unsure : frozenset[str]
        Those of which it shows no value, so that another file may know better.
    """

    schema: pl.Schema
    unsure: frozenset[str] = frozenset()

    @classmethod
    def of(cls, schema: pl.Schema) -> Learned:
        """Return what a schema shows: nothing of columns that hold nulls alone."""
        return cls(schema, frozenset(name for name, dtype in schema.items() if dtype == pl.Null))

    def with_another(self, other: Learned) -> Learned:
        """Return what is known when another file has been looked at, too: its dtypes of columns that were unsure."""
        better = {name for name in self.unsure if name in other.schema and name not in other.unsure}
        schema = {name: other.schema[name] if name in better else dtype for name, dtype in self.schema.items()}
        return Learned(pl.Schema(schema), self.unsure - better)


@dataclass(frozen=True)
class Format(ABC):
    """Reads files of one format; holds the format's options.

    Attributes
    ----------
    event_time_format : str | None
        How the event time is written, for formats that hold text; None: in any form that is known.
    """

    event_time_format: str | None = field(default=None, kw_only=True)

    suffixes: ClassVar[tuple[str, ...]]
    """How the names of such files end; other files in a folder are not read."""

    @abstractmethod
    def infer(self, path: str, event_time: str | None) -> Learned:
        """Return what a file shows of the schema. Raises one of `UNREADABLE` or FileRefused when it has none."""

    def check_schema(self, schema: pl.Schema) -> None:
        """Raise PlanError if the format cannot hold a schema that the user gave."""

    @abstractmethod
    def parts(self, target: Target) -> Sequence[Split]:
        """List the parts that a file can be read in, in order; their ids are unique within the file.

        A part's `min_time_us` is a lower bound of its event times. A part whose id is empty is the whole file.
        """

    @abstractmethod
    def open(self, target: Target, part: str, position: Position) -> SplitReader:
        """Start reading a part. Raises one of `UNREADABLE` or FileRefused."""

    def text_parser(self, target: Target) -> TextParser | None:
        """Return what understands a file that is still being written; None for formats that have no lines."""
        return None


def differences(expected: pl.Schema, got: pl.Schema) -> list[str]:
    """Return how a file's schema differs from the expected one, one text each. The order of columns does not matter.

    >>> differences(pl.Schema({"a": pl.Int64(), "b": pl.String()}), pl.Schema({"a": pl.String(), "c": pl.Date()}))
    ["column 'b' is missing", "column 'c' is new", "column 'a' is String, not Int64"]
    """
    parts = [f"column {name!r} is missing" for name in expected if name not in got]
    parts += [f"column {name!r} is new" for name in got if name not in expected]
    parts += [
        f"column {name!r} is {got[name]}, not {dtype}"
        for name, dtype in expected.items()
        if name in got and got[name] != dtype
    ]
    return parts


_INTEGERS = (pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Int128)
_UNSIGNED = (pl.UInt8, pl.UInt16, pl.UInt32, pl.UInt64)
_WHOLE_IN = ((pl.Float32, 16), (pl.Float64, 32))
"""Dtypes of floats, with the widest integers of which they hold every value."""


def is_lossless(got: pl.DataType, wanted: pl.DataType) -> bool:
    """Return whether each value of a dtype is one of another, so that a file may have it in its place.

    >>> is_lossless(pl.Int32(), pl.Int64()), is_lossless(pl.Int64(), pl.Float64())
    (True, False)
    >>> is_lossless(pl.Datetime("ms"), pl.Datetime("us")), is_lossless(pl.Datetime("us"), pl.Datetime("ms"))
    (True, False)
    """
    units = getattr(got, "time_unit", None), getattr(wanted, "time_unit", None)
    match got, wanted:
        case (pl.List(), pl.List()) | (pl.Array(), pl.Array()):
            is_alike = getattr(got, "shape", None) == getattr(wanted, "shape", None)
            inner, wanted_inner = _inner(got), _inner(wanted)
            return is_alike and (inner == wanted_inner or is_lossless(inner, wanted_inner))
        case pl.Datetime(), pl.Datetime():
            return got.time_zone == wanted.time_zone and units == ("ms", "us")
        case pl.Duration(), pl.Duration():
            return units == ("ms", "us")
        case (pl.Null(), _) | (pl.Float32(), pl.Float64()) | ((pl.Categorical() | pl.Enum()), pl.String()):
            return True
    return _is_wider(got, wanted)


def _inner(dtype: Any) -> pl.DataType:
    inner: Any = dtype.inner
    return inner if isinstance(inner, pl.DataType) else inner()


def _is_wider(got: pl.DataType, wanted: pl.DataType) -> bool:
    """Return whether one dtype holds every integer of another one."""
    bits = _bits(got, _INTEGERS) or _bits(got, _UNSIGNED)
    if isinstance(got, _UNSIGNED) and isinstance(wanted, _UNSIGNED):
        return bits < _bits(wanted, _UNSIGNED)
    in_floats = any(isinstance(wanted, kind) and bits <= most for kind, most in _WHOLE_IN)
    return bool(bits) and (bits < _bits(wanted, _INTEGERS) or in_floats)


def _bits(dtype: pl.DataType, kinds: Sequence[type[pl.DataType]]) -> int:
    """Return how wide an integer of one of some kinds is; 0 when it is of none."""
    return next((8 << at for at, kind in enumerate(kinds) if isinstance(dtype, kind)), 0)


def left_out(names: Sequence[str]) -> str:
    """Return what is said of a file's columns that are not expected."""
    shown = ", ".join(map(repr, names))
    return f"column {shown} is new, and left out" if len(names) == 1 else f"columns {shown} are new, and left out"


def file_letter(target: Target, fit: Fit) -> pl.DataFrame | None:
    """Return the dead letter of a file that has columns which are left out; None when it has none."""
    if not fit.new:
        return None
    return letters(target.step, [(left_out(fit.new), os.path.basename(target.path), target.path)])


def begins_us(rows: pl.DataFrame, timing: Timing) -> tuple[int | None, int | None]:
    """Return what a file's first rows tell: a lower bound of all its event times, and the time of the first.

    The bound is what the watermark's delay promises; without a delay there is none.
    """
    if timing.event_time is None or timing.event_time not in rows.columns:
        return None, None
    time = time_us(timing.event_time)
    earliest, first = rows.select(time.min().alias("min"), time.drop_nulls().first().alias("first")).row(0)
    if earliest is None or timing.watermark is None:
        return None, first
    return earliest - timing.watermark.fixed_us("watermark"), first


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, which is what a dead letter has room for."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def cannot_infer(step: str, got: str) -> SourceError:
    """Return the error for input that shows no schema."""
    hint = "give the columns and their dtypes: schema={'t': pl.Datetime('us'), ...}"
    return SourceError(explained(step, needed="at least one readable file to learn its schema", got=got, hint=hint))


def complete_schema(step: str, given: Mapping[str, Any]) -> pl.Schema:
    """Return a user's schema with every dtype complete: ``pl.Datetime`` stands for microseconds without a zone.

    Raises
    ------
    PlanError
        If it is no mapping of names to dtypes.
    """
    try:
        return pl.Schema({name: dtype() if isinstance(dtype, type) else dtype for name, dtype in given.items()})
    except (TypeError, AttributeError) as error:
        hint = "a mapping of column names to Polars dtypes, such as {'t': pl.Datetime('us'), 'n': pl.Int64}"
        raise PlanError(explained(step, needed="a schema", got=first_line(error), hint=hint)) from error
