"""How a step types itself: it runs on an empty frame of its input's schema, and what Polars says becomes a PlanError.

The error names the step, says what was wrong in one line, and lists the columns that there are.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Collection, Iterable
from contextlib import nullcontext
from typing import Any

import polars as pl

from streamlab.core.changelog import ROW_KIND
from streamlab.core.column_names.own_columns import PREFIX, is_own
from streamlab.core.errors import PlanError, explained
from streamlab.core.late_binding import offered
from streamlab.plan.empty import empty_frame
from streamlab.plan.expressions.tree import FOLDS, UnknownShape, kind, operation, to_tree, walk

OURS = f"names that begin with {PREFIX!r}, and {ROW_KIND!r}, are streamlab's"
"""Said of a name that a user's column must not have, before what to do about it."""
_RENAME = f"{OURS}: choose another with .alias(…) or rename"

_COLUMNS_SHOWN = 24
_MISSING = re.compile(r'^(?:unable to find column )?"(?P<name>.+?)"(?: not found|;|$)')
_UNSENDABLE = re.compile(r"cannot pickle .+? object")
_NOT_BOOLEAN = re.compile(r"^filter predicate must be of type `Boolean`, got `(?P<dtype>.+)`")


def typed(
    step: str, schema: pl.Schema, run: Callable[[pl.LazyFrame], pl.LazyFrame], expressions: Iterable[Any] = ()
) -> pl.Schema:
    """Return the schema of the rows that a step gives.

    Parameters
    ----------
    step
        The step as the user wrote it, for errors.
    schema
        Of its input.
    run
        What it does to a frame.
    expressions
        What the user gave it. With a Python function among them the empty frame is typed but not run, because user
        code runs in workers only.

    Raises
    ------
    PlanError
        If Polars refuses the step, or if it gives a column with a reserved name.
    """
    expressions = tuple(expressions)
    check_sendable(step, expressions)
    given: pl.Schema | None = None
    is_python = any(calls_python(expression) for expression in expressions)
    try:
        with offered("calls that may fork")() if is_python else nullcontext():
            result = run(empty_frame(schema))
            given = result.collect_schema()
        if not is_python:
            result.collect(engine="in-memory")
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, TypeError, ValueError) as error:
        if given is None or not _lacks_rows(error):
            raise refusal(step, error, schema) from None
    check_names(step, [name for name in given if name not in schema])
    return given


def _lacks_rows(error: BaseException) -> bool:
    """Return whether a step failed only because the frame on which it was tried has no rows.

    What has rows of its own does not fit to no rows, as it would not to a batch: that is said when rows are judged. A
    panic is a mistake of Polars, such as in the quantile of no dates, and no verdict.
    """
    no_verdict = pl.exceptions.OutOfBoundsError | pl.exceptions.PanicException | pl.exceptions.ShapeError
    said = "expected a single value, got none", "doesn't match the DataFrame height of 0"
    return isinstance(error, no_verdict) or any(text in str(error) for text in said)


def check_sendable(step: str, expressions: Iterable[Any]) -> None:
    """Raise PlanError if an expression calls a Python function that cannot be sent to another process."""
    for expression in expressions:
        if not isinstance(expression, pl.Expr):
            continue
        try:
            to_tree(expression)
        except UnknownShape as error:
            found = _UNSENDABLE.search(str(error))
            if found is not None:
                needed = "functions and values that can be sent to worker processes"
                hint = "make what it uses inside the function, or pass what that is made from"
                raise PlanError(explained(step, needed=needed, got=f"{expression}: {found[0]}", hint=hint)) from None


def check_names(step: str, names: Iterable[str], hint: str = _RENAME) -> None:
    """Raise PlanError if a column has a name that streamlab keeps for itself."""
    reserved = [name for name in names if is_reserved(name)]
    if reserved:
        needed = "column names that streamlab does not keep for itself"
        raise PlanError(explained(step, needed=needed, got=", ".join(map(repr, reserved)), hint=hint))


def is_reserved(name: str) -> bool:
    """Return whether streamlab computes with a column of this name, so that no user's may have it.

    >>> is_reserved("__sl_pane"), is_reserved("__row_kind"), is_reserved("__pane")
    (True, True, False)
    """
    return is_own(name) or name == ROW_KIND


