"""Where checkpoints lie: named byte strings in a folder, or at a URL that fsspec knows (``s3://``, ``memory://``).

Rules of every store: a name is seen with all of its bytes or not at all, also after a power failure; what `put`
returned from is durable; names are checked before they reach the disk, so that no manifest, whoever wrote it, reads or
writes outside the store; and every failure is a :class:`~streamlab.core.errors.CheckpointError` that names the file.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import stat
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from urllib.parse import unquote, urlsplit

from streamlab.core.errors import CheckpointError, CheckpointMatter, OptionError, explained

_NAME = re.compile(r"\A[A-Za-z0-9_][A-Za-z0-9._-]{0,199}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,199}){0,7}\Z")
"""Parts that begin with a letter, digit or underscore: neither hidden, nor ``.`` or ``..``, nor empty."""
_URL = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]+(://|::)")
_CHUNK_BYTES = 1 << 30
"""Linux writes at most 2 GiB at once."""


class Blobs(ABC):
    """Named byte strings, in folders; see the rules of this module."""

    where: str
    """The place, for messages; without credentials."""
    is_remote: bool
    """Whether bytes cost more than the time to compress them."""

    @abstractmethod
    def put(self, name: str, data: bytes | memoryview) -> None:
        """Write, or replace, atomically and durably."""

    @abstractmethod
    def create(self, name: str, data: bytes | memoryview) -> bool:
        """Write like :meth:`put` unless the name is there already; return whether it was written.

        Of several processes that create one name, exactly one is told True.
        """

    @abstractmethod
    def get(self, name: str) -> bytes:
        """Return all bytes."""

    @abstractmethod
    def size(self, name: str) -> int | None:
        """Return the length in bytes, or None when the name is not there."""

    @abstractmethod
    def has(self, name: str, size_bytes: int) -> bool:
        """Return whether the name is there with that length, and durably so, whoever wrote it."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """Remove; a name that is not there is no error. A power failure may bring it back."""

    @abstractmethod
    def sizes(self, folder: str) -> dict[str, int]:
        """Return the lengths of all files below a folder, at any depth, by name; empty when there is no such folder.

        Files whose names no store would write are left out.
        """

    @abstractmethod
    def sweep(self, folder: str) -> None:
        """Remove what interrupted writes left below a folder; only when nothing is being written there."""

    def names(self, folder: str) -> list[str]:
        """Return the names of all files below a folder, at any depth, in ascending order."""
        return sorted(self.sizes(folder))


class LocalBlobs(Blobs):
    """Files below a folder, which is made when it is first written to.

    A file is written aside under a hidden name, synced, renamed, and its folder synced (and the folders above it, when
    they were made for it).
    """

    is_remote = False

    def __init__(self, folder: str | os.PathLike[str]) -> None:
        self._root = os.path.abspath(os.fspath(folder))
        self._durable: set[str] = set()
        self.where = self._root

    def put(self, name: str, data: bytes | memoryview) -> None:
        """Write, or replace, atomically and durably."""
        with _failures("writing", name, self.where):
            self._publish(self._path(name), data, os.replace)

    def create(self, name: str, data: bytes | memoryview) -> bool:
        """Write like :meth:`put` unless the name is there already; return whether it was written."""
        path = self._path(name)
        with _failures("writing", name, self.where):
            try:
                self._publish(path, data, _link)
            except FileExistsError:
                self._settle(os.path.dirname(path))
                return False
        return True

    def get(self, name: str) -> bytes:
        """Return all bytes."""
        with _failures("reading", name, self.where):
            # A link or a pipe in place of the file would lead elsewhere, or wait for ever.
            opened = os.open(self._path(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
            with os.fdopen(opened, "rb", buffering=0) as file:
                if not stat.S_ISREG(os.fstat(opened).st_mode):
                    raise _no_file(name, self.where)
                return file.readall()

    def size(self, name: str) -> int | None:
        """Return the length in bytes, or None when the name is not there."""
        with _failures("looking at", name, self.where):
            try:
                found = os.lstat(self._path(name))
            except FileNotFoundError:
                return None
            return found.st_size if stat.S_ISREG(found.st_mode) else None

    def has(self, name: str, size_bytes: int) -> bool:
        """Return whether the name is there with that length, and durably so, whoever wrote it."""
        if self.size(name) != size_bytes:
            return False
        with _failures("syncing", name, self.where):
            self._settle(os.path.dirname(self._path(name)))
        return True

    def delete(self, name: str) -> None:
        """Remove; a name that is not there is no error."""
        path = self._path(name)
        with _failures("deleting", name, self.where):
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
        with _failures("listing", folder, self.where):
            found = {
                os.path.relpath(entry.path, self._root): entry.stat(follow_symlinks=False).st_size
                for entry in _files(self._path(folder))
            }
            return _named_well(found)

    def sweep(self, folder: str) -> None:
        """Remove what interrupted writes left below a folder; only when nothing is being written there."""
        with _failures("clearing", folder, self.where):
            for entry in _files(self._path(folder)):
                if entry.name.startswith("."):
                    os.unlink(entry.path)

    def _path(self, name: str) -> str:
        return os.path.join(self._root, _checked(name, self.where))

    def _publish(self, path: str, data: bytes | memoryview, rename: Callable[[str, str], None]) -> None:
        folder, last = os.path.split(path)
        temporary = os.path.join(folder, f".{last}.{secrets.token_hex(6)}")
        opened = self._open_new(temporary)
        try:
            try:
                rest = memoryview(data).cast("B")
                while rest:
                    rest = rest[os.write(opened, rest[:_CHUNK_BYTES]) :]
                os.fsync(opened)
            finally:
                os.close(opened)
            rename(temporary, path)
        finally:
            with suppress(FileNotFoundError):
                os.unlink(temporary)
        self._settle(folder)

    def _open_new(self, path: str) -> int:
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        while True:
            try:
                return os.open(path, flags, 0o600)
            except FileNotFoundError:
                # Again when another process removed the folder, which was empty, in between.
                self._make_folder(os.path.dirname(path))

    def _make_folder(self, folder: str) -> None:
        try:
            os.mkdir(folder, 0o700)
        except FileExistsError:
            return
        except FileNotFoundError:
            self._make_folder(os.path.dirname(folder))
            self._make_folder(folder)
            return
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


class FsspecBlobs(Blobs):
    """Objects below a URL that fsspec knows; needs ``pip install 'streamlab[cloud]'``.

    Meant for stores that write an object wholly or not at all and list what was just written, as S3 does.

    Parameters
    ----------
    url
        For instance ``s3://bucket/jobs/flights``.
    options
        Passed to the file system, for instance ``{"endpoint_url": "https://minio.example.org"}``. S3 finds credentials
        by itself (environment, ``~/.aws``).
    """

    is_remote = True

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        self.where = _without_credentials(url)
        try:
            import fsspec  # noqa: PLC0415 - an optional library
        except ImportError as missing:
            text = explained(
                f"checkpoints at {self.where}",
                needed="the library fsspec",
                got="an installation without it",
                hint="pip install 'streamlab[cloud]'",
            )
            raise OptionError(text) from missing
        try:
            # A listing that was kept from before another process wrote would hide what it wrote.
            self._fs, self._root = fsspec.url_to_fs(url, use_listings_cache=False, **(options or {}))
        except (ImportError, ValueError) as refused:
            text = explained(
                f"checkpoints at {self.where}",
                needed="a folder or a URL that fsspec knows",
                got=str(refused),
                hint="pip install 'streamlab[cloud]' brings s3://",
            )
            raise OptionError(text) from refused

    def put(self, name: str, data: bytes | memoryview) -> None:
        """Write, or replace, atomically and durably."""
        with _failures("writing", name, self.where):
            self._fs.pipe_file(self._path(name), bytes(data))

    def create(self, name: str, data: bytes | memoryview) -> bool:
        """Write like :meth:`put` unless the name is there already; return whether it was written."""
        with _failures("writing", name, self.where):
            try:
                self._fs.pipe_file(self._path(name), bytes(data), mode="create")
            except FileExistsError:
                return False
        return True

    def get(self, name: str) -> bytes:
        """Return all bytes."""
        with _failures("reading", name, self.where):
            return bytes(self._fs.cat_file(self._path(name)))

    def size(self, name: str) -> int | None:
        """Return the length in bytes, or None when the name is not there."""
        with _failures("looking at", name, self.where):
            try:
                found = self._fs.info(self._path(name))
            except FileNotFoundError:
                return None
            return int(found["size"]) if found["type"] == "file" else None

    def has(self, name: str, size_bytes: int) -> bool:
        """Return whether the name is there with that length, and durably so, whoever wrote it."""
        return self.size(name) == size_bytes

    def delete(self, name: str) -> None:
        """Remove; a name that is not there is no error."""
        with _failures("deleting", name, self.where), suppress(FileNotFoundError):
            self._fs.rm_file(self._path(name))

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the lengths of all files below a folder, at any depth, by name; empty when there is no such folder."""
        with _failures("listing", folder, self.where):
            try:
                found = self._fs.find(self._path(folder), detail=True)
            except FileNotFoundError:
                return {}
            return _named_well({path[len(self._root) :].lstrip("/"): info["size"] for path, info in found.items()})

    def sweep(self, folder: str) -> None:
        """Nothing to do: an interrupted write leaves nothing that can be seen."""

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{_checked(name, self.where)}"


