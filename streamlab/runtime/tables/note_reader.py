"""Reads a side table with the step that each row is of, from any process, while the job writes it."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from streamlab.core.errors import StateError
from streamlab.runtime.job_folder.attempts import Attempt, read_attempts
from streamlab.runtime.tables.record_log import LogReader, standing

_WHOLE_ROWS = 1_000
"""A frame of so many rows is not merged with others any more."""


class NoteReader:
    """Reads a side table, each record once; the caller sees to it that one thread at a time does.

    Rows that a restart of the job has withdrawn, and those in files that its writers have deleted, are gone from the
    next call on.

    Parameters
    ----------
    results
        The job's results folder.
    tag
        Of the side table.
    """

    def __init__(self, results: Path, tag: str) -> None:
        self._results = results
        self._log = LogReader(results / tag)
        self._attempts: tuple[Attempt, ...] = ()
        self._frames: dict[tuple[str, int], list[tuple[str, pl.DataFrame]]] = {}
        """By the file that they are in."""

    def read(self) -> list[tuple[str, pl.DataFrame]]:
        """Return the rows that are there, oldest first for each writer, each frame with the step that it is of."""
        # In this order, since an attempt is on record before there are rows of it.
        records = list(self._log.read_new())
        attempts = read_attempts(self._results)
        if attempts != self._attempts:
            self._log.restart()
            self._frames = {}
            records = list(self._log.read_new())
            self._attempts = attempts = read_attempts(self._results)
        try:
            records = standing(records, attempts)
        except StateError:
            # The next call, too, is to find what is damaged.
            self._log.restart()
            self._frames = {}
            raise
        for record in records:
            _append(self._frames.setdefault((record.prefix, record.segment), []), record.header.step, record.frame)
        there = self._log.segments()
        self._frames = {file: frames for file, frames in self._frames.items() if file in there}
        return [one for file in sorted(self._frames) for one in self._frames[file]]


def _append(frames: list[tuple[str, pl.DataFrame]], step: str, frame: pl.DataFrame) -> None:
    """Append a frame; one that follows a short one of the same step is put to it, since each costs as it is shown."""
    if frames:
        last_step, last = frames[-1]
        if last_step == step and last.height < _WHOLE_ROWS and last.schema == frame.schema:
            frames[-1] = step, pl.concat([last, frame], rechunk=True)
            return
    frames.append((step, frame))
