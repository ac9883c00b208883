"""Slots of a batch in rising order.

In that order equal slots stand side by side, slots that are new behind all that were there before, and memory is read
and written from one end to the other.
"""

from __future__ import annotations

import numpy as np

from streamlab.state.hash_table import Places, Slots

_PLACE_BITS = 32
_PLACE_MASK = 2**_PLACE_BITS - 1


def in_order(slots: Slots) -> tuple[Places, Slots]:
    """Return where the slots stand, by rising slot and equal ones as they come, and the slots in that order.

    >>> in_order(np.array([5, 3, 5]))
    (array([1, 0, 2]), array([3, 5, 5]))
    """
    # Plain numbers are sorted much faster than places by what stands there.
    ordered = slots << _PLACE_BITS
    ordered |= np.arange(len(slots))
    ordered.sort()
    return ordered & _PLACE_MASK, ordered >> _PLACE_BITS
