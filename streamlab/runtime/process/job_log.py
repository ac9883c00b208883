"""What a worker prints, in a file that stays small however much that is.

The worker and all that it has started append to one file. When that is long, its newest part is copied aside and the
file is emptied in place, so whoever holds it open writes on in it. What is printed in that very moment may be lost.
"""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

from streamlab.core.redaction import without_credentials

LOG_BYTES = 8 * 1024 * 1024
"""Length at which a log is emptied, and the length of the part before that is kept."""

_ELLIPSIS = "…".encode()


def limit_log(path: Path, limit: int = LOG_BYTES) -> None:
    """Empty a log that has grown over the limit, and keep its newest lines aside in place of earlier ones."""
    try:
        if path.stat().st_size <= limit:
            return
        with path.open("r+b") as file:
            file.seek(-limit, 2)
            newest = file.read(limit)
            # On a full disk what was printed is the first to go.
            with contextlib.suppress(OSError):
                _earlier(path).write_bytes(_from_line(newest, limit))
            file.truncate(0)
    except FileNotFoundError:
        # The job's folder is gone; the coordinator finds that out when it writes into it.
        return


def say(text: str) -> None:
    """Print to this process's own log; when its disk is full, that is no reason for anything to fail."""
    with contextlib.suppress(OSError):
        sys.stderr.write(f"{without_credentials(text)}\n")
        sys.stderr.flush()


def print_to(path: str | Path) -> None:
    """Have this process, and those that it starts from now on, print to the end of a file."""
    log = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    for fd in (1, 2):
        os.dup2(log, fd)
    os.close(log)


def read_log(path: Path, newest: int | None = None) -> str:
    """Return what is kept of what was printed, or so many of its newest bytes only, from the start of a line.

    Of a line that takes most of them, the end is there, after an ellipsis.
    """
    if newest is None:
        parts = [part.read_bytes() for part in (_earlier(path), path) if _is_plain(part)]
        return b"".join(parts).decode(errors="replace")
    tail = b""
    for part in (path, _earlier(path)):
        if _is_plain(part) and len(tail) < newest:
            with part.open("rb") as file:
                at = max(0, file.seek(0, 2) - (newest - len(tail)))
                file.seek(at)
                piece = file.read(newest - len(tail))
            tail = (_from_line(piece, newest) if at else piece) + tail
    return tail.decode(errors="replace")


def _is_plain(path: Path) -> bool:
    """Return whether a path is a file, and no link or pipe."""
    return path.is_file() and not path.is_symlink()


def _from_line(piece: bytes, wanted: int) -> bytes:
    """Return what begins with a line; all but the beginning when otherwise most of what is wanted would be left out."""
    begin = piece.find(b"\n") + 1 or len(piece)
    return piece[begin:] if begin <= wanted // 2 else _ELLIPSIS + piece[len(_ELLIPSIS) :]


def _earlier(path: Path) -> Path:
    return path.with_suffix(".earlier")
