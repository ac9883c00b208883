"""When windows give early results, in the user's words: ``sl.every("10s")``, ``sl.every_rows(1000)``."""

from __future__ import annotations

import datetime as dt

from streamlab.core.errors import OptionError, explained
from streamlab.core.event_time.time import Duration
from streamlab.core.event_time.windows import EveryDuration, EveryRows, Trigger


def every(interval: str | dt.timedelta) -> EveryDuration:
    """Give early results of open windows every so much processing time, and make the stream an updating one.

    At each multiple of the interval the windows that got rows since the last one give a result (as with Flink's
    ``ContinuousProcessingTimeTrigger``).

    Parameters
    ----------
    interval
        Wall clock between two early results, such as ``"10s"``.

    Raises
    ------
    OptionError
        If that is no duration of fixed length above zero.

    Examples
    --------
    >>> every("10s").interval.us
    10000000
    """
    duration = Duration.parse(interval, name="every")
    if duration.fixed_us("every") <= 0:
        raise OptionError(explained("every", needed="a duration longer than 0", got=repr(duration.text)))
    return EveryDuration(duration)


def every_rows(rows: int) -> EveryRows:
    """Give an early result of a window and key each time that they have got that many more rows.

    The stream becomes an updating one. A batch that brings several times as many rows gives one result.

    Parameters
    ----------
    rows
        How many, at least 1.

    Raises
    ------
    OptionError
        If that is no number of rows.

    Examples
    --------
    >>> every_rows(1000)
    EveryRows(rows=1000)
    """
    if not isinstance(rows, int) or isinstance(rows, bool) or rows < 1:
        raise OptionError(explained("every_rows", needed="a number of rows, at least 1", got=repr(rows)))
    return EveryRows(rows)


def checked_trigger(step: str, trigger: object) -> Trigger | None:
    """Return the trigger, or raise OptionError when it is none."""
    if trigger is None or isinstance(trigger, EveryDuration | EveryRows):
        return trigger
    raise OptionError(
        explained(step, needed="trigger=sl.every('10s') or trigger=sl.every_rows(1000)", got=f"trigger={trigger!r}")
    )
