"""Joins of two streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

from streamlab.core.errors import PlanError, explained
from streamlab.plan import nodes
from streamlab.plan.build.checks import check_appends, check_rowwise
from streamlab.plan.schema import check_names, refusal, show_dtype

_SIDES = "the left stream", "the right stream"
_OTHER_HOWS = {"left", "right", "full", "semi", "anti", "outer", "cross"}

Keys = tuple[tuple[pl.Expr, ...], tuple[pl.Expr, ...]]


def stream_join(left: nodes.Node, right: nodes.Node, keys: Keys, how: str, options: Mapping[str, Any]) -> nodes.Node:
    """Return the join of two streams on equal keys.

    Parameters
    ----------
    left, right
        The streams, both append-only.
    keys
        Row-wise expressions on the columns of each, which must be equal by position.
    how
        ``"inner"``.
    options
        Polars' ``suffix``, ``coalesce`` and ``nulls_equal``.

    Raises
    ------
    PlanError
        If the keys do not fit together, a stream is an updating one, or it is another kind of join.
    """
    if how != "inner":
        hint = "collect() the other stream first, if it ends by itself, and join its frame" * (how in _OTHER_HOWS)
        raise PlanError(explained("join", needed="how='inner' between two streams", got=repr(how), hint=hint))
    for side, plan in zip(_SIDES, (left, right), strict=True):
        check_appends("join", plan, f"{side} is kept, and a row that was joined is not taken back")
    _check_keys(keys, (left.schema, right.schema))
    try:
        schema = _joined(left.schema, right.schema, keys, options)
    except pl.exceptions.PolarsError as error:
        raise refusal("join", error, left.schema) from None
    check_names("join", schema)
    return nodes.StreamJoin(
        left=left,
        right=right,
        how="inner",
        left_on=keys[0],
        right_on=keys[1],
        kwargs=dict(options),
        step="join",
        schema=schema,
        event_time=None,
    )


def _check_keys(keys: Keys, schemas: tuple[pl.Schema, pl.Schema]) -> None:
    """Say which side a missing key or a difference in dtype is on, which Polars does not."""
    if len(keys[0]) != len(keys[1]) or not keys[0]:
        got = f"{len(keys[0])} of the left stream and {len(keys[1])} of the right one"
        raise PlanError(explained("join", needed="as many keys on both sides, and at least one", got=got))
    dtypes = []
    for side, schema, own in zip(_SIDES, schemas, keys, strict=True):
        check_rowwise(f"join: {side}", schema, own)
        numbered = [key.alias(f"{at}") for at, key in enumerate(own)]
        try:
            dtypes.append(pl.LazyFrame(schema=schema).select(numbered).collect_schema().dtypes())
        except pl.exceptions.PolarsError as error:
            raise refusal(f"join: {side}", error, schema) from None
    for at, (mine, theirs) in enumerate(zip(*dtypes, strict=True)):
        if mine != theirs and not (mine.is_integer() and theirs.is_integer()):
            got = f"{keys[0][at]}: {show_dtype(mine)} and {keys[1][at]}: {show_dtype(theirs)}"
            raise PlanError(explained("join", needed="keys of one dtype on both sides", got=got, hint="cast one of them"))


def _joined(left: pl.Schema, right: pl.Schema, keys: Keys, options: Mapping[str, Any]) -> pl.Schema:
    """Return the columns of Polars' own join."""
    mine, theirs = pl.LazyFrame(schema=left), pl.LazyFrame(schema=right)
    return mine.join(theirs, left_on=list(keys[0]), right_on=list(keys[1]), how="inner", **options).collect_schema()
