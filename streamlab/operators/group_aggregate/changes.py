"""From the results of the touched keys, before and after a batch, to a changelog that changes a key at most once."""

from __future__ import annotations

import polars as pl

from streamlab.core.changelog import ROW_KIND, RowKind

_KINDS = pl.Series(ROW_KIND, [int(kind) for kind in sorted(RowKind)], pl.Int8)
"""By row kind."""


def changelog(
    *,
    added: pl.DataFrame,
    before: pl.DataFrame | None,
    after: pl.DataFrame,
    removed: pl.DataFrame,
    emit_update_before: bool = True,
) -> pl.DataFrame:
    """Return the changes: what is taken away first, ``-U`` before ``+U``, rows of a block in the order given.

    Parameters
    ----------
    added
        Results of keys that had none: ``+I``.
    before, after
        Results of the same keys, row by row, before and now: ``-U`` and ``+U`` where they differ. NaN equals NaN and
        null equals null. With None for `before` all of them have changed and no ``-U`` is given.
    removed
        Former results of keys that have none any more: ``-D``.
    emit_update_before
        Whether ``-U`` rows are given.
    """
    if before is not None and (changed := differing(before, after)) is not None:
        before, after = before.filter(changed), after.filter(changed)
    blocks = [
        (removed, RowKind.DELETE),
        (before if before is not None and emit_update_before else added.clear(), RowKind.UPDATE_BEFORE),
        (after, RowKind.UPDATE_AFTER),
        (added, RowKind.INSERT),
    ]
    frames = [frame.hstack([_KINDS.new_from_index(kind, frame.height)]) for frame, kind in blocks if frame.height]
    return pl.concat(frames) if frames else added.with_columns(pl.lit(0, pl.Int8).alias(ROW_KIND)).clear()


def differing(before: pl.DataFrame, after: pl.DataFrame) -> pl.Series | None:
    """Return which rows differ; None when all of them do."""
    same: pl.Series | None = None
    for left, right in zip(before, after, strict=True):
        equal = left.eq_missing(right)
        same = equal if same is None else same & equal
        # A count or sum that always changes saves the look at the others.
        if not same.any():
            return None
    return None if same is None else ~same
