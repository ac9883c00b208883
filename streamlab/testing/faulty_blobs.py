"""A store of checkpoints in memory, on a disk that fails when it is told to.

==================  =================================================================================================
fault               what happens
==================  =================================================================================================
`refuse_writes`     The disk is full: the next writes fail and leave nothing.
`refuse_reads`      The store cannot be reached: the next reads of state fail, and the files are good.
`crash_at_write`    The process dies in the next write, before the file has its name or right after; then it can be
                    seen, but has not been synced.
`lose_unsynced`     The power fails: names that were not synced are gone.
`damage`            A bit of a file flips, or its end is missing; that the file is as long as before helps nobody.
==================  =================================================================================================
"""

from __future__ import annotations

from random import Random

from streamlab.state.checkpoints.blob_contract import Blobs, checked, failed

_READING, _LOOKING = "reading", "looking at"


class Crash(BaseException):
    """The process that writes is dead from here on; nothing in it may catch that."""


class FaultyBlobs(Blobs):
    """See the module."""

    where = "memory"
    is_remote = False

    def __init__(self) -> None:
        self.damaged: set[str] = set()
        """Files that were damaged and not written again."""
        self._files: dict[str, bytes] = {}
        self._unsynced: set[str] = set()
        self._refused_writes = 0
        self._refused_reads = 0
        self._crash: str | None = None

    # -- faults ----------------------------------------------------------------------------------------------------

    def refuse_writes(self, count: int) -> None:
        """Let the next `count` writes fail for want of space."""
        self._refused_writes = count

    def refuse_reads(self, count: int) -> None:
        """Let the next `count` reads of files of state fail."""
        self._refused_reads = count

    def crash_at_write(self, *, named: bool) -> None:
        """Let the process die in the next write, with the file in its place but unsynced, or without it."""
        self._crash = "named" if named else "unnamed"

    def lose_unsynced(self) -> list[str]:
        """Lose what a power failure takes, and return the names."""
        lost = sorted(self._unsynced)
        for name in lost:
            del self._files[name]
        self._unsynced.clear()
        return lost

    def damage(self, name: str, random: Random) -> str:
        """Flip one bit of a file or cut off its end, and return what was done to it."""
        data = bytearray(self._files[name])
        self.damaged.add(name)
        at = int(random.random() * len(data))
        if random.random() < 0.5:  # noqa: PLR2004 - as often the one as the other
            self._files[name] = bytes(data[:at])
            return "cut"
        data[at] ^= 1 << random.randrange(8)
        self._files[name] = bytes(data)
        return "bit flipped in"

    # -- the contract ----------------------------------------------------------------------------------------------

    def put(self, name: str, data: bytes | memoryview) -> None:
        """Write, or replace, atomically and durably."""
        checked(name, self.where)
        if self._crash == "named" and name not in self._files:
            self._files[name] = bytes(data)
            self._unsynced.add(name)
        self._fail_if_told("writing", name)
        self._files[name] = bytes(data)
        self._unsynced.discard(name)
        self.damaged.discard(name)

    def create(self, name: str, data: bytes | memoryview) -> bool:
        """Write like :meth:`put` unless the name is there already; return whether it was written."""
        if checked(name, self.where) in self._files:
            self._unsynced.discard(name)
            return False
        self.put(name, data)
        return True

    def get(self, name: str) -> bytes:
        """Return all bytes."""
        if checked(name, self.where) not in self._files:
            raise failed(_READING, name, self.where, "none", "missing")
        return self._files[name]

    def size(self, name: str) -> int | None:
        """Return the length in bytes, or None when the name is not there."""
        if self._refused_reads and name.startswith("state/"):
            self._refused_reads -= 1
            raise failed(_LOOKING, name, self.where, "Input/output error", "unreachable")
        data = self._files.get(checked(name, self.where))
        return None if data is None else len(data)

    def has(self, name: str, size_bytes: int) -> bool:
        """Return whether the name is there with that length, and durably so, whoever wrote it."""
        if len(self._files.get(checked(name, self.where), b"")) != size_bytes:
            return False
        # Whether a file is there already depends on the order of rows, which has no meaning: faults must not see it.
        self._fail_if_told("syncing", name)
        self._unsynced.discard(name)
        return True

    def delete(self, name: str) -> None:
        """Remove; a name that is not there is no error."""
        self._files.pop(checked(name, self.where), None)
        self._unsynced.discard(name)
        self.damaged.discard(name)

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the lengths of all files below a folder, at any depth, by name."""
        return {name: len(data) for name, data in self._files.items() if name.startswith(f"{folder}/")}

    def _fail_if_told(self, doing: str, name: str) -> None:
        if self._crash is not None:
            self._crash = None
            raise Crash(name)
        if self._refused_writes:
            self._refused_writes -= 1
            raise failed(doing, name, self.where, "No space left on device", "unreachable")

    def sweep(self, folder: str) -> None:
        """Nothing to do: what an interrupted write leaves under a hidden name is not modelled."""
