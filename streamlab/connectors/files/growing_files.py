"""Files that grow, such as logs: each is one split that is read on for as long as it keeps its name.

- A split is a *file*, not a name: it is known by its folder, its number there and its first record, so that a file that
  is renamed (``app.log`` to ``app.log.1``) goes on where it was, and what stands under the old name is another one.
- Only whole records are read. A file that no longer has a followed name is read on until nothing was written into it
  for some seconds, then to its very end.
- A file that is shorter than what was read of it, or has other text there, was emptied and begun anew
  (``copytruncate``): that is said, and it is read from its start.
- Of a followed file the names behind it are looked at, too (``app.log.1``, ``app.log-20260131``): when it was renamed
  twice between two looks, or while no job was there, the one in between is read as well. Those that were there when the
  stream was made are left alone, and so is a copy of what was read (``copytruncate`` makes one): it has the same text
  before the place that a file was read up to.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO

from streamlab.connectors.contracts.source import Split, SplitFinder
from streamlab.connectors.files.changed_files import ReadFiles
from streamlab.connectors.files.listing import FileListing
from streamlab.connectors.files.paths import is_hidden
from streamlab.connectors.formats.base import FileRefused
from streamlab.connectors.formats.text import HEAD_BYTES, TextParser

LOG = "#log="
"""Stands in the id of a split between a folder and what is known of a file in it."""
MARK_BYTES = 64
"""So many bytes before a position tell whether it is still the same file."""
LOOK_US = 250_000
"""How often a file is looked at that has no more to read."""
QUIET_US = 5_000_000
"""How long nothing must be written into a file that has no followed name any more, before it is read to its end.

