"""What an unbounded group-by computes, as one value shared by the operators before and behind the exchange.

Names: the key columns keep the names that the user sees, unless a row that is kept has another column of that name
(``group_by(pl.col("t") // 60).agg(pl.col("t").quantile(0.5))``); then they are called ``__sl_key_…`` until the result.
Without keys there is one constant key, so that the rest need not know of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import polars as pl

from streamlab.core.aggregation import AggregateSplit
from streamlab.core.changelog import ROW_KIND
from streamlab.core.column_names.own_columns import key_column, own
from streamlab.state.tables.dense_columns import is_fixed_width

ROWS = own("rows")
"""How many input rows a group has; only over an updating input, to know when it is empty."""

COUNT = own("count")
"""How many rows of one batch a partial result stands for, while that is of interest."""

ALL = own("all")
"""The constant key of an aggregate without keys."""

_KEYS = own("keys")


def given_column(name: str) -> str:
    """Return the name that a column of results has where they are kept: an input column may have its own."""
    return own(f"given_{name}")


@dataclass(frozen=True, eq=False)
class GroupPlan:
    """See :func:`streamlab.operators.group_aggregate.group_operators` for the attributes."""

    step: str
    keys: tuple[pl.Expr, ...]
    split: AggregateSplit
    input_schema: pl.Schema
    updating: bool
    emit_update_before: bool = True
    global_row_at_end: bool = True

    @cached_property
    def key_names(self) -> list[str]:
        """Names of the key columns in the result."""
        return self._key_dtypes.names() if self.keys else []

    @cached_property
    def key_columns(self) -> list[str]:
        """Names of the key columns inside."""
        if not self.keys:
            return [ALL]
        plain = {key.meta.output_name() for key in self.keys if key.meta.is_column()}
        taken = set(self.split.columns) - plain
        return [key_column(name) if name in taken else name for name in self.key_names]

    @cached_property
    def exchange_keys(self) -> tuple[str, ...]:
        """Key columns of the hash exchange; none without keys."""
        return tuple(self.key_columns) if self.keys else ()

    @cached_property
    def combines(self) -> bool:
        """Whether rows are combined before the exchange: then only partial results travel."""
        return self.split.is_incremental and not self.updating

    @cached_property
    def keeps_rows(self) -> bool:
        """Whether the rows of each key are kept, and computed anew when one comes or goes.

        Partial results take back a row by subtraction, which only exact sums allow.
        """
        return not self.split.is_incremental or (self.updating and not self._subtracts)

    @cached_property
    def key_schema(self) -> pl.Schema:
        """The key columns inside, with their dtypes."""
        return self.keyed(self._empty).select(self.key_columns).collect_schema()

    @cached_property
    def row_schema(self) -> pl.Schema:
        """Columns of a row that :meth:`keyed` gives, without the row kind."""
        return self.keyed(self._empty).collect_schema()

    @cached_property
    def partial_schema(self) -> pl.Schema:
        """The columns of partial results, `ROWS` first if it is there."""
        schema = self.partials(self.keyed(self._empty)).collect_schema()
        return pl.Schema({name: dtype for name, dtype in schema.items() if name not in self.key_schema})

    @cached_property
    def result_schema(self) -> pl.Schema:
        """The result rows, without the row kind."""
        rows = self.keyed(self._empty)
        if self.split.is_incremental:
            return self.named(self.finals(self.partials(rows))).collect_schema()
        return self.named(rows.group_by(self.key_columns).agg(*self.split.buffered)).collect_schema()

    def keyed(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Return the key columns, the columns that the aggregations read, and the row kind of input rows."""
        kind = [ROW_KIND] if self.updating and ROW_KIND in rows.collect_schema() else []
        if not self.keys:
            # A literal alone would select one row, however many there are.
            return rows.with_columns(pl.lit(0, pl.Int8).alias(ALL)).select(*self.split.columns, *kind, ALL)
        key = pl.struct(*self.keys).struct.rename_fields(self.key_columns)
        others = [name for name in self.split.columns if name not in self.key_columns]
        keyed = rows.with_columns(key.alias(_KEYS)).select(_KEYS, *others, *kind).unnest(_KEYS)
        return self._normalized(keyed, self.key_columns)

    @cached_property
    def can_pass(self) -> bool:
        """Whether rows can go on without being combined."""
        return bool(self.keys) and bool(self.split.single)

    @cached_property
    def passes_rows(self) -> bool:
        """Whether such rows travel as they are, being no wider than their partial results."""
        columns = self.split.columns
        narrow = len(columns) <= len(self.split.partial) and all(is_fixed_width(self.input_schema[c]) for c in columns)
        # A key that stands for its column too has lost the sign of a zero.
        signed = any(dtype.is_float() and name in columns for name, dtype in self.key_schema.items())
        return narrow and not signed

    def combined(self, rows: pl.LazyFrame, *, maintain_order: bool, counted: bool = False) -> pl.LazyFrame:
        """Return the partial results of input rows, a row for each key; if asked for with its `COUNT` of rows."""
        if not self.keys:
            return self.partials(self.keyed(rows))
        count = [pl.len().alias(COUNT)] if counted else []
        grouped = rows.group_by(*self._named_keys, maintain_order=maintain_order).agg(*self.split.partial, *count)
        return self._normalized(grouped, self.key_columns)

    def passed(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Return input rows as they go on without being combined."""
        values = [name for name in self.split.columns if name not in self.key_columns]
        chosen = rows.select(*self._named_keys, *(values if self.passes_rows else self.split.single))
        return self._normalized(chosen, self.key_columns)

    def arrived(self, frame: pl.DataFrame) -> pl.DataFrame:
        """Return the partial results that come in, be it that rows have come as they are."""
        if not self.can_pass or all(name in frame.columns for name in self.partial_schema):
            return frame
        return frame.select(*self.key_columns, *self.split.single)

    def partials(self, rows: pl.LazyFrame) -> pl.LazyFrame:
        """Return the partial results of rows that are :meth:`keyed`, a row for each key."""
        count = [pl.len().cast(pl.Int64).alias(ROWS)] if self.updating else []
        return rows.group_by(self.key_columns).agg(*count, *self.split.partial)

    def finals(self, partials: pl.LazyFrame) -> pl.LazyFrame:
        """Return the results of merged partial results, behind the key columns inside."""
        return partials.select(*self.key_columns, *self.split.final)

    def over_nothing(self) -> pl.DataFrame:
        """Return the result row of no rows at all, of an aggregate without keys."""
        nothing = self._empty
        if self.split.is_incremental:
            return nothing.select(*self.split.partial).select(*self.split.final).collect()
        return nothing.select(*self.split.buffered).collect()

    def named(self, results: pl.LazyFrame) -> pl.LazyFrame:
        """Return the results with the key columns as the user knows them."""
        if not self.keys:
            return results.drop(ALL)
        return results.rename(dict(zip(self.key_columns, self.key_names, strict=True)))

    @cached_property
    def _subtracts(self) -> bool:
        """Whether every partial result is an exact sum."""
        names = [expression.meta.output_name() for expression in self.split.merge]
        sums = all(
            merge.meta.undo_aliases().meta.eq(pl.col(name).sum())
            for name, merge in zip(names, self.split.merge, strict=True)
        )
        dtypes = [self.partial_schema[name] for name in names]
        return sums and all((d.is_integer() or d.is_decimal()) and is_fixed_width(d) for d in dtypes)

    def _normalized(self, rows: pl.LazyFrame, keys: list[str]) -> pl.LazyFrame:
        """Return the rows with one zero in keys of floats: 0.0 and -0.0 are one key, so they must look alike."""
        floats = [name for name, dtype in self._key_dtypes.items() if dtype.is_float()]
        inside = dict(zip(self.key_names, keys, strict=True))
        keyed = [pl.col(inside[name]) for name in floats]
        # Not plus zero, which Polars takes for nothing.
        return rows.with_columns(pl.when(key != 0).then(key).otherwise(key.abs()) for key in keyed) if floats else rows

    @cached_property
    def _named_keys(self) -> list[pl.Expr]:
        return [key.alias(name) for key, name in zip(self.keys, self.key_columns, strict=True)]

    @cached_property
    def _key_dtypes(self) -> pl.Schema:
        return self._empty.select(*self.keys).collect_schema()

    @cached_property
    def _empty(self) -> pl.LazyFrame:
        return pl.LazyFrame(schema=self.input_schema)
