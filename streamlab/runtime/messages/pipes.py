"""Values over a byte stream: four bytes of length, then msgpack."""

from __future__ import annotations

import os
from collections.abc import Iterator

MAX_FRAME = 256 * 1024 * 1024
_LENGTH = 4
READY = b""
"""The frame with which a worker says that it has imported everything, before anybody has told it who it is."""


def framed(data: bytes) -> bytes:
    """Return the bytes with their length in front."""
    return len(data).to_bytes(_LENGTH, "little") + data


class FrameBuffer:
    """Puts frames together again from the pieces in which they arrive."""

    def __init__(self, limit: int = MAX_FRAME) -> None:
        self._bytes = bytearray()
        self._limit = limit

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Take a piece and yield the frames that are whole now. Raises ValueError for a frame beyond the limit."""
        self._bytes += piece
        while len(self._bytes) >= _LENGTH:
            size = int.from_bytes(self._bytes[:_LENGTH], "little")
            if size > self._limit:
                text = f"frame of {size} bytes"
                raise ValueError(text)
            if len(self._bytes) < _LENGTH + size:
                return
            frame = bytes(self._bytes[_LENGTH : _LENGTH + size])
            del self._bytes[: _LENGTH + size]
            yield frame


class PipeWriter:
    """Writes to a pipe without ever blocking: what does not fit now is kept and goes out on a later call.

    Parameters
    ----------
    fd
        The writing end; it is made non-blocking.
    """

    def __init__(self, fd: int) -> None:
        os.set_blocking(fd, False)
        self.fd = fd
        self._rest = bytearray()

    @property
    def pending(self) -> int:
        """Bytes that wait to be written."""
        return len(self._rest)

    def close(self) -> None:
        """Close the writing end; what was not written is lost."""
        os.close(self.fd)

    def send(self, data: bytes = b"") -> None:
        """Write a frame, or what was left. Raises BrokenPipeError when there is no reader any more."""
        if data:
            self._rest += framed(data)
        while self._rest:
            try:
                written = os.write(self.fd, self._rest)
            except BlockingIOError:
                return
            del self._rest[:written]


def read_available(fd: int) -> bytes | None:
    """Return what can be read from a descriptor now, None when nothing can, and ``b""`` at its end."""
    try:
        return os.read(fd, 1 << 20)
    except (BlockingIOError, InterruptedError):
        return None
    except OSError:
        return b""
