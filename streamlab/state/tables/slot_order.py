"""Slots of a batch in rising order.

In that order equal slots stand side by side, slots that are new behind all that were there before, and memory is read
and written from one end to the other.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from streamlab.state.tables.hash_table import Slots

Places = npt.NDArray[np.uint32]
"""Row numbers, as Polars has them."""

_PLACE_BITS = 32


def in_order(slots: Slots) -> tuple[Places, Slots]:
    """Return where the slots stand, by rising slot and equal ones as they come, and the slots in that order.

    >>> in_order(np.array([5, 3, 5]))
    (array([1, 0, 2], dtype=uint32), array([3, 5, 5]))
    """
    # Plain numbers are sorted much faster than places by what stands there.
    ordered = slots << _PLACE_BITS
    ordered |= np.arange(len(slots))
    ordered.sort()
    # What does not fit is cut off: that are the slots.
    places = ordered.astype(np.uint32)
    ordered >>= _PLACE_BITS
    return places, ordered
