"""The methods of a StreamFrame that compute with rows, and what it knows of its columns.

They have Polars' names, arguments and meaning, and add one plan node each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Concatenate, Literal, ParamSpec, Self, TypeVar

import polars as pl

from streamlab.core.errors import OptionError, PlanError, explained
from streamlab.frame.base import flattened
from streamlab.frame.columns import ColumnMethods
from streamlab.plan import nodes
from streamlab.plan.empty import empty_frame
from streamlab.plan.event_time import after_select, after_with_columns, by_name
from streamlab.plan.expressions import expand, is_aggregation, is_literal, parse, split_aggregates
from streamlab.plan.schema import check_names, refusal, show_columns

P = ParamSpec("P")
T = TypeVar("T")
_Exprs = tuple[pl.Expr, ...]

_LONGEST_NAME = 100


class StepMethods(ColumnMethods):
    """Methods whose output rows each depend on one input row."""

    __slots__ = ()

    def select(self, *exprs: Any, **named_exprs: Any) -> Self:
        """Choose and compute columns; when all expressions aggregate, the result is one row that is kept up to date.

        Parameters
        ----------
        *exprs
            Names of columns, expressions, or literals.
        **named_exprs
            More, under the names of their columns.

        Raises
        ------
        PlanError
            If a column is missing, a dtype does not fit, or an expression must see other rows.

        Examples
        --------
        >>> import polars as pl, streamlab as sl
        >>> stream = sl.from_frame(pl.DataFrame({"n": [1, 2]}))
        >>> stream.select("n", twice=pl.col("n") * 2).collect().sort("n").rows()
        [(1, 2), (2, 4)]
        >>> stream.select(pl.col("n").sum()).collect().rows()
        [(3,)]
        """
        return self._select("select", exprs, named_exprs)

    def select_seq(self, *exprs: Any, **named_exprs: Any) -> Self:
        """As :meth:`select`."""
        return self._select("select_seq", exprs, named_exprs)

    def _select(self, step: str, exprs: tuple[Any, ...], named_exprs: Mapping[str, Any]) -> Self:
        before = self._plan.schema
        expressions = parse(*exprs, **named_exprs)
        # Polars says what is wrong with a column before anything is said about rows.
        schema = self._typed(step, "select", expressions, {})
        aggregating = [e for e in self._expanded(step, expressions) if not is_literal(e)]
        if aggregating and all(is_aggregation(e) for e in aggregating):
            return self._aggregate_all(step, expressions, schema)
        if not aggregating:
            raise PlanError(
                explained(
                    step,
                    needed="at least one column",
                    got="literals only, which are one row and no stream" if expressions else "nothing",
                    hint=f"with_columns(…) keeps the rows; the columns are: {show_columns(before)}",
                )
            )
        self._check_rowwise(step, expressions)
        event_time = after_select(self._plan.event_time, before, expressions)
        return self._polars_step("select", expressions, event_time=event_time, step=step, schema=schema)

    def _aggregate_all(self, step: str, aggregates: tuple[pl.Expr, ...], schema: pl.Schema) -> Self:
        split = split_aggregates([], aggregates, self._plan.schema, self._plan.event_time)
        expanded = self._expanded(step, aggregates)
        return self._with(
            nodes.GroupAggregate(input=self._plan, keys=(), split=split, aggregates=expanded, step=step, schema=schema)
        )

    def _expanded(self, step: str, expressions: _Exprs) -> _Exprs:
        try:
            return expand(expressions, self._plan.schema)
        except pl.exceptions.PolarsError as error:
            raise refusal(step, error, self._plan.schema) from None

    def with_columns(self, *exprs: Any, **named_exprs: Any) -> Self:
        """Add columns, or replace those of the same names; the others stay.

        Parameters
        ----------
        *exprs
            Row-wise expressions.
        **named_exprs
            More, under the names of their columns.

        Raises
        ------
        PlanError
            If a column is missing, a dtype does not fit, or an expression must see other rows.

        Examples
        --------
        >>> import polars as pl, streamlab as sl
        >>> stream = sl.from_frame(pl.DataFrame({"n": [1, 2]}))
        >>> stream.with_columns(twice=pl.col("n") * 2).collect().sort("n").rows()
        [(1, 2), (2, 4)]
        """
        return self._with_columns("with_columns", exprs, named_exprs)

    def with_columns_seq(self, *exprs: Any, **named_exprs: Any) -> Self:
        """As :meth:`with_columns`."""
        return self._with_columns("with_columns_seq", exprs, named_exprs)

    def _with_columns(self, step: str, exprs: tuple[Any, ...], named_exprs: Mapping[str, Any]) -> Self:
        expressions = parse(*exprs, **named_exprs)
        schema = self._typed(step, "with_columns", expressions, {})
        self._check_rowwise(step, expressions)
        event_time = after_with_columns(self._plan.event_time, self._plan.schema, expressions)
        return self._polars_step("with_columns", expressions, event_time=event_time, step=step, schema=schema)

    def filter(self, *predicates: Any, **constraints: Any) -> Self:
        """Keep the rows for which all predicates are true; a null is not true.

        Parameters
        ----------
        *predicates
            Boolean expressions or columns.
        **constraints
            Columns and the values that they must equal.

        Raises
        ------
        PlanError
            If a column is missing, a dtype does not fit, or an expression must see other rows.

        Examples
        --------
        >>> import polars as pl, streamlab as sl
        >>> stream = sl.from_frame(pl.DataFrame({"k": ["a", "b", "b"], "n": [1, 2, None]}))
        >>> stream.filter(pl.col("n") > 0, k="b").collect().rows()
        [('b', 2)]
        """
        checked = self._predicates("filter", predicates, constraints)
        return self._polars_step("filter", checked, event_time=self._plan.event_time)

    def remove(self, *predicates: Any, **constraints: Any) -> Self:
        """Drop the rows for which all predicates are true; a null predicate keeps its row.

        Parameters
        ----------
        *predicates, **constraints
            As for :meth:`filter`.

        Raises
        ------
        PlanError
            If a column is missing, a dtype does not fit, or an expression must see other rows.

        Examples
        --------
        >>> import polars as pl, streamlab as sl
        >>> stream = sl.from_frame(pl.DataFrame({"n": [1, 2, None]}))
        >>> stream.remove(pl.col("n") > 1).collect().sort("n").rows()
        [(None,), (1,)]
        """
        checked = self._predicates("remove", predicates, constraints)
        if not checked:
            return self
        kept = ~pl.all_horizontal(*checked).fill_null(value=False)
        return self._polars_step("filter", (kept,), event_time=self._plan.event_time, step="remove")

    def _predicates(
        self, step: str, predicates: tuple[Any, ...], constraints: Mapping[str, Any]
    ) -> tuple[pl.Expr, ...]:
        given = list(flattened(predicates))
        for value in given:
            if not isinstance(value, pl.Expr | str | bool):
                raise PlanError(
                    explained(
                        step,
                        needed="expressions",
                        got=f"a {type(value).__name__}",
                        hint="a stream has no row numbers that a mask could refer to: write a condition on columns",
                    )
                )
        if len(given) > 1 and all(isinstance(value, bool) for value in given):
            raise PlanError(explained(step, needed="expressions", got="a mask of True and False, one for each row"))
        expressions = (
            *(e for value in given for e in parse(value)),
            *(pl.col(name).eq(value) for name, value in constraints.items()),
        )
        self._typed(step, "filter", expressions, {})
        self._check_rowwise(step, expressions)
        return expressions

    def head(self, n: int = 5) -> Self:
        """Pass the first `n` rows that arrive, then end the stream.

        Parameters
        ----------
        n
            How many rows, at least 0.

        Raises
        ------
        OptionError
            If that is no number of rows.
        PlanError
            If the stream is an updating one: a row that has been passed on is not taken back.

        Examples
        --------
        >>> import polars as pl, streamlab as sl
        >>> sl.from_frame(pl.DataFrame({"n": [1, 2, 3]})).head(2).collect().height
        2
        """
        if not isinstance(n, int) or isinstance(n, bool) or n < 0:
            raise OptionError(explained("head", needed="a number of rows, at least 0", got=repr(n)))
        self._check_appends("head", "a row that has been passed on is not taken back")
        node = nodes.Head(
            input=self._plan, n=n, step="head", schema=self._plan.schema, event_time=self._plan.event_time
        )
        return self._with(node)

    def limit(self, n: int = 5) -> Self:
        """As :meth:`head`."""
        return self.head(n)

    def slice(self, offset: int, length: int | None = None) -> Self:
        """As ``head(length)`` when `offset` is 0; other slices need row numbers, which a stream has not.

        Raises
        ------
        PlanError
            If `offset` is not 0, or there is no length.
        """
        if offset == 0 and length is not None:
            return self.head(length)
        raise PlanError(
            explained(
                "slice",
                needed="offset 0 and a length",
                got=f"offset {offset}, length {length}",
                hint="rows of a stream have no numbers: filter by a column, or slice the collected frame",
            )
        )

    def map_batches(
        self,
        function: Callable[[Any], Any],
        *,
        schema: Any = None,
        as_: Literal["polars", "pandas"] = "polars",
        predicate_pushdown: bool = False,
        projection_pushdown: bool = False,
        slice_pushdown: bool = False,
        validate_output_schema: bool = True,
        streamable: bool = True,
    ) -> Self:
        """Call a function with every batch, in the workers.

        Nobody promises how rows are cut into batches, so the function must treat a row alike whatever else is in its
        batch. The last arguments are Polars' advice to its optimiser and change nothing here: what comes back is always
        checked.

        It may move, drop and repeat rows: which of them are late does not change. For that, a batch with rows behind
        the watermark can be given to it once more, with a column ``__sl_row`` that numbers the rows, or in pieces. Only
        if it gives other values in all columns *and* another order, as many rows, and drops that column, rows are taken
        for being in their places.

        Parameters
        ----------
        function
            From a frame to a frame.
        schema
            Columns and dtypes of what it returns; None means those that it is given, as in Polars. A column that keeps
            the event time's name and dtype is taken to hold the same times.
        as_
            Whether it is given, and returns, a Polars or a pandas DataFrame.
        predicate_pushdown, projection_pushdown, slice_pushdown, validate_output_schema, streamable
            Accepted as Polars accepts them.

        Raises
        ------
        OptionError
            If an argument is no good.
        PlanError
            If a column has a name that streamlab keeps for itself.
        StepFailed
            While the job runs: if the function raises, or returns something else than it was declared to.

        Examples
        --------
        >>> import polars as pl, streamlab as sl
        >>> def doubled(batch: pl.DataFrame) -> pl.DataFrame:
        ...     return batch.select(pl.col("n") * 2)
        >>> sl.from_frame(pl.DataFrame({"n": [1, 2]})).map_batches(doubled).collect().sort("n").rows()
        [(2,), (4,)]
        """
        if not callable(function):
            raise OptionError(explained("map_batches", needed="a function", got=f"a {type(function).__name__}"))
        if as_ not in {"polars", "pandas"}:
            raise OptionError(explained("map_batches", needed="as_='polars' or as_='pandas'", got=repr(as_)))
        before = self._plan.schema
        after = before if schema is None else declared_schema("map_batches", schema)
        check_names("map_batches", after)
        node = nodes.MapBatches(
            input=self._plan,
            function=function,
            as_=as_,
            step="map_batches",
            schema=after,
            event_time=by_name(self._plan.event_time, before, after),
        )
        return self._with(node)

    def named(self, name: str) -> Self:
        """Name the last step: in plans, figures and errors, and for its state in checkpoints and savepoints.

        A savepoint's state goes to the step of the same name. Steps that keep state have ids of their own, made of
        what they are (``group_by_dynamic c44b``), so that other steps may come and go; a name that is given stays when
        the step itself changes, too: then its state is compared, and refused if it does not fit.

        Parameters
        ----------
        name
            1 to 100 printable characters.

        Raises
        ------
        OptionError
            If that is no good name.
        PlanError
            If another step of the query was given it.

        Examples
        --------
        >>> import polars as pl, streamlab as sl
        >>> counts = sl.from_frame(pl.DataFrame({"k": ["a"]})).group_by("k").len().named("per key")
        >>> "per key" in counts.explain()
        True
        """
        if not isinstance(name, str) or not name.strip() or len(name) > _LONGEST_NAME or not name.isprintable():
            needed = f"1 to {_LONGEST_NAME} printable characters"
            raise OptionError(explained("named", needed=needed, got=repr(name)))
        if any(node.step == name for node in self._plan.walk() if node is not self._plan):
            raise PlanError(explained("named", needed="a name that no other step has", got=repr(name)))
        plan = self._plan
        if isinstance(plan, nodes.Scan):
            return self._with(replace(plan, step=name, is_named=True, source=replace(plan.source, name=name)))
        return self._with(replace(plan, step=name, is_named=True))

    def pipe(self, function: Callable[Concatenate[Self, P], T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Return ``function(self, *args, **kwargs)``, so that functions of frames can be chained.

        Examples
        --------
        >>> import polars as pl, streamlab as sl
        >>> def positive(stream: sl.StreamFrame, column: str) -> sl.StreamFrame:
        ...     return stream.filter(pl.col(column) > 0)
        >>> sl.from_frame(pl.DataFrame({"n": [-1, 1]})).pipe(positive, "n").collect().rows()
        [(1,)]
        """
        return function(self, *args, **kwargs)

    def pipe_with_schema(self, function: Callable[[Self, pl.Schema], T]) -> T:
        """Return ``function(self, schema)``, for functions that go by columns and dtypes."""
        return function(self, self._plan.schema)

    def lazy(self) -> Self:
        """Return the frame itself."""
        return self

    def clone(self) -> Self:
        """Return the frame itself: it never changes."""
        return self

    def cache(self) -> Self:
        """Return the frame itself: a step that feeds several others runs once anyway."""
        return self

    def collect_schema(self) -> pl.Schema:
        """Return columns and dtypes; costs nothing, since every step has typed itself."""
        return self._plan.schema

    @property
    def schema(self) -> pl.Schema:
        """Columns and dtypes."""
        return self._plan.schema

    @property
    def columns(self) -> list[str]:
        """Names of the columns."""
        return self._plan.schema.names()

    @property
    def dtypes(self) -> list[pl.DataType]:
        """Dtypes of the columns."""
        return self._plan.schema.dtypes()

    @property
    def width(self) -> int:
        """Number of columns."""
        return len(self._plan.schema)


def declared_schema(step: str, schema: Any) -> pl.Schema:
    """Return a schema as a user wrote it: names with Polars dtypes or Python types."""
    try:
        return empty_frame(schema).collect_schema()
    except (TypeError, ValueError, pl.exceptions.PolarsError) as error:
        reason = str(error).split("\n", 1)[0]
        raise OptionError(explained(step, needed="a schema such as {'n': pl.Int64}", got=reason)) from None
