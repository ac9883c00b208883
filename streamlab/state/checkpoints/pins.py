"""Who uses a checkpoint, so that nobody deletes it meanwhile, across processes and machines.

Two marks, each written before the other is looked for: a reader writes its *pin*, then looks for the deleter's
*notice*; a deleter writes its notice, then looks for pins. So at least one of them sees the other, and gives way: the
reader is refused, or the deleter keeps the checkpoint. (Dekker's mutual exclusion, with files as the flags.)
Marks of dead processes do not count. A process on another machine cannot be asked: its marks count for a day.
"""

from __future__ import annotations

import secrets
import socket
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from streamlab.core.process_id import ProcessId, process_id
from streamlab.state.checkpoints.blobs import Blobs

FOLDER = "pins"
_NOTICE = f"{FOLDER}/deleting-"
_TRUST_ELSEWHERE_US = 24 * 3600 * 1_000_000


class Mark(msgspec.Struct, frozen=True):
    """Who left a mark."""

    process: ProcessId
    host: str
    since_us: int
    others: tuple[ProcessId, ...] = ()
    """Processes for which it stands as well."""

    @property
    def counts(self) -> bool:
        """Whether the process, or one of the others, still runs, as far as can be known."""
        if self.host == socket.gethostname():
            return any(process.is_alive or process.is_elsewhere for process in (self.process, *self.others))
        return abs(_now_us() - self.since_us) < _TRUST_ELSEWHERE_US


class Pins:
    """Pins and notices in one store."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    @contextmanager
    def pinned(self, checkpoint_id: int) -> Iterator[bool]:
        """Pin a checkpoint; gives False when somebody is deleting it, and the pin must not be relied on."""
        with self._marked(f"{FOLDER}/{checkpoint_id:04d}-{secrets.token_hex(6)}.json"):
            yield not self._counts(_notice(checkpoint_id))

    def hold(self, checkpoint_id: int, owner: str, processes: Sequence[ProcessId]) -> bool:
        """Pin a checkpoint as long as one of the processes runs, under a name that they share.

        Returns False, and pins nothing, when somebody is deleting it. A pin that is there is taken over without a gap:
        whoever gives notice of a deletion has seen it, or will.
        """
        name = _held(checkpoint_id, owner)
        taken_over = self._counts(name)
        self._put(name, processes)
        if taken_over or not self._counts(_notice(checkpoint_id)):
            return True
        self._blobs.delete(name)
        return False

    def release(self, checkpoint_id: int, owner: str) -> None:
        """Remove the pin of that name."""
        self._blobs.delete(_held(checkpoint_id, owner))

    @contextmanager
    def deleting(self, checkpoint_id: int) -> Iterator[bool]:
        """Give notice of a deletion; gives False when somebody has pinned the checkpoint, which must stay then."""
        with self._marked(_notice(checkpoint_id)):
            prefix = f"{FOLDER}/{checkpoint_id:04d}-"
            yield not any(self._counts(name) for name in self._blobs.names(FOLDER) if name.startswith(prefix))

    @property
    def in_use(self) -> bool:
        """Whether anybody has pinned a checkpoint."""
        return any(self._counts(name) for name in self._blobs.names(FOLDER) if not name.startswith(_NOTICE))

    def forget_dead(self) -> None:
        """Remove the marks of processes that have ended."""
        for name in self._blobs.names(FOLDER):
            if not self._counts(name):
                self._blobs.delete(name)

    @contextmanager
    def _marked(self, name: str) -> Iterator[None]:
        self._put(name, ())
        try:
            yield
        finally:
            self._blobs.delete(name)

    def _put(self, name: str, processes: Sequence[ProcessId]) -> None:
        first, *others = processes or (process_id() or ProcessId(0, ""),)
        self._blobs.put(name, msgspec.json.encode(Mark(first, socket.gethostname(), _now_us(), tuple(others))))

    def _counts(self, name: str) -> bool:
        if self._blobs.size(name) is None:
            return False
        try:
            return msgspec.json.decode(self._blobs.get(name), type=Mark).counts
        except msgspec.DecodeError:
            # Keeping a checkpoint too long harms nobody.
            return True


def _notice(checkpoint_id: int) -> str:
    return f"{_NOTICE}{checkpoint_id:04d}.json"


def _held(checkpoint_id: int, owner: str) -> str:
    return f"{FOLDER}/{checkpoint_id:04d}-of-{owner}.json"


def _now_us() -> int:
    return time.time_ns() // 1000
