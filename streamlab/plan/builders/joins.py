"""Joins of two streams."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, get_args

import polars as pl

from streamlab.core.errors import PlanError, explained
from streamlab.plan import nodes
from streamlab.plan.builders.checks import check_rowwise
from streamlab.plan.expressions import expand
from streamlab.plan.schema import check_names, refusal, show_dtype

_SIDES = "the left stream", "the right stream"
_STEP = "join"

_OTHER_NAMES = {
    "cross": "add a column of one value to both sides and join on it",
    **dict.fromkeys(("outer", "fullouter", "full_outer", "fullOuter"), "how='full'"),
    **dict.fromkeys(("left_outer", "leftouter"), "how='left'"),
    **dict.fromkeys(("right_outer", "rightouter"), "how='right'"),
    **dict.fromkeys(("leftsemi", "left_semi"), "how='semi'"),
    **dict.fromkeys(("leftanti", "left_anti"), "how='anti'"),
}
"""What other libraries call kinds of joins."""

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
        hint = _OTHER_NAMES.get(str(how), "")
        needed = "how='inner', 'left', 'right', 'full', 'semi' or 'anti'"
        raise PlanError(explained(_STEP, needed=needed, got=repr(how), hint=hint))
    keys = (
        expanded(f"{_STEP}: {_SIDES[0]}", keys[0], left.schema),
        expanded(f"{_STEP}: {_SIDES[1]}", keys[1], right.schema),
    )
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


def expanded(step: str, keys: Iterable[pl.Expr], schema: pl.Schema) -> tuple[pl.Expr, ...]:
    """Return keys with those that stand for several columns in their place. Raises PlanError if Polars refuses one."""
    try:
        return tuple(one for key in keys for one in _each(key, schema))
    except pl.exceptions.PolarsError as error:
        raise refusal(step, error, schema) from None


def _each(key: pl.Expr, schema: pl.Schema) -> Iterable[pl.Expr]:
    if not key.meta.has_multiple_outputs():
        return (key,)
    return (one.meta.undo_aliases() for one in expand((key,), schema))


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
        alike = (mine.is_integer() and theirs.is_integer()) or (mine.is_float() and theirs.is_float())
        if mine != theirs and not alike:
            got = f"{keys[0][at]}: {show_dtype(mine)} and {keys[1][at]}: {show_dtype(theirs)}"
            needed = "keys of one dtype on both sides"
            raise PlanError(explained(_STEP, needed=needed, got=got, hint="cast one of them"))
