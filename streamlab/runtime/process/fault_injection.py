"""Faults that a test plants in a job's processes: `core.failpoints` with something to happen there.

Whoever starts a job may set the environment variable STREAMLAB_FAULTS to a folder; nothing else arms anything. Each
file in it is one fault that has not happened yet, and its name says all: ``<process>,<point>,<action>,<hit>``.

=========  =============================================================================================================
part       what it may be
=========  =============================================================================================================
process    ``worker`` (any), ``worker-0``, ``coordinator``, ``guardian``
point      one of :data:`streamlab.core.failpoints.POINTS`
action     ``raise`` an exception there, ``kill`` the process with SIGKILL, ``hang`` for ever
hit        which time that one process reaches the point, from 1; later when another fault was due there
=========  =============================================================================================================

A fault happens once, whatever is restarted: the process that comes to it first renames its file, to ``fired,`` and the
name, before anything else. The file then holds the number of the process and the wall clock in nanoseconds.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from streamlab.core.failpoints import POINTS, arm

VARIABLE = "STREAMLAB_FAULTS"
ACTIONS = ("raise", "kill", "hang")
_FIRED = "fired,"
_AGES_S = 3600.0


class InjectedFaultError(Exception):
    """What a fault raises: nothing that streamlab knows."""


@dataclass(frozen=True)
class PlannedFault:
    """A fault that happens once.

    Attributes
    ----------
    process, point, action : str
        Where, and what; see the module.
    hit : int
        Which time the process reaches the point.
    """

    process: str
    point: str
    action: str
    hit: int = 1

    def __post_init__(self) -> None:
        if self.point not in POINTS or self.action not in ACTIONS or self.hit < 1:
            text = f"no such fault: {self}"
            raise ValueError(text)

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"{self.process},{self.point},{self.action},{self.hit}"

    @classmethod
    def of(cls, name: str) -> PlannedFault:
        """Return the fault that a file's name stands for. Raises ValueError if it stands for none."""
        process, point, action, hit = name.split(",")
        return cls(process, point, action, int(hit))

    def plant(self, folder: Path) -> None:
        """Let it happen in processes that start from now on with this folder in their environment."""
        (folder / self.name).touch()

    def fired(self, folder: Path) -> int | None:
        """Return the wall clock (ns) at which it happened, or None if it has not."""
        try:
            said = (folder / f"{_FIRED}{self.name}").read_text().split()
        except FileNotFoundError:
            return None
        return int(said[1]) if len(said) > 1 else 0


def arm_from_environment(process: str) -> None:
    """Arm what whoever started this process has planned for it; nothing, unless told so by STREAMLAB_FAULTS."""
    folder = os.environ.get(VARIABLE)
    if not folder:
        return
    names = [entry.name for entry in Path(folder).iterdir() if not entry.name.startswith(_FIRED)]
    planned = [fault for fault in map(PlannedFault.of, names) if fault.process in {process, process.partition("-")[0]}]
    if planned:
        arm(_Planned(Path(folder), planned))


class _Planned:
    """Counts the points that are reached and lets faults happen at theirs."""

    def __init__(self, folder: Path, faults: list[PlannedFault]) -> None:
        self._folder = folder
        self._faults = faults
        self._hits: Counter[str] = Counter()

    def __call__(self, point: str) -> None:
        self._hits[point] += 1
        due = [fault for fault in self._faults if fault.point == point and fault.hit <= self._hits[point]]
        for fault in due:
            self._faults.remove(fault)
            if self._is_first(fault):
                _happen(fault)

    def _is_first(self, fault: PlannedFault) -> bool:
        fired = self._folder / f"{_FIRED}{fault.name}"
        try:
            (self._folder / fault.name).rename(fired)
        except FileNotFoundError:
            return False
        fired.write_text(f"{os.getpid()} {time.time_ns()}")
        return True


def _happen(fault: PlannedFault) -> NoReturn:
    if fault.action == "raise":
        text = f"planned at {fault.point}"
        raise InjectedFaultError(text)
    if fault.action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    while True:
        time.sleep(_AGES_S)
