"""How much more processor time a call takes than another one, measured so that a busy machine hardly matters."""

from __future__ import annotations

import time
from collections.abc import Callable

_REPEATS = 7


def processor_s(call: Callable[[], object]) -> float:
    """Return the processor time of this process that a call takes, the least of several."""
    times = []
    for _ in range(_REPEATS):
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return min(times)