def calls_python(expression: Any) -> bool:
    """Return whether an expression calls a user's Python function; False for what is no expression.

    Examples
    --------
    >>> calls_python(pl.col("a") + 1)
    False
    >>> calls_python(pl.col("a").map_elements(print, return_dtype=pl.Null))
    True
    """
    if not isinstance(expression, pl.Expr):
        return False
    try:
        return any(
            kind(node) == "AnonymousFunction" or (kind(node) == "Function" and operation(node) in FOLDS)
            for node in walk(to_tree(expression))
        )
    except UnknownShape:
        return True


def refusal(step: str, error: BaseException, schema: pl.Schema) -> PlanError:
    """Return Polars' refusal of a step as a PlanError: the reason in one line, and the columns there are."""
    reason = str(error).split("\n", 1)[0].strip().rstrip(".")
    columns = f"the columns are: {show_columns(schema)}" if schema else "there are no columns"
    missing = _MISSING.match(reason) if isinstance(error, pl.exceptions.ColumnNotFoundError) else None
    if missing and missing["name"] not in schema:
        return missing_column(step, missing["name"], schema)
    wrong = _NOT_BOOLEAN.match(reason)
    if wrong:
        hint = f"compare the column with something, such as pl.col('n') > 0; {columns}"
        return PlanError(explained(step, needed="a Boolean predicate", got=wrong["dtype"], hint=hint))
    return PlanError(explained(step, needed="what Polars accepts for its columns", got=f"“{reason}”", hint=columns))


def check_each(
    step: str, instead: str, schema: pl.Schema, aggregate: Callable[[pl.Expr], pl.Expr], keys: Collection[str] = ()
) -> None:
    """Raise PlanError if an aggregation of every column fails for some, and say for which.

    Parameters
    ----------
    step, instead
        What the user wrote, and the method that takes those that can be aggregated.
    schema
        The columns.
    aggregate
        Of one column.
    keys
        Columns that are not aggregated.
    """
    wrong, good = [], []
    for name, dtype in schema.items():
        if name in keys:
            continue
        try:
            pl.DataFrame(schema={name: dtype}).select(aggregate(pl.col(name)))
            good.append(name)
        except pl.exceptions.PolarsError:
            wrong.append(f"{name} {show_dtype(dtype)}")
    if wrong:
        how, names = step.rpartition(".")[2], ", ".join(map(repr, good))
        call = "quantile(q)" if how == "quantile" else f"{how}()"
        hint = f"{instead}(pl.col({names}).{call})" if good else "drop(…) them, or count(): how many values there are"
        raise PlanError(explained(step, needed="columns that can be aggregated so", got=", ".join(wrong), hint=hint))


def missing_column(step: str, name: str, schema: pl.Schema) -> PlanError:
    """Return the error for a column that is not there, with the closest name that is."""
    names = schema.names()
    folded = {other.casefold(): other for other in reversed(names)}
    close = difflib.get_close_matches(name.casefold(), list(folded), n=1, cutoff=0.6)
    guess = f"did you mean {folded[close[0]]!r}? " if close else ""
    columns = f"the columns are: {show_columns(schema)}" if names else "there are no columns"
    return PlanError(
        explained(step, needed="columns of its input", got=f"{name!r}, which is none", hint=f"{guess}{columns}")
    )


def show_columns(schema: pl.Schema, width: int | None = None) -> str:
    """Return names and dtypes, cut when there are many: in one line, or in lines of about a number of characters.

    >>> show_columns(pl.Schema({"ts": pl.Datetime("us"), "n": pl.Int64}))
    'ts Datetime(us), n Int64'
    """
    shown = [f"{name} {show_dtype(dtype)}" for name, dtype in list(schema.items())[:_COLUMNS_SHOWN]]
    more = len(schema) - len(shown)
    parts = [*shown, f"and {more} more"] if more else shown
    lines: list[str] = []
    for part in parts:
        if not lines or (width is not None and len(lines[-1]) + len(part) + 3 > width):
            lines.append(part)
        else:
            lines[-1] += f", {part}"
    return ",\n".join(lines)


def show_dtype(dtype: pl.DataType) -> str:
    """Return a dtype as short text.

    >>> show_dtype(pl.Datetime("ms", "UTC")), show_dtype(pl.List(pl.Int8))
    ('Datetime(ms, UTC)', 'List(Int8)')
    """
    if isinstance(dtype, pl.Datetime):
        return f"Datetime({dtype.time_unit}, {dtype.time_zone})" if dtype.time_zone else f"Datetime({dtype.time_unit})"
    return str(dtype)
