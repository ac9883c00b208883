"""The attempts of a job, on record before any of their processes starts, and what that means for rows already shown.

Rows in the job's logs say in which attempt they were written and which checkpoint they follow (their *epoch*). When a
later attempt starts from checkpoint ``C``, rows of earlier ones with an epoch of ``C`` or above are void: they will be
written again. The record is one small file beside the logs, replaced whole.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from streamlab.core.errors import StateError, explained
from streamlab.core.failpoints import reach
from streamlab.runtime.messages.protocol import Layout

_NAME = "attempts.json"


class Attempt(msgspec.Struct, frozen=True):
    """One attempt."""

    number: int
    restored: int
    """The checkpoint that it started from; 0 for the beginning."""
    layout: Layout
    """What it runs; with another parallelism, keys belong to other subtasks."""


def read_attempts(results: Path) -> tuple[Attempt, ...]:
    """Return the attempts on record in a job's results folder, oldest first.

    Raises
    ------
    StateError
        The record is damaged: which rows were withdrawn cannot be known any more.
    """
    path = results / _NAME
    try:
        return msgspec.json.decode(path.read_bytes(), type=tuple[Attempt, ...])
    except FileNotFoundError:
        return ()
    except msgspec.MsgspecError as error:
        text = explained(f"reading {path}", needed="the job's attempts", got=str(error), hint="the file was damaged")
        raise StateError(text) from error


def record_attempt(results: Path, attempt: Attempt) -> None:
    """Put an attempt on record, durably."""
    reach("attempts.write")
    known = [one for one in read_attempts(results) if one.number < attempt.number]
    aside = results / f".{_NAME}.{os.getpid()}"
    with aside.open("wb") as file:
        file.write(msgspec.json.encode((*known, attempt)))
        file.flush()
        os.fsync(file.fileno())
    aside.replace(results / _NAME)
    folder = os.open(results, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    reach("attempts.written")


def is_void(attempt: int, epoch: int, attempts: Sequence[Attempt]) -> bool:
    """Return whether rows of an attempt that follow checkpoint `epoch` were withdrawn by a later attempt.

    Examples
    --------
    >>> attempts = [Attempt(1, 0, Layout(2, ())), Attempt(2, 5, Layout(2, ()))]
    >>> is_void(1, 4, attempts), is_void(1, 5, attempts), is_void(2, 5, attempts)
    (False, True, False)
    """
    return any(later.number > attempt and epoch >= later.restored for later in attempts)


def same_keys_since(attempts: Sequence[Attempt]) -> int:
    """Return the first of the newest attempts that all have one parallelism: keys have not moved since then."""
    since = 0
    for before, after in pairwise(attempts):
        if before.layout.parallelism != after.layout.parallelism:
            since = after.number
    return since
