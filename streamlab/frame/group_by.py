"""What ``group_by`` and the window methods return: an object whose ``agg`` adds the aggregation to the plan."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from inspect import getattr_static
from types import FunctionType
from typing import Any, Generic, NoReturn, TypeVar

import polars as pl

from streamlab.core.column_names.own_columns import condition_column
from streamlab.core.errors import PlanError, explained
from streamlab.core.event_time.windows import SessionWindows, Trigger, Windows
from streamlab.core.named_arguments import naming_arguments
from streamlab.frame.base import FrameBase
from streamlab.frame.habits import NoSuchAttribute, missing_in_groups, refuse_item_of_groups
from streamlab.frame.habits.words import OF_ARGUMENTS
from streamlab.plan import nodes
from streamlab.plan.expressions import expand, parse, split_aggregates
from streamlab.plan.schema import check_each, refusal, show_columns, typed

F = TypeVar("F", bound=FrameBase)

_BOUNDARIES = ("_lower_boundary", "_upper_boundary")
_ANY_LENGTH = "1d"
"""Length of the windows that stand for others while their result is typed."""


class Grouping(ABC, Generic[F]):
    """Rows grouped by keys, waiting for ``agg``.

    Parameters
    ----------
    frame
        What is grouped.
    step
        The method that was called, for plans and errors.
    keys
        Row-wise expressions, one column each.
    """

    def __init__(self, frame: F, step: str, keys: tuple[pl.Expr, ...], having: tuple[pl.Expr, ...] = ()) -> None:
        self._frame = frame
        self._step = step
        self._keys = keys
        self._having = having

    @abstractmethod
    def _empty_aggregate(self, frame: pl.LazyFrame, aggregates: Iterable[pl.Expr]) -> pl.LazyFrame:
        """Return what Polars makes of the same aggregation."""

    def _all_keys(self) -> tuple[pl.Expr, ...]:
        """Return what Polars leaves out of ``pl.all()`` in ``agg``."""
        return self._keys

    @abstractmethod
    def _node(self, aggregates: tuple[pl.Expr, ...], schema: pl.Schema) -> nodes.Node:
        """Return the plan's node."""

    def agg(self, *aggs: Any, **named_aggs: Any) -> F:
        """Aggregate each group.

        Parameters
        ----------
        *aggs
            Any aggregation that Polars has. Those that can be merged are kept up row by row; for others the rows are
            kept until the result is due. ``explain()`` says which is which.
        **named_aggs
            More, under the names of their columns.

        Raises
        ------
        PlanError
            If a column is missing or a dtype does not fit.

        Examples
        --------
        >>> import polars as pl, streamlab as sl
        >>> stream = sl.from_frame(pl.DataFrame({"k": ["a", "b", "a"], "n": [1, 2, 3]}))
        >>> stream.group_by("k").agg(pl.len(), most=pl.col("n").max()).collect().sort("k").rows()
        [('a', 2, 3), ('b', 1, 2)]
        """
        self._check_habits(aggs, named_aggs)
        aggregates = parse(*aggs, **named_aggs)
        schema = self._typed(aggregates)
        if not self._having:
            return self._frame._with(self._node(aggregates, schema))
        conditions = tuple(expression.alias(condition_column(at)) for at, expression in enumerate(self._having))
        names = [condition_column(at) for at in range(len(conditions))]
        with_conditions = pl.Schema({**schema, **dict.fromkeys(names, pl.Boolean())})
        aggregated = self._frame._with(self._node((*aggregates, *conditions), with_conditions))
        event_time = aggregated.plan.event_time
        kept = aggregated._polars_step(
            "filter", tuple(map(pl.col, names)), event_time=event_time, step="having", schema=with_conditions
        )
        return kept._polars_step("drop", tuple(names), event_time=event_time, step="having", schema=schema)

    def _check_habits(self, aggs: tuple[Any, ...], named_aggs: Mapping[str, Any]) -> None:
        """Refuse what pandas takes for the names of aggregations, with what to write."""
        got = hint = ""
        for name, given in named_aggs.items():
            match given:
                case (str(column), str(how)) if column in self._frame.plan.schema and hasattr(pl.Expr, how):
                    got, hint = f"{name}={given!r}", f"{name}=pl.col({column!r}).{how}()"
        for given in aggs:
            if isinstance(given, str) and given not in self._frame.plan.schema and hasattr(pl.Expr, given):
                got, hint = repr(given), f"pl.all().{given}(), or pl.col('x').{given}() for one column"
        if hint:
            raise PlanError(explained(f"{self._step}(…).agg", needed="expressions", got=got, hint=hint))

    def _every(self, name: str, aggregate: Callable[[pl.Expr], pl.Expr]) -> F:
        """Aggregate every column in one way, and say which columns cannot be."""
        try:
            return self.agg(aggregate(pl.all()))
        except PlanError as error:
            keys = {key.meta.output_name() for key in self._all_keys()}
            check_each(f"{self._step}(…).{name}", f"{self._step}(…).agg", self._frame.plan.schema, aggregate, keys)
            raise error from None

    def _taken_names(self) -> list[tuple[str, str]]:
        """Return the names of the result's first columns, each with what it is."""
        return _named(self._keys, "a key")

    def _typed(self, aggregates: tuple[pl.Expr, ...]) -> pl.Schema:
        before = self._frame.plan.schema
        _check_names(self._step, [*self._taken_names(), *_named(aggregates, "an aggregation")])
        used = (*aggregates, *self._keys)
        schema = typed(self._step, before, lambda frame: self._empty_aggregate(frame, aggregates), used)
        self._check_having()
        # An empty frame has no groups, so Polars has not run the aggregations yet; here it does, on no rows.
        for expression in expand((*aggregates, *self._having), before, self._all_keys()):
            try:
                typed(self._step, before, lambda frame, only=expression: frame.select(only), [expression])  # type: ignore[misc]
            except PlanError as error:
                if not _is_about_lengths(error):
                    raise
        return schema

    def _check_having(self) -> None:
        """Raise PlanError unless each condition gives one Boolean for each group."""
        for condition in self._having:
            schema = typed(
                "having",
                self._frame.plan.schema,
                lambda frame, only=condition: self._empty_aggregate(frame, [only.alias("having")]),  # type: ignore[misc]
                [condition, *self._keys],
            )
            if schema["having"] != pl.Boolean:
                got = f"{condition}, a {schema['having']}"
                raise PlanError(explained("having", needed="an aggregation that gives a Boolean", got=got))

    def having(self, *predicates: Any) -> Grouping[F]:
        """Keep only the groups for which all predicates, aggregations that give a Boolean, are true.

        Examples
        --------
        >>> import polars as pl, streamlab as sl
        >>> stream = sl.from_frame(pl.DataFrame({"k": ["a", "b", "a"]}))
        >>> stream.group_by("k").having(pl.len() > 1).len().collect().rows()
        [('a', 2)]
        """
        return self._copy((*self._having, *parse(*predicates)))

    @abstractmethod
    def _copy(self, having: tuple[pl.Expr, ...]) -> Grouping[F]:
        """Return the same grouping with other conditions."""

    def len(self, name: str | None = None) -> F:
        """Count the rows of each group, nulls included, in column ``len`` or `name`."""
        return self.agg(pl.len() if name is None else pl.len().alias(name))

    def all(self) -> F:
        """Gather each column's values of each group in a list; the rows are kept."""
        return self.agg(pl.all())

    def sum(self) -> F:
        """Sum every column."""
        return self._every("sum", pl.Expr.sum)

    def mean(self) -> F:
        """Average every column."""
        return self._every("mean", pl.Expr.mean)

    def min(self) -> F:
        """Take the smallest value of every column."""
        return self._every("min", pl.Expr.min)

    def max(self) -> F:
        """Take the largest value of every column."""
        return self._every("max", pl.Expr.max)

    def median(self) -> F:
        """Take the median of every column; the rows are kept."""
        return self._every("median", pl.Expr.median)

    def quantile(self, quantile: float, interpolation: Any = "nearest") -> F:
        """Take a quantile of every column; the rows are kept."""
        return self._every("quantile", lambda every: every.quantile(quantile, interpolation=interpolation))

    def n_unique(self) -> F:
        """Count the different values of every column."""
        return self._every("n_unique", pl.Expr.n_unique)

    def count(self) -> F:
        """Count the values of every column that are not null."""
        return self._every("count", pl.Expr.count)

    def first(self, *, ignore_nulls: bool = False) -> F:
        """Take the first value of every column, by event time and then by arrival."""
        return self.agg(pl.all().first(ignore_nulls=ignore_nulls))

    def last(self, *, ignore_nulls: bool = False) -> F:
        """Take the last value of every column, by event time and then by arrival."""
        return self.agg(pl.all().last(ignore_nulls=ignore_nulls))

    def head(self, n: int = 5) -> NoReturn:
        """Refused: rows of a group that may still come would change which are the first."""
        self._refuse("head", f"pl.all().head({n}) in agg gathers them in lists: .agg(pl.all().head({n}))")

    def tail(self, n: int = 5) -> NoReturn:
        """Refused, as :meth:`head`."""
        self._refuse("tail", f"pl.all().tail({n}) in agg gathers them in lists: .agg(pl.all().tail({n}))")

    def map_groups(self, function: Callable[[pl.DataFrame], pl.DataFrame], schema: Any = None) -> NoReturn:
        """Refused: the function would need all rows of a group at once."""
        self._refuse("map_groups", "write the aggregation as expressions in .agg(…)")

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("_"):
            text = f"{type(self).__name__!r} object has no attribute {name!r}"
        else:
            methods = [one for one in dir(type(self)) if one[0] != "_"]
            text = missing_in_groups(name, self._step, self._frame.plan.schema, methods, type(self._frame))
        raise NoSuchAttribute(text, name=name, obj=self)

    def __getitem__(self, item: object) -> NoReturn:
        refuse_item_of_groups(item, self._step)

    def __iter__(self) -> NoReturn:
        self._refuse("iteration", "collect the frame first, then iterate over its group_by(…)")

    def _refuse(self, method: str, hint: str) -> NoReturn:
        raise PlanError(
            explained(
                f"{self._step}(…).{method}",
                needed="an aggregation of each group",
                got="whole groups of rows",
                hint=hint,
            )
        )


