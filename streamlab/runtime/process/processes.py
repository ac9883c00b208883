"""How processes are told apart (:mod:`streamlab.core.process_id`), how they are ended, and how they ended."""

from __future__ import annotations

import os
import signal

from streamlab.core.process_id import ProcessId, process_id

__all__ = ["PIPES_LOST", "ProcessId", "exit_reason", "has_ended", "kill_group", "process_id"]

PIPES_LOST = 76
"""How a worker ends whose pipes to the coordinator were closed by code that runs in it."""


def kill_group(pid: int) -> None:
    """End a process that leads a group of its own, and all that it started in that group."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        # Gone already; macOS says "not permitted" for a group that holds only ended processes.
        return


def has_ended(pid: int) -> bool:
    """Return whether a child has ended, without taking its return code: its number stays reserved for its group."""
    try:
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    except ChildProcessError:
        return True


def exit_reason(code: int) -> str:
    """Return how a process ended, for people, from its return code in the convention of ``subprocess``.

    >>> exit_reason(3)
    'it exited with code 3'
    >>> exit_reason(-9)
    'it was killed by SIGKILL (by hand, or by the system for want of memory)'
    """
    if code == PIPES_LOST:
        return "a function in it has closed descriptors that it had not opened, the worker's own among them"
    if code >= 0:
        return f"it exited with code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    hints = {
        "SIGKILL": " (by hand, or by the system for want of memory)",
        "SIGSEGV": " (a crash in native code)",
        "SIGABRT": " (a crash in native code)",
        "SIGBUS": " (a crash in native code, or a full disk)",
    }
    return f"it was killed by {name}{hints.get(name, '')}"
