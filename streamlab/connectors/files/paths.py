"""Paths of files, and what names say; which files a path, glob or folder stands for is told by :mod:`.listing`.

In folders and globs, names that begin with ``.`` or ``_`` or end like a temporary file are left out: they are being
written, or belong to a tool. A file that is named outright is always taken. Order is natural: ``part-2`` before
``part-10``.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Sequence

from streamlab.core.dead_letter_warning import frames_of_ours
from streamlab.core.errors import OptionError, explained

PathLike = str | os.PathLike[str]
TEMPORARY_SUFFIXES = (".tmp", ".temp", ".part", ".partial", ".crdownload", ".download", ".swp", "~")
HAS_WILDCARD = re.compile(r"[*?\[]")
_strange: set[str] = set()
"""Places of others that were warned of."""
_DIGITS = re.compile(r"(\d+)")


def absolute_paths(step: str, paths: PathLike | Sequence[PathLike]) -> tuple[str, ...]:
    """Return the paths as absolute text, so that a worker in another folder finds the same files.

    Raises
    ------
    OptionError
        If there is none, one is no path, or one is an address on the network.
    """
    if not isinstance(paths, str | os.PathLike | Sequence):
        raise OptionError(explained(step, needed="a path, or a list of them", got=repr(paths)))
    several = [paths] if isinstance(paths, str | os.PathLike) else list(paths)
    if not several:
        raise OptionError(explained(step, needed="at least one path", got="an empty list"))
    out = []
    for path in several:
        if not isinstance(path, str | os.PathLike) or isinstance(os.fspath(path), bytes) or not os.fspath(path):
            raise OptionError(explained(step, needed="paths as str or Path", got=repr(path)))
        if "://" in os.fspath(path):
            raise OptionError(explained(step, needed="a local path", got=repr(path), hint="download it first"))
        out.append(os.path.abspath(os.path.expanduser(path)))
    return tuple(out)


def warn_of_strangers(step: str, *paths: PathLike) -> None:
    """Warn, once for each place, if what is read there belongs to another user of this machine."""
    for path in paths:
        try:
            owner = os.lstat(path).st_uid
        except OSError:
            continue
        if owner != os.getuid() and os.fspath(paths[0]) not in _strange:
            _strange.add(os.fspath(paths[0]))
            text = f"{step}: {os.fspath(path)} is not yours, it belongs to user {owner}: it is read as data"
            warnings.warn(text, stacklevel=frames_of_ours())
            return


def is_hidden(path: PathLike) -> bool:
    """Return whether a file's name says that it is hidden or still being written.

    >>> [is_hidden(p) for p in ("a/_SUCCESS", "a/.x.parquet", "a/x.csv.tmp", "a/x.csv")]
    [True, True, True, False]
    """
    name = os.path.basename(os.fspath(path))
    return name.startswith((".", "_")) or name.lower().endswith(TEMPORARY_SUFFIXES)


def natural(path: str) -> list[tuple[int, int, str]]:
    """Return a sort key that orders digits in names by their value.

    >>> sorted(["f10", "f2", "f"], key=natural)
    ['f', 'f2', 'f10']
    """
    return [(1, int(part), part) if part.isdecimal() else (0, 0, part) for part in _DIGITS.split(path) if part]
