"""Files that survive a power failure, or are not there at all."""

from __future__ import annotations

import os
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
