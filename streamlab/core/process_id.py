"""What can be known of another process without being its parent: whether it is still the one that we knew.

A process number alone is not enough, because numbers are used again. Together with the moment at which the process
started (and the boot of the machine, since that moment is counted from it) it is.
"""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

_STATE_FIELD, _START_FIELD = 0, 19
"""Fields of ``/proc/<pid>/stat`` behind the process name (proc(5): fields 3 and 22)."""


class ProcessId(msgspec.Struct, frozen=True):
    """A process that can be told from a later one with the same number."""

    pid: int
    started: str

    @property
    def is_alive(self) -> bool:
        """Whether this very process still runs; one that has ended but was not waited for does not."""
        return process_id(self.pid) == self


def process_id(pid: int | None = None) -> ProcessId | None:
    """Return the identity of a running process, by default this one's, or None when there is no such process."""
    pid = os.getpid() if pid is None else pid
    started = _started_linux(pid) if Path("/proc/self/stat").exists() else _started_elsewhere(pid)
    return None if started is None else ProcessId(pid, started)


def _started_linux(pid: int) -> str | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return None
    return None if fields[_STATE_FIELD] in "ZX" else f"{boot}:{fields[_START_FIELD]}"


def _started_elsewhere(pid: int) -> str | None:
    import psutil  # noqa: PLC0415 - only where there is no /proc: it would cost every start

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    except psutil.Error:
        return None
