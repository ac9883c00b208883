"""Which call of the main thread must return in time, and by when. Pure: its clock is told how much time has passed.

Calls of user code and of what waits for the outside have ``step_timeout_ms``. A commit has a limit of its own: it may
have to carry millions of rows into a database, and to cut it short helps nobody.
"""

from __future__ import annotations

from dataclasses import dataclass

from streamlab.core.errors import explained
from streamlab.core.options import JobOptions


@dataclass(frozen=True)
class LimitedCall:
    """A call that runs.

    Attributes
    ----------
    step : str
        What runs.
    since_s : float
        When it began, in terms of `StepClock.awake_s`.
    sample : str
        A few rows of its input.
    is_commit : bool
        Whether a sink commits.
    """

    step: str
    since_s: float
    sample: str = ""
    is_commit: bool = False

    def overdue(self, now_s: float, options: JobOptions) -> str:
        """Return what to say of it when it takes too long; nothing while it may run on.

        Examples
        --------
        >>> call = LimitedCall("write", 2.0)
        >>> call.overdue(61.0, JobOptions("job"))
        ''
        >>> call.overdue(63.0, JobOptions("job")).partition(",")[0]
        'write: needs each call to return within 60 s'
        """
        limit_s = (options.commit_timeout_ms if self.is_commit else options.step_timeout_ms) / 1000
        if now_s - self.since_s <= limit_s:
            return ""
        what, option = ("commit", "commit_timeout_ms") if self.is_commit else ("call", "step_timeout_ms")
        return explained(
            self.step,
            needed=f"each {what} to return within {limit_s:g} s",
            got="one that did not",
            hint=f"see the traceback for where it hangs, or raise {option}",
        )


class StepClock:
    """What the main thread runs now; written by it, read by the watchdog."""

    def __init__(self) -> None:
        self.awake_s = 0.0
        """How long the watchdog has run, not counting time in which the process was frozen."""
        self.limited: LimitedCall | None = None
        """A call that must return in time; None while none runs."""
        self.commits = False
        """Whether sinks commit now."""

    def begin(self, step: str, sample: str = "") -> None:
        """Note that a call begins that must return in time."""
        self.limited = LimitedCall(step, self.awake_s, sample, self.commits)

    def end(self) -> None:
        """Note that none runs."""
        self.limited, self.commits = None, False
