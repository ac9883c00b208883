"""How much more processor time something takes when there is more of it."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

MOST = 3.0
"""By how much a cost that does not grow may seem to, on a machine that others use too."""


def ratio(small: Callable[[], object], large: Callable[[], object], *, times: int = 5) -> float:
    """Return how many times as much processor time the second call takes; each is called several times, in turns."""
    pairs = [(_processor_s(small), _processor_s(large)) for _ in range(times)]
    return min(second for _, second in pairs) / max(min(first for first, _ in pairs), 1e-6)


def _processor_s(call: Callable[[], object]) -> float:
    gc.collect()
    began_s = time.process_time()
    call()
    return time.process_time() - began_s
