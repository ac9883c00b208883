"""A worker's black box: what it was doing, readable after it has gone.

A small memory-mapped file in the job's folder. Before each call of a step the worker writes the step's name, and before
a call of a user's function also a few of the rows that it gets. A mapped file survives every way of dying (segfault,
``os._exit``, SIGKILL), because the pages belong to the system. Its blocks are written in advance: a mapped page
without a block would kill the process when the disk is full.

Beside it lies what Python itself writes when it is killed by a signal: where each thread was.
"""

from __future__ import annotations

import mmap
import os
import re
from itertools import islice
from pathlib import Path

from streamlab.runtime.messages.pipes import FrameBuffer, framed

_SIZE = 64 * 1024
_MAX_STEP = 1024
_STEP_CALLER = f'  File "{Path(__file__).parents[1] / "task" / "task.py"}"'
_THREAD = re.compile(r"^(?P<title>Current thread|Thread) 0x.*\n(?P<calls>(?:  .*\n)*)", re.MULTILINE)


class BlackBox:
    """The writing side, in the worker.

    Parameters
    ----------
    path
        Where the file is made.
    """

    def __init__(self, path: Path) -> None:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(fd, bytes(_SIZE))
            self._map = mmap.mmap(fd, _SIZE)
        finally:
            os.close(fd)

    def note(self, step: str, sample: str = "") -> None:
        """Say what is about to run, and with which rows."""
        record = framed(step.encode()[:_MAX_STEP])
        record += framed(sample.encode()[: _SIZE - len(record) - 4])
        self._map[: len(record)] = record

    def close(self) -> None:
        """Let go of the file."""
        self._map.close()


def read_black_box(path: Path) -> tuple[str, str]:
    """Return the step and the sample that were noted last; empty when there are none."""
    try:
        frames = list(islice(FrameBuffer(_SIZE).feed(path.read_bytes()), 2))
    except (OSError, ValueError):
        return "", ""
    texts = [frame.decode(errors="replace") for frame in frames]
    return (texts[0], texts[1]) if len(texts) == 2 else ("", "")  # noqa: PLR2004 - a step and a sample


def read_fault(path: Path) -> str:
    """Return what `faulthandler` has written; empty when the worker did not even come to that."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def shown_fault(report: str) -> str:
    """Return what the user needs of a report by `faulthandler`: the thread that crashed, from the call of the step on.

    When no thread of Python's crashed, each thread that ran a step is shown; when none did, all there is. Calls stand
    in the order of Python's tracebacks. The signal is left out: the worker's exit says it.
    """
    threads = [(found["title"], found["calls"]) for found in _THREAD.finditer(report)]
    shown = [(title, calls) for title, calls in threads if title.startswith("Current")]
    shown = shown or [(title, calls) for title, calls in threads if _STEP_CALLER in calls]
    return "\n".join(_shown_thread(*thread) for thread in shown) or report


def _shown_thread(title: str, calls: str) -> str:
    lines = calls.partition(_STEP_CALLER)[0].splitlines(keepends=True)
    return f"{title} (most recent call last):\n{''.join(reversed(lines))}"
