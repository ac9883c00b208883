"""Changelogs: how an updating stream says that a row it gave earlier is replaced or gone.

A frame of an updating stream carries the row kind in one extra Int8 column, `ROW_KIND`. An append-only frame has none.
"""

from __future__ import annotations

from enum import IntEnum

import polars as pl

from streamlab.core.column_names.own_columns import own

ROW_KIND = "__row_kind"
"""Name of the extra column, which is refused for users' own; tables of results and staged rows of sinks hold it."""
_SIGN, _AT, _ALL, _COUNT, _FORGIVEN = map(own, ("sign", "at", "all", "count", "forgiven"))


class RowKind(IntEnum):
    """What a row of a changelog does to the table that it describes (Flink's ``RowKind``)."""

    INSERT = 0
    UPDATE_BEFORE = 1
    UPDATE_AFTER = 2
    DELETE = 3

    @property
    def symbol(self) -> str:
        """The short form: ``+I``, ``-U``, ``+U`` or ``-D``."""
        return ("+I", "-U", "+U", "-D")[self]


ADDS = (RowKind.INSERT, RowKind.UPDATE_AFTER)
"""The row kinds that put a row into the table; the other two take one out."""


def is_updating(frame: pl.DataFrame | pl.LazyFrame) -> bool:
    """Return whether the frame is part of a changelog."""
    return ROW_KIND in frame.collect_schema()


def fold(changelog: pl.DataFrame) -> pl.DataFrame:
    """Return the table that a whole changelog describes, without the row-kind column.

    Rows are counted as a multiset: every ``+I`` and ``+U`` adds one equal row, every ``-U`` and ``-D`` takes one away.
    A retraction of a row that is not there is ignored. An append-only frame is returned as it is. Row order is that
    of the first addition that is still there.

    Examples
    --------
    >>> log = pl.DataFrame({"n": [1, 1, 2], ROW_KIND: [0, 1, 2]}, schema_overrides={ROW_KIND: pl.Int8})
    >>> fold(log)["n"].to_list()
    [2]
    """
    if not is_updating(changelog):
        return changelog
    columns = [name for name in changelog.columns if name != ROW_KIND]
    sign = pl.when(pl.col(ROW_KIND).is_in([int(kind) for kind in ADDS])).then(1).otherwise(-1)
    folded = (
        changelog.lazy()
        .with_columns(sign.cast(pl.Int64).alias(_SIGN), pl.int_range(pl.len()).alias(_AT))
        .group_by(columns or [pl.lit(0).alias(_ALL)], maintain_order=True)
        .agg(
            pl.col(_SIGN).sum().alias(_COUNT),
            # A retraction that finds nothing is ignored: the deepest the running count falls below zero is forgiven.
            (-pl.col(_SIGN).cum_sum().min()).clip(0).alias(_FORGIVEN),
            pl.col(_AT).last(),
        )
        .with_columns((pl.col(_COUNT) + pl.col(_FORGIVEN)).alias(_COUNT))
        .filter(pl.col(_COUNT) > 0)
        .sort(_AT)
        .select(*columns, pl.col(_COUNT))
    )
    return (
        # The streaming engine cannot group a single row by categories within a list (Polars 2.1).
        folded.select(pl.all().repeat_by(_COUNT).explode()).drop(_COUNT).collect(engine="in-memory")
        if columns
        else changelog.head(0)
    )


def with_op(changelog: pl.DataFrame) -> pl.DataFrame:
    """Return a changelog as users see it: in front of its columns, instead of the row kind, the column ``op``.

    Of an append-only frame every row is an insert. A column ``op`` of the rows themselves is shown as ``row.op``.

    Examples
    --------
    >>> log = pl.DataFrame({"n": [1, 2], ROW_KIND: [1, 2]}, schema_overrides={ROW_KIND: pl.Int8})
    >>> with_op(log).rows()
    [('-U', 1), ('+U', 2)]
    """
    op = pl.lit(RowKind.INSERT.symbol)
    if is_updating(changelog):
        op = pl.col(ROW_KIND).replace_strict({int(kind): kind.symbol for kind in RowKind}, return_dtype=pl.String)
    own = (pl.col(name).alias("row.op" if name == "op" else name) for name in changelog.columns if name != ROW_KIND)
    return changelog.select(op.alias("op"), *own)
