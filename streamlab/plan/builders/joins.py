"""Joins of two streams."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import polars as pl

from streamlab.core.errors import PlanError, explained
from streamlab.plan import nodes
from streamlab.plan.builders.checks import check_rowwise
from streamlab.plan.schema import check_names, refusal, show_dtype

_SIDES = "the left stream", "the right stream"
_STEP = "join"

Keys = tuple[tuple[pl.Expr, ...], tuple[pl.Expr, ...]]


def stream_join(left: nodes.Node, right: nodes.Node, keys: Keys, how: str, options: Mapping[str, Any]) -> nodes.Node:
    """Return the join of two streams on equal keys.

    Parameters
    ----------
    left, right
        The streams.
    keys
        Row-wise expressions on the columns of each, which must be equal by position.
    how
        ``"inner"``, ``"left"``, ``"right"``, ``"full"``, ``"semi"`` or ``"anti"``.
    options
        Polars' ``suffix``, ``coalesce`` and ``nulls_equal``.

    Raises
    ------
    PlanError
        If the keys do not fit together, or there is no such kind of join.
    """
    kind: nodes.JoinKind | None = next((one for one in get_args(nodes.JoinKind) if one == how), None)
    if kind is None:
        hint = "add a column of one value to both sides and join on it" if how == "cross" else ""
        needed = "how='inner', 'left', 'right', 'full', 'semi' or 'anti'"
        raise PlanError(explained(_STEP, needed=needed, got=repr(how), hint=hint))
    _check_keys(keys, (left.schema, right.schema))
    mine, theirs = pl.LazyFrame(schema=left.schema), pl.LazyFrame(schema=right.schema)
    try:
        joined = mine.join(theirs, left_on=list(keys[0]), right_on=list(keys[1]), how=kind, **options)
        schema = joined.collect_schema()
    except pl.exceptions.PolarsError as error:
        raise refusal(_STEP, error, left.schema) from None
    check_names(_STEP, schema)
    return nodes.StreamJoin(
        left=left,
        right=right,
        how=kind,
        left_on=keys[0],
        right_on=keys[1],
        kwargs=dict(options),
        step=_STEP,
        schema=schema,
        event_time=None,
    )


def _check_keys(keys: Keys, schemas: tuple[pl.Schema, pl.Schema]) -> None:
    """Say which side a missing key or a difference in dtype is on, which Polars does not."""
    if len(keys[0]) != len(keys[1]) or not keys[0]:
        got = f"{len(keys[0])} of the left stream and {len(keys[1])} of the right one"
        raise PlanError(explained(_STEP, needed="as many keys on both sides, and at least one", got=got))
    dtypes = []
    for side, schema, own in zip(_SIDES, schemas, keys, strict=True):
        step = f"{_STEP}: {side}"
        check_rowwise(step, schema, own)
        numbered = [key.alias(f"{at}") for at, key in enumerate(own)]
        try:
            dtypes.append(pl.LazyFrame(schema=schema).select(numbered).collect_schema().dtypes())
        except pl.exceptions.PolarsError as error:
            raise refusal(step, error, schema) from None
    for at, (mine, theirs) in enumerate(zip(*dtypes, strict=True)):
        if mine != theirs and not (mine.is_integer() and theirs.is_integer()):
            got = f"{keys[0][at]}: {show_dtype(mine)} and {keys[1][at]}: {show_dtype(theirs)}"
            needed = "keys of one dtype on both sides"
            raise PlanError(explained(_STEP, needed=needed, got=got, hint="cast one of them"))
