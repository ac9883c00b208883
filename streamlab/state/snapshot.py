"""What an operator's state looks like from outside, and how it is cut anew for another parallelism."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import polars as pl

Scalar = int | float | str | bool | None

KEY_GROUPS = 128
"""Into so many groups all keys are divided: a subtask has some of them, so there are at most so many subtasks."""


@dataclass(frozen=True)
class Snapshot:
    """State of one operator of one subtask: references to immutable frames, so taking it costs nothing.

    Attributes
    ----------
    keyed : Mapping[str, tuple[pl.DataFrame, ...]]
        Frames whose rows belong to keys. Every frame has the columns `key_columns`; on rescaling each row goes to the
        subtask of its key. Order of frames and of rows is kept.
    values : Mapping[str, Scalar]
        What is not per key, such as the watermark. On rescaling each new subtask sees the values of every old one and
        keeps the smallest of each name (numbers) or the first.
    key_columns : tuple[str, ...]
        Empty for state without a key: it all goes to subtask 0.
    """

    keyed: Mapping[str, tuple[pl.DataFrame, ...]] = field(default_factory=dict)
    values: Mapping[str, Scalar] = field(default_factory=dict)
    key_columns: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        """Estimated size of all frames."""
        return sum(int(frame.estimated_size()) for frames in self.keyed.values() for frame in frames)

    @property
    def rows(self) -> int:
        """Rows in all frames."""
        return sum(frame.height for frames in self.keyed.values() for frame in frames)


def key_group_of(key_columns: Sequence[str], schema: pl.Schema) -> pl.Expr:
    """Return the expression for the key group (UInt64, ``0 … KEY_GROUPS - 1``) that a row's key belongs to.

    Equal keys are in one group in every process on one version of Polars; state never relies on more than that, since
    it stores key columns, not hashes. Nulls are a key like any other. Categories are hashed by their text.
    """
    columns = [
        pl.col(name).cast(pl.String) if isinstance(schema[name], pl.Categorical | pl.Enum) else pl.col(name)
        for name in key_columns
    ]
    if not columns:
        return pl.lit(0, pl.UInt64)
    hashed = columns[0].hash(seed=0x5EED) if len(columns) == 1 else pl.struct(columns).hash(seed=0x5EED)
    return hashed % pl.lit(KEY_GROUPS, pl.UInt64)


def groups_of(subtask: int, parallelism: int) -> range:
    """Return the key groups of a subtask: a range, so that what is stored by group can be read by subtask.

    >>> [groups_of(subtask, 3) for subtask in range(3)]
    [range(0, 43), range(43, 86), range(86, 128)]
    """
    first, end = (-(-KEY_GROUPS * number // parallelism) for number in (subtask, subtask + 1))
    return range(first, end)


def subtask_of(key_columns: Sequence[str], parallelism: int, schema: pl.Schema) -> pl.Expr:
    """Return the expression for the subtask (UInt64, ``0 … parallelism - 1``) that a row's key belongs to.

    It is that of the key's group (Flink: ``KeyGroupRangeAssignment``).
    """
    group = key_group_of(key_columns, schema)
    return group * pl.lit(parallelism, pl.UInt64) // pl.lit(KEY_GROUPS, pl.UInt64)


def regroup(snapshots: Sequence[Snapshot], subtask: int, parallelism: int) -> Snapshot:
    """Return the state that `subtask` of `parallelism` starts with, from all old subtasks' snapshots."""
    key_columns = next((s.key_columns for s in snapshots if s.key_columns), ())
    keyed: dict[str, tuple[pl.DataFrame, ...]] = {}
    for snapshot in snapshots:
        for name, frames in snapshot.keyed.items():
            mine = [f.filter(subtask_of(key_columns, parallelism, f.schema) == subtask) for f in frames]
            keyed[name] = keyed.get(name, ()) + tuple(f for f in mine if f.height)
    values: dict[str, Scalar] = {}
    for snapshot in snapshots:
        for name, value in snapshot.values.items():
            known = values.setdefault(name, value)
            if isinstance(value, int | float) and isinstance(known, int | float):
                values[name] = min(known, value)
    return Snapshot(keyed, values, key_columns)
