"""How much more processor time one call takes than another, in one process and at the same time of day."""

from __future__ import annotations

import time
from collections.abc import Callable


def cost_ratio(dear: Callable[[], object], cheap: Callable[[], object], *, repeats: int = 5) -> float:
    """Return the processor time of `dear` divided by that of `cheap`: the best of several of each, taken in turn.

    Processor time, since other processes share the machine; the best, since what disturbs only ever adds to it. Both
    are called once before, so that neither pays for what is done once.
    """
    dear()
    cheap()
    pairs = [(_cpu_s(dear), _cpu_s(cheap)) for _ in range(repeats)]
    return min(pair[0] for pair in pairs) / min(pair[1] for pair in pairs)


def _cpu_s(call: Callable[[], object]) -> float:
    begun = time.process_time()
    call()
    return time.process_time() - begun
