"""Rules about the flow of rows: what is the slowest step, and why."""

from __future__ import annotations

from collections.abc import Sequence

from streamlab.observe.diagnosis.findings import Facts, Finding, Severity, percent, quoted, steps_of
from streamlab.observe.status import TaskStatus
from streamlab.observe.wording import short_number, span

_BUSY = 700
"""Milliseconds of a second."""
_WAITS = 500
_SLOW_CALL_MS = 50
_FAST_ROWS_PER_S = 100_000
_FEWEST_ROWS = 10_000


def bottlenecks(facts: Facts) -> list[Finding]:
    """Find the vertex that is busy while those that give it rows wait, and that does not wait itself."""
    if not facts.is_running:
        return []
    every = dict(facts.subtasks())
    found: list[Finding] = []
    for vertex, tasks in every.items():
        busiest = max(tasks, key=lambda task: task.busy_ms_per_s)
        waits = max(task.backpressured_ms_per_s for task in tasks)
        above = [every[source] for source in facts.sources_of(vertex) if source in every]
        waiting = [
            (max(task.backpressured_ms_per_s for task in one), steps_of(one))
            for one in above
            if not all(task.finished for task in one)
        ]
        longest, waiter = max(waiting, default=(0.0, ""))
        if busiest.finished or busiest.busy_ms_per_s < _BUSY or longest < _WAITS or waits >= _WAITS:
            continue
        share = _share(busiest, tasks)
        is_hot = _is_hot(share, len(tasks))
        found.append(
            Finding(
                kind="bottleneck",
                severity=Severity.WARNING,
                subject=steps_of(tasks),
                sentence=(
                    f"bottleneck: {quoted(steps_of(tasks))} is busy {percent(busiest.busy_ms_per_s / 1000)} of the"
                    f" time while {quoted(waiter)} waits {percent(longest / 1000)}"
                ),
                move=_faster(facts, tasks, is_hot=is_hot),
                vertex=vertex,
            )
        )
    return found


def slow_calls(facts: Facts) -> list[Finding]:
    """Find a source that is slowed down by a step or a sink in its own chain: nobody waits for it but itself."""
    if not facts.is_running:
        return []
    found: list[Finding] = []
    for vertex, tasks in facts.subtasks():
        if facts.sources_of(vertex) or len(tasks[0].steps) < 2:  # noqa: PLR2004 - a source alone has no one to blame
            continue
        slowest = max(tasks, key=lambda task: task.batch_duration_ms or 0.0)
        took = slowest.batch_duration_ms
        if slowest.finished or took is None or took < _SLOW_CALL_MS or slowest.busy_ms_per_s < _BUSY:
            continue
        if slowest.rows_in_per_s >= _FAST_ROWS_PER_S:
            continue
        found.append(
            Finding(
                kind="slow step",
                severity=Severity.WARNING,
                subject=steps_of(tasks),
                sentence=(
                    f"{quoted(steps_of(tasks))} is busy {percent(slowest.busy_ms_per_s / 1000)} of the time: a batch"
                    f" of {short_number(slowest.batch_rows)} rows takes {span(took)}"
                ),
                move="a step or the sink in that chain is slow: do more rows with each call, or raise the parallelism",
                vertex=vertex,
            )
        )
    return found


def hot_subtasks(facts: Facts) -> list[Finding]:
    """Find that one subtask behind an exchange gets most of the rows, as when one key has most of them."""
    if not facts.is_running:
        return []
    found: list[Finding] = []
    for vertex, tasks in facts.subtasks():
        if not facts.sources_of(vertex) or sum(task.rows_in for task in tasks) < _FEWEST_ROWS:
            continue
        hottest = max(tasks, key=lambda task: task.rows_in_per_s)
        share = _share(hottest, tasks)
        if not _is_hot(share, len(tasks)) or share is None:
            continue
        is_busy = hottest.busy_ms_per_s >= _BUSY
        found.append(
            Finding(
                kind="hot key",
                severity=Severity.WARNING if is_busy else Severity.HINT,
                subject=f"{steps_of(tasks)}[{hottest.subtask}]",
                sentence=(
                    f"subtask {hottest.subtask} of {quoted(steps_of(tasks))} gets {percent(share)} of the rows: "
                    f"some key has most of them"
                ),
                move="aggregate in two steps, with a second column in the first key; more subtasks will not help",
                vertex=vertex,
            )
        )
    return found


def _share(task: TaskStatus, tasks: Sequence[TaskStatus]) -> float | None:
    """Return which part of the rows that come now come to one subtask; None when there are none."""
    total = sum(one.rows_in_per_s for one in tasks)
    return task.rows_in_per_s / total if total > 0 else None


def _is_hot(share: float | None, subtasks: int) -> bool:
    return share is not None and subtasks > 1 and share >= 0.5 + 0.5 / subtasks


def _faster(facts: Facts, tasks: Sequence[TaskStatus], *, is_hot: bool) -> str:
    if is_hot:
        return "one subtask has most of the rows: spread its key, more subtasks will not help"
    is_sink = not facts.gives_to.get(tasks[0].vertex)
    if is_sink and len(tasks[0].steps) == 1:
        return "the sink is slow: write more rows at once, or raise the parallelism with job.rescale(n)"
    return f"raise the parallelism, now {len(tasks)}, with job.rescale(n), or make the step do less for each row"
