"""What went wrong with a job and what it has printed: failures, restarts, refused input, what the panel has told."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import Any

import polars as pl

from streamlab.job.job import Job
from streamlab.notebook.charts.wire import Binary
from streamlab.notebook.panel.choice import Choice
from streamlab.notebook.panel.header import failure_text
from streamlab.notebook.panel.results import page_of
from streamlab.notebook.panel.tables import packed_table
from streamlab.observe.clock import clock
from streamlab.observe.preview import plain, shortened
from streamlab.observe.status import JobStatus
from streamlab.observe.wording import times

_LINES, _LETTERS = 200, 40_000
"""Lines and characters of the processes' output that are shown, the last ones."""
_LONGEST_LINE = 2_000
_BYTES = 64 * 1024
"""How much of each process's output is read for that, each time."""


class LogTab:
    """What there is to read of a job.

    Parameters
    ----------
    job
        The job.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._letters: tuple[int, pl.DataFrame] = (-1, pl.DataFrame())

    def values(
        self, status: JobStatus, choice: Choice, binary: Binary, told: Sequence[dict[str, Any]]
    ) -> dict[str, Any]:
        """Return what is to be shown; `told` is what the panel has said."""
        if self._letters[0] != status.dead_letters:
            self._letters = status.dead_letters, self._job.dead_letters()
        letters = self._letters[1]
        page = page_of(letters, choice.letters, in_order="newest last" if letters.height else "")[1]
        return {
            "restarts": _restarts(status),
            "last": None if status.last_failure == status.failure else failure_text(status.last_failure),
            "told": [
                [clock(round(one["at_s"] * 1e6), with_day=False), one["text"], one["error"]] for one in reversed(told)
            ],
            "letters": packed_table(page, choice.letters, binary, "nothing was refused"),
            "output": _last_lines(self._job.log(_BYTES)),
        }


def _last_lines(output: str) -> str:
    lines = [plain(shortened(line, _LONGEST_LINE)) for line in output.splitlines()[-_LINES:]]
    lengths = list(accumulate(len(line) + 1 for line in reversed(lines)))
    return "\n".join(lines[len(lines) - bisect_right(lengths, _LETTERS) :])


def _restarts(status: JobStatus) -> str:
    if not status.restarts:
        return ""
    since = f"checkpoint {status.restored_checkpoint}" if status.restored_checkpoint else "the beginning"
    return f"Restarted {times(status.restarts)}; the present attempt, {status.attempt}, goes on from {since}."
