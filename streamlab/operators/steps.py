"""Row-wise Polars methods, fused: what runs is the methods themselves, one after the other, in one Polars query.

On an append-only stream a lazy batch stays lazy, so that Polars optimises the source's scan together with the steps.
What rows bring along, the row kind of an updating stream or their watermarks, is a column that is kept out of the
methods' sight (``pl.all()`` must not find it):

- methods that give one row for each row get the frame without it, and it is put back beside the result;
- ``filter`` becomes a mask over the frame without it, applied to both;
- ``drop_nulls`` and ``drop_nans`` find nothing to drop in it, ``explode`` and ``unpivot`` repeat it as they do other
  columns.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import polars as pl

from streamlab.core.changelog import ROW_KIND, is_updating
from streamlab.core.column_names.own_columns import own
from streamlab.core.errors import PlanError, explained
from streamlab.core.event_time.row_watermarks import ROW_WATERMARK, is_marked
from streamlab.core.messages import Batch, Message
from streamlab.operators.base import Operator, OperatorContext, OperatorSpec
from streamlab.state.snapshot import Snapshot

Step = tuple[str, tuple[Any, ...], Mapping[str, Any]]
"""A LazyFrame method by name, its arguments and its keyword arguments."""

_KEPT = own("kept")
_ONE_FOR_ONE = frozenset(("select", "with_columns", "drop", "rename", "cast", "fill_null", "fill_nan", "unnest"))


@dataclass(frozen=True, eq=False)
class PolarsStepsSpec(OperatorSpec):
    """Applies LazyFrame methods to every batch.

    Attributes
    ----------
    steps : tuple[Step, ...]
        Method name, arguments, keyword arguments; each method's output rows must depend on one input row only.
    """

    steps: tuple[Step, ...]

    def build(self, context: OperatorContext, snapshot: Snapshot | None = None) -> Operator:
        """Return the operator; it has no state."""
        return _PythonSteps(self.steps) if self.runs_python else _PolarsSteps(self.steps)


class _PolarsSteps(Operator):
    accepts_lazy: ClassVar[bool] = True
    is_row_wise: ClassVar[bool] = True
    carries_row_watermarks: ClassVar[bool] = True

    def __init__(self, steps: tuple[Step, ...]) -> None:
        self._steps = steps

    def process(self, batch: Batch, port: int = 0) -> list[Message]:
        frame: pl.DataFrame | pl.LazyFrame
        beside = _beside(batch.frame)
        if beside is not None:
            frame = _apply_beside(beside, batch.collected(), self._steps)
        else:
            lazy = batch.frame.lazy()
            for method, args, kwargs in self._steps:
                lazy = getattr(lazy, method)(*args, **kwargs)
            frame = lazy if isinstance(batch.frame, pl.LazyFrame) else lazy.collect()
        if isinstance(frame, pl.DataFrame) and not frame.height:
            return []
        return [Batch(frame, batch.tag, batch.ingested_us)]


class _PythonSteps(_PolarsSteps):
    """Does not become part of a scan: what a user's function did, and to which rows, must be told apart from it."""

    accepts_lazy: ClassVar[bool] = False


def _beside(frame: pl.DataFrame | pl.LazyFrame) -> str | None:
    """Return the name of the column that the steps must not see, if there is one."""
    return ROW_WATERMARK if is_marked(frame) else ROW_KIND if is_updating(frame) else None


def _apply_beside(beside: str, frame: pl.DataFrame, steps: tuple[Step, ...]) -> pl.DataFrame:
    rows, carried = frame.lazy().drop(beside), frame.get_column(beside)
    for method, args, kwargs in steps:
        if method in _ONE_FOR_ONE:
            rows = getattr(rows, method)(*args, **kwargs)
        elif method in _RESHAPING:
            changed = _RESHAPING[method](_together(method, rows, carried), beside, args, kwargs)
            rows, carried = changed.lazy().drop(beside), changed.get_column(beside)
        else:
            raise PlanError(explained(method, needed="an append-only stream", got="one whose rows are updated"))
    return _together(steps[-1][0] if steps else "", rows, carried)


def _together(method: str, rows: pl.LazyFrame, carried: pl.Series) -> pl.DataFrame:
    """Return rows and what they bring along as one frame again."""
    done = rows.collect()
    if done.height != len(carried):
        raise PlanError(
            explained(method, needed="one row for each row", got=f"{done.height} rows for {len(carried)} rows")
        )
    return done.with_columns(carried)


def _filter(frame: pl.DataFrame, beside: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> pl.DataFrame:
    predicates = [*args, *(pl.col(name) == value for name, value in kwargs.items())]
    kept = pl.all_horizontal(*predicates).alias(_KEPT)
    return frame.filter(frame.lazy().drop(beside).with_columns(kept).collect().get_column(_KEPT))


def _drop(method: str) -> _Reshape:
    def drop(frame: pl.DataFrame, _: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> pl.DataFrame:
        dropped: pl.DataFrame = getattr(frame, method)(*args, **kwargs)
        return dropped

    return drop


def _names(frame: pl.DataFrame, beside: str, *columns: Any) -> list[str]:
    """Return the names of the columns that names and selectors stand for, `beside` not among them."""
    wanted = [c for c in columns if c is not None]
    return frame.lazy().drop(beside).select(*wanted).collect_schema().names() if wanted else []


def _explode(frame: pl.DataFrame, beside: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> pl.DataFrame:
    options = dict(kwargs)
    columns = [*args, *([options.pop("columns")] if "columns" in options else [])]
    return frame.explode(_names(frame, beside, *columns), **options)


def _unpivot(frame: pl.DataFrame, beside: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> pl.DataFrame:
    options = dict(kwargs)
    on = args[0] if args else options.pop("on", None)
    index = _names(frame, beside, options.pop("index", None))
    names = _names(frame, beside, on) if on is not None else [c for c in frame.columns if c not in {*index, beside}]
    return frame.unpivot(names, index=[*index, beside], **options).select(pl.exclude(beside), beside)


_Reshape = Callable[[pl.DataFrame, str, tuple[Any, ...], Mapping[str, Any]], pl.DataFrame]
_RESHAPING: dict[str, _Reshape] = {
    "filter": _filter,
    "drop_nulls": _drop("drop_nulls"),
    "drop_nans": _drop("drop_nans"),
    "explode": _explode,
    "unpivot": _unpivot,
}
