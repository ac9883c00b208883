"""One coordinator works in a job's folder.

The lock is the system's (``flock``): it ends with the process that holds it, however that ends, so none is ever left
behind, and no process number has to be trusted.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from streamlab.core.errors import StateError, explained

NAME = "coordinator.lock"


def claim(folder: Path) -> int:
    """Lock a job's folder for as long as this process lives, and return the file that must stay open.

    Raises
    ------
    StateError
        If another process holds the lock; it is named.
    """
    lock = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(lock, 64).decode(errors="replace")
        os.close(lock)
        text = explained(
            f"job {folder.name}", needed="a folder that no other coordinator works in", got=f"process {holder}"
        )
        raise StateError(text) from None
    # For people; the lock does not depend on it.
    os.truncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock
