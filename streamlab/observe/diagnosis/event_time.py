"""Rules about event time: who holds the watermark back, and what came too late."""

from __future__ import annotations

from dataclasses import dataclass

from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US
from streamlab.observe.diagnosis.findings import Facts, Finding, Severity, percent, quoted
from streamlab.observe.status import ClockStatus, FurthestRow, JobStatus, SplitStatus, TaskStatus
from streamlab.observe.wording import span, span_above, watermark

QUIET_MS = 5_000
"""From when on a split that gives nothing is worth a word."""
_ACTIVE_MS = 2_000
"""A split that gave rows so recently is not quiet."""
_HELD_BACK_MS_PER_S = 500
_TOO_MANY_LATE = 0.01
_FAR_US = 86_400_000_000
"""So far ahead of the clock an event time is worth a word."""
_AIMS = (0.99, 0.999, 1.0)
_LONGEST_MS = 366 * 86_400_000
"""No longer delay is suggested: then it is the times that are wrong."""
_OF_TEXT = {"scan_csv", "scan_ndjson"}
"""Sources that take a column of text for a time only when they are told so."""


@dataclass(frozen=True)
class _Place:
    task: TaskStatus
    split: SplitStatus
    quiet_ms: float | None
    clock: ClockStatus | None

    @property
    def counts(self) -> bool:
        """Whether it can hold the watermark back."""
        return not self.split.idle and not self.split.ended

    @property
    def height(self) -> int:
        """Its watermark."""
        return MIN_TIME_US if self.split.watermark_us is None else self.split.watermark_us

    @property
    def is_held_back(self) -> bool:
        """Whether it gives nothing because nobody takes its rows, or because it is not to give more."""
        return self.task.backpressured_ms_per_s >= _HELD_BACK_MS_PER_S or self.task.reached


def held_watermarks(facts: Facts) -> list[Finding]:
    """Find the split that holds the watermark back: it lies behind the others, and gives nothing."""
    if not facts.is_running:
        return []
    counting = [place for task in facts.status.tasks for place in _places(task) if place.counts]
    active = [place for place in counting if place.quiet_ms is not None and place.quiet_ms < _ACTIVE_MS]
    lowest = min(counting, key=lambda place: place.height, default=None)
    if lowest is None or not any(place.height > lowest.height for place in active):
        return _all_quiet(facts, counting)
    if lowest.is_held_back or _silence_ms(facts.status, lowest) < QUIET_MS:
        return []
    return [_held(facts.status, lowest)]


def far_future(facts: Facts) -> list[Finding]:
    """Find the split that has a row far ahead of the clock, or of most others: it closes every window before it.

    ``max_advance`` compares a row with those before it, so it lets the first row of a split through.
    """
    status = facts.status
    row = _furthest(status)
    if row is None:
        return []
    ahead_us = row.us - status.reported_us
    late_ms = _all_late_by_ms(status) if ahead_us < _FAR_US else None
    if ahead_us < _FAR_US and late_ms is None:
        return []
    said = f"a row of split {row.split} of {row.step} is of {watermark(row.us)}"
    shown = f"; the row: {row.row}" if row.row else ""
    return [
        Finding(
            kind="far future",
            severity=Severity.WARNING if status.late_rows else Severity.HINT,
            subject=f"split {row.split} of {row.step}",
            sentence=f"{said}, {span(ahead_us / 1000)} ahead of the clock: rows before that are late{shown}"
            if late_ms is None
            else f"most rows are late, all of them by {span(late_ms)} or more: {said}, so far ahead of them{shown}",
            move=_against(row),
        )
    ]


def _against(row: FurthestRow) -> str:
    """Return what to do against a row of the far future."""
    refused = "max_advance='1d' refuses such rows behind others; a first row is to be mended in the data"
    if not row.column:
        return refused
    column = repr(row.column)
    kept = f".filter(pl.col({column}) < …).with_watermark({column}, …)"
    typed = f", with schema_overrides={{{column}: pl.Datetime}}" if row.step in _OF_TEXT else ""
    return f"{refused}, or left out: read without event_time{typed}, then {kept}"


def _furthest(status: JobStatus) -> FurthestRow | None:
    """Return the row that is furthest ahead, as far as it is known; a split may know its time alone."""
    rows = [task.time.furthest for task in status.tasks if task.time.furthest is not None]
    splits = [split for task in status.tasks for split in task.time.splits]
    rows += [
        FurthestRow(us=us, split=one.split, step=one.step) for one in splits if (us := _latest_us(one)) is not None
    ]
    return max(rows, key=lambda row: (row.us, row.row), default=None)


def _all_late_by_ms(status: JobStatus) -> float | None:
    """Return by how much most rows are late, if that is all that are late, and far."""
    bounds = [bound_ms for task in status.tasks for bound_ms, _ in task.time.late_by]
    if not bounds or 2 * status.late_rows <= status.rows_in or min(bounds) < _FAR_US / 1000:
        return None
    # A bound is that of a bucket, which begins at half of it or later.
    return min(bounds) / 2


def _latest_us(split: SplitStatus) -> int | None:
    """Return how far the event times of a split have come, as far as that is known."""
    latest = split.watermark_us if split.latest_us is None else split.latest_us
    return latest if latest is not None and MIN_TIME_US < latest < MAX_TIME_US else None


def _places(task: TaskStatus) -> list[_Place]:
    clocks = {clock.step: clock for clock in task.time.clocks}
    as_of_us = task.time.as_of_us
    return [
        _Place(
            task,
            split,
            None if split.last_row_us is None else (as_of_us - split.last_row_us) / 1000,
            clocks.get(split.step) or next(iter(task.time.clocks), None),
        )
        for split in task.time.splits
        if not task.finished
    ]


