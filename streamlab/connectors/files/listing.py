"""Listing the files that paths, globs and folders stand for, again and again, at the cost of what is new.

A folder is read anew only when its time of change is another than at the last look. Since file systems tell that time
as coarsely as by two seconds, a folder that has just changed is read until its time has stood still for longer than
that; and since some do not tell it at all, every folder is read once in a while whatever its time.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from streamlab.connectors.files.paths import HAS_WILDCARD, is_hidden, natural
from streamlab.core.errors import SourceError, explained

_COARSE_S = 2.5
"""Longer than the coarsest step in which file systems tell times."""
_READ_ANYWAY_S = 10.0
"""A folder is read at least as often as that."""


class FileListing:
    """The files that some paths stand for, each given once.

    Parameters
    ----------
    step
        Named in errors.
    paths
        Absolute paths. A folder stands for the files below it, a text with ``*``, ``?`` or ``[`` for the files that it
        matches, ``**`` for any folders; any other path is a file.
    suffixes
        How names of files in folders end.
    may_be_gone
        Whether a path that does not exist stands for nothing, as a glob that matches nothing does.
    leaves_hidden
        Whether a glob, too, stands for no file whose name says that it is hidden or still being written (see
        :func:`.paths.is_hidden`), as a folder does.
    glob
        Whether wildcards mean anything; otherwise they are letters of a name.
    clock
        Tells the time in seconds, for how long a folder has stood still.

    Notes
    -----
    A file that vanishes and comes back is given again.
    """

    def __init__(
        self,
        step: str,
        paths: Iterable[str],
        suffixes: Sequence[str],
        *,
        may_be_gone: bool = False,
        leaves_hidden: bool = False,
        glob: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._step, self._paths = step, tuple(paths)
        self._suffixes, self._clock = tuple(suffixes), clock
        self._may_be_gone, self._leaves_hidden = may_be_gone, leaves_hidden
        self._glob = glob
        self._files: set[str] = set()
        self._walks: dict[str, _Walk] = {}

    def new_files(self) -> list[str]:
        """Return the files that are new since the last call, at first all, in natural order for each path.

        Raises
        ------
        SourceError
            If a path without wildcards does not exist, unless it may be gone.
        """
        found: dict[str, None] = {}
        some: Iterable[str]
        for path in self._paths:
            if os.path.isdir(path):
                some = self._walks.setdefault(path, _Below(path, self._suffixes)).new_files(self._clock())
            elif os.path.exists(path):
                some = [] if path in self._files else [path]
                self._files.add(path)
            elif self._glob and HAS_WILDCARD.search(path):
                walk = self._walks.setdefault(path, _Matching(path, leaves_hidden=self._leaves_hidden))
                some = walk.new_files(self._clock())
            elif self._may_be_gone:
                self._walks.pop(path, None)
                continue
            else:
                needed = "a file, folder or glob"
                raise SourceError(explained(self._step, needed=needed, got=f"{path!r}, which does not exist"))
            found |= dict.fromkeys(sorted(some, key=natural))
        return list(found)


@dataclass
class _Folder:
    """What was seen of a folder at the last look."""

    state: tuple[int, int] = (0, 0)
    """Its number in the file system, and its time of change."""
    since_s: float = 0.0
    """When this state was first seen."""
    read_s: float = 0.0
    files: set[str] = field(default_factory=set)
    folders: list[str] = field(default_factory=list)

    def is_known(self, state: tuple[int, int], now_s: float) -> bool:
        """Return whether the folder must hold what it held when it was read last."""
        return state == self.state and self.read_s - self.since_s > _COARSE_S and now_s - self.read_s < _READ_ANYWAY_S


class _Walk:
    """Looks through a folder and the folders below it."""

    _follows_links = False

    def __init__(self, root: str) -> None:
        self._root = root
        self._folders: dict[str, _Folder] = {}

    def new_files(self, now_s: float) -> Iterator[str]:
        """Give the files that are new since the last call."""
        yield from self._look(self._root, (), now_s)

    def _look(self, path: str, below: tuple[str, ...], now_s: float) -> Iterator[str]:
        try:
            stat = os.stat(path)
            state = stat.st_ino, stat.st_mtime_ns
            folder = self._folders.get(path)
            if folder is None or not folder.is_known(state, now_s):
                yield from self._read(path, below, state, now_s)
        except OSError:
            # Gone, or not for us to read: nothing is in it.
            self._folders.pop(path, None)
            return
        for name in self._folders[path].folders:
            yield from self._look(os.path.join(path, name), (*below, name), now_s)

    def _read(self, path: str, below: tuple[str, ...], state: tuple[int, int], now_s: float) -> Iterator[str]:
        before = self._folders.get(path, _Folder())
        names, folders = set(), []
        with os.scandir(path) as entries:
            for entry in entries:
                if not entry.is_dir():
                    names.add(entry.name)
                elif self._enters(below, entry.name) and (self._follows_links or not entry.is_symlink()):
                    folders.append(entry.name)
        since_s = before.since_s if state == before.state else now_s
        self._folders[path] = _Folder(state, since_s, now_s, names, folders)
        for name in names - before.files:
            if self._takes(below, name):
                yield os.path.join(path, name)

    def _enters(self, below: tuple[str, ...], name: str) -> bool:
        """Return whether a folder is looked into, in which folders below the root it is."""
        raise NotImplementedError

    def _takes(self, below: tuple[str, ...], name: str) -> bool:
        """Return whether what is no folder is one of the files."""
        raise NotImplementedError


class _Below(_Walk):
    """All files below a folder whose names have one of the endings."""

    def __init__(self, root: str, suffixes: tuple[str, ...]) -> None:
        super().__init__(root)
        self._suffixes = suffixes

    def _enters(self, below: tuple[str, ...], name: str) -> bool:
        return not is_hidden(name)

    def _takes(self, below: tuple[str, ...], name: str) -> bool:
        return name.lower().endswith(self._suffixes) and not is_hidden(name)


class _Matching(_Walk):
    """All files that match a glob, as :func:`glob.glob` has it."""

    _follows_links = True

    def __init__(self, pattern: str, *, leaves_hidden: bool) -> None:
        parts = pattern.split(os.sep)
        fixed = next(at for at, part in enumerate(parts) if HAS_WILDCARD.search(part))
        super().__init__(os.sep.join(parts[:fixed]) or os.sep)
        self._parts = tuple(parts[fixed:])
        self._leaves_hidden = leaves_hidden
        self._any = self._parts.index("**") if "**" in self._parts else len(self._parts)
        """Which part is the first that stands for any number of folders."""

    def _enters(self, below: tuple[str, ...], name: str) -> bool:
        depth = len(below)
        if depth >= self._any:
            return not name.startswith(".")
        return depth < len(self._parts) - 1 and _fits(name, self._parts[depth])

    def _takes(self, below: tuple[str, ...], name: str) -> bool:
        if self._leaves_hidden and is_hidden(name):
            return False
        return _all_fit((*below, name), self._parts) and os.path.isfile(os.path.join(self._root, *below, name))


def _all_fit(names: tuple[str, ...], parts: tuple[str, ...]) -> bool:
    """Return whether a path matches a glob, both cut at the slashes.

    >>> _all_fit(("a", "b", "x.csv"), ("**", "*.csv")), _all_fit(("x",), ("*", "x"))
    (True, False)
    """
    if not parts or not names:
        return not parts and not names
    if parts[0] == "**":
        if len(parts) == 1:
            return not names[-1].startswith(".")
        return any(_all_fit(names[at:], parts[1:]) for at in range(len(names)))
    return _fits(names[0], parts[0]) and _all_fit(names[1:], parts[1:])


def _fits(name: str, part: str) -> bool:
    """Return whether one name matches one part of a glob; a wildcard at its beginning matches no dot."""
    return fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))
