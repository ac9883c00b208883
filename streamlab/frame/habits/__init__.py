"""What people write out of habit from pandas, Spark, Flink and Polars' DataFrame, and what a stream has instead.

A stream has no rows before it runs, so nothing that takes a frame apart in Python can be had; each of these names gets
one sentence that helps (:mod:`.words`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import NoReturn

import polars as pl

from streamlab.core.short_traceback import ShortTraceback
from streamlab.frame.habits.words import BEGINNINGS, LAZY, OF_GROUPS, OF_STREAMS, RUN

_CALLED = re.compile(r"^[a-z]\w*$")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])")
"""Where a new word begins in Java's way to write names."""


class NoSuchAttribute(ShortTraceback, AttributeError):
    """A stream has no attribute of that name."""


class NoSuchAccess(ShortTraceback, TypeError):
    """A stream cannot be used like that: it has no rows before it runs."""


def missing_attribute(name: str, columns: Iterable[str], methods: Iterable[str]) -> str:
    """Return what is said of a name that a stream has not.

    Parameters
    ----------
    name
        What was asked for.
    columns
        Names of the stream's columns.
    methods
        Names of what it has.

    Examples
    --------
    >>> print(missing_attribute("delay", ["delay"], ["filter"]))
    a StreamFrame has no 'delay'
      → it is a column: pl.col('delay'), as in filter(pl.col('delay').is_not_null())
    >>> print(missing_attribute("fltr", [], ["filter"]))
    a StreamFrame has no 'fltr'
      → did you mean 'filter'?
    """
    said = f"a StreamFrame has no {name!r}"
    if name in LAZY:
        return f"{said}, although Polars' LazyFrame has: {LAZY[name]}"
    if name in columns:
        written = f"pl.col({name!r})"
        return f"{said}\n  → it is a column: {written}, as in filter({written}.is_not_null())"
    methods, word = list(methods), _HUMP.sub("_", name).lower() if name[1:] else name
    if word in methods:
        return f"{said}\n  → did you mean {word!r}?"
    hint = OF_STREAMS.get(word) or next((text for begin, text in BEGINNINGS if word.startswith(begin)), "")
    near = get_close_matches(name, [*methods, *columns], 1, 0.75)
    if not hint and near:
        hint = f"did you mean {near[0]!r}?"
    if not hint and _CALLED.match(name) and hasattr(pl.DataFrame, name):
        hint = RUN
    if hasattr(pl.LazyFrame, name):
        said = f"{said}, although Polars' LazyFrame has"
    return f"{said}\n  → {hint}" if hint else said


def missing_in_groups(name: str, step: str, columns: Iterable[str], methods: Iterable[str], frames: object) -> str:
    """Return what is said of a name that the groups of a stream have not.

    Parameters
    ----------
    name
        What was asked for.
    step
        The method that has made the groups.
    columns
        Names of the stream's columns.
    methods
        Names of what groups have.
    frames
        What has the methods of streams.

    Examples
    --------
    >>> print(missing_in_groups("size", "group_by", [], ["len"], None))
    group_by(…) has no 'size'
      → len() counts the rows of each group
    """
    methods, said, word = list(methods), f"{step}(…) has no {name!r}", _HUMP.sub("_", name).lower()
    near = get_close_matches(word, methods, 1, 0.75)
    if name in columns:
        hint = f"it is a column: {step}(…).agg(pl.col({name!r}).sum())"
    elif word in OF_GROUPS:
        hint = OF_GROUPS[word]
    elif near:
        hint = f"did you mean {near[0]!r}?"
    elif hasattr(frames, word):
        hint = f"first say what of each group: {step}(…).agg(…).{word}(…)"
    else:
        hint = f"{step}(…).agg(…) takes any aggregation of Polars'"
    return f"{said}\n  → {hint}"


def refuse_item_of_groups(item: object, step: str) -> NoReturn:
    """Raise what helps whoever wrote ``group_by(…)[item]``."""
    names = ", ".join(map(repr, item)) if isinstance(item, list | tuple) else repr(item)
    text = f"{step}(…) has no columns to be taken out\n  → {step}(…).agg(pl.col({names}).sum()) aggregates some"
    raise NoSuchAccess(text)


def refuse_item(item: object, columns: Mapping[str, object]) -> NoReturn:
    """Raise what helps whoever wrote ``stream[item]``, or has looped over a stream, which Python tries as ``[0]``."""
    if isinstance(item, str):
        near = get_close_matches(item, columns, 1)
        name = item if item in columns or not near else near[0]
        text = f"a StreamFrame has no columns to be taken out\n  → write pl.col({name!r}) in select(…), filter(…), …"
        text += f"; {RUN}, which has [{name!r}]"
    elif isinstance(item, list | tuple):
        names = ", ".join(map(repr, item))
        text = f"a StreamFrame has no columns to be taken out\n  → select({names}) chooses columns"
    elif isinstance(item, int | slice):
        text = "a StreamFrame has no rows to be taken out or looped over: they have yet to come"
        text += f"\n  → head(n) takes the first, iter_batches() yields frames as they come; {RUN}"
    else:
        text = (
            "a StreamFrame has no rows to be taken out: they have yet to come\n  → filter(pl.col('x') > 0) chooses rows"
        )
    raise NoSuchAccess(text)


def refuse_length() -> NoReturn:
    """Raise what helps whoever wrote ``len(stream)``."""
    text = f"a StreamFrame has no length: its rows have yet to come\n  → select(pl.len()) counts them; {RUN}"
    raise NoSuchAccess(text)


def refuse_conversion() -> NoReturn:
    """Raise what helps whoever made a frame of a stream."""
    text = f"a StreamFrame cannot be made into a frame: its rows have yet to come\n  → {RUN}"
    raise NoSuchAccess(text)
