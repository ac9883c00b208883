"""Turns a job graph into bytes, and when that fails finds out which variable of which function is to blame."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Iterator, Mapping

import cloudpickle

from streamlab.core.errors import PlanError, explained
from streamlab.graph.job_graph import JobGraph

_MAX_DEPTH = 6


def pickled_graph(graph: JobGraph) -> bytes:
    """Return the graph as bytes that a worker can read, with the user's functions by value.

    Raises
    ------
    PlanError
        If something in it cannot be sent to another process; it names the step and the variable.
    """
    try:
        data: bytes = cloudpickle.dumps(graph)
    except Exception as error:
        raise PlanError(_reason(graph, error)) from error
    return data


def pickled_query(query: object) -> bytes:
    """Return a query as bytes; its parts are those of a graph that was pickled before."""
    data: bytes = cloudpickle.dumps(query)
    return data


def _reason(graph: JobGraph, error: Exception) -> str:
    for vertex in graph.vertices:
        ends = [(end.name, end) for end in (vertex.source, vertex.sink) if end is not None]
        for step, part in (*ends, *((spec.shown, spec) for spec in vertex.operators)):
            if _can_travel(part):
                continue
            path, value = _culprit(part, ())
            name = " of ".join(reversed(path)) or "a value"
            return explained(
                step,
                needed="functions and values that can be sent to worker processes",
                got=f"{name}, a {type(value).__module__}.{type(value).__qualname__} ({error})",
                hint="make it inside the function, or pass what it is made from",
            )
    return explained("start", needed="a query that can be sent to worker processes", got=str(error))


def _can_travel(value: object) -> bool:
    try:
        cloudpickle.dumps(value)
    except Exception:
        return False
    return True


def _culprit(value: object, path: tuple[str, ...]) -> tuple[tuple[str, ...], object]:
    """Return the innermost part that cannot travel, with the names that lead to it."""
    if len(path) < _MAX_DEPTH:
        for name, part in _parts(value):
            if not _can_travel(part):
                return _culprit(part, (*path, name))
    return path, value


def _parts(value: object) -> Iterator[tuple[str, object]]:
    """Yield the named parts that are pickled along with a value."""
    if isinstance(value, functools.partial):
        yield "the function", value.func
        yield from ((f"argument {index}", part) for index, part in enumerate(value.args))
        yield from ((f"argument '{name}'", part) for name, part in value.keywords.items())
    elif inspect.ismethod(value):
        yield "the object", value.__self__
    elif inspect.isfunction(value):
        used = inspect.getclosurevars(value)
        yield from ((f"variable '{name}'", part) for name, part in {**used.globals, **used.nonlocals}.items())
        yield from ((f"default {index}", part) for index, part in enumerate(value.__defaults__ or ()))
    elif dataclasses.is_dataclass(value) and not isinstance(value, type):
        yield from ((f"'{field.name}'", getattr(value, field.name)) for field in dataclasses.fields(value))
    elif isinstance(value, Mapping):
        yield from ((f"item {key!r}", part) for key, part in value.items())
    elif isinstance(value, list | tuple | set | frozenset):
        yield from ((f"item {index}", part) for index, part in enumerate(value))
    elif hasattr(value, "__dict__"):
        yield from ((f"attribute '{name}'", part) for name, part in vars(value).items())
