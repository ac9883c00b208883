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
from collections.abc import Iterator
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

    @property
    def counts(self) -> bool:
        """Whether the process still runs, as far as can be known."""
        if self.host == socket.gethostname():
            return self.process.is_alive
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
        own = process_id() or ProcessId(0, "")
        self._blobs.put(name, msgspec.json.encode(Mark(own, socket.gethostname(), _now_us())))
        try:
            yield
        finally:
            self._blobs.delete(name)

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


def _now_us() -> int:
    return time.time_ns() // 1000
