"""Which ended jobs keep their folders: the newest ones, so many and so many bytes, and all that are still needed.

The newest of all stays however large it is: its results may not have been looked at yet.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from streamlab.core.errors import OptionError, explained

KEEP_ENDED_JOBS = 50
"""How many ended jobs keep their folders."""
KEEP_ENDED_BYTES = 2_000_000_000
"""How much all of them together may keep, unless the environment variable says otherwise."""
VARIABLE = "STREAMLAB_KEEP_BYTES"
_SIZE = re.compile(r"(?P<number>\d+(\.\d+)?)\s*(?P<unit>[kMGT]?B?)", re.IGNORECASE)
_FACTORS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


@dataclass(frozen=True)
class EndedJob:
    """An ended job, as far as it matters here.

    Attributes
    ----------
    id, name : str
        Which job.
    ended_us : int
        When it ended.
    size_bytes : int
        What its folder holds.
    is_needed : bool
        Whether a running job has started from one of its checkpoints, or somebody reads one.
    """

    id: str
    name: str
    ended_us: int
    size_bytes: int
    is_needed: bool = False


def surplus(ended: Iterable[EndedJob], keep: int, keep_bytes: int | None) -> list[EndedJob]:
    """Return the jobs whose folders may go, oldest first.

    Parameters
    ----------
    ended
        All ended jobs.
    keep
        How many of them stay at most, not counting those that are needed.
    keep_bytes
        How many bytes stay at most, when more than one job stays; None means any.

    Examples
    --------
    >>> jobs = [EndedJob(f"j{n}", "", ended_us=n, size_bytes=400) for n in range(5)]
    >>> [job.id for job in surplus(jobs, 3, None)], [job.id for job in surplus(jobs, 3, 900)]
    (['j0', 'j1'], ['j0', 'j1', 'j2'])
    """
    out: list[EndedJob] = []
    stay, held = 0, 0
    for job in sorted(ended, key=lambda job: job.ended_us, reverse=True):
        too_large = keep_bytes is not None and held + job.size_bytes > keep_bytes and stay > 0
        if job.is_needed:
            held += job.size_bytes
        elif stay >= keep or too_large:
            # An older one that is smaller does not stay in its place: what is kept is a stretch of time.
            keep = stay
            out.append(job)
        else:
            stay, held = stay + 1, held + job.size_bytes
    return out[::-1]


def folder_bytes(folder: str | Path) -> int:
    """Return how many bytes the files below a folder hold; what vanishes meanwhile does not count."""
    total = 0
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    total += folder_bytes(entry.path)
                else:
                    total += entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:
        return total
    return total


def parse_bytes(text: str, name: str) -> int:
    """Return a number of bytes, written such as ``2GB``, ``500 MB`` or ``1000``.

    Raises
    ------
    OptionError
        If it cannot be read.

    Examples
    --------
    >>> parse_bytes("1.5 GB", "max_size"), parse_bytes("700", "max_size")
    (1500000000, 700)
    """
    found = _SIZE.fullmatch(text.strip())
    if found is None:
        raise OptionError(explained(name, needed="a size such as 2GB or 500MB", got=repr(text)))
    return int(float(found["number"]) * _FACTORS[found["unit"].lower().removesuffix("b")])


def bytes_to_keep() -> int:
    """Return how much ended jobs may keep, by the environment or by default. Raises OptionError if that is no size."""
    said = os.environ.get(VARIABLE)
    return KEEP_ENDED_BYTES if not said else parse_bytes(said, VARIABLE)
