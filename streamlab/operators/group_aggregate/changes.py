"""From the results of the touched keys, before and after a batch, to a changelog that changes a key at most once."""

from __future__ import annotations

import polars as pl

from streamlab.core.changelog import ROW_KIND, RowKind


def changelog(
    *,
    added: pl.DataFrame,
    before: pl.DataFrame,
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
        null equals null.
    removed
        Former results of keys that have none any more: ``-D``.
    emit_update_before
        Whether ``-U`` rows are given.
    """
    changed = _differing(before, after)
    if changed is not None:
        before, after = before.filter(changed), after.filter(changed)
    blocks = [
        (removed, RowKind.DELETE),
        (before.clear() if not emit_update_before else before, RowKind.UPDATE_BEFORE),
        (added, RowKind.INSERT),
        (after, RowKind.UPDATE_AFTER),
    ]
    frames = [frame.with_columns(pl.lit(int(kind), pl.Int8).alias(ROW_KIND)) for frame, kind in blocks if frame.height]
    return pl.concat(frames) if frames else added.with_columns(pl.lit(0, pl.Int8).alias(ROW_KIND)).clear()


def _differing(before: pl.DataFrame, after: pl.DataFrame) -> pl.Series | None:
    """Return which rows differ; None when all of them do."""
    if not before.height:
        return None
    differs = [left.ne_missing(right) for left, right in zip(before, after, strict=True)]
    changed = pl.DataFrame([column.alias(str(at)) for at, column in enumerate(differs)]).select(pl.any_horizontal("*"))
    mask = changed.to_series()
    return None if mask.all() else mask
