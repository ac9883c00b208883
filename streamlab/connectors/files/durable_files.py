"""Files that survive a power failure, or are not there at all; and such as others may have put there, read as data."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

BY_UMASK = 0o777
"""Mode of folders that others may look into as far as the user lets them; those of a job are its user's alone."""


def make_folder(folder: Path, mode: int = 0o700) -> None:
    """Make a folder that survives a power failure, with those above it. Raises OSError if that fails."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        folder = folder.parent
    for path in reversed(missing):
        path.mkdir(mode=mode, exist_ok=True)
        sync(path.parent)


def replace_file(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_bytes(data)
    sync(temporary)
    temporary.replace(path)


def sync(path: Path) -> None:
    """Write a file or folder through to the disk. Raises OSError if that fails."""
    opened = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def open_plain(path: Path) -> int:
    """Open a file for reading. Raises OSError, also for what is none: a link leads elsewhere, a pipe waits for ever."""
    opened = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if stat.S_ISREG(os.fstat(opened).st_mode):
        return opened
    os.close(opened)
    raise OSError(errno.EINVAL, "it is no plain file", str(path))


def read_plain(path: Path) -> bytes:
    """Return what is in a file. Raises OSError as :func:`open_plain`."""
    with os.fdopen(open_plain(path), "rb") as file:
        return file.read()
