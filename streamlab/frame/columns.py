"""The methods of a StreamFrame that take columns as they are: leave them out, rename, fill, cast and reshape them.

They have Polars' names, arguments and meaning, and add one plan node each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import nullcontext
from typing import Any, Self

import polars as pl

from streamlab.core.errors import PlanError, explained
from streamlab.core.late_binding import offered
from streamlab.frame.base import FrameBase
from streamlab.plan.event_time import by_name
from streamlab.plan.schema import show_columns

_ROWWISE_FILLS = ("zero", "one")


class ColumnMethods(FrameBase):
    """Methods on whole columns; each output row depends on one input row."""

    __slots__ = ()

    def drop(self, *columns: Any, strict: bool = True) -> Self:
        """Leave columns out.

        Parameters
        ----------
        *columns
            Names, expressions or selectors.
        strict
            Whether each name must be there.

        Raises
        ------
        PlanError
            If a column is missing.

        Examples
        --------
        >>> import polars as pl, streamlab as sl
        >>> sl.from_frame(pl.DataFrame({"k": ["a"], "n": [1]})).drop("k").columns
        ['n']
        """
        schema = self._typed("drop", "drop", columns, {"strict": strict})
        event_time = by_name(self._plan.event_time, self._plan.schema, schema)
        return self._polars_step("drop", columns, {"strict": strict}, event_time=event_time, schema=schema)

    def rename(self, mapping: Mapping[str, str] | Callable[[str], str], *, strict: bool = True) -> Self:
        """Give columns other names; the event time stays the event time.

        Parameters
        ----------
        mapping
            New names by the old ones, or a function of the name.
        strict
            Whether each of the old names must be there.

        Raises
        ------
        PlanError
            If a column is missing, or two would have one name.

        Examples
        --------
        >>> import polars as pl, streamlab as sl
        >>> sl.from_frame(pl.DataFrame({"k": ["a"], "n": [1]})).rename({"k": "key"}).columns
        ['key', 'n']
        """
        before = self._plan.schema
        with offered("calls that may fork")() if callable(mapping) else nullcontext():
            names = {name: mapping(name) for name in before} if callable(mapping) else dict(mapping)
        schema = self._typed("rename", "rename", (names,), {"strict": strict})
        # Two columns may swap their names, so the new one is looked for by what is at its place.
        place = before.names().index(self._plan.event_time) if self._plan.event_time else None
        event_time = None if place is None else schema.names()[place]
        return self._polars_step("rename", (names,), {"strict": strict}, event_time=event_time, schema=schema)

    def cast(self, dtypes: Any, *, strict: bool = True) -> Self:
        """Change dtypes.

        Parameters
        ----------
        dtypes
            One for all columns, or a mapping of names, dtypes or selectors to dtypes.
        strict
            Whether a value that does not fit fails the step; otherwise it becomes null.

        Raises
        ------
        PlanError
            If a column is missing, or no value of the one dtype can be cast to the other.

        Examples
        --------
        >>> import polars as pl, streamlab as sl
        >>> stream = sl.from_frame(pl.DataFrame({"n": ["1", "x"]}))
        >>> stream.cast({"n": pl.Int64}, strict=False).collect().sort("n").rows()
        [(None,), (1,)]
        """
        schema = self._typed("cast", "cast", (dtypes,), {"strict": strict})
        event_time = by_name(self._plan.event_time, self._plan.schema, schema)
        return self._polars_step("cast", (dtypes,), {"strict": strict}, event_time=event_time, schema=schema)

    def drop_nulls(self, subset: Any = None) -> Self:
        """Drop rows with a null.

        Parameters
        ----------
        subset
            Columns that are looked at; None looks at all.

        Raises
        ------
        PlanError
            If a column is missing.

        Examples
        --------
        >>> import polars as pl, streamlab as sl
        >>> stream = sl.from_frame(pl.DataFrame({"k": ["a", "b"], "n": [None, 1]}))
        >>> stream.drop_nulls().collect().rows()
        [('b', 1)]
        """
        return self._polars_step("drop_nulls", (), {"subset": subset}, event_time=self._plan.event_time)

    def drop_nans(self, subset: Any = None) -> Self:
        """Drop rows with a NaN; nulls stay.

        Parameters
        ----------
        subset
            Columns of floats that are looked at; None looks at all.

        Raises
        ------
        PlanError
            If a column is missing, or a dtype does not fit.

        Examples
        --------
        >>> import polars as pl, streamlab as sl
        >>> sl.from_frame(pl.DataFrame({"x": [1.0, float("nan"), None]})).drop_nans().collect().sort("x").rows()
        [(None,), (1.0,)]
        """
        return self._polars_step("drop_nans", (), {"subset": subset}, event_time=self._plan.event_time)

    def fill_null(
        self,
        value: Any = None,
        strategy: str | None = None,
        limit: int | None = None,
        *,
        matches_supertype: bool = True,
    ) -> Self:
        """Replace nulls.

        Parameters
        ----------
        value
            A value, or a row-wise expression.
        strategy
            ``"zero"`` or ``"one"`` in place of a value; Polars' others look at other rows.
        limit
            As in Polars; it belongs to those others.
        matches_supertype
            Whether columns are filled whose dtype the value's can be cast to, such as Float64 from 0.

        Raises
        ------
        PlanError
            If a column is missing, or other rows would have to be looked at.

        Examples
        --------
        >>> import polars as pl, streamlab as sl
        >>> sl.from_frame(pl.DataFrame({"n": [1, None]})).fill_null(0).collect().sort("n").rows()
        [(0,), (1,)]
        """
        if strategy is not None and strategy not in _ROWWISE_FILLS:
            raise PlanError(
                explained(
                    "fill_null",
                    needed="a value, or strategy 'zero' or 'one'",
                    got=f"strategy {strategy!r}, which looks at other rows",
                    hint="a stream has no neighbouring rows: fill with a value",
                )
            )
        if isinstance(value, pl.Expr):
            self._check_rowwise("fill_null", [value])
        kwargs = {"value": value, "strategy": strategy, "limit": limit, "matches_supertype": matches_supertype}
        schema = self._typed("fill_null", "fill_null", (), kwargs)
        event_time = by_name(self._plan.event_time, self._plan.schema, schema)
        return self._polars_step("fill_null", (), kwargs, event_time=event_time, schema=schema)

    def fill_nan(self, value: Any) -> Self:
        """Replace NaN in columns of floats; nulls stay.

        Parameters
        ----------
        value
            A value, or a row-wise expression.

        Raises
        ------
        PlanError
            If a column is missing, a dtype does not fit, or an expression must see other rows.

        Examples
        --------
        >>> import polars as pl, streamlab as sl
        >>> sl.from_frame(pl.DataFrame({"x": [1.0, float("nan")]})).fill_nan(None).collect().sort("x").rows()
        [(None,), (1.0,)]
        """
        if isinstance(value, pl.Expr):
            self._check_rowwise("fill_nan", [value])
        return self._polars_step("fill_nan", (value,), event_time=self._plan.event_time)

    def explode(self, columns: Any, *more_columns: Any, empty_as_null: bool = False, keep_nulls: bool = True) -> Self:
        """Give each element of lists a row of its own; several columns go side by side.

        Parameters
        ----------
        columns, *more_columns
            Columns of lists or arrays, of equal lengths in each row.
        empty_as_null
            Whether an empty list gives a row with a null; otherwise it gives none.
        keep_nulls
            Whether a null in place of a list gives a row with a null.

        Raises
        ------
        PlanError
            If a column is missing or holds no lists.

        Examples
        --------
        >>> import polars as pl, streamlab as sl
        >>> stream = sl.from_frame(pl.DataFrame({"k": ["a", "b"], "n": [[1, 2], []]}))
        >>> stream.explode("n").collect().sort("n").rows()
        [('a', 1), ('a', 2)]
        """
        args, kwargs = (columns, *more_columns), {"empty_as_null": empty_as_null, "keep_nulls": keep_nulls}
        schema = self._typed("explode", "explode", args, kwargs)
        for name, dtype in self._typed("explode", "select", args, {}).items():
            # Polars finds out only where there are rows.
            if not isinstance(dtype, pl.List | pl.Array):
                got = f"{name!r}, a column of {dtype}"
                hint = f"the columns are: {show_columns(self._plan.schema)}"
                raise PlanError(explained("explode", needed="columns of lists", got=got, hint=hint))
        event_time = by_name(self._plan.event_time, self._plan.schema, schema)
        return self._polars_step("explode", args, kwargs, event_time=event_time, schema=schema)

    def unnest(self, columns: Any = None, *more_columns: Any, separator: str | None = None) -> Self:
        """Give each field of structs a column of its own.

        Parameters
        ----------
        columns, *more_columns
            Columns of structs; None means all of them.
        separator
            Stands between the column's name and the field's; None takes the field's name alone.

        Raises
        ------
        PlanError
            If a column is missing or holds no structs, or two columns would have one name.

        Examples
        --------
        >>> import polars as pl, streamlab as sl
        >>> stream = sl.from_frame(pl.DataFrame({"at": [{"x": 1, "y": 2}]}))
        >>> stream.unnest("at").collect().to_dicts()
        [{'x': 1, 'y': 2}]
        """
        args, kwargs = (columns, *more_columns), {"separator": separator}
        schema = self._typed("unnest", "unnest", args, kwargs)
        event_time = by_name(self._plan.event_time, self._plan.schema, schema)
        return self._polars_step("unnest", args, kwargs, event_time=event_time, schema=schema)

    def unpivot(
        self, on: Any = None, *, index: Any = None, variable_name: str | None = None, value_name: str | None = None
    ) -> Self:
        """Turn columns into rows of name and value; the event time is kept when it is in `index`.

        Parameters
        ----------
        on
            Columns that become rows, of dtypes that have one in common; None means all but `index`.
        index
            Columns that stay.
        variable_name, value_name
            Names of the two new columns; ``variable`` and ``value`` when None.

        Raises
        ------
        PlanError
            If a column is missing, or a dtype does not fit.

        Examples
        --------
        >>> import polars as pl, streamlab as sl
        >>> stream = sl.from_frame(pl.DataFrame({"k": ["a"], "x": [1], "y": [2]}))
        >>> stream.unpivot(["x", "y"], index="k").collect().sort("value").rows()
        [('a', 'x', 1), ('a', 'y', 2)]
        """
        kwargs = {"index": index, "variable_name": variable_name, "value_name": value_name}
        schema = self._typed("unpivot", "unpivot", (on,), kwargs)
        # The last two columns are the name and the value, whatever they are called.
        kept = pl.Schema(list(schema.items())[:-2])
        event_time = by_name(self._plan.event_time, self._plan.schema, kept)
        return self._polars_step("unpivot", (on,), kwargs, event_time=event_time, schema=schema)

    def set_sorted(self, column: Any, *more_columns: Any, descending: Any = False, nulls_last: Any = False) -> Self:
        """Return the stream as it is: it goes by its watermark, not by flags of sortedness.

        Parameters
        ----------
        column, *more_columns
            Looked for, and then left alone.
        descending, nulls_last
            Accepted as Polars accepts them.

        Raises
        ------
        PlanError
            If a column is missing.
        """
        self._typed("set_sorted", "select", (column, *more_columns), {})
        return self
