"""Where the columns of a join come from: asked of Polars, by a join of numbers that say what they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl

How = Literal["inner", "left", "right", "full", "semi", "anti"]

_ONLY_LEFT, _ONLY_RIGHT, _LEFT, _RIGHT, _KEY = (number * 1_000_000 for number in range(1, 6))
"""What the numbers begin at: in a row of the left side alone, of the right one alone, and in the two that match."""


@dataclass(frozen=True)
class Origin:
    """Where a column that comes out is taken from: the left side, the right one, or whichever has a value.

    Attributes
    ----------
    left, right : str | None
        The column of that side.
    """

    left: str | None
    right: str | None


def origins(
    how: How,
    columns: tuple[Sequence[str], Sequence[str]],
    keys: tuple[Sequence[pl.Expr], Sequence[pl.Expr]],
    options: Mapping[str, Any],
) -> dict[str, Origin]:
    """Return the columns that come out, in order, each with its origin.

    Parameters
    ----------
    how
        The kind of join.
    columns
        Of both sides.
    keys
        Of both sides, by position.
    options
        Polars' ``suffix`` and ``coalesce``.

    Examples
    --------
    >>> both = origins("left", (["k", "x"], ["k", "x"]), ([pl.col("k")], [pl.col("k")]), {})
    >>> {name: (one.left, one.right) for name, one in both.items()}
    {'k': ('k', None), 'x': ('x', None), 'x_right': (None, 'x')}
    """
    if how in {"semi", "anti"}:
        return {name: Origin(name, None) for name in columns[0]}
    are_columns = all(key.meta.is_column() for side in keys for key in side)
    # Keys that are no columns never become one column, whatever they are.
    names = [[key.meta.output_name() for key in side] if are_columns else [] for side in keys]
    on = names if are_columns else [[_matching(pl.col(side[0]))] for side in columns]
    tagged = [_tagged(own, own_names, side) for side, (own, own_names) in enumerate(zip(columns, names, strict=True))]
    coalesce = options.get("coalesce") if are_columns else False
    joined = tagged[0].join(
        tagged[1],
        left_on=on[0],
        right_on=on[1],
        how="left" if how == "inner" else how,
        coalesce=coalesce,
        suffix=options.get("suffix") or "_right",
    )
    return {column.name: _origin(column, columns, names, how) for column in joined}


def _matching(numbers: pl.Expr) -> pl.Expr:
    """Return a key that is equal in the two rows that match, and in no others."""
    return pl.when(numbers >= _LEFT).then(0).otherwise(numbers)


def _tagged(columns: Sequence[str], keys: Sequence[str], side: int) -> pl.DataFrame:
    alone, matched = (_ONLY_LEFT, _LEFT) if side == 0 else (_ONLY_RIGHT, _RIGHT)
    numbers = {name: [alone + at, matched + at] for at, name in enumerate(columns)}
    for at, name in enumerate(keys):
        numbers[name][1] = _KEY + at
    return pl.DataFrame(numbers, schema=dict.fromkeys(columns, pl.Int64))


def _origin(
    column: pl.Series, columns: tuple[Sequence[str], Sequence[str]], keys: Sequence[Sequence[str]], how: How
) -> Origin:
    found: list[str | None] = [None, None]
    for number in column.drop_nulls():
        first, at = number // 1_000_000 * 1_000_000, number % 1_000_000
        if first in {_ONLY_LEFT, _LEFT}:
            found[0] = columns[0][at]
        elif first in {_ONLY_RIGHT, _RIGHT}:
            found[1] = columns[1][at]
    if found == [None, None]:
        # The key of the side that has no row alone.
        side = 0 if how == "right" else 1
        found[side] = keys[side][int(column.drop_nulls()[0]) % 1_000_000]
    return Origin(*found)
