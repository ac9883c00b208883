"""Followed files that change after they were read: they are not read again, so somebody has to be told.

A file that was read is looked at again now and then, a bounded number at a time, so that a look costs the same however
many files there are. What is found is said once for each file, as a split without rows that is a dead letter.
"""

from __future__ import annotations

import os
import threading
from itertools import islice

import polars as pl

from streamlab.connectors.contracts.dead_letters import letters
from streamlab.connectors.contracts.source import START, Position, Read, Split, SplitReader
from streamlab.connectors.formats.base import Target

CHANGED = "#after="
"""Stands in the id of a split between a file and how it changed."""
_MOST_AT_ONCE = 200
_REASONS = {
    "growth": "it grew after it was read, and what was added is not read: write it elsewhere, rename it when whole",
    "replacement": "it was replaced after it was read, and the new one is not read: give each file a name of its own",
}

_State = tuple[int, int, int]
"""Number of a file in the file system, size and time of change."""


class ReadFiles:
    """The files that were read, as they were then. Readers add to it, a finder asks it, perhaps in another thread."""

    def __init__(self) -> None:
        self._files: dict[str, _State] = {}
        """The next to be looked at come first."""
        self._changing = threading.Lock()

    def __reduce__(self) -> tuple[type[ReadFiles], tuple[()]]:
        """Return what another process begins with: it has read nothing."""
        return ReadFiles, ()

    def add(self, path: str, *, is_opened: bool) -> None:
        """Take note that a file is read as it is now, by who opens it, or was read before by somebody unknown."""
        state = _state_of(path)
        with self._changing:
            if state is not None and (is_opened or path not in self._files):
                self._files[path] = state

    def changed(self, *, is_rotated: bool = False) -> list[Split]:
        """Return what has to be told of files that are not what was read, of those that are looked at this time.

        Where files are rotated, another file under a used name is no change: it is known by itself.
        """
        with self._changing:
            looked = [self._look(path, is_rotated=is_rotated) for path in list(islice(self._files, _MOST_AT_ONCE))]
        return [split for split in looked if split is not None]

    def _look(self, path: str, *, is_rotated: bool) -> Split | None:
        then, now = self._files.pop(path), _state_of(path)
        if now == then:
            self._files[path] = then
        if now is None or now == then:
            return None  # Of a file that was deleted nothing is lost.
        if is_rotated and now[0] != then[0]:
            return None
        how = "growth" if now[0] == then[0] and now[1] > then[1] else "replacement"
        return Split(f"{path}{CHANGED}{how}", 0)


class ChangeReader(SplitReader):
    """Gives the dead letter of one file that changed."""

    def __init__(self, target: Target, how: str, position: Position) -> None:
        self._target, self._how = target, how
        self._said = position != START

    @property
    def done(self) -> bool:
        """Whether it has been said."""
        return self._said

    def read(self, limit: int, now_us: int) -> Read | None:
        """Return the dead letter."""
        if self._said:
            return None
        self._said = True
        said = [(_REASONS[self._how], os.path.basename(self._target.path), self._target.path)]
        return Read(pl.DataFrame(schema=self._target.schema), 1, 0, dead_letters=letters(self._target.step, said))


def _state_of(path: str) -> _State | None:
    try:
        stat = os.stat(path)
    except OSError:
        return None
    return stat.st_ino, stat.st_size, stat.st_mtime_ns
