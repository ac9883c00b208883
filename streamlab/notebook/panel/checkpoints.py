"""The checkpoints of a job: a timeline, and what one of them holds.

What a checkpoint holds never changes, so the part that is looked at is read once.
"""

from __future__ import annotations

from collections.abc import Set
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import polars as pl

from streamlab.core.errors import StreamlabError
from streamlab.job.history.job_at_checkpoint import HeldMoment
from streamlab.job.job import Job
from streamlab.notebook.charts.wire import Binary
from streamlab.notebook.panel.choice import Choice, TableChoice
from streamlab.notebook.panel.results import page_of
from streamlab.notebook.panel.tables import packed_table
from streamlab.observe.clock import clock
from streamlab.observe.preview import plain
from streamlab.observe.status import CheckpointStatus, JobStatus
from streamlab.observe.wording import size, span, times
from streamlab.operators.windows.pre_aggregate import LOCAL

RESULTS, SOURCES, STATE, PARTIAL = "results", "sources", "state:", "partial:"
"""Parts of a checkpoint; behind the last two stands the name of a step."""
MARKS = {"complete": "✓", "running": "○", "failed": "✗", "abandoned": "✗", "damaged": "✗", "deleted": "·"}
"""A sign per state, so that colour never carries it alone."""
_WORDS = {"deleted": "not kept", "complete": "kept"}


def timeline(status: JobStatus, held: int | None = None) -> list[dict[str, Any]]:
    """Return what is known of each checkpoint, oldest first; `held` is one that is kept because it is looked at.

    ``before`` is what happened between it and the one before it: a restart, or nothing.
    """
    shown = []
    attempt = 1
    for one in status.checkpoints:
        is_held = one.id == held
        # The job would have deleted it, and does so when nobody looks any more.
        state = "complete" if is_held else one.state
        before = f"restart: attempt {one.attempt}" if one.attempt > attempt else ""
        attempt = max(attempt, one.attempt)
        shown.append(
            {
                "id": one.id,
                "state": state,
                "mark": MARKS[state],
                "words": "kept while it is looked at" if is_held else _WORDS.get(state, state),
                "kind": _kind(one),
                "at": clock(one.triggered_us),
                "ms": one.duration_ms,
                "duration": "…" if one.duration_ms is None else span(one.duration_ms),
                "size": size(one.size_bytes),
                "new": size(one.new_bytes),
                "restored": f"restored {times(one.restored)}" if one.restored else "",
                "reason": plain(one.reason),
                "before": before,
                "kept": state == "complete",
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
        self._held: HeldMoment | None = None
        """The chosen checkpoint, which stays for as long as it is looked at."""

    @property
    def held(self) -> int | None:
        """Id of the checkpoint that is kept because it was chosen here."""
        return None if self._held is None else self._held.checkpoint.id

    def close(self) -> None:
        """Let go of it."""
        if self._held is not None:
            self._held.release()
            self._held = None

    def values(self, status: JobStatus, choice: Choice, binary: Binary) -> dict[str, Any]:
        """Return the chosen part of the chosen checkpoint, as a table; ``id`` is None when there is none to show."""
        kept = {one.id for one in status.checkpoints if one.state == "complete"}
        self._hold(choice.at, kept)
        ids = sorted(kept if self.held is None else kept | {self.held})
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

    def _hold(self, at: int | None, kept: Set[int]) -> None:
        if self.held == at:
            return
        self.close()
        if at is not None and at in kept:
            # One that is being deleted just now, or is damaged, is told of when it is opened.
            with suppress(StreamlabError):
                self._held = self._job.hold(at)

    def _part(self, at: int, part: str) -> Opened:
        if self._read is None or self._read[0] != (at, part):
            self._read = ((at, part), self._opened(at, part))
        return self._read[1]

    def _opened(self, at: int, part: str) -> Opened:
        try:
            moment = self._held if self._held is not None and self.held == at else self._job.at(at)
            operators = moment.checkpoint.operators.group_by("operator", maintain_order=True).agg(pl.col("rows").sum())
            ranked = list(operators.sort("rows", descending=True, maintain_order=True).iter_rows())
            states = [
                (STATE + name, f"state of {plain(name)}, {rows:,} rows")
                for name, rows in ranked
                if not name.endswith(LOCAL)
            ]
            partial = [
                (PARTIAL + name, f"partial results on their way to {plain(name.removesuffix(LOCAL))}, {rows:,} rows")
                for name, rows in ranked
                if name.endswith(LOCAL)
            ]
            parts = [(RESULTS, "result table"), *states, (SOURCES, "positions of the sources"), *partial]
            part = part if part in dict(parts) else RESULTS
            if part == SOURCES:
                return Opened(parts, part, moment.sources())
            if part.startswith(PARTIAL):
                return Opened(parts, part, moment.state(part.removeprefix(PARTIAL)))
            if part.startswith(STATE):
                return Opened(parts, part, moment.state_by_key(part.removeprefix(STATE)))
            return Opened(parts, part, moment.results())
        except StreamlabError as error:
            return Opened([(RESULTS, "result table")], RESULTS, None, plain(str(error).replace("\n", " ")))


def _packed(table: pl.DataFrame, choice: TableChoice, binary: Binary) -> dict[str, Any]:
    return packed_table(page_of(table, choice)[1], choice, binary)
