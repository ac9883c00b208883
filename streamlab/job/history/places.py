"""Where a job may keep its checkpoints, and start from: places that all of its processes see alike."""

from __future__ import annotations

import os
import re
from queue import Empty, SimpleQueue
from threading import Thread

from streamlab.core.errors import CheckpointError, OptionError, StreamlabError, explained
from streamlab.core.redaction import shown_address
from streamlab.state.checkpoints.blobs import Blobs, open_blobs

_PATIENCE_S = 20.0
"""How long a store is waited for."""
_MEMORY = re.compile(r"memory:(//|:)", re.IGNORECASE)


def check_shared(option: str, place: str | os.PathLike[str]) -> None:
    """Refuse the memory of a process: each process of a job has another.

    Raises
    ------
    OptionError
        If the place is ``memory://``, also behind a cache.
    """
    if isinstance(place, str) and _MEMORY.match(place.rpartition("::")[2]):
        needed = "a place that all processes of the job see"
        got = f"{place!r}, the memory of one process alone"
        raise OptionError(explained(option, needed=needed, got=got, hint="a folder, or a URL such as s3://bucket/jobs"))


def checkpoint_store(place: object) -> str | None:
    """Return where checkpoints are kept as a job may note it: whole, so that it holds in any working directory.

    Raises
    ------
    OptionError
        If it is no folder and no URL that fsspec knows, or one that only this process would see.
    CheckpointError
        If it cannot be written to, or a store elsewhere does not answer in time.
    """
    if place is None:
        return None
    if not isinstance(place, str | os.PathLike) or not isinstance(os.fspath(place), str):
        raise OptionError(explained("checkpoint_store", needed="a folder or a URL", got=repr(place)))
    check_shared("checkpoint_store", place)
    blobs = _answered(place)
    return os.fspath(place) if blobs.is_remote else blobs.where


def _answered(place: str | os.PathLike[str]) -> Blobs:
    """Return a store that was written to once. Raises what `checkpoint_store` does."""
    found: SimpleQueue[Blobs | StreamlabError] = SimpleQueue()

    def look() -> None:
        try:
            blobs = open_blobs(place)
            blobs.check_usable()
            found.put(blobs)
        except StreamlabError as error:
            found.put(error)

    # What does not answer must not keep the process: it is a daemon.
    Thread(target=look, name="checkpoint store", daemon=True).start()
    try:
        answer = found.get(timeout=_PATIENCE_S)
    except Empty:
        where, got = shown_address(os.fspath(place)), f"none for {_PATIENCE_S:.0f} seconds"
        hint = "see to the address and the network"
        text = explained(f"checkpoint_store {where}", needed="an answer", got=got, hint=hint)
        raise CheckpointError(text, matter="unreachable") from None
    if isinstance(answer, StreamlabError):
        raise answer
    return answer
