"""From the results of the touched keys, before and after a batch, to a changelog that changes a key at most once."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
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


def upserts_of(rows: pl.DataFrame, held: npt.NDArray[np.bool_], changed: npt.NDArray[np.bool_] | None) -> pl.DataFrame:
    """Return the changes of keys of which some had a result, ``+U`` and ``+I`` as they come.

    Parameters
    ----------
    rows
        The results of all of them.
    held
        Which keys had one.
    changed
        Which have another one now; None: all.
    """
    kinds = np.where(held, np.int8(RowKind.UPDATE_AFTER), np.int8(RowKind.INSERT))
    changes = rows.with_columns(pl.Series(ROW_KIND, kinds))
    return changes if changed is None else changes.filter(pl.Series(changed))


def changed_rows(
    before: pl.DataFrame, after: pl.DataFrame, held: npt.NDArray[np.bool_]
) -> npt.NDArray[np.bool_] | None:
    """Return which rows are new (not held) or differ, row by row; None when all do."""
    same = held.copy()
    for left, right in zip(before, after, strict=True):
        same &= left.eq_missing(right).to_numpy()
        # A count or sum that always changes saves the look at the others.
        if not same.any():
            return None
    return ~same


def changelog_of(rows: pl.DataFrame, held: npt.NDArray[np.bool_]) -> pl.DataFrame:
    """Return the changes of keys of which some had a result: ``-U`` in front, then ``+U`` and ``+I`` as they come.

    Parameters
    ----------
    rows
        Former results of the keys that had one, in the order of the keys, followed by the results of all of them.
    held
        Which keys had one.
    """
    count = rows.height - len(held)
    kinds = np.full(rows.height, int(RowKind.UPDATE_BEFORE), np.int8)
    kinds[count:] = np.where(held, np.int8(RowKind.UPDATE_AFTER), np.int8(RowKind.INSERT))
    changes = rows.with_columns(pl.Series(ROW_KIND, kinds))
    same = _unchanged(rows[:count], rows[count:], held)
    if same is not None:
        kept = np.ones(rows.height, np.bool_)
        kept[:count] = ~same
        kept[count:][held] = ~same
        changes = changes.filter(pl.Series(kept))
    return changes


def _unchanged(before: pl.DataFrame, after: pl.DataFrame, held: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_] | None:
    """Return which rows of `before` equal those beside them in `after` where it is held; None when none does."""
    same = np.ones(before.height, np.bool_)
    mask = None if held.all() else pl.Series(held)
    for left, right in zip(before, after, strict=True):
        same &= left.eq_missing(right if mask is None else right.filter(mask)).to_numpy()
        # A count or sum that always changes saves the look at the others.
        if not same.any():
            return None
    return same


def _differing(before: pl.DataFrame, after: pl.DataFrame) -> pl.Series | None:
    """Return which rows differ; None when all of them do."""
    if not before.height:
        return None
    differs = [left.ne_missing(right) for left, right in zip(before, after, strict=True)]
    changed = pl.DataFrame([column.alias(str(at)) for at, column in enumerate(differs)]).select(pl.any_horizontal("*"))
    mask = changed.to_series()
    return None if mask.all() else mask
