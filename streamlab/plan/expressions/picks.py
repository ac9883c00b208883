"""Aggregations that pick values rather than compute: first, last, extremes by another column, distinct values, lists.

Their state holds values of the input itself. Those that go by order need their pieces merged in order of arrival.
"""

from __future__ import annotations

from operator import methodcaller
from typing import Literal

import polars as pl

from streamlab.plan.expressions.leaves import NotMergeable, Rows, Wanted, length_state
from streamlab.plan.expressions.states import States


def first(states: States, rows: Rows, _: Wanted) -> pl.Expr:
    """Pick the first value, null or not."""
    return _end(states, rows, "first")


def last(states: States, rows: Rows, _: Wanted) -> pl.Expr:
    """Pick the last value, null or not."""
    return _end(states, rows, "last")


def first_non_null(states: States, rows: Rows, _: Wanted) -> pl.Expr:
    """Pick the first value that is not null; with event time, `rows` holds no nulls."""
    return _non_null_end(states, rows, "first")


def last_non_null(states: States, rows: Rows, _: Wanted) -> pl.Expr:
    """Pick the last value that is not null; with event time, `rows` holds no nulls."""
    return _non_null_end(states, rows, "last")


def _non_null_end(states: States, rows: Rows, which: Literal["first", "last"]) -> pl.Expr:
    if rows.event_time is not None:
        return _end(states, rows, which)
    states.ordered = True
    again = methodcaller(which, ignore_nulls=True)
    return states.add(again(rows.kept), again)


def _end(states: States, rows: Rows, which: Literal["first", "last"]) -> pl.Expr:
    states.ordered = True
    end = methodcaller(which)
    if rows.event_time is not None:
        return _end_in_time(states, rows, rows.event_time, which)
    if rows.never_empty:
        return states.add(end(rows.kept), end)
    # A piece without values has a null that is nobody's first value.
    return states.add(end(rows.kept), _MERGE_ENDS[which], length_state(states, rows))


def _end_in_time(states: States, rows: Rows, time: pl.Expr, which: Literal["first", "last"]) -> pl.Expr:
    kept = time if rows.condition is None else time.filter(rows.condition)
    outermost = methodcaller("min" if which == "first" else "max")
    at = states.add(outermost(kept), outermost)
    pick = _earliest if which == "first" else _latest
    return states.add(pick(rows.kept, kept), _MERGE_ENDS_IN_TIME[which], at)


def _earliest(values: pl.Expr, times: pl.Expr) -> pl.Expr:
    # Not min_by: among equal times it picks any row, in the streaming engine.
    return values.sort_by(times, maintain_order=True).first()


def _latest(values: pl.Expr, times: pl.Expr) -> pl.Expr:
    # Polars finds the first of a sort without sorting, but not the last.
    return values.reverse().sort_by(times.reverse(), descending=True, maintain_order=True).first()


def _first_of_some(column: pl.Expr, n: pl.Expr) -> pl.Expr:
    return column.filter(n > 0).first()


def _last_of_some(column: pl.Expr, n: pl.Expr) -> pl.Expr:
    return column.filter(n > 0).last()


def _first_in_time(column: pl.Expr, at: pl.Expr) -> pl.Expr:
    some = at.is_not_null()
    return _earliest(column.filter(some), at.filter(some))


def _last_in_time(column: pl.Expr, at: pl.Expr) -> pl.Expr:
    some = at.is_not_null()
    return _latest(column.filter(some), at.filter(some))


_MERGE_ENDS = {"first": _first_of_some, "last": _last_of_some}
_MERGE_ENDS_IN_TIME = {"first": _first_in_time, "last": _last_in_time}


def smallest_by(states: States, rows: Rows, _: Wanted) -> pl.Expr:
    """Pick the value at the smallest value of another column."""
    by = _other(rows)
    return states.add(rows.kept.min_by(by), _min_by, states.add(by.min_by(by), _min_by_itself))


def largest_by(states: States, rows: Rows, _: Wanted) -> pl.Expr:
    """Pick the value at the largest value of another column."""
    by = _other(rows)
    return states.add(rows.kept.max_by(by), _max_by, states.add(by.max_by(by), _max_by_itself))


def _other(rows: Rows) -> pl.Expr:
    if rows.by is None:
        msg = "without a second column"
        raise NotMergeable(msg)
    return rows.by


def _min_by(column: pl.Expr, by: pl.Expr) -> pl.Expr:
    return column.min_by(by)


def _max_by(column: pl.Expr, by: pl.Expr) -> pl.Expr:
    return column.max_by(by)


def _min_by_itself(column: pl.Expr) -> pl.Expr:
    return column.min_by(column)


def _max_by_itself(column: pl.Expr) -> pl.Expr:
    return column.max_by(column)


def n_unique(states: States, rows: Rows, wanted: Wanted) -> pl.Expr:
    """Count the distinct values; null is one."""
    return _distinct(states, rows).list.len().cast(wanted.dtype)


def unique(states: States, rows: Rows, _: Wanted) -> pl.Expr:
    """List the distinct values, in any order; null is one."""
    return _distinct(states, rows)


def _distinct(states: States, rows: Rows) -> pl.Expr:
    return states.add(rows.kept.unique().implode(), _union)


def _union(column: pl.Expr) -> pl.Expr:
    return column.explode().unique().implode()


def unique_in_order(states: States, rows: Rows, _: Wanted) -> pl.Expr:
    """List the distinct values in order of arrival."""
    states.ordered = True
    return states.add(rows.kept.unique(maintain_order=True).implode(), _union_in_order)


def _union_in_order(column: pl.Expr) -> pl.Expr:
    return column.explode().unique(maintain_order=True).implode()


def implode(states: States, rows: Rows, _: Wanted) -> pl.Expr:
    """List the values in order of arrival."""
    states.ordered = True
    return states.add(rows.kept.implode(), _concatenated)


def _concatenated(column: pl.Expr) -> pl.Expr:
    return column.explode().implode()