class GroupBy(Grouping[F]):
    """Rows grouped by keys over the whole stream: the result is an updating table with one row for each key."""

    def _empty_aggregate(self, frame: pl.LazyFrame, aggregates: Iterable[pl.Expr]) -> pl.LazyFrame:
        return frame.group_by(*self._keys).agg(*aggregates)

    def _node(self, aggregates: tuple[pl.Expr, ...], schema: pl.Schema) -> nodes.Node:
        plan = self._frame.plan
        return nodes.GroupAggregate(
            input=plan,
            keys=self._keys,
            split=split_aggregates(self._keys, aggregates, plan.schema, plan.event_time),
            aggregates=expand(aggregates, plan.schema, self._keys),
            step=self._step,
            schema=schema,
        )

    def _copy(self, having: tuple[pl.Expr, ...]) -> GroupBy[F]:
        return GroupBy(self._frame, self._step, self._keys, having)


class WindowGroupBy(Grouping[F]):
    """Rows grouped by keys and windows of event time: each window's row is given when the watermark closes it.

    Parameters
    ----------
    frame, step, keys
        As for every grouping.
    index_column
        The event-time column.
    windows
        Which windows.
    include_boundaries
        Whether results have ``_lower_boundary`` and ``_upper_boundary``.
    allowed_lateness_us
        How long after its end a window still takes rows.
    trigger
        When early results are given.
    """

    def __init__(
        self,
        frame: F,
        step: str,
        keys: tuple[pl.Expr, ...],
        having: tuple[pl.Expr, ...] = (),
        *,
        index_column: str,
        windows: Windows,
        include_boundaries: bool,
        allowed_lateness_us: int,
        trigger: Trigger | None,
    ) -> None:
        super().__init__(frame, step, keys, having)
        self._index_column = index_column
        self._windows = windows
        self._include_boundaries = include_boundaries
        self._allowed_lateness_us = allowed_lateness_us
        self._trigger = trigger

    def _empty_aggregate(self, frame: pl.LazyFrame, aggregates: Iterable[pl.Expr]) -> pl.LazyFrame:
        every = _ANY_LENGTH if isinstance(self._windows, SessionWindows) else self._windows.every.text
        return frame.group_by_dynamic(
            self._index_column,
            every=every,
            include_boundaries=self._include_boundaries,
            group_by=list(self._keys) or None,
        ).agg(*aggregates)

    def _all_keys(self) -> tuple[pl.Expr, ...]:
        return (*self._keys, pl.col(self._index_column))

    def _taken_names(self) -> list[tuple[str, str]]:
        boundaries = [(name, "a boundary") for name in _BOUNDARIES] if self._include_boundaries else []
        return [(self._index_column, "the windows' time"), *boundaries, *super()._taken_names()]

    def _node(self, aggregates: tuple[pl.Expr, ...], schema: pl.Schema) -> nodes.Node:
        plan, keys = self._frame.plan, self._all_keys()
        return nodes.WindowAggregate(
            input=plan,
            index_column=self._index_column,
            windows=self._windows,
            keys=self._keys,
            split=split_aggregates(keys, aggregates, plan.schema, self._index_column),
            aggregates=expand(aggregates, plan.schema, keys),
            include_boundaries=self._include_boundaries,
            allowed_lateness_us=self._allowed_lateness_us,
            trigger=self._trigger,
            step=self._step,
            schema=schema,
            event_time=self._index_column,
        )

    def _copy(self, having: tuple[pl.Expr, ...]) -> WindowGroupBy[F]:
        return WindowGroupBy(
            self._frame,
            self._step,
            self._keys,
            having,
            index_column=self._index_column,
            windows=self._windows,
            include_boundaries=self._include_boundaries,
            allowed_lateness_us=self._allowed_lateness_us,
            trigger=self._trigger,
        )


