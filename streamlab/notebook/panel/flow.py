"""The job graph with what each vertex does: busy, idle or waiting for a slower one, and the rows on each edge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from streamlab.notebook.panel.course import Spent
from streamlab.notebook.panel.layered import placed
from streamlab.observe.preview import plain
from streamlab.observe.status import JobStatus, TaskStatus
from streamlab.observe.wording import UNKNOWN, combined, duration_ms, short_number, size, watermark

NOT_KNOWN = "N/A"
FLOW_FINDINGS = frozenset({"bottleneck", "slow step", "hot key"})
"""Findings of the diagnosis that stand above the graph."""
_SEEN = 1.0
"""Milliseconds of a second below which a task has reported nothing yet."""


class Shares:
    """How the subtasks of a vertex spend their time, on average, as parts of one.

    Parameters
    ----------
    spent
        How long they did what.
    """

    def __init__(self, spent: Spent) -> None:
        whole = sum(spent)
        self.known = whole >= _SEEN
        self.busy = spent.busy / whole if self.known else 0.0
        self.waiting = spent.waiting / whole if self.known else 0.0
        self.idle = max(0.0, 1.0 - self.busy - self.waiting) if self.known else 0.0

    @classmethod
    def now(cls, tasks: Sequence[TaskStatus]) -> Shares:
        """Return what the subtasks do now."""
        told = [(t.busy_ms_per_s, t.backpressured_ms_per_s, t.idle_ms_per_s) for t in tasks]
        return cls(Spent(*map(sum, zip(*told, strict=True))) if told else Spent(0.0, 0.0, 0.0))

    @property
    def values(self) -> list[float] | None:
        """Busy, waiting and idle; None while nothing is known."""
        return [round(self.busy, 3), round(self.waiting, 3), round(self.idle, 3)] if self.known else None


def graph_values(status: JobStatus, graph: Sequence[dict[str, Any]], spent: Mapping[str, Spent]) -> dict[str, Any]:
    """Return the graph as it is drawn.

    Parameters
    ----------
    status
        The job's latest status.
    graph
        Rows of ``job.graph()``: vertices in topological order, and what each gives rows to.
    spent
        How each vertex has spent its time so far, for a job that has ended.
    """
    edges = [
        (row["vertex"], target, how)
        for row in graph
        for target, how in zip(row["gives_to"], row["routed"], strict=True)
    ]
    drawn = placed([row["vertex"] for row in graph], [(source, target) for source, target, _ in edges])
    by_vertex = {row["vertex"]: [t for t in status.tasks if t.shown == row["vertex"]] for row in graph}
    return {
        "layers": drawn.layers,
        "rows": drawn.rows,
        "vertices": [
            {
                "id": plain(row["vertex"]),
                "place": list(drawn.vertices[row["vertex"]]),
                "steps": [plain(step) for step in row["steps"]],
                "parallelism": row["parallelism"],
                **_figures(
                    by_vertex[row["vertex"]],
                    spent.get(row["vertex"], Spent(0.0, 0.0, 0.0)) if status.state.is_final else None,
                ),
                "combined": combined(by_vertex[row["vertex"]]),
            }
            for row in graph
        ],
        "edges": [
            {
                "path": [list(point) for point in path],
                "how": plain(how),
                "rate": _rate(by_vertex[source], status),
                "from": plain(source),
                "to": plain(target),
            }
            for (source, target, how), path in zip(edges, drawn.edges, strict=True)
        ],
    }


def percent(share: float) -> str:
    """Return a share in words.

    >>> percent(0.0), percent(0.004), percent(0.347), percent(0.998)
    ('0 %', '<1 %', '35 %', '>99 %')
    """
    if 0 < share < 0.01:  # noqa: PLR2004 - a percent
        return "<1 %"
    if 0.99 < share < 1:  # noqa: PLR2004
        return ">99 %"
    return f"{share * 100:.0f} %"


def _figures(tasks: Sequence[TaskStatus], spent: Spent | None) -> dict[str, Any]:
    shares = Shares.now(tasks) if spent is None else Shares(spent)
    mean = "" if spent is None else "∅ "
    words = (
        f"{mean}busy {percent(shares.busy)} · waiting {percent(shares.waiting)} · idle {percent(shares.idle)}"
        if shares.known
        else f"busy {NOT_KNOWN} · waiting {NOT_KNOWN} · idle {NOT_KNOWN}"
    )
    marks = [t.watermark_us for t in tasks if t.watermark_us is not None]
    return {
        "shares": shares.values,
        "words": words,
        "facts": [
            ["rows in", f"{sum(t.rows_in for t in tasks):,}"],
            ["rows out", f"{sum(t.rows_out for t in tasks):,}"],
            ["queued", f"{sum(t.queued_batches for t in tasks):,}" if tasks else NOT_KNOWN],
            ["state", size(sum(t.state_bytes for t in tasks))],
            ["late rows", f"{sum(t.late_rows for t in tasks):,}"],
            ["watermark", watermark(min(marks)) if marks else UNKNOWN],
        ],
    }


def _rate(tasks: Sequence[TaskStatus], status: JobStatus) -> str:
    """Return rows per second on the edges out of a vertex; each of them gets all its rows."""
    if status.state.is_final:
        took_ms = duration_ms(status)
        return f"∅ {short_number(sum(t.rows_out for t in tasks) / took_ms * 1000)} rows/s" if took_ms else ""
    if not tasks:
        return ""
    return f"{short_number(sum(t.rows_out_per_s for t in tasks))} rows/s"
