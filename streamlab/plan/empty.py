"""The empty frame of a schema, on which steps and expressions are typed.

Polars makes one from Python, column by column: for hundreds of columns, each with an expression of its own, that took
longer than the query. So the last ones are kept. They are told apart by identity, because a plan hands the same schema
from step to step, and schemas of plans are never changed.
"""

from __future__ import annotations

from functools import lru_cache

import polars as pl

_KEPT = 16


class _Itself:
    """A schema that equals itself only, and stays alive as long as its frame is kept."""

    __slots__ = ("schema",)

    def __init__(self, schema: pl.Schema) -> None:
        self.schema = schema

    def __hash__(self) -> int:
        return id(self.schema)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Itself) and other.schema is self.schema


def empty_frame(schema: pl.Schema) -> pl.LazyFrame:
    """Return a frame without rows.

    >>> empty_frame(pl.Schema({"n": pl.Int64()})).collect().shape
    (0, 1)
    """
    return _made(_Itself(schema))


@lru_cache(maxsize=_KEPT)
def _made(key: _Itself) -> pl.LazyFrame:
    return pl.LazyFrame(schema=key.schema)
