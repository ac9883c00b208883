"""What can be known of another process without being its parent: whether it is still the one that we knew.

A process number alone is not enough, because numbers are used again. Together with the moment at which the process
started (and the boot of the machine, since that moment is counted from it) it is.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

import msgspec

_STATE_FIELD, _START_FIELD = 0, 19
"""Fields of ``/proc/<pid>/stat`` behind the process name (proc(5): fields 3 and 22)."""


class ProcessId(msgspec.Struct, frozen=True):
    """A process that can be told from a later one with the same number."""

    pid: int
    started: str
    namespace: str = ""
    """In which the number means something: a container has numbers of its own. Empty where there are no namespaces."""
    host: str = ""

    @property
    def is_alive(self) -> bool:
        """Whether this very process still runs; one that has ended but was not waited for does not."""
        if self.is_elsewhere:
            return False
        found = process_id(self.pid)
        return found is not None and found.started == self.started

    @property
    def is_elsewhere(self) -> bool:
        """Whether it was started on another machine or in another container, so that nothing is known of it here.

        A process of this host's from before the last boot is not: it has ended.
        """
        if not self.namespace:
            return False
        if self.started.partition(":")[0] != _boot():
            return self.host != socket.gethostname()
        return self.namespace != _namespace()

    @property
    def place(self) -> str:
        """Where it was started, for people."""
        return f"host {self.host or '?'}, process {self.pid} of {self.namespace or 'that host'}"


def process_id(pid: int | None = None) -> ProcessId | None:
    """Return the identity of a running process, by default this one's, or None when there is no such process."""
    pid = os.getpid() if pid is None else pid
    started = _started_linux(pid) if Path("/proc/self/stat").exists() else _started_elsewhere(pid)
    return None if started is None else ProcessId(pid, started, _namespace(), socket.gethostname())


def _boot() -> str:
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


def _namespace() -> str:
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


def _started_linux(pid: int) -> str | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[_STATE_FIELD] in "ZX" else f"{_boot()}:{fields[_START_FIELD]}"


def _started_elsewhere(pid: int) -> str | None:
    import psutil  # noqa: PLC0415 - only where there is no /proc: it would cost every start

    try:
        process = psutil.Process(pid)
        return None if process.status() == psutil.STATUS_ZOMBIE else str(process.create_time())
    except psutil.Error:
        return None
