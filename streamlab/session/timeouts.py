"""How long to wait, as users say it."""

from __future__ import annotations

import datetime as dt

from streamlab.core.errors import OptionError, explained
from streamlab.core.time import Duration


def seconds(timeout: float | str | dt.timedelta | None) -> float | None:
    """Return a timeout in seconds; None waits for ever.

    Raises
    ------
    OptionError
        If it is negative, or no duration.

    Examples
    --------
    >>> seconds("1m"), seconds(2)
    (60.0, 2.0)
    """
    if timeout is None:
        return None
    if isinstance(timeout, str | dt.timedelta):
        return Duration.parse(timeout, name="timeout").fixed_us("timeout") / 1e6
    if timeout < 0:
        raise OptionError(explained("timeout", needed="0 or more seconds", got=str(timeout)))
    return float(timeout)