def _silence_ms(status: JobStatus, place: _Place) -> float:
    """Return for how long a split has given nothing, or the job has run without a row of it."""
    if place.quiet_ms is not None:
        return place.quiet_ms
    return 0.0 if status.started_us is None else (status.reported_us - status.started_us) / 1000


def _subject(place: _Place) -> str:
    return f"split {place.split.split} of {place.split.step}"


def _held(status: JobStatus, place: _Place) -> Finding:
    silence = span(_silence_ms(status, place))
    since = f"nothing read for {silence}" if place.quiet_ms is not None else f"nothing read yet, after {silence}"
    timeout_ms = place.clock.idle_timeout_ms if place.clock is not None else None
    move = (
        f"set idle_timeout on {quoted(place.split.step)}, so that a quiet split no longer counts"
        if timeout_ms is None
        else f"wait: it no longer counts after {span(timeout_ms)} without rows (idle_timeout), or lower that"
    )
    return Finding(
        kind="held watermark",
        severity=Severity.WARNING,
        subject=_subject(place),
        sentence=f"watermark held by {_subject(place)}: {since}",
        move=move,
        vertex=place.task.vertex,
    )


def _all_quiet(facts: Facts, counting: list[_Place]) -> list[Finding]:
    """Find that nothing comes at all, so that open windows wait."""
    silences = [place.quiet_ms for place in counting]
    shortest = min((silence for silence in silences if silence is not None), default=None)
    reached = facts.status.watermark_us
    if shortest is None or shortest < QUIET_MS or reached is None or not facts.status.state_bytes:
        return []
    if any(place.is_held_back for place in counting):
        return []
    return [
        Finding(
            kind="no input",
            severity=Severity.HINT,
            subject="",
            sentence=f"no source has given rows for {span(shortest)}: the watermark stands at {watermark(reached)}",
            move="windows that end later fire when rows come again, or when the job is stopped",
        )
    ]


def completeness(status: JobStatus) -> list[tuple[float, float]]:
    """Return what share of the rows a longer delay would have kept: pairs of *more delay* in ms and share, rising.

    The first pair is the delay as it is. Shares are of all rows that the sources gave. Empty when nothing was read.

    Examples
    --------
    >>> from streamlab.observe.status import JobState, TimeStatus
    >>> task = TaskStatus(vertex="w", subtask=0, late_rows=3, time=TimeStatus(late_by=((1000.0, 2), (4000.0, 1))))
    >>> status = JobStatus(id="j", name="n", state=JobState.RUNNING, rows_in=100, late_rows=3, tasks=(task,))
    >>> completeness(status)
    [(0.0, 0.97), (1000.0, 0.99), (4000.0, 1.0)]
    """
    if not status.rows_in:
        return []
    late_by: dict[float, int] = {}
    for task in status.tasks:
        for bound_ms, rows in task.time.late_by:
            late_by[bound_ms] = late_by.get(bound_ms, 0) + rows
    known = sum(late_by.values())
    late = min(status.late_rows, status.rows_in)
    pairs = [(0.0, 1 - late / status.rows_in)]
    kept = 0
    for bound_ms, rows in sorted(late_by.items()):
        kept += rows
        # Rows of earlier attempts are taken to have been as late as those of this one.
        pairs.append((bound_ms, 1 - late * (1 - kept / known) / status.rows_in))
    return pairs


def late_share(facts: Facts) -> list[Finding]:
    """Find that rows were set aside because they came too late, and say which delay would have kept how many."""
    status = facts.status
    if not status.late_rows or not status.rows_in:
        return []
    share = min(1.0, status.late_rows / status.rows_in)
    was, came = ("row was", "it came") if status.late_rows == 1 else ("rows were", "they came")
    return [
        Finding(
            kind="late rows",
            severity=Severity.WARNING if share > _TOO_MANY_LATE else Severity.HINT,
            subject="",
            sentence=f"{status.late_rows:,} {was} set aside because {came} too late: {percent(share)} of all",
            move=_longer_delay(status),
        )
    ]


def _longer_delay(status: JobStatus) -> str:
    pairs = completeness(status)
    clocks = [clock for task in status.tasks for clock in task.time.clocks]
    delays = {clock.delay_ms for clock in clocks}
    delay_ms = delays.pop() if len(delays) == 1 else None
    said: dict[str, str] = {}
    for aim in _AIMS:
        more_ms = next((more for more, kept in pairs if kept >= aim - 1e-9), None)
        if more_ms and more_ms <= _LONGEST_MS:
            said.setdefault(_delay(delay_ms, more_ms), "all" if aim == 1 else percent(aim))
    look = "look at them with job.lateness()"
    if not said:
        return look
    was = (
        f"raise the watermark's delay, now {span(delay_ms)}" if delay_ms is not None else "raise the watermark's delay"
    )
    delays_said = ", ".join(f"{delay} would have kept {kept}" for delay, kept in said.items())
    return f"{was}: {delays_said}; or set allowed_lateness, so that windows still take them; {look}"


def _delay(delay_ms: float | None, more_ms: float) -> str:
    """Return a longer delay in words, which mean no less than is needed and are others than those of the present."""
    if delay_ms is None:
        return f"{span_above(more_ms)} more"
    needed_ms = delay_ms + more_ms
    while (said := span_above(needed_ms)) == span(delay_ms):
        needed_ms *= 1 + 1e-4
    return said
