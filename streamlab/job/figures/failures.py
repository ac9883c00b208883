"""A failed job's failure as the error that users see."""

from __future__ import annotations

import linecache
import re
import sys
from types import FunctionType

from streamlab.core import errors
from streamlab.core.errors import StepFailed, StreamlabError
from streamlab.core.short_traceback import is_of_library
from streamlab.observe.status import Failure

_WITH_TRACEBACK = ("StepFailed", "WorkerLost", "InternalError")
"""Failures whose text shows where it happened; the others explain themselves."""


_CALL = re.compile(r'^  File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)$', re.MULTILINE)


def error_of(failure: Failure) -> StreamlabError:
    """Return the error that a job's failure stands for, with all that helps in its text."""
    parts = [_with_line(failure)]
    if failure.sample:
        parts.append(f"Rows that the step {failure.step!r} was given:\n{failure.sample.rstrip()}")
    if failure.traceback and failure.kind in _WITH_TRACEBACK:
        parts.append(f"In the worker:\n{failure.traceback.rstrip()}")
    text = "\n\n".join(parts)
    kind = getattr(errors, failure.kind, None)
    if kind is StepFailed or not (isinstance(kind, type) and issubclass(kind, StreamlabError)):
        return StepFailed(text, step=failure.step, traceback_text=failure.traceback, sample=failure.sample)
    return kind(text)


def _with_line(failure: Failure) -> str:
    """Return what is said of a failure, with the line of the user's own code that raised it, if one did."""
    calls = [call for call in _CALL.finditer(failure.traceback) if not is_of_library(call["file"])]
    if failure.kind != "StepFailed" or not calls:
        return failure.message
    file, number, function = calls[-1].group("file", "line", "function")
    source = linecache.getline(_file_of(function) or file, int(number)).strip()
    said, hint, move = failure.message.partition("\n  → ")
    line = f"{said}\n  in line {number} of {function}{f': {source}' if source else ''}"
    return f"{line}{hint}{move}"


def _file_of(function: str) -> str:
    """Return where a function of this script or notebook was written: a worker, which got it by value, cannot say."""
    known = vars(sys.modules["__main__"]).get(function)
    return known.__code__.co_filename if isinstance(known, FunctionType) else ""
