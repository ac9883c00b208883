"""LazyFrame's methods that a stream cannot have, each with the reason and what to do instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

import polars as pl

from streamlab.core.errors import PlanError, explained
from streamlab.frame.base import FrameBase

_ORDER = "the place of a row among all others"
_WHOLE = "all rows, those that are still to come too"


class _Refusal:
    """A method that raises PlanError.

    Parameters
    ----------
    sees
        What the method would have to look at.
    hint
        What to do instead.
    """

    def __init__(self, sees: str, hint: str) -> None:
        self._sees = sees
        self._hint = hint

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name
        self.__doc__ = f"Refused: it looks at {self._sees}. Instead: {self._hint}."

    def __get__(self, frame: FrameBase | None, owner: type) -> Callable[..., NoReturn]:
        def refuse(*_: Any, **__: Any) -> NoReturn:
            hint = self._hint
            if frame is not None and frame.plan.bounded:
                after = "collect()" if hasattr(pl.DataFrame, self._name) else "collect().lazy()"
                hint = f"this stream ends by itself, so .{after}.{self._name}(…) works; else: {hint}"
            raise PlanError(
                explained(
                    self._name, needed="a bounded frame", got=f"a stream, and it looks at {self._sees}", hint=hint
                )
            )

        refuse.__name__ = self._name
        refuse.__doc__ = self.__doc__
        return refuse


class RefusedMethods(FrameBase):
    """Methods that say why they can't be had."""

    __slots__ = ()

    sort = _Refusal(_WHOLE, "sort the result table, job.results().sort(…), or the rows of one window")
    top_k = _Refusal(_WHOLE, "in windows: group_by_dynamic(…).agg(pl.col('x').top_k(n)), or max() for the largest")
    bottom_k = _Refusal(
        _WHOLE, "in windows: group_by_dynamic(…).agg(pl.col('x').bottom_k(n)), or min() for the smallest"
    )
    tail = _Refusal(
        _WHOLE, "group_by(…).last() keeps the newest row of each key; start(keep_rows=n) the newest rows of all"
    )
    reverse = _Refusal(_WHOLE, "sort the result table instead")
    last = _Refusal(_WHOLE, "select(pl.all().last()) keeps the newest row")
    first = _Refusal(_ORDER, "head(1), or select(pl.all().first()) for the earliest by event time")
    shift = _Refusal(_ORDER, "there is no row before or after another one: join with a frame, or aggregate in windows")
    unique = _Refusal("all rows that came before", "group_by(keys).first() keeps one row of each key")
    describe = _Refusal(_WHOLE, "select(pl.len(), pl.col('x').mean(), …) keeps figures up to date")
    sample = _Refusal(_WHOLE, "filter(pl.col('id').hash() % 100 == 0) takes about one row in a hundred")
    quantile = _Refusal(_WHOLE, "in windows: group_by_dynamic(…).quantile(q)")
    median = _Refusal(_WHOLE, "in windows: group_by_dynamic(…).median()")
    gather = _Refusal(_ORDER, "filter by a column")
    gather_every = _Refusal(_ORDER, "filter(pl.col('id').hash() % n == 0) thins a stream out")
    interpolate = _Refusal(_ORDER, "fill_null(value)")
    with_row_index = _Refusal(_ORDER, "rows come from several places at once: number them where they are made")
    rolling = _Refusal(_ORDER, "group_by_dynamic(…, every=…, period=…) gives hopping windows")
    merge_sorted = _Refusal(_ORDER, "sl.concat([…]) unites streams, and watermarks keep their times in order")
    join_asof = _Refusal(_ORDER, "join(frame) matches equal keys")
    join_where = _Refusal(_WHOLE, "join(frame, on=…).filter(…)")
    update = _Refusal(_WHOLE, "join(frame, how='left') and with_columns(pl.coalesce(…))")
    pivot = _Refusal(
        _WHOLE, "one aggregation for each value: agg(pl.col('x').filter(pl.col('k') == 'a').sum().alias('a'), …)"
    )
    sql = _Refusal("a whole table", "write the query with the methods of the stream")
