"""The processes of a job, and whether one that a file names is such a process.

``processes.json`` says which there are. That is a word of a file: a process is ended only if it is the very one that
was noted (by its start), this user's, a part of streamlab, and has a file of that job's folder open.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

from streamlab.core.process_id import ProcessId
from streamlab.runtime.process.processes import kill_group

_MODULE = "streamlab.runtime."


class JobProcesses(msgspec.Struct, frozen=True):
    """The processes of a job."""

    coordinator: ProcessId
    guardian: ProcessId | None = None
    """Starts another coordinator when that one is killed."""
    workers: tuple[ProcessId, ...] = ()

    @property
    def all(self) -> tuple[ProcessId, ...]:
        """All of them, in the order in which they are best ended."""
        guardian = () if self.guardian is None else (self.guardian,)
        return (*guardian, self.coordinator, *self.workers)

    @property
    def can_go_on(self) -> bool:
        """Whether the coordinator runs, or another one will."""
        return self.coordinator.is_alive or (self.guardian is not None and self.guardian.is_alive)


def end_processes(processes: Iterable[ProcessId], folder: Path) -> list[ProcessId]:
    """End those that run and work in a job's folder; return those that run and do not, which are left alone."""
    strangers = []
    for process in processes:
        if not process.is_alive:
            continue
        if works_in(process, folder):
            kill_group(process.pid)
        else:
            strangers.append(process)
    return strangers


def works_in(process: ProcessId, folder: Path) -> bool:
    """Return whether a process that runs is one of the job in a folder."""
    if not process.is_alive:
        return False
    inside = f"{os.path.realpath(folder)}{os.sep}"
    look = _look_linux if sys.platform == "linux" else _look_elsewhere
    words, files = look(process.pid)
    return any(word.startswith(_MODULE) for word in words) and any(file.startswith(inside) for file in files)


def _look_linux(pid: int) -> tuple[list[str], list[str]]:
    """Return the command line of a process of this user's, and the files that it has open."""
    process = Path("/proc") / str(pid)
    try:
        if process.stat().st_uid != os.getuid():
            return [], []
        words = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        return words, [_target(entry.path) for entry in os.scandir(process / "fd")]
    except OSError:
        return [], []


def _target(link: str) -> str:
    try:
        return os.readlink(link)
    except OSError:
        return ""


def _look_elsewhere(pid: int) -> tuple[list[str], list[str]]:
    import psutil  # noqa: PLC0415 - only where there is no /proc

    try:
        process = psutil.Process(pid)
        if process.uids().real != os.getuid():
            return [], []
        return process.cmdline(), [file.path for file in process.open_files()]
    except psutil.Error:
        return [], []
