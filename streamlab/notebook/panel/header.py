"""What stands at the top of a panel, whichever tab is open: the job's state, its figures, and what can be asked of it.

Everything is text, numbers or lists of them, so that it travels as it is. Who draws HTML escapes it.
"""

from __future__ import annotations

from typing import Any

from streamlab.observe.preview import plain
from streamlab.observe.status import Failure, JobState, JobStatus
from streamlab.observe.wording import STATE_MARKS, figures, progress

Header = dict[str, Any]
"""Keys: ``name id state mark final progress figures failure controls pace``."""

STEPS = ("step", "step_watermark", "advance_watermark")
"""What a paused job can be told to do by hand."""
_SHOWN_LINES = 40
"""Lines of a traceback that are shown; its end says most."""


def header(status: JobStatus) -> Header:
    """Return what to show of a job in every tab."""
    return {
        "name": plain(status.name),
        "id": status.id,
        "state": str(status.state),
        "mark": STATE_MARKS[status.state],
        "final": status.state.is_final,
        "progress": progress(status),
        "figures": [[f.label, plain(f.value), plain(f.meaning), f.alarming] for f in figures(status)],
        "failure": failure_text(status.failure),
        "controls": controls(status),
        "pace": status.pace,
    }


def controls(status: JobStatus) -> list[str]:
    """Return the names of the commands that make sense now.

    Examples
    --------
    >>> controls(JobStatus(id="j", name="n", state=JobState.PAUSED))
    ['resume', 'step', 'step_watermark', 'advance_watermark', 'stop', 'cancel']
    """
    if status.state.is_final:
        return []
    if status.state is JobState.STOPPING:
        return ["cancel"]
    pace = ["pace"] if status.pace else []
    if status.state is JobState.PAUSED:
        return [*pace, "resume", *STEPS, "stop", "cancel"]
    return [*pace, "resume" if status.wish == "pause" else "pause", "stop", "cancel"]


def failure_text(failure: Failure | None) -> dict[str, str] | None:
    """Return why a job failed, as texts by name; None when it has not."""
    if failure is None:
        return None
    return {
        "kind": failure.kind,
        "message": _lines(failure.message),
        "step": plain(failure.step),
        "sample": _lines(failure.sample),
        "traceback": _lines("\n".join(failure.traceback.splitlines()[-_SHOWN_LINES:])),
    }


def _lines(text: str) -> str:
    return "\n".join(plain(line.expandtabs(4)) for line in text.split("\n"))
