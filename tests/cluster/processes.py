"""The processes of the jobs of one home."""

from __future__ import annotations

import os
from pathlib import Path

import psutil


def processes_of(home: Path) -> list[str]:
    """Return the running processes whose streamlab home is this, other than the test itself."""
    found = []
    for process in psutil.process_iter(["pid", "status"]):
        try:
            ours = process.environ().get("STREAMLAB_HOME") == str(home) and process.pid != os.getpid()
            if ours and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {' '.join(process.cmdline())}")
        except psutil.Error:
            continue
    return found