def _name_arguments(groups: type) -> None:
    """Have all methods of groups say which argument was meant."""
    for name in vars(groups):
        method = getattr_static(groups, name)
        if name[0] != "_" and isinstance(method, FunctionType):
            setattr(
                groups, name, naming_arguments(method, OF_ARGUMENTS, f"agg(pl.col('x').{name}()) aggregates one column")
            )


_name_arguments(Grouping)


def parse_keys(frame: FrameBase, step: str, by: tuple[Any, ...], named_by: dict[str, Any]) -> tuple[pl.Expr, ...]:
    """Return the keys as expressions of one column each.

    Raises
    ------
    PlanError
        If a column is missing or a key must see other rows.
    """
    keys = parse(*by, **named_by)
    _check_names(step, _named(keys, "a key"))
    schema = frame.plan.schema
    typed(step, schema, lambda empty: empty.select(*keys), keys)
    try:
        expanded = expand(keys, schema)
    except pl.exceptions.PolarsError as error:
        raise refusal(step, error, schema) from None
    frame._check_rowwise(step, expanded)
    names = [expression.meta.output_name() for expression in expanded]
    if by and not names:
        raise PlanError(explained(step, needed="a key", got="no column", hint=f"columns: {show_columns(schema)}"))
    return expanded


def _named(expressions: Iterable[pl.Expr], what: str) -> list[tuple[str, str]]:
    """Return the names of the columns that the expressions give, as far as they are plain to see."""
    names = (expression.meta.output_name(raise_if_undetermined=False) for expression in expressions)
    return [(name, what) for name in names if name is not None]


def _check_names(step: str, names: Iterable[tuple[str, str]]) -> None:
    """Raise PlanError when two columns of a result have the same name."""
    taken: dict[str, str] = {}
    for name, what in names:
        if name in taken:
            needed, got = "a name of its own for each column", f"{name!r} for {taken[name]} and for {what}"
            hint = f"rename the {what.split()[-1]}: .alias('{name}_2')"
            raise PlanError(explained(step, needed=needed, got=got, hint=hint))
        taken[name] = what


def _is_about_lengths(error: PlanError) -> bool:
    """Return whether an aggregation was refused for its length only, which is another one inside of groups."""
    return "length" in str(error).split("\n", 1)[0]
