"""How a job's figures are written for people: the same words in the terminal, the live view and the saved page.

Numbers are exact up to 10,000 and short beyond; a unit stands behind its number; what is not known is ``—``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US, show_us
from streamlab.observe.clock import clock
from streamlab.observe.status import JobState, JobStatus, TaskStatus

UNKNOWN = "—"
_MANY = 1_000_000
"""Rows from which on there is no room for each digit."""

STATE_MARKS = {
    JobState.STARTING: "○",
    JobState.RUNNING: "●",
    JobState.PAUSED: "‖",
    JobState.RESTARTING: "↻",
    JobState.STOPPING: "◐",
    JobState.FINISHED: "✓",
    JobState.STOPPED: "■",
    JobState.CANCELLED: "■",
    JobState.FAILED: "✗",
}
"""A sign per state, so that colour never carries it alone."""

_LINE = 100
"""Characters of a failure that is told in passing."""
_EXACT_BELOW = 10_000
_MINUTE_S = 60
_HOUR_S = 3600
_DAY_S = 86_400
_YEAR_S = 31_557_600
_PAIRS = ((_DAY_S, "d", _HOUR_S, "h"), (_HOUR_S, "h", _MINUTE_S, "min"), (_MINUTE_S, "min", 1, "s"))


@dataclass(frozen=True)
class Figure:
    """One figure of a job.

    Attributes
    ----------
    label : str
        What it is, in one or two words.
    value : str
        What it is now.
    meaning : str
        One line for people who wonder.
    alarming : bool
        Whether it deserves a look, such as rows that were late.
    is_sentence : bool
        Whether the value may be as long as a line.
    """

    label: str
    value: str
    meaning: str
    alarming: bool = False
    is_sentence: bool = False


def short_number(number: float) -> str:
    """Return a number in at most six characters.

    >>> [short_number(n) for n in (0, 999.4, 9_999, 12_345, 1_234_567, 25e9)]
    ['0', '999', '9,999', '12.3k', '1.23M', '25.0G']
    """
    for factor, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if number >= max(factor, _EXACT_BELOW):
            scaled = number / factor
            digits = 2 if scaled < 10 else 1 if scaled < 100 else 0  # noqa: PLR2004 - three significant digits
            return f"{scaled:.{digits}f}{unit}"
    return f"{number:,.0f}"


def span(ms: float | None) -> str:
    """Return a span of time in its two largest units.

    >>> [span(ms) for ms in (0.4, 12, 1300, 75_000, 7_500_000, 90_000_000, 4e11)]
    ['0.4 ms', '12 ms', '1.3 s', '1 min 15 s', '2 h 5 min', '1 d 1 h', '12.7 years']
    """
    if ms is None:
        return UNKNOWN
    seconds = ms / 1000
    if seconds < _MINUTE_S:
        return f"{seconds:.1f} s" if seconds >= 1 else f"{ms:.1f} ms" if ms < 1 else f"{ms:.0f} ms"
    if seconds >= _YEAR_S:
        return f"{seconds / _YEAR_S:.1f} years"
    large, large_unit, small, small_unit = next(units for units in _PAIRS if seconds >= units[0])
    return f"{seconds // large:.0f} {large_unit} {seconds % large // small:.0f} {small_unit}"


def span_above(ms: float) -> str:
    """Return the shortest span of time that `span` can say and that is no shorter, to be used as a duration.

    >>> [span_above(ms) for ms in (0.4, 12.2, 1301, 59_990, 75_001, 7_500_001, 90_000_000)]
    ['1 ms', '13 ms', '1.4 s', '1 min 0 s', '1 min 16 s', '2 h 6 min', '1 d 1 h']
    """
    steps = (
        (1_000, 1),
        (_MINUTE_S * 1_000, 100),
        (3_600_000, 1_000),
        (86_400_000, 60_000),
        (_YEAR_S * 1_000, 3_600_000),
    )
    step = next((step for below, step in steps if ms < below), _YEAR_S * 100)
    return span(math.ceil(round(ms / step, 6)) * step)


def size(n_bytes: int) -> str:
    """Return a size in memory or on disk.

    >>> [size(n) for n in (0, 900, 1_500, 2_500_000)]
    ['0 B', '900 B', '1.5 kB', '2.5 MB']
    """
    for factor, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.1f} {unit}"
    return f"{n_bytes} B"


def times(number: int) -> str:
    """Return how often something has happened.

    >>> times(1), times(3)
    ('once', '3 times')
    """
    return "once" if number == 1 else f"{number:,} times"


def watermark(us: int | None) -> str:
    """Return where a watermark stands, to the second; event times are UTC.

    >>> watermark(1_357_016_399_999_999), watermark(None), watermark(MAX_TIME_US)
    ('2013-01-01 04:59:59 UTC', '—', 'end of input')
    """
    if us is None or us <= MIN_TIME_US:
        return UNKNOWN
    return "end of input" if us >= MAX_TIME_US else f"{show_us(us).partition('.')[0]} UTC"


def combined(tasks: Sequence[TaskStatus]) -> str:
    """Return how many rows a vertex makes of those that came, when it combines them; else nothing.

    >>> combined([TaskStatus(vertex="s", subtask=0, steps=("s", "count by k (local)"), rows_in=1_000, rows_out=12)])
    '1,000 rows combined to 12'
    """
    if not tasks or not tasks[0].steps or not tasks[0].steps[-1].endswith(" (local)"):
        return ""
    came, left = sum(task.rows_in for task in tasks), sum(task.rows_out for task in tasks)
    told = [short_number(rows) if rows >= _MANY else f"{rows:,}" for rows in (came, left)]
    return f"{told[0]} rows combined to {told[1]}" if came else ""


def progress(status: JobStatus) -> float | None:
    """Return how much of bounded input has been read, from 0 to 1; None when that is not known."""
    if status.state is JobState.FINISHED:
        return 1.0
    if status.bytes_total and status.bytes_read is not None:
        return min(1.0, status.bytes_read / status.bytes_total)
    return min(1.0, status.rows_in / status.rows_total) if status.rows_total else None


def share(done: float) -> str:
    """Return a share in whole percent: 100 only when nothing is left, 0 only when nothing is done.

    >>> share(0.0), share(0.0001), share(0.5), share(0.9999), share(1.0)
    ('0 %', '1 %', '50 %', '99 %', '100 %')
    """
    return f"{max(int(done * 100), int(done > 0))} %"


def input_read(status: JobStatus) -> str:
    """Return how much of its files a job has read; empty of one that has finished, and where rows tell it better."""
    done = progress(status)
    if done is None or not status.bytes_total or status.rows_total or status.state is JobState.FINISHED:
        return ""
    return f"{share(done)} of {size(status.bytes_total)}"


def mean_rows_per_s(status: JobStatus) -> float | None:
    """Return the rows read per second from the first row to the end (or to the latest report)."""
    end_us = status.ended_us or status.reported_us
    if not status.started_us or end_us <= status.started_us:
        return None
    return status.rows_in / ((end_us - status.started_us) / 1e6)


def duration_ms(status: JobStatus) -> float | None:
    """Return how long an ended job has run, from its first row on, or from its start if there was none."""
    if not status.state.is_final or status.ended_us is None:
        return None
    return max(0.0, (status.ended_us - (status.started_us or status.submitted_us)) / 1000)


def rate(status: JobStatus) -> str:
    """Return the rows read per second, of an ended job on average over its run."""
    known = mean_rows_per_s(status) if status.state.is_final else status.rows_in_per_s
    return UNKNOWN if known is None else short_number(known)


def awaited(status: JobStatus, now_us: int) -> str:
    """Return what a job waits for as long as it has read nothing; empty afterwards.

    >>> starting = JobStatus(id="j", name="n", state=JobState.STARTING, parallelism=2, submitted_us=1_000_000)
    >>> awaited(starting, 1_200_000)
    '2 workers, 200 ms: waiting for the coordinator'
    """
    workers = "1 worker" if status.parallelism == 1 else f"{status.parallelism} workers"
    after = span(max(0.0, (now_us - status.submitted_us) / 1000))
    if status.state is JobState.STARTING:
        return f"{workers}, {after}: waiting for {status.awaits or 'the coordinator'}"
    if status.state is JobState.RUNNING and not status.rows_in:
        return f"{workers}, {after}: waiting for the first rows"
    return ""


def last_failure(status: JobStatus) -> str:
    r"""Return in one line why a job was restarted last; empty when it never was.

    >>> from streamlab.observe.status import Failure
    >>> failure = Failure(message="map: needs a worker, got none.\n  → look at job.log()")
    >>> last_failure(JobStatus(id="j", name="n", state=JobState.RESTARTING, restarts=1, last_failure=failure))
    'map: needs a worker, got none.'
    """
    if status.last_failure is None:
        return ""
    said = status.last_failure.message.strip().partition("\n")[0].rstrip() or status.last_failure.kind
    return said if len(said) <= _LINE else said[: _LINE - 1].rstrip() + "…"


def state_text(status: JobStatus) -> str:
    """Return a job's state, and where it runs if that is not here."""
    return f"{status.state} elsewhere ({status.elsewhere})" if status.elsewhere else str(status.state)


