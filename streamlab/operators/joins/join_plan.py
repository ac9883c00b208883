"""One join of two streams as a value that its operators share: what must be equal, and what comes out.

The columns, their names, order and dtypes are those of Polars' own join of two frames.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import polars as pl

from streamlab.core.column_names.own_columns import key_column
from streamlab.operators.joins.join_columns import How, Origin, origins

LEFT, RIGHT = 0, 1
"""The input ports of the two sides."""


@dataclass(frozen=True)
class JoinPlan:
    """What is joined, by what.

    Attributes
    ----------
    how : How
        The kind of join.
    schemas : tuple[pl.Schema, pl.Schema]
        Columns of the rows of both sides.
    keys : tuple[tuple[pl.Expr, ...], tuple[pl.Expr, ...]]
        What must be equal, by position.
    schema : pl.Schema
        Columns of the rows that come out.
    options : Mapping[str, Any]
        Polars' remaining arguments: ``suffix``, ``coalesce``, ``nulls_equal``.
    updating : tuple[bool, bool]
        Whether rows of a side can be taken back.
    """

    how: How
    schemas: tuple[pl.Schema, pl.Schema] = field(repr=False)
    keys: tuple[tuple[pl.Expr, ...], tuple[pl.Expr, ...]] = field(repr=False)
    schema: pl.Schema = field(repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)
    updating: tuple[bool, bool] = (False, False)

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
    def gives_changes(self) -> bool:
        """Whether a row that was given can be taken back."""
        return any(self.updating) or self.how not in {"inner", "semi"}

    @cached_property
    def pads(self) -> tuple[bool, bool]:
        """Whether rows of a side come out without a match, too, with nulls for the other side."""
        return self.how in {"left", "full"}, self.how in {"right", "full"}

    @property
    def matches_nulls(self) -> bool:
        """Whether null is a key like any other."""
        return bool(self.options.get("nulls_equal"))

    def keeps_nulls(self, side: int) -> bool:
        """Whether rows without a key are of use, though they match nothing."""
        return self.matches_nulls or self.pads[side] or (self.how == "anti" and side == LEFT)

    def keyed(self, rows: pl.LazyFrame, side: int) -> pl.LazyFrame:
        """Return rows of one side with their keys beside them, without those that nobody needs."""
        columns = self._named(self.keys[side])
        cast = [pl.col(name).cast(dtype) for name, dtype in self.key_schema.items()]
        keyed = rows.with_columns(columns).with_columns(cast)
        floats = [pl.col(name) for name, dtype in self.key_schema.items() if dtype.is_float()]
        # 0.0 and -0.0 are one key, so they must look alike; not by adding zero, which Polars takes for nothing.
        keyed = keyed.with_columns(pl.when(key != 0).then(key).otherwise(key.abs()) for key in floats)
        return keyed if self.keeps_nulls(side) else keyed.drop_nulls(self.key_columns)

    def joined(self, left: pl.DataFrame | None, right: pl.DataFrame | None) -> pl.DataFrame:
        """Return what comes out of pairs of rows, a pair in each line of both frames; None: rows without a match."""
        (height, *_) = (rows.height for rows in (left, right) if rows is not None)
        columns = []
        for name, dtype in self.schema.items():
            origin = self._origins[name]
            own, other = _values(left, origin.left), _values(right, origin.right)
            values = own if own is not None else other
            if values is None:
                values = pl.repeat(None, height, dtype=dtype, eager=True)
            elif other is not None and values.null_count():
                values = values.zip_with(values.is_not_null(), other)
            columns.append((values if values.dtype == dtype else values.cast(dtype)).alias(name))
        return pl.DataFrame(columns)

    @cached_property
    def _origins(self) -> dict[str, Origin]:
        names = self.schemas[LEFT].names(), self.schemas[RIGHT].names()
        return origins(self.how, names, self.keys, self.options)

    def _named(self, keys: tuple[pl.Expr, ...]) -> list[pl.Expr]:
        return [key.alias(name) for key, name in zip(keys, self.key_columns, strict=True)]


def _values(rows: pl.DataFrame | None, column: str | None) -> pl.Series | None:
    return None if rows is None or column is None else rows.get_column(column)


def _common(left: pl.DataType, right: pl.DataType) -> pl.DataType:
    """Return the dtype that holds keys of both sides; of two kinds of integers one in which none is rounded."""
    if left == right:
        return left
    both = pl.concat([pl.Series(dtype=left).to_frame(), pl.Series(dtype=right).to_frame()], how="vertical_relaxed")
    (dtype,) = both.dtypes
    return dtype if dtype.is_integer() or not left.is_integer() else pl.Int128()
