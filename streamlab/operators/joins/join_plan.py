"""One join of two streams as a value that its operators share: what must be equal, and what comes out.

The columns, their names, order and dtypes are those of Polars' own join of two frames, which was asked when the plan
was built.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Literal

import polars as pl

from streamlab.core.own_columns import key_column

LEFT, RIGHT = 0, 1
"""The input ports of the two sides."""


@dataclass(frozen=True)
class JoinPlan:
    """What is joined, by what.

    Attributes
    ----------
    how : {"inner"}
        The kind of join.
    schemas : tuple[pl.Schema, pl.Schema]
        Columns of the rows of both sides.
    keys : tuple[tuple[pl.Expr, ...], tuple[pl.Expr, ...]]
        What must be equal, by position.
    schema : pl.Schema
        Columns of the rows that come out.
    options : Mapping[str, Any]
        Polars' remaining arguments: ``suffix``, ``coalesce``, ``nulls_equal``.
    """

    how: Literal["inner"]
    schemas: tuple[pl.Schema, pl.Schema] = field(repr=False)
    keys: tuple[tuple[pl.Expr, ...], tuple[pl.Expr, ...]] = field(repr=False)
    schema: pl.Schema = field(repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def key_columns(self) -> tuple[str, ...]:
        """Names of the keys inside, the same for both sides, whatever users call them."""
        # Polars takes no two keys of one name.
        return tuple(key_column(key.meta.output_name()) for key in self.keys[LEFT])

    @cached_property
    def key_schema(self) -> pl.Schema:
        """The keys inside: of dtypes that hold those of both sides."""
        left, right = (
            pl.LazyFrame(schema=schema).select(self._named(keys)).collect_schema()
            for schema, keys in zip(self.schemas, self.keys, strict=True)
        )
        return pl.Schema({name: _common(left[name], right[name]) for name in self.key_columns})

    @property
    def matches_nulls(self) -> bool:
        """Whether null is a key like any other."""
        return bool(self.options.get("nulls_equal"))

    @cached_property
    def right_columns(self) -> dict[str, str]:
        """The columns of the right side that come out, each with its name there."""
        wanted = list(self.schema)[len(self.schemas[LEFT]) :]
        suffix = self.options.get("suffix") or "_right"
        given = {name: name + suffix if name in self.schemas[LEFT] else name for name in self.schemas[RIGHT]}
        return {name: shown for name, shown in given.items() if shown in wanted}

    def keyed(self, rows: pl.LazyFrame, side: int) -> pl.LazyFrame:
        """Return rows of one side with their keys beside them, without those that can match nothing."""
        columns = self._named(self.keys[side])
        cast = [pl.col(name).cast(dtype) for name, dtype in self.key_schema.items()]
        keyed = rows.with_columns(columns).with_columns(cast)
        floats = [pl.col(name) for name, dtype in self.key_schema.items() if dtype.is_float()]
        # 0.0 and -0.0 are one key, so they must look alike; not by adding zero, which Polars takes for nothing.
        keyed = keyed.with_columns(pl.when(key != 0).then(key).otherwise(key.abs()) for key in floats)
        return keyed if self.matches_nulls else keyed.drop_nulls(self.key_columns)

    def joined(self, left: pl.DataFrame, right: pl.DataFrame) -> pl.DataFrame:
        """Return the rows that come out of pairs of rows, a pair in each line of both frames."""
        beside = right[list(self.right_columns)].rename(self.right_columns)
        return left[self.schemas[LEFT].names()].hstack(beside.get_columns())

    def _named(self, keys: tuple[pl.Expr, ...]) -> list[pl.Expr]:
        return [key.alias(name) for key, name in zip(keys, self.key_columns, strict=True)]


def _common(left: pl.DataType, right: pl.DataType) -> pl.DataType:
    """Return the dtype that holds keys of both sides; of two kinds of integers one in which none is rounded."""
    if left == right:
        return left
    both = pl.concat([pl.Series(dtype=left).to_frame(), pl.Series(dtype=right).to_frame()], how="vertical_relaxed")
    (dtype,) = both.dtypes
    return dtype if dtype.is_integer() else pl.Int128()
