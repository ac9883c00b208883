"""A folder that is followed: files with rows that are known are renamed into it, one after the other."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

from trickle import SCHEMA, all_rows

from streamlab.connectors.files.files import FileSource, scan_parquet

FILES = 64
_FIRST = 4
_HELD_BACK = 12
"""Files that do not come before the rest is asked for: however slow the machine is, not all rows are read by then."""
_PAUSE_S = 0.1


@dataclass(frozen=True)
class FollowedBySeveral(FileSource):
    """A followed folder whose files several subtasks share."""

    @property
    def max_parallelism(self) -> int | None:
        return None


def following(folder: Path, *, by_several: bool = False, pace: str = "max") -> FileSource:
    """Return a source that follows a folder."""
    source = scan_parquet(folder, schema=SCHEMA, follow=True, event_time="t", watermark="1s", pace=pace)
    if not by_several:
        return source
    shown = {name: getattr(source, name) for name in ("name", "schema", "format", "paths", "follow", "policy")}
    return FollowedBySeveral(**shown, timing=source.timing)


class Feeder:
    """Renames files into a folder, in a thread, once it is told to; the first ones are there from the start.

    Parameters
    ----------
    folder
        The one that is followed.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._staged = folder.with_name("staged-files")
        self._hurry = threading.Event()
        rows = all_rows().sort("t", "v")
        self._parts = list(rows.iter_slices(-(-rows.height // FILES)))
        self.rows = rows.height
        for path in (self._folder, self._staged):
            path.mkdir()
        for number in range(_FIRST):
            self._put(number)
        self._thread = threading.Thread(target=self._run, daemon=True)

    def begin(self) -> None:
        """Let further files come, all of which are found after the job's start."""
        self._thread.start()

    def put_the_rest(self) -> None:
        """Let all files be there."""
        self._hurry.set()
        self._thread.join()

    def _run(self) -> None:
        for number in range(_FIRST, len(self._parts)):
            self._hurry.wait(_PAUSE_S if number < len(self._parts) - _HELD_BACK else None)
            self._put(number)

    def _put(self, number: int) -> None:
        staged = self._staged / f"{number}.parquet"
        self._parts[number].write_parquet(staged, row_group_size=50)
        if number % 2:
            os.utime(staged, ns=(0, 0))  # not waited for any more
        staged.rename(self._folder / f"part-{number:03}.parquet")
