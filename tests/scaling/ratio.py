"""How much more processor time one call takes than another, in one process and at the same time of day."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable

MOST = 3.0
"""By how much a cost that does not grow may seem to, on a machine that others use too."""


def cost_ratio(dear: Callable[[], object], cheap: Callable[[], object], *, repeats: int = 5) -> float:
    """Return the processor time of `dear` divided by that of `cheap`: the best of several of each, taken in turn.

    Processor time, since other processes share the machine; the best, since what disturbs only ever adds to it. Both
    are called once before, so that neither pays for what is done once.
    """
    dear()
    cheap()
    pairs = [(processor_s(dear), processor_s(cheap)) for _ in range(repeats)]
    return min(pair[0] for pair in pairs) / max(min(pair[1] for pair in pairs), 1e-6)


def processor_s(call: Callable[[], object], *, repeats: int = 1) -> float:
    """Return the processor time of this process that a call takes, the least of several."""
    least_s = float("inf")
    for _ in range(repeats):
        gc.collect()
        began_s = time.process_time()
        call()
        least_s = min(least_s, time.process_time() - began_s)
    return least_s
