"""Every error that streamlab raises, in one tree.

The class says whose fault it is; the message says four things: the *step*, what was *needed*, what was *got*, and the
*next move*. Use :func:`explained` to write it so that every message reads alike.

==================  =========================================================  ===================
class               whose fault                                                does a retry help?
==================  =========================================================  ===================
PlanError           the query as written                                       no, change the query
OptionError         an argument of a call                                      no, change the call
SourceError         the data or the place that it comes from                   perhaps
SinkError           the place that results go to                               perhaps
StepFailed          a step raised while it ran, usually a user's function      no, unless the data change
WorkerLost          a worker process died or hung                              perhaps
JobError            asked a job for what it cannot give now                    see the message
StateError          state or a job folder that cannot be read                  no
CheckpointError     what a checkpoint is kept in, or what damaged it           see its `matter`
InternalError       streamlab                                                  no, report it
==================  =========================================================  ===================
"""

from __future__ import annotations

from typing import Literal

from streamlab.core.redaction import without_credentials
from streamlab.core.short_traceback import ShortTraceback

CheckpointMatter = Literal["missing", "damaged", "newer", "refused", "unreachable"]
"""What is the matter with a file of a checkpoint; see :class:`CheckpointError`."""


class StreamlabError(ShortTraceback, Exception):
    """Base of all errors raised on purpose by streamlab."""


class PlanError(StreamlabError):
    """The query cannot be built as written; raised by the call that wrote it."""


class OptionError(StreamlabError, ValueError):
    """An argument is not one that the call accepts."""


class SourceError(StreamlabError):
    """A source cannot be opened or read."""


class SinkError(StreamlabError):
    """A sink cannot be opened, written or committed.

    Attributes
    ----------
    lasting : bool
        Whether that is so whenever it is tried again: a job that meets it is not restarted.
    """

    def __init__(self, message: str, *, lasting: bool = False) -> None:
        super().__init__(message)
        self.lasting = lasting


class StepFailed(StreamlabError):
    """A step of a running job raised; carries the step, the worker's traceback and a sample of its input rows.

    Attributes
    ----------
    step : str
        Name of the step as ``explain()`` shows it.
    traceback_text : str
        The worker's traceback, as text (an exception object does not travel between processes).
    sample : str
        A few of the rows that the step was given, drawn as a table; empty when there were none.
    lasting : bool
        Whether it failed again with the same rows, so that a job that meets it is not restarted.
    """

    def __init__(
        self, message: str, *, step: str = "", traceback_text: str = "", sample: str = "", lasting: bool = False
    ) -> None:
        super().__init__(message)
        self.lasting = lasting
        self.step = step
        self.traceback_text = traceback_text
        self.sample = sample


class WorkerLost(StreamlabError):
    """A worker process ended, was killed, or stopped answering."""


class JobError(StreamlabError):
    """A job cannot do what was asked of it in the state that it is in."""


class StateError(StreamlabError):
    """State, a checkpoint or a job folder is damaged or was written by something else."""


class CheckpointError(StateError):
    """A checkpoint cannot be written, or one of its files cannot be used.

    Attributes
    ----------
    file : str
        Name of the file in its store; empty when the store as a whole is meant.
    matter : {"missing", "damaged", "newer", "refused", "unreachable"}
        `missing`: the file is not there. `damaged`: it is not what was written; an earlier checkpoint may be whole.
        `newer`: a later version of streamlab wrote it. `refused`: it was asked for something that is never done.
        `unreachable`: the disk or the service failed, the file may be good; this one alone may go by a retry.
    """

    def __init__(self, message: str, *, file: str = "", matter: CheckpointMatter = "damaged") -> None:
        super().__init__(message)
        self.file = file
        self.matter: CheckpointMatter = matter


class InternalError(StreamlabError):
    """An invariant of streamlab itself is broken: always a bug."""


def explained(step: str, *, needed: str, got: str, hint: str = "") -> str:
    """Return the text of an error in the form that all of streamlab uses; credentials in addresses are left out.

    Parameters
    ----------
    step
        What was being done, as the user wrote it, for instance ``"filter"``.
    needed
        What the step needs.
    got
        What it got instead; when it ends with a full stop, as what another error says does, no second one follows.
    hint
        The next move; left out when there is no good one.

    Examples
    --------
    >>> print(explained("filter", needed="a Boolean expression", got="Int64", hint="compare it: pl.col('n') > 0"))
    filter: needs a Boolean expression, got Int64.
      → compare it: pl.col('n') > 0
    """
    text = f"{step}: needs {needed}, got {got}{'' if got.endswith('.') else '.'}"
    return without_credentials(f"{text}\n  → {hint}" if hint else text)


def not_a_frame(value: object, given: str = "") -> tuple[str, str]:
    """Return in words what a function has returned instead of a frame, and what to return.

    Parameters
    ----------
    value
        What it has returned.
    given
        What the frame is called that the function was given; empty when it was given none.

    Examples
    --------
    >>> not_a_frame(1.5)
    ('a float', "return a frame of one row: pl.DataFrame({'x': [value]})")
    """
    kind = type(value).__name__
    beside = f"return {given}.with_columns({{}}) to put it beside the others, or " if given else "return "
    if value is None:
        return f"a {kind}", "end it with `return …`"
    if kind == "Series":
        alone = "series.to_frame() and say schema=" if given else "series.to_frame()"
        return f"a {kind}", f"{beside.format('series')}{alone}"
    if kind == "Expr":
        return "an Expr", f"{beside.format('expression')}pl.select(expression)"
    if isinstance(value, str | bytes | bool | int | float):
        row = "return a frame of one row: pl.DataFrame({'x': [value]})"
        more = ", and say schema={'x': …}; select(pl.col('x').sum()) aggregates over all batches" if given else ""
        return f"a {kind}", row + more
    return f"a {kind}", "return pl.DataFrame(…)"