def restarts(status: JobStatus) -> tuple[Figure, ...]:
    """Return what is worth showing of a job's restarts: nothing when there were none, the reason while it restarts."""
    if not status.restarts:
        return ()
    reason = last_failure(status)
    meaning = f"how often it went on from its last checkpoint; the last time after: {reason or UNKNOWN}"
    shown = [Figure("restarts", f"{status.restarts:,}", meaning, alarming=not status.state.is_final)]
    if status.state is JobState.RESTARTING and reason:
        shown.append(Figure("restarts after", reason, "why it is being restarted", alarming=True, is_sentence=True))
    return tuple(shown)


def figures(status: JobStatus) -> tuple[Figure, ...]:
    """Return what is worth showing of a job, always in the same order."""
    ended = status.state.is_final
    known = rate(status)
    total = f" of {status.rows_total:,}" if status.rows_total and not ended else ""
    shown = [Figure("rows in", f"{status.rows_in:,}{total}", "rows read from the sources")]
    if read := input_read(status):
        shown.append(Figure("input read", read, "how much of the files, as they lie on disk, has been read"))
    shown += [
        Figure(
            "throughput",
            known if known == UNKNOWN else f"{known} rows/s",
            "rows read per second" + (", on average over the run" if ended else ""),
        ),
        Figure("watermark", watermark(status.watermark_us), "event time up to which all rows are thought to be in"),
        Figure("rows out", f"{status.rows_out:,}", "result rows and changes written"),
        Figure("late rows", f"{status.late_rows:,}", "rows whose windows had closed", alarming=status.late_rows > 0),
    ]
    if status.dead_letters:
        meaning = "pieces of input that could not be understood"
        shown.append(Figure("dead letters", f"{status.dead_letters:,}", meaning, alarming=True))
    if status.latency_p50_ms is not None and not ended:
        both = f"{span(status.latency_p50_ms)} / {span(status.latency_p99_ms)}"
        shown.append(Figure("latency", both, "from reading a row to writing its result: median / 99th percentile"))
    if not ended:
        shown.append(Figure("state", size(status.state_bytes), "size of what the steps remember"))
    took_ms = duration_ms(status)
    if took_ms is not None and status.ended_us is not None:
        began_us = status.started_us or status.submitted_us
        shown += [
            Figure("took", span(took_ms), "from the first row to the end"),
            Figure("started", clock(began_us), "when the first row was read"),
            Figure("ended", clock(status.ended_us), "when it was over"),
        ]
    if status.folder_full and not ended:
        meaning = "what is shown may be old, and no checkpoint can be stored"
        shown.append(Figure("disk", "full, where the job's folder is", meaning, alarming=True, is_sentence=True))
    return (*shown, *restarts(status))
