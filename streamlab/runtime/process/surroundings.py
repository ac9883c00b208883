"""What a process gets from the one that starts it: two that were started in the same surroundings do not differ.

Its priority is left out: machines change that of processes that work a lot, and it changes no result.
"""

from __future__ import annotations

import os
import re
import resource
import sys
from dataclasses import dataclass
from pathlib import Path

_ALLOCATOR = "_RJEM_MALLOC_CONF"
_ALLOCATOR_OF_POLARS = re.compile("dirty_decay_ms:500,muzzy_decay_ms:1000(,thp:always,metadata_thp:always)?,?")
"""What Polars puts in front of that variable in each process that imports it: it is not for those that this one starts,
which get what it was before, or what is best for workers.
"""
_LIMITS = sorted(number for name, number in vars(resource).items() if name.startswith("RLIMIT_"))


@dataclass(frozen=True)
class Surroundings:
    """What a process would get that this one starts now.

    Attributes
    ----------
    variables : tuple[tuple[str, str], ...]
        The environment, sorted; where modules are found is part of it.
    folder : str
        The current folder; empty when it was removed.
    umask : int
        As it is.
    limits : tuple[tuple[int, int], ...]
        The limits of resources.
    processors : frozenset[int]
        Those that it may run on; none where that is not known.
    """

    variables: tuple[tuple[str, str], ...]
    folder: str
    umask: int
    limits: tuple[tuple[int, int], ...]
    processors: frozenset[int]

    @classmethod
    def now(cls) -> Surroundings:
        """Return those of this moment."""
        affinity = getattr(os, "sched_getaffinity", None)
        return cls(
            variables=tuple(sorted(_environment().items())),
            folder=current_folder(),
            umask=_umask(),
            limits=tuple(resource.getrlimit(number) for number in _LIMITS),
            processors=frozenset(affinity(0)) if affinity is not None else frozenset(),
        )

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the processes of a job."""
        return dict(self.variables)


def _environment() -> dict[str, str]:
    # User code that was imported from somewhere on this process's path must be found by the workers, too.
    inherited = {"STREAMLAB_PYTHONPATH": os.environ["PYTHONPATH"]} if "PYTHONPATH" in os.environ else {}
    search = os.pathsep.join(entry or current_folder() for entry in sys.path)
    environment = {**os.environ, "PYTHONPATH": search, **inherited}
    own = _ALLOCATOR_OF_POLARS.sub("", environment.pop(_ALLOCATOR, ""), count=1)
    return {**environment, _ALLOCATOR: own} if own else environment


def current_folder() -> str:
    """Return the folder that this process works in; empty when it was removed."""
    try:
        return os.getcwd()
    except FileNotFoundError:
        return ""


def _umask() -> int:
    """Return the mask of this process, without setting it where that can be avoided: other threads make files."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8", errors="replace")
        return int(status.partition("\nUmask:")[2].split(maxsplit=1)[0], 8)
    except (OSError, IndexError):
        umask = os.umask(0o077)
        os.umask(umask)
        return umask
