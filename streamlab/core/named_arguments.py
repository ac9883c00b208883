"""Functions whose callers are told which argument they meant."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import wraps
from typing import Any, TypeVar

from streamlab.core.short_traceback import ShortTraceback

F = TypeVar("F", bound=Callable[..., Any])


class NoSuchArgument(ShortTraceback, TypeError):
    """A function has no argument of that name."""


def naming_arguments(function: F, reasons: Mapping[str, str] | None = None, surplus: str = "") -> F:
    """Return the function; called with an argument that it has not, it names the nearest one.

    Parameters
    ----------
    function
        Any function or method. One that takes arguments of any name is returned as it is.
    reasons
        Why it has not some that people look for, by their names.
    surplus
        What to write instead when it is given more values than it takes.

    Examples
    --------
    >>> def head(n=5): ...
    >>> naming_arguments(head)(m=3)
    Traceback (most recent call last):
    ...
    streamlab.core.named_arguments.NoSuchArgument: head() has no argument 'm'
      → its arguments: n
    """
    parameters = inspect.signature(function).parameters.values()
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        return function
    is_open = any(parameter.kind is parameter.VAR_POSITIONAL for parameter in parameters)
    places = [one for one in parameters if one.kind in {one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD}]
    known = [one.name for one in parameters if one.kind in {one.KEYWORD_ONLY, one.POSITIONAL_OR_KEYWORD}]
    said = reasons or {}

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        for name in kwargs:
            if name not in known:
                raise NoSuchArgument(_no_such(function.__name__, name, [one for one in known if one != "self"], said))
        if surplus and not is_open and len(args) > len(places):
            given = ", ".join(map(repr, args[1:]))
            text = f"{function.__name__}() takes no such arguments: {given}\n  → {surplus}"
            raise NoSuchArgument(text)
        return function(*args, **kwargs)

    return call  # type: ignore[return-value] # it is called in the same way


def nearest(name: str, known: list[str]) -> str:
    """Return in words which of some names was meant, or all of them.

    >>> nearest("batch_row", ["batch_rows", "on_error"]), nearest("x", ["a", "b"])
    ("did you mean 'batch_rows'?", 'its arguments: a, b')
    """
    near = get_close_matches(name, known, 1)
    return f"did you mean {near[0]!r}?" if near else f"its arguments: {', '.join(known) or 'none'}"


def _no_such(function: str, name: str, known: list[str], reasons: Mapping[str, str]) -> str:
    if name in reasons:
        return f"{function}() has no argument {name!r}: {reasons[name]}"
    return f"{function}() has no argument {name!r}\n  → {nearest(name, known)}"
