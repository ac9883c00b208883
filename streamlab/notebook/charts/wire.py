"""Frames for the front end: a head and a body as JSON, and their columns as one piece of binary.

A frame is everything that is on the screen, so one that gets lost on the way costs nothing once the next one is there,
and a page that was loaded again is right at once. Frames are numbered. The front end asks after the newest number when
it has heard nothing for a while, or when its own is not the one before; then the newest frame is sent again. Of the
lines of charts, which are long, a frame has what has changed since a version that the front end most likely has; when
it has not, it asks for all of them.

A column of text is three parts, as in Arrow: the UTF-8 bytes of all cells, the end of each cell (uint32), and which
cells are null (uint8). A column of numbers is one part, of float64.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from itertools import accumulate
from typing import Any

Frame = dict[str, Any]
"""``seq tab tabs head body binary``; a column in the body is ``{"type": …, "parts": [[from, to], …]}``."""
_ALIGNED = 8
"""Bytes at whose multiples parts begin, since typed arrays want that."""


class Binary:
    """Collects the columns of one frame."""

    def __init__(self) -> None:
        self._written = bytearray()

    def __bytes__(self) -> bytes:
        return bytes(self._written)

    def begin_with(self, columns: bytes) -> None:
        """Put in columns that another one has collected, at the places that they have there; must come first."""
        self._written[:] = columns

    def text(self, cells: Sequence[str | None]) -> dict[str, Any]:
        """Put in a column of text, and return what stands for it.

        Examples
        --------
        >>> binary = Binary()
        >>> binary.text(["JFK", None])
        {'type': 'text', 'parts': [[0, 3], [8, 16], [16, 18]]}
        """
        encoded = [b"" if cell is None else cell.encode("utf-8", "replace") for cell in cells]
        ends = array("I", accumulate(map(len, encoded)))
        nulls = bytes(cell is None for cell in cells)
        return self._put("text", b"".join(encoded), ends.tobytes(), nulls)

    def numbers(self, values: Iterable[float]) -> dict[str, Any]:
        """Put in a column of numbers; what is not known is NaN."""
        return self._put("numbers", array("d", values).tobytes())

    def _put(self, kind: str, *parts: bytes) -> dict[str, Any]:
        places = []
        for part in parts:
            self._written.extend(bytes(-len(self._written) % _ALIGNED))
            places.append([len(self._written), len(self._written) + len(part)])
            self._written.extend(part)
        return {"type": kind, "parts": places}


class Numbering:
    """Gives each frame its number, and tells whether it is another than the last."""

    def __init__(self) -> None:
        self.newest: Frame = {"seq": 0}

    def next(self, content: dict[str, Any]) -> Frame | None:
        """Return the content as a new frame; None when it is what the newest frame holds."""
        if all(self.newest.get(key) == value for key, value in content.items()):
            return None
        self.newest = {**content, "seq": self.newest["seq"] + 1}
        return self.newest
