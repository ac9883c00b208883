"""How long to wait, as users say it."""

from __future__ import annotations

import datetime as dt

from streamlab.core.errors import OptionError, explained
from streamlab.core.event_time.time import Duration


def seconds(timeout: float | str | dt.timedelta | None, name: str = "timeout") -> float | None:
    """Return a timeout in seconds; None waits for ever. `name` is what errors say it is the timeout of.

    Raises
    ------
    OptionError
        If it is negative, no number, or no duration of a fixed length.

    Examples
    --------
    >>> seconds("1m"), seconds(2)
    (60.0, 2.0)
    """
    if timeout is None:
        return None
    if isinstance(timeout, str | dt.timedelta):
        return Duration.parse(timeout, name=name).fixed_us(name) / 1e6
    if not isinstance(timeout, int | float) or isinstance(timeout, bool) or not timeout >= 0:
        raise OptionError(explained(name, needed="0 or more seconds", got=repr(timeout)))
    return float(timeout)
