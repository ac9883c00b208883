"""What every store of bytes promises, and the checks that all of them share.

Rules of every store: a name is seen with all of its bytes or not at all, also after a power failure; what `put`
returned from is durable; names are checked before they reach the disk, so that no manifest, whoever wrote it, reads or
writes outside the store; and every failure is a :class:`~streamlab.core.errors.CheckpointError` that names the file.
"""

from __future__ import annotations

import errno
import re
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from secrets import token_hex

from streamlab.core.errors import CheckpointError, CheckpointMatter, explained
from streamlab.core.redaction import redacted

NO_FILE = "something that is no plain file"
_NAME = re.compile(r"\A[A-Za-z0-9_][A-Za-z0-9._-]{0,199}(/[A-Za-z0-9_][A-Za-z0-9._-]{0,199}){0,7}\Z")
"""Parts that begin with a letter, digit or underscore: neither hidden, nor ``.`` or ``..``, nor empty."""
_NEEDED = {
    "writing": "room and permission",
    "reading": "that file",
    "looking at": "permission",
    "syncing": "permission",
    "deleting": "permission",
    "listing": "permission",
    "clearing": "permission",
}


class Blobs(ABC):
    """Named byte strings, in folders; see the rules of this module."""

    where: str
    """The place, for messages; without credentials."""
    location: str
    """The place by which it is opened once more."""
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

    def check_usable(self) -> None:
        """Write a file and delete it. Raises CheckpointError if that is not possible."""
        name = f"probe-{token_hex(6)}"
        self.put(name, b"")
        self.delete(name)

    def names(self, folder: str) -> list[str]:
        """Return the names of all files below a folder, at any depth, in ascending order."""
        return sorted(self.sizes(folder))


def checked(name: str, where: str) -> str:
    """Return a name, or raise when it may lead out of the store."""
    if not _NAME.match(name):
        text = explained(
            f"checkpoints at {where}",
            needed="names of letters, digits and . _ - in folders below it",
            got=repr(name),
            hint="the checkpoint was not written by streamlab: don't trust it",
        )
        raise CheckpointError(text, file=name, matter="refused")
    return name


def named_well(sizes: Mapping[str, int]) -> dict[str, int]:
    """Leave out what no store would write."""
    return {name: size for name, size in sizes.items() if _NAME.match(name)}


@contextmanager
def failures(doing: str, name: str, where: str, secrets: Sequence[str] = ()) -> Iterator[None]:
    """Raise every failure in the block as a :class:`CheckpointError` that names the file and tells no secret."""
    try:
        yield
    except CheckpointError:
        raise
    except Exception as error:  # what is behind fsspec raises classes of its own
        if doing == "reading" and isinstance(error, FileNotFoundError):
            raise failed(doing, name, where, "none", "missing") from error
        if doing == "reading" and isinstance(error, OSError) and error.errno in {errno.ELOOP, errno.EISDIR}:
            raise failed(doing, name, where, NO_FILE, "damaged") from error
        if isinstance(error, NotADirectoryError):
            text = explained(f"{doing} {name} at {where}", needed="a folder", got="a file in its place")
            raise CheckpointError(text, file=name, matter="unreachable") from error
        got = (error.strerror if isinstance(error, OSError) else None) or f"{type(error).__name__}: {error}"
        # Its cause, shown with it, may tell secrets.
        raise failed(doing, name, where, redacted(got, secrets), "unreachable") from (None if secrets else error)


def failed(doing: str, name: str, where: str, got: str, matter: CheckpointMatter) -> CheckpointError:
    """Return the error for what could not be done with a file."""
    text = explained(f"{doing} {name} at {where}", needed=_NEEDED[doing], got=got)
    return CheckpointError(text, file=name, matter=matter)
