"""A process that a user's function forks ends where that function ends; it never is a second worker, or client.

``os.fork()`` copies the whole process. The child goes on in the middle of the function, and when that returns or
raises, the child would go on as the worker: write its rows once more, commit, report. So a hook that Python calls in
the child finds the user's outermost call on the stack and has the interpreter's tracing end the process when that call
is over, however that comes about. Until then the child does as it likes. The worker's pipes are closed to it.

What forks behind Python's back (a C library) has no hook: `leave_if_forked`, which the worker calls between two steps,
ends such a child.

A client calls functions of the user's, too, to learn what they return, and so does Polars for it: a child that is
forked below a call of ours ends with the function as well. What the user's own code forks is none of our business.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import polars as pl

import streamlab

_OURS = f"{Path(str(streamlab.__file__)).parent}{os.sep}"
_CALLERS = (_OURS, f"{Path(str(pl.__file__)).parent}{os.sep}")
"""Whose code calls functions of the user's."""
_ENDS_BY_ITSELF = f"{os.sep}multiprocessing{os.sep}popen_fork.py"
"""A child of `multiprocessing` never comes back to who has forked it."""

_worker = 0
_pipes: set[int] = set()
_calls = 0
"""How many calls a client is making to learn something."""
_is_hooked = False


def end_forked_children(pipes: Collection[int]) -> None:
    """Have every process that is forked from this one end with the user's call that forks it.

    Parameters
    ----------
    pipes
        Descriptors that such a process must neither read nor write.
    """
    global _worker  # noqa: PLW0603 - there is one worker to a process
    end_children_of_calls()
    _worker = os.getpid()
    _pipes.update(pipes)


@contextmanager
def no_second_client() -> Iterator[None]:
    """Have every process that is forked by a function of the user's in this block end with that function."""
    global _calls  # noqa: PLW0603 - a fork copies the whole process
    end_children_of_calls()
    client = os.getpid()
    _calls += 1
    try:
        yield
    finally:
        if os.getpid() != client:
            os._exit(0)
        _calls -= 1


def leave_if_forked() -> None:
    """End this process if it was forked from a worker."""
    if _worker and os.getpid() != _worker:
        os._exit(0)


def end_children_of_calls() -> None:
    """Have every process that a function of the user's forks, which is called by us, end with that function."""
    global _is_hooked  # noqa: PLW0603 - a hook cannot be taken back
    if not _is_hooked:
        os.register_at_fork(after_in_child=_end_with_the_call)
    _is_hooked = True


def _end_with_the_call() -> None:
    _close_pipes()
    call, caller = _outermost_call(sys._getframe().f_back)
    if not _worker and (caller is None or not (_calls or _is_called_by_us(caller))):
        return
    if call is not None:
        call.f_trace = _leave_on_return
    if caller is not None:
        caller.f_trace_opcodes = True
        caller.f_trace = _leave
    if call is not None or caller is not None:
        sys.settrace(lambda *_: None)


def _close_pipes() -> None:
    if not _pipes:
        return
    null = os.open(os.devnull, os.O_RDWR)
    for pipe in _pipes:
        os.dup2(null, pipe, inheritable=False)
    os.close(null)


def _outermost_call(frame: FrameType | None) -> tuple[FrameType | None, FrameType | None]:
    """Return the user's outermost call on the stack, and what has called it; neither where the child ends by itself."""
    call = None
    while frame is not None and not frame.f_code.co_filename.startswith(_CALLERS):
        if frame.f_code.co_filename.endswith(_ENDS_BY_ITSELF):
            return None, None
        call, frame = frame, frame.f_back
    return call, frame


def _is_called_by_us(frame: FrameType | None) -> bool:
    """Return whether a call is one of ours, or below one."""
    while frame is not None and not frame.f_code.co_filename.startswith(_OURS):
        frame = frame.f_back
    return frame is not None


def _leave_on_return(_frame: FrameType, event: str, _argument: object) -> Any:
    """End the process when the traced call returns or is left by an exception."""
    if event == "return":
        os._exit(0)
    return _leave_on_return


def _leave(*_: object) -> Any:
    os._exit(0)