def open_blobs(location: str | os.PathLike[str]) -> Blobs:
    """Return the store at a folder (path or ``file://`` URL) or at a URL that fsspec knows."""
    text = os.fspath(location)
    if not _URL.match(text):
        return LocalBlobs(text)
    parts = urlsplit(text)
    if parts.scheme == "file" and parts.netloc in {"", "localhost"}:
        return LocalBlobs(unquote(parts.path))
    return FsspecBlobs(text)


def _checked(name: str, where: str) -> str:
    if not _NAME.match(name):
        text = explained(
            f"checkpoints at {where}",
            needed="names of letters, digits and . _ - in folders below it",
            got=repr(name),
            hint="the checkpoint was not written by streamlab: don't trust it",
        )
        raise CheckpointError(text, file=name, matter="refused")
    return name


def _named_well(sizes: Mapping[str, int]) -> dict[str, int]:
    return {name: size for name, size in sizes.items() if _NAME.match(name)}


@contextmanager
def _failures(doing: str, name: str, where: str) -> Iterator[None]:
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # what is behind fsspec raises classes of its own
        if doing == "reading" and isinstance(error, FileNotFoundError):
            raise _failed(doing, name, where, "none", "missing") from error
        if isinstance(error, OSError) and error.errno in {errno.ELOOP, errno.EISDIR, errno.ENOTDIR}:
            raise _no_file(name, where) from error
        got = (error.strerror if isinstance(error, OSError) else None) or f"{type(error).__name__}: {error}"
        raise _failed(doing, name, where, got, "unreachable") from error


def _failed(doing: str, name: str, where: str, got: str, matter: CheckpointMatter) -> CheckpointError:
    text = explained(f"{doing} {name} at {where}", needed=_NEEDED[doing], got=got)
    return CheckpointError(text, file=name, matter=matter)


def _no_file(name: str, where: str) -> CheckpointError:
    return _failed("reading", name, where, "something that is no plain file", "damaged")


_NEEDED = {
    "writing": "room and permission",
    "reading": "that file",
    "looking at": "permission",
    "syncing": "permission",
    "deleting": "permission",
    "listing": "permission",
    "clearing": "permission",
}


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


def _without_credentials(url: str) -> str:
    return re.sub(r"(://)[^/@]*@", r"\1", url)
