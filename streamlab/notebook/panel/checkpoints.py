"""The checkpoints of a job: a timeline, and what one of them holds.

What a checkpoint holds never changes, so the part that is looked at is read once.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import polars as pl

from streamlab.core.errors import StreamlabError
from streamlab.notebook.panel.choice import Choice, TableChoice
from streamlab.notebook.panel.results import page_of
from streamlab.notebook.panel.tables import packed_table
from streamlab.notebook.wire import Binary
from streamlab.observe.clock import clock
from streamlab.observe.preview import plain
from streamlab.observe.status import CheckpointStatus, JobStatus
from streamlab.observe.wording import size, span, times
from streamlab.session.job import Job

RESULTS, SOURCES, STATE = "results", "sources", "state:"
"""Parts of a checkpoint; behind the last stands the name of a step."""
MARKS = {"complete": "✓", "running": "○", "failed": "✗", "abandoned": "✗", "damaged": "✗", "deleted": "·"}
"""A sign per state, so that colour never carries it alone."""
_WORDS = {"deleted": "not kept", "complete": "kept"}


def timeline(status: JobStatus) -> list[dict[str, Any]]:
    """Return what is known of each checkpoint, oldest first.

    ``before`` is what happened between it and the one before it: a restart, or nothing.
    """
    shown = []
    attempt = 1
    for one in status.checkpoints:
        before = f"restart: attempt {one.attempt}" if one.attempt > attempt else ""
        attempt = max(attempt, one.attempt)
        shown.append(
            {
                "id": one.id,
                "state": one.state,
                "mark": MARKS[one.state],
                "words": _WORDS.get(one.state, one.state),
                "kind": _kind(one),
                "at": clock(one.triggered_us),
                "ms": one.duration_ms,
                "duration": "…" if one.duration_ms is None else span(one.duration_ms),
                "size": size(one.size_bytes),
                "new": size(one.new_bytes),
                "restored": f"restored {times(one.restored)}" if one.restored else "",
                "reason": plain(one.reason),
                "before": before,
                "kept": one.state == "complete",
            }
        )
    return shown


def _kind(one: CheckpointStatus) -> str:
    why = {"interval": "", "request": "asked for", "end": "at the end"}[one.trigger]
    return " ".join(word for word in ("savepoint" if one.kind == "savepoint" else "", why) if word)


@dataclass(frozen=True)
class Opened:
    """A part of a checkpoint that was read.

    Attributes
    ----------
    parts : list[tuple[str, str]]
        All parts that there are, and how they are called; states with most rows first.
    part : str
        The one that was read.
    table : polars.DataFrame | None
        Its rows.
    error : str
        Why there are none.
    """

    parts: list[tuple[str, str]]
    part: str
    table: pl.DataFrame | None
    error: str = ""


class Past:
    """What one checkpoint holds, part by part.

    Parameters
    ----------
    job
        The job whose checkpoints they are.
    """

    def __init__(self, job: Job) -> None:
        self._job = job
        self._read: tuple[tuple[int, str], Opened] | None = None

    def values(self, status: JobStatus, choice: Choice, binary: Binary) -> dict[str, Any]:
        """Return the chosen part of the chosen checkpoint, as a table; ``id`` is None when there is none to show."""
        ids = [one.id for one in status.checkpoints if one.state == "complete"]
        if not ids:
            return {"id": None, "ids": []}
        at = choice.at if choice.at in ids else ids[-1]
        gone = "" if choice.at in {None, at} else f"checkpoint {choice.at} is no longer kept; this is the newest"
        read = self._part(at, choice.part)
        return {
            "id": at,
            "ids": ids,
            "newest": choice.at is None,
            "parts": [list(part) for part in read.parts],
            "part": read.part,
            "error": read.error or gone,
            "table": None if read.table is None else _packed(read.table, choice.past, binary),
        }

    def _part(self, at: int, part: str) -> Opened:
        if self._read is None or self._read[0] != (at, part):
            self._read = ((at, part), self._opened(at, part))
        return self._read[1]

    def _opened(self, at: int, part: str) -> Opened:
        try:
            moment = self._job.at(at)
            operators = moment.checkpoint.operators.group_by("operator", maintain_order=True).agg(pl.col("rows").sum())
            states = [
                (STATE + name, f"state of {plain(name)}, {rows:,} rows")
                for name, rows in operators.sort("rows", descending=True, maintain_order=True).iter_rows()
            ]
            parts = [(RESULTS, "result table"), *states, (SOURCES, "positions of the sources")]
            part = part if part in dict(parts) else RESULTS
            if part == SOURCES:
                return Opened(parts, part, moment.sources())
            if part.startswith(STATE):
                return Opened(parts, part, moment.state(part.removeprefix(STATE)))
            return Opened(parts, part, moment.results())
        except StreamlabError as error:
            return Opened([(RESULTS, "result table")], RESULTS, None, plain(str(error).replace("\n", " ")))


def _packed(table: pl.DataFrame, choice: TableChoice, binary: Binary) -> dict[str, Any]:
    return packed_table(page_of(table, choice)[1], choice, binary)
