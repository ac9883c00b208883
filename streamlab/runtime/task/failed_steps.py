"""What users are told of a step that raised: in their own words, without the columns that streamlab computes with."""

from __future__ import annotations

import re
import traceback

import polars as pl

from streamlab.core.aggregation import AggregateSplit, overflow_in
from streamlab.core.changelog import ROW_KIND
from streamlab.core.column_names.own_columns import PREFIX, in_words, is_key, key_name
from streamlab.core.errors import StepFailed
from streamlab.operators.base import OperatorSpec
from streamlab.plan.schema import is_reserved

_SAMPLE_ROWS = 5
_OWN_NAME = re.compile(rf"\b(?:{PREFIX}\w+|{ROW_KIND}\b)")
_ALWAYS_SO = (ValueError, TypeError, LookupError, ArithmeticError, AttributeError, NameError, AssertionError)
"""Errors that say that code and data do not fit, not that something outside was away."""
_QUOTED = (*(kind.__name__ for kind in _ALWAYS_SO), "KeyError", "IndexError", "ZeroDivisionError", "OverflowError")


def step_failed(
    error: BaseException, step: str, spec: OperatorSpec | None, given: pl.DataFrame | None, hint: str, *, lasting: bool
) -> StepFailed:
    """Return the error that says which step raised what, with a sample of the rows that it was given.

    Parameters
    ----------
    error
        What was raised.
    step
        Name of the step, as users see it.
    spec
        The operator; None for a source or a sink.
    given
        Its input.
    hint
        The next move, with the line break before it.
    lasting
        Whether it was seen to fail again with the same rows.
    """
    columns = _shown_columns(spec)
    said = _overflow(error, spec) or f"{type(error).__name__}: {_in_own_words(str(error), columns)}"
    below = error.__traceback__.tb_next if error.__traceback__ is not None else None
    return StepFailed(
        f"{step}: {said}{hint}",
        step=step,
        traceback_text="".join(traceback.format_exception(type(error), error, below)),
        sample="" if given is None else str(_own_columns(given.head(_SAMPLE_ROWS), columns)),
        lasting=lasting,
    )


def is_always_so(error: BaseException) -> bool:
    """Return whether an error is of a kind that comes back with the same rows, whatever the world outside does.

    What a function in an expression raises reaches us as an error of Polars that quotes it.

    >>> is_always_so(ValueError("negative")), is_always_so(ConnectionError("refused"))
    (True, False)
    >>> is_always_so(pl.exceptions.ComputeError("KeyError: 'a'"))
    True
    """
    if isinstance(error, pl.exceptions.PolarsError):
        return str(error).startswith(tuple(f"{kind}: " for kind in _QUOTED))
    return isinstance(error, _ALWAYS_SO) and not isinstance(error, OSError)


def _overflow(error: BaseException, spec: OperatorSpec | None) -> str | None:
    """Return what an overflow says; of decimals, which Polars does not name, by the columns that are added up."""
    said = overflow_in(error)
    plan = getattr(spec, "plan", None)
    if said is None or "ecimal" not in said or plan is None:
        return said
    split: AggregateSplit = plan.split
    decimals = [name for name in split.columns if plan.input_schema.get(name, pl.Null()).is_decimal()]
    if not decimals:
        return said
    results = ", ".join(report.name for report in split.reports)
    columns = " and ".join(map(repr, decimals))
    return f"{results}: column {columns} overflows the 38 digits of a Decimal: cast it to Float64 first"


def _shown_columns(spec: OperatorSpec | None) -> dict[str, str]:
    """Return what users call the columns of a step's state, empty for those that they do not see."""
    form = spec.state_form if spec is not None else None
    return {name: shown.name for name, shown in form.columns.items()} if form is not None else {}


def _own_columns(frame: pl.DataFrame, columns: dict[str, str]) -> pl.DataFrame:
    """Return rows with the columns that users know, under the names that they know."""
    names = {
        name: columns.get(name, key_name(name) if is_key(name) else "") if is_reserved(name) else name
        for name in frame.columns
    }
    taken: dict[str, str] = {}
    for inner, name in names.items():
        if name and name not in taken.values():
            taken[inner] = name
    return frame.select(pl.col(inner).alias(name) for inner, name in taken.items())


def _in_own_words(text: str, columns: dict[str, str]) -> str:
    def own(found: re.Match[str]) -> str:
        return columns.get(found[0]) or in_words(found[0])

    return _OWN_NAME.sub(own, text)
