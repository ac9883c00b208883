"""A failed job's failure as the error that users see."""

from __future__ import annotations

from streamlab.core import errors
from streamlab.core.errors import StepFailed, StreamlabError
from streamlab.observe.status import Failure

_WITH_TRACEBACK = ("StepFailed", "WorkerLost", "InternalError")
"""Failures whose text shows where it happened; the others explain themselves."""


def error_of(failure: Failure) -> StreamlabError:
    """Return the error that a job's failure stands for, with all that helps in its text."""
    parts = [failure.message]
    if failure.sample:
        parts.append(f"Rows that the step {failure.step!r} was given:\n{failure.sample.rstrip()}")
    if failure.traceback and failure.kind in _WITH_TRACEBACK:
        parts.append(f"In the worker:\n{failure.traceback.rstrip()}")
    text = "\n\n".join(parts)
    kind = getattr(errors, failure.kind, None)
    if kind is StepFailed or not (isinstance(kind, type) and issubclass(kind, StreamlabError)):
        return StepFailed(text, step=failure.step, traceback_text=failure.traceback, sample=failure.sample)
    return kind(text)
