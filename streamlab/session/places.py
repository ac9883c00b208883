"""Where a job may keep its checkpoints, and start from: places that all of its processes see alike."""

from __future__ import annotations

import os
import re

from streamlab.core.errors import OptionError, explained
from streamlab.state.checkpoints.blobs import LocalBlobs, open_blobs

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
        If it is a folder that cannot be made or written to.
    """
    if place is None:
        return None
    if not isinstance(place, str | os.PathLike) or not isinstance(os.fspath(place), str):
        raise OptionError(explained("checkpoint_store", needed="a folder or a URL", got=repr(place)))
    check_shared("checkpoint_store", place)
    blobs = open_blobs(place)
    if isinstance(blobs, LocalBlobs):
        blobs.check_usable()
    return os.fspath(place) if blobs.is_remote else blobs.where
