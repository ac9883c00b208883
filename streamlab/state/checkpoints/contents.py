"""Files that are named by what they hold: a file is what its name says, or it is damaged."""

from __future__ import annotations

import hashlib
import re

from streamlab.core.errors import CheckpointError, explained
from streamlab.state.checkpoints.blobs import Blobs
from streamlab.state.checkpoints.manifest import StoredFrame

FOLDER = "state"
FILE = re.compile(rf"\A{FOLDER}/[0-9a-f]{{64}}\.arrow\Z")
"""Names of state files."""


def file_name(stored: StoredFrame) -> str:
    """Return the name of a frame's file in its store."""
    return f"{FOLDER}/{stored.sha256}.arrow"


def read_contents(blobs: Blobs, stored: StoredFrame) -> bytes:
    """Return the bytes of a frame's file, which have the length and the SHA-256 that the manifest says.

    Raises
    ------
    CheckpointError
        The file is missing, of another length, or holds something else; it is read only when its length is right.
    """
    name = file_name(stored)
    check_length(blobs, stored, blobs.size(name))
    data = blobs.get(name)
    check_length(blobs, stored, len(data))
    if hashlib.sha256(data).hexdigest() != stored.sha256:
        raise damaged(blobs, name, f"the bytes with SHA-256 {stored.sha256}", "others")
    return data


def put_contents(blobs: Blobs, data: bytes) -> StoredFrame:
    """Store bytes that are no frame (the end of a recording) and return what names them."""
    stored = StoredFrame(hashlib.sha256(data).hexdigest(), len(data), 0)
    blobs.put(file_name(stored), data)
    return stored


def check_length(blobs: Blobs, stored: StoredFrame, size: int | None) -> None:
    """Raise when a file's length (None: it is not there) differs from what the manifest says."""
    name = file_name(stored)
    if size is None:
        text = explained(f"reading {name} at {blobs.where}", needed="that file", got="none")
        raise CheckpointError(text, file=name, matter="missing")
    if size != stored.size_bytes:
        raise damaged(blobs, name, f"{stored.size_bytes} bytes", f"{size}")


def damaged(blobs: Blobs, name: str, needed: str, got: str) -> CheckpointError:
    """Return the error for a file that is not what was written."""
    text = explained(
        f"reading {name} at {blobs.where}",
        needed=needed,
        got=got,
        hint="the file was damaged after it was written; an earlier checkpoint may be whole",
    )
    return CheckpointError(text, file=name, matter="damaged")
