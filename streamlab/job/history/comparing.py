"""What two result tables do not have in common."""

from __future__ import annotations

import numpy as np
import polars as pl

from streamlab.core.column_names.own_columns import own

TOLERANCE = 1e-9
_SMALLEST = 1e-12
"""Floats that are nearer to each other than this are equal: a sum may cancel out to next to nothing."""
_COUNT, _ROW, _GROUP, _RANK = map(own, ("count", "row", "group", "rank"))
_SIDE = "in"


def differing(mine: pl.DataFrame, theirs: pl.DataFrame, *, tolerance: float = TOLERANCE) -> pl.DataFrame:
    """Return the rows that one of two tables has more often than the other, with the column ``in`` in front.

    A column ``in`` of the tables themselves is shown as ``row.in``.

    Parameters
    ----------
    mine, theirs
        The tables; a column that only one of them has is null in the other.
    tolerance
        By what part of their value floats may differ in rows that count as equal. The last digits of a sum depend on
        the order in which its rows were added, and Polars' streaming engine does not keep to one. 0 compares exactly.

    Examples
    --------
    >>> differing(pl.DataFrame({"n": [1, 2]}), pl.DataFrame({"n": [2, 3]})).sort("n").rows()
    [('here', 1), ('there', 3)]
    >>> differing(pl.DataFrame({"n": [1], "x": [0.1 + 0.2]}), pl.DataFrame({"n": [1], "x": [0.3]})).height
    0
    """
    names = list(dict.fromkeys([*mine.columns, *theirs.columns]))
    # Under names of our own, so that there is none that a table must not have.
    own = {name: f"column {place}" for place, name in enumerate(names)}
    sides = [
        mine.rename(own, strict=False).with_columns(pl.lit(1).alias(_COUNT)),
        theirs.rename(own, strict=False).with_columns(pl.lit(-1).alias(_COUNT)),
    ]
    both = pl.concat(sides, how="diagonal_relaxed")
    counted = both.group_by(pl.exclude(_COUNT), maintain_order=True).agg(pl.col(_COUNT).sum())
    counts = counted.get_column(_COUNT).to_numpy()
    rows = counted[np.repeat(np.arange(len(counts)), np.abs(counts))]
    floats = [name for name, dtype in both.schema.items() if dtype.is_float()]
    if tolerance > 0 and floats and rows.height:
        rows = rows[_unlike(rows, floats, tolerance)]
    side = pl.when(pl.col(_COUNT) > 0).then(pl.lit("here")).otherwise(pl.lit("there")).alias(_SIDE)
    return rows.select(
        side, *(pl.col(given).alias(f"row.{name}" if name == _SIDE else name) for name, given in own.items())
    )


def _unlike(rows: pl.DataFrame, floats: list[str], tolerance: float) -> pl.Series:
    """Return the numbers of the rows that have no like on the other side.

    Of rows that are equal but for their floats, those of the two sides are paired in the order of these.
    """
    others = [name for name in rows.columns if name not in {_COUNT, *floats}]
    numbered = rows.with_row_index(_ROW)
    by = pl.col(others) if others else pl.lit(0).alias(_GROUP)
    groups = numbered.group_by(by, maintain_order=True).agg(pl.col(_ROW)).select(_ROW).with_row_index(_GROUP)
    ranked = (
        numbered.select(_ROW, *floats, here=pl.col(_COUNT) > 0)
        .join(groups.explode(_ROW), on=_ROW)
        .sort(floats)
        .with_columns(pl.int_range(pl.len()).over(_GROUP, "here").alias(_RANK))
    )
    here, there = ranked.filter("here"), ranked.filter(~pl.col("here"))
    pairs = here.join(there, on=[_GROUP, _RANK], suffix="_there")
    alike = pairs.filter(pl.all_horizontal(_near(name, f"{name}_there", tolerance) for name in floats))
    paired = pl.concat([alike.get_column(_ROW), alike.get_column(f"{_ROW}_there")])
    return numbered.get_column(_ROW).filter(~numbered.get_column(_ROW).is_in(paired.implode()))


def _near(name: str, other: str, tolerance: float) -> pl.Expr:
    a, b = pl.col(name), pl.col(other)
    allowed = pl.max_horizontal(a.abs(), b.abs()) * tolerance
    apart = (a - b).abs()
    near = (apart <= allowed) & allowed.is_finite() | (apart <= _SMALLEST)
    return a.eq_missing(b) | near.fill_null(value=False)