Also how long a record may take to be written that begins with a quote: then the quote counts as one that never closes.
"""
ANEW = "-anew"
"""Ends the id of a split without rows: it says that another split reads that text of its file, having read others."""
_PLACES = 16
"""So many places are known of each file, since it may be read on while it is copied."""
_PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")

FileKey = tuple[str, int]
"""A folder, and the number of a file in its file system."""
FileId = tuple[FileKey, str]
"""A file with the digest of its first record."""
Place = tuple[int, str]
"""A position, and the mark of what stands before it."""


@dataclass
class GrowingFiles:
    """What the readers and the finder of one process tell each other of the files that they follow."""

    ended: dict[FileKey, tuple[int, str]] = field(default_factory=dict)
    """Those that were read to their ends: how long they were, and the mark there."""
    names: dict[FileKey, str] = field(default_factory=dict)
    """Paths of all files in the folders, as of the last look."""
    live: set[FileKey] = field(default_factory=set)
    """Those that have a followed name."""
    places: dict[FileKey, tuple[Place, ...]] = field(default_factory=dict)
    """Of those that are read: up to where at last, by which a copy is known; also of a text that is emptied by now."""
    read: set[FileKey] = field(default_factory=set)
    """Those that are read, or will be."""
    unread: set[FileKey] = field(default_factory=set)
    """Renamed ones of which it is not known whether they are copies."""
    anew: set[FileId] = field(default_factory=set)
    """Files that were emptied while they were read, by what they hold now."""
    over: set[FileKey] = field(default_factory=set)
    """Those that are read no more since the last look, so that another file may have their numbers."""
    was_told: Callable[[FileKey, str], bool] = field(default=lambda key, digest: False)  # noqa: ARG005
    """Whether it is said of a file that another split reads what it holds now."""
    looks: int = 0
    """How often it was looked what there is."""
    was_read: ReadFiles = field(default_factory=ReadFiles)
    """Those that have ended, so that it is said when they grow after that."""
    look_us: int = LOOK_US
    quiet_us: int = QUIET_US

    def __reduce__(self) -> tuple[type[GrowingFiles], tuple[()]]:
        """Return what another process begins with: nothing."""
        return GrowingFiles, ()

    @property
    def has_looked(self) -> bool:
        """Whether it is known what there is."""
        return self.looks > 0

    def note_place(self, key: FileKey, place: Place) -> None:
        """Take note up to where a file was read."""
        known = self.places.get(key, ())
        if place[0] and place not in known:
            known = (*known, place)[-_PLACES:]
        self.places[key] = known

    def is_copy(self, key: FileKey, file: IO[bytes]) -> bool | None:
        """Return whether a renamed file is a copy of one that is read; None as long as that is not known."""
        near = [other for other in self.read if other[0] == key[0] and other != key]
        if not self.has_looked or any(not self._is_known(other) for other in near):
            return None
        self.unread.discard(key)
        places = {place for other in near for place in self.places.get(other, ())}
        return any(mark_at(file, end) == mark for end, mark in places)

    def must_stay(self, key: FileKey) -> bool:
        """Return whether a file must not end yet, since others may turn out to be copies of it."""
        near = [other for other in self.read if other[0] == key[0] and other != key]
        return any(other in self.unread or not self._is_known(other) for other in near)

    def _is_known(self, key: FileKey) -> bool:
        """Return whether it is known up to where a file was read, if anything was."""
        return key in self.places or key in self.ended or key in self.unread

    def may_grow(self, key: FileKey) -> bool:
        """Return whether a file has a followed name, as far as anybody knows."""
        return not self.has_looked or key in self.live


class GrowingFinder(SplitFinder):
    """Finds files that are new, and those that were renamed before anybody looked.

    Parameters
    ----------
    listing
        The followed files.
    parser
        Returns what understands the text of a file.
    known
        What this process knows of the files.
    old
        Keys of files that had the name of a rotated one when the stream was made.
    named
        Paths of followed files that are no folders, and stand for no others.
    wanted
        Whether a split is new, by its id.
    open_now
        Ids of the splits that are being read.
    """

    def __init__(
        self,
        listing: FileListing,
        parser: Callable[[str], TextParser],
        known: GrowingFiles,
        *,
        old: Collection[FileKey],
        named: Collection[str],
        wanted: Callable[[str], bool],
        open_now: Collection[str],
    ) -> None:
        self._listing, self._parser, self._known = listing, parser, known
        self._old, self._wanted = set(old), wanted
        self._listed: dict[str, set[str]] = {}
        """Names of followed files by their folders, those that are named outright before they are there."""
        for path in named:
            folder, name = os.path.split(path)
            self._listed.setdefault(folder, set()).add(name)
        self._open = {key_of(name) for name in open_now if LOG in name and not name.endswith(ANEW)}
        known.read |= self._open
        known.was_told = lambda key, digest: not wanted(_id(key, digest, 0) + ANEW)
        self._judged: dict[FileKey, tuple[int, int]] = {}
        """Those that are not read, as they were when that was decided."""
        self._begins_ns = {folder: 2**62 for folder, _ in self._open}
        """In folders of which files are read on: since when others may have been written."""
        self._found: set[str] = set()

    def find(self) -> Sequence[Split]:
        """Return the files that are new, and what is to be said of those that changed."""
        while self._known.over:
            key = self._known.over.pop()
            self._open.discard(key)
            self._old.discard(key)
        for path in self._listing.new_files():
            folder, name = os.path.split(path)
            self._listed.setdefault(folder, set()).add(name)
        new: list[Split] = []
        names: dict[FileKey, str] = {}
        live: set[FileKey] = set()
        for folder, listed in self._listed.items():
            entries = _files_of(folder)
            self._note_open(folder, entries)
            for name, number in sorted(entries.items()):
                key = folder, number
                names[key] = os.path.join(folder, name)
                is_rotated = _is_rotated(name, listed)
                if not (name in listed or is_rotated):
                    continue
                if not is_rotated:
                    live.add(key)
                new += self._new(key, names[key], is_followed=name in listed)
        self._known.names, self._known.live = names, live
        self._known.looks += 1
        new += self._begun_anew()
        changed = [split for split in self._known.was_read.changed(is_rotated=True) if self._wanted(split.id)]
        return [*new, *changed]

    def _note_open(self, folder: str, entries: dict[str, int]) -> None:
        """Take note since when files may have been written that nobody has seen, if some are read on there."""
        if self._known.has_looked or folder not in self._begins_ns:
            return
        names = [name for name, number in entries.items() if (folder, number) in self._open]
        times = [_changed_ns(os.path.join(folder, name)) for name in names]
        self._begins_ns[folder] = min(filter(None, times), default=2**62)

    def _new(self, key: FileKey, path: str, *, is_followed: bool) -> Iterator[Split]:
        ended = self._known.ended.get(key)
        is_old = not is_followed and key in self._old and _changed_ns(path) <= self._begins_ns.get(key[0], 2**62)
        if key in self._open or (ended is None and self._judged.get(key) == _state(path)):
            return
        state = _state(path)
        begins = None if is_old else self._begins(key, path)
        if begins is None:
            return
        digest = digest_of(begins)
        name, number = _id(key, digest, 0), 0
        while ended is not None and self._is_told(name):
            number += 1
            name = _id(key, digest, number)
        if self._is_told(name):
            self._judged[key] = state
            return
        self._open.add(key)
        self._found.add(name)
        self._known.ended.pop(key, None)
        self._known.read.add(key)
        yield Split(name)

    def _begun_anew(self) -> Iterator[Split]:
        """Yield what tells the texts that are read by splits which have begun with others."""
        while self._known.anew:
            name = _id(*self._known.anew.pop(), 0) + ANEW
            if name not in self._found and self._wanted(name):
                self._found.add(name)
                yield Split(name)

    def _is_told(self, name: str) -> bool:
        """Return whether a split, or another one that reads the same text, was found before."""
        return any(one in self._found or not self._wanted(one) for one in (name, name + ANEW))

    def _begins(self, key: FileKey, path: str) -> bytes | None:
        """Return how a file begins; None when that is not there yet, or when it is one that was read to its end."""
        ended = self._known.ended.get(key)
        try:
            with open(path, "rb") as file:
                was_renamed = os.fstat(file.fileno()).st_ino != key[1]  # Then the next look sees it.
                if was_renamed or (ended is not None and mark_at(file, ended[0]) == ended[1]):
                    return None
                return first_record(file, self._parser(path))
        except OSError:
            return None


def digest_of(begins: bytes) -> str:
    """Return what tells files by how they begin."""
    return hashlib.sha256(begins).hexdigest()[:12]


def key_of(split: str) -> FileKey:
    """Return which file a split is.

    >>> key_of("/logs#log=1835-0a1b2c3d4e5f")
    ('/logs', 1835)
    """
    folder, _, known = split.rpartition(LOG)
    return folder, int(known.partition("-")[0])


def begins_of(split: str) -> str:
    """Return how a file begins, or began, that is a split.

    >>> begins_of("/logs#log=1835-0a1b2c3d4e5f-1")
    '0a1b2c3d4e5f'
    """
    return split.rpartition(LOG)[2].split("-")[1]


def rotated_keys(files: Sequence[str]) -> tuple[FileKey, ...]:
    """Return the files that stand behind some followed ones: names like theirs with something added."""
    listed: dict[str, set[str]] = {}
    for path in files:
        folder, name = os.path.split(path)
        listed.setdefault(folder, set()).add(name)
    return tuple(
        (folder, number)
        for folder, names in listed.items()
        for name, number in _files_of(folder).items()
        if name not in names and _is_rotated(name, names)
    )


def first_record(file: IO[bytes], parser: TextParser) -> bytes | None:
    """Return a file up to the end of the line in which its first record begins; None when that is not there yet."""
    raw = _at(file, 0, HEAD_BYTES)
    encoding = parser.encoding.of_file(raw)
    text = encoding.text(raw)
    try:
        start, _ = parser.begin(text)
    except FileRefused:
        start = 0
    end = text.find(b"\n", start) + 1
    if not end:
        return raw if len(raw) == HEAD_BYTES else None
    return raw[: encoding.raw_length(raw, text, end)]


def mark_at(file: IO[bytes], end: int) -> str:
    """Return what tells a file from others that stands before a position; another text if the file is shorter."""
    before = _at(file, max(0, end - MARK_BYTES), min(end, MARK_BYTES))
    return hashlib.sha256(before).hexdigest()[:12] if len(before) == min(end, MARK_BYTES) else "shorter"


def _at(file: IO[bytes], offset: int, length: int) -> bytes:
    return os.pread(file.fileno(), length, offset)


def _id(key: FileKey, digest: str, number: int) -> str:
    return f"{key[0]}{LOG}{key[1]}-{digest}{f'-{number}' if number else ''}"


def _files_of(folder: str) -> dict[str, int]:
    """Return the files in a folder by their names, with their numbers."""
    try:
        with os.scandir(folder) as entries:
            found = [entry for entry in entries if not is_hidden(entry.name) and entry.is_file()]
            return {e.name: e.stat().st_ino if e.is_symlink() else e.inode() for e in found}
    except OSError:
        return {}


def _is_rotated(name: str, listed: Collection[str]) -> bool:
    """Return whether a name is that of a followed file with something added.

    >>> _is_rotated("app.log.1", {"app.log"}), _is_rotated("app.log.1.gz", {"app.log"}), _is_rotated("a", {"a"})
    (True, False, False)
    """
    if name.lower().endswith(_PACKED):
        return False
    return any(letter in ".-" and name[:at] in listed for at, letter in enumerate(name))


def _state(path: str) -> tuple[int, int]:
    """Return the size of a file and when it was changed."""
    try:
        found = os.stat(path)
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _changed_ns(path: str) -> int:
    try:
        return os.stat(path).st_mtime_ns
    except OSError:
        return 0


def path_of(key: FileKey, known: GrowingFiles) -> str | None:
    """Return where a file is now; None when it is in its folder no more."""
    path = known.names.get(key)
    if path is not None and _number_of(path) == key[1]:
        return path
    return next((os.path.join(key[0], name) for name, number in _files_of(key[0]).items() if number == key[1]), None)


def _number_of(path: str) -> int:
    try:
        return os.stat(path).st_ino
    except OSError:
        return 0
