"""Checkpoints in a folder of this machine, or of one that is mounted."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress

from streamlab.core.errors import CheckpointError
from streamlab.core.failpoints import reach
from streamlab.state.checkpoints.blob_contract import NO_FILE, Blobs, checked, failed, failures, named_well

_CHUNK_BYTES = 1 << 30
# How often a folder is made for a file: others remove those that are empty, and below /proc nobody can make any.
_TRIES = 200
"""Linux writes at most 2 GiB at once."""


class LocalBlobs(Blobs):
    """Files below a folder, which is made when it is first written to.

    A file is written aside under a hidden name, synced, renamed, and its folder synced (and the folders above it, when
    they were made for it).
    """

    is_remote = False

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._root = os.path.abspath(os.fspath(folder))
        self._durable: set[str] = set()
        self.where = self.location = self._root

    def put(self, name: str, data: bytes | memoryview) -> None:
        """Write, or replace, atomically and durably."""
        with failures("writing", name, self.where):
            self._publish(self._path(name), data, os.replace)

    def create(self, name: str, data: bytes | memoryview) -> bool:
        """Write like :meth:`put` unless the name is there already; return whether it was written."""
        path = self._path(name)
        with failures("writing", name, self.where):
            try:
                self._publish(path, data, _link)
            except FileExistsError:
                self._settle(os.path.dirname(path))
                return False
        return True

    def get(self, name: str) -> bytes:
        """Return all bytes."""
        with failures("reading", name, self.where):
            # A link or a pipe in place of the file would lead elsewhere, or wait for ever.
            opened = os.open(self._path(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(opened, "rb", buffering=0) as file:
                if not stat.S_ISREG(os.fstat(opened).st_mode):
                    raise self._no_file(name)
                return file.readall()

    def size(self, name: str) -> int | None:
        """Return the length in bytes, or None when the name is not there."""
        with failures("looking at", name, self.where):
            try:
                found = os.lstat(self._path(name))
            except FileNotFoundError:
                return None
            return found.st_size if stat.S_ISREG(found.st_mode) else None

    def has(self, name: str, size_bytes: int) -> bool:
        """Return whether the name is there with that length, and durably so, whoever wrote it."""
        if self.size(name) != size_bytes:
            return False
        with failures("syncing", name, self.where):
            self._settle(os.path.dirname(self._path(name)))
        return True

    def delete(self, name: str) -> None:
        """Remove; a name that is not there is no error."""
        path = self._path(name)
        with failures("deleting", name, self.where):
            with suppress(FileNotFoundError):
                os.unlink(path)
            folder = os.path.dirname(path)
            while folder != self._root:
                try:
                    os.rmdir(folder)
                except OSError:  # other files are in it, or it is gone
                    return
                self._durable.discard(folder)
                folder = os.path.dirname(folder)

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the lengths of all files below a folder, at any depth, by name; empty when there is no such folder."""
        with failures("listing", folder, self.where):
            found = {}
            for entry in _files(self._path(folder)):
                with suppress(FileNotFoundError):  # deleted since it was listed
                    found[os.path.relpath(entry.path, self._root)] = entry.stat(follow_symlinks=False).st_size
            return named_well(found)

    def sweep(self, folder: str) -> None:
        """Remove what interrupted writes left below a folder; only when nothing is being written there."""
        with failures("clearing", folder, self.where):
            for entry in _files(self._path(folder)):
                if entry.name.startswith("."):
                    with suppress(FileNotFoundError):  # its writer removed it
                        os.unlink(entry.path)

    def _no_file(self, name: str) -> CheckpointError:
        return failed("reading", name, self.where, NO_FILE, "damaged")

    def _path(self, name: str) -> str:
        return os.path.join(self._root, checked(name, self.where))

    def _publish(self, path: str, data: bytes | memoryview, rename: Callable[[str, str], None]) -> None:
        folder, last = os.path.split(path)
        kind = "manifest" if last == "manifest.json" else "state"
        temporary = os.path.join(folder, f".{last}.{secrets.token_hex(6)}")
        opened = self._open_new(temporary)
        try:
            try:
                rest = memoryview(data).cast("B")
                while rest:
                    rest = rest[os.write(opened, rest[:_CHUNK_BYTES]) :]
                reach(f"{kind}.fsync")
                os.fsync(opened)
            finally:
                os.close(opened)
            reach(f"{kind}.rename")
            rename(temporary, path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
        self._settle(folder)

    def _open_new(self, path: str) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        for _ in range(_TRIES):
            try:
                return os.open(path, flags, 0o600)
            except FileNotFoundError:
                self._make_folder(os.path.dirname(path))
        return os.open(path, flags, 0o600)

    def _make_folder(self, folder: str) -> None:
        """Make a folder and those above it, as far as others do not remove them, being empty, in that moment."""
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            return
        except FileNotFoundError:
            above = os.path.dirname(folder)
            if not os.path.isdir(above):
                self._make_folder(above)
            return  # to be called again
        if len(folder) < len(self._root):  # the others are settled with the file
            _sync_folder(os.path.dirname(folder))

    def _settle(self, folder: str) -> None:
        """Make the names in a folder durable and, once, those of the folders on the way to it.

        Whoever made them, or renamed a file, may have been killed before it synced them.
        """
        _sync_folder(folder)
        while folder not in self._durable and len(folder) >= len(self._root):
            above = os.path.dirname(folder)
            # The folder that holds the store need not be ours to read.
            with suppress(PermissionError):
                _sync_folder(above)
            self._durable.add(folder)
            folder = above


def _files(folder: str) -> Iterator[os.DirEntry[str]]:
    try:
        entries = list(os.scandir(folder))
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)
        elif entry.is_file(follow_symlinks=False):
            yield entry


def _link(temporary: str, path: str) -> None:
    try:
        os.link(temporary, path)
    except OSError as error:
        if error.errno not in {errno.EPERM, errno.ENOTSUP, errno.ENOSYS}:
            raise
        # Some network and memory card file systems know no links: nearly the same, but for a race.
        if os.path.lexists(path):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path) from error
        os.replace(temporary, path)


def _sync_folder(folder: str) -> None:
    opened = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
