"""What a worker's threads do that must end in time, and by when. Pure: the clock is told how much time has passed.

Calls of user code and of what waits for the outside have ``step_timeout_ms``. A commit has a limit of its own: it may
have to carry millions of rows into a database, and to cut it short helps nobody. Whatever else the main thread does may
take as long as the longer of a commit and five steps: then it hangs. A part of a checkpoint that cannot be stored in
the time that a whole one may take (``checkpoint_timeout_ms``) would hold up every later one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from streamlab.core.errors import explained
from streamlab.core.options import JobOptions

_STEPS_PER_TURN = 5


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
    """What the threads do now; written by them, read by the watchdog."""

    def __init__(self) -> None:
        self.awake_s = 0.0
        """How long the watchdog has run, not counting time in which the process was frozen."""
        self.limited: LimitedCall | None = None
        """A call that must return in time; None while none runs."""
        self.commits = False
        """Whether sinks commit now."""
        self.storing_thread: int | None = None
        """The thread that stores parts of checkpoints, once there is one."""
        self._turned_s: float | None = 0.0
        self._storing_s: float | None = None

    def turn(self) -> None:
        """Note that the main thread goes on."""
        self._turned_s = self.awake_s

    def stop(self) -> None:
        """Note that its loop has ended."""
        self._turned_s = None

    def turn_overdue(self, now_s: float, options: JobOptions) -> str:
        """Return what to say of the main thread when it does not go on; nothing while it does."""
        limit_s = max(options.step_timeout_ms * _STEPS_PER_TURN, options.commit_timeout_ms) / 1000
        return _overdue("each turn of its loop to end", self._turned_s, now_s, limit_s, "step_timeout_ms")

    @contextmanager
    def storing(self, thread: int) -> Iterator[None]:
        """Store a part of a checkpoint, in a thread."""
        self.storing_thread, self._storing_s = thread, self.awake_s
        try:
            yield
        finally:
            self._storing_s = None

    def storing_overdue(self, now_s: float, options: JobOptions) -> str:
        """Return what to say of that thread when it takes too long; nothing while it may go on."""
        limit_s = options.checkpoint_timeout_ms / 1000
        needed = "its part of a checkpoint to be stored"
        return _overdue(needed, self._storing_s, now_s, limit_s, "checkpoint_timeout_ms")

    def begin(self, step: str, sample: str = "") -> None:
        """Note that a call begins that must return in time."""
        self.limited = LimitedCall(step, self.awake_s, sample, self.commits)

    def end(self) -> None:
        """Note that none runs."""
        self.limited, self.commits = None, False
        if self._turned_s is not None:
            self._turned_s = self.awake_s


def _overdue(needed: str, since_s: float | None, now_s: float, limit_s: float, option: str) -> str:
    if since_s is None or now_s - since_s <= limit_s:
        return ""
    hint = f"see the traceback for where it hangs, or raise {option}"
    return explained("worker", needed=f"{needed} within {limit_s:g} s", got="one that did not", hint=hint)
