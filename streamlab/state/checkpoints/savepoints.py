"""Savepoints: checkpoints that the user owns, in a folder or at a URL of their own, with their files beside them."""

from __future__ import annotations

import os

import msgspec

from streamlab.core.errors import CheckpointError, OptionError, explained
from streamlab.state.checkpoints.blobs import Blobs, open_blobs
from streamlab.state.checkpoints.contents import file_name, read_contents
from streamlab.state.checkpoints.manifest import Manifest
from streamlab.state.checkpoints.manifests import ManifestStore


def check_is_free(path: str | os.PathLike[str]) -> Blobs:
    """Return the place for a new savepoint. Raises OptionError when there is one already."""
    blobs = open_blobs(path)
    if ManifestStore(blobs).ids():
        text = explained("savepoint", needed="a place without a savepoint", got=blobs.where, hint="choose another path")
        raise OptionError(text)
    return blobs


def copy_checkpoint(source: Blobs, checkpoint_id: int, target: Blobs) -> Manifest:
    """Copy a checkpoint with all its files, each compared with its hash; it counts when the last byte is durable.

    Raises
    ------
    CheckpointError
        If the checkpoint is damaged or gone, or the target cannot be written to.
    """
    with ManifestStore(source).pin(checkpoint_id) as manifest:
        for stored in manifest.files:
            target.put(file_name(stored), read_contents(source, stored))
        saved = msgspec.structs.replace(manifest, kind="savepoint")
        ManifestStore(target).put(saved)
    return saved


def find_savepoint(path: str | os.PathLike[str]) -> tuple[str, Manifest]:
    """Return where a savepoint is and what it says.

    Raises
    ------
    CheckpointError
        If it is damaged.
    OptionError
        If there is none.
    """
    blobs = open_blobs(path)
    for _, found in ManifestStore(blobs).newest_first():
        if isinstance(found, CheckpointError):
            raise found
        return blobs.where, found
    raise OptionError(explained("from_savepoint", needed="a savepoint", got=f"none at {blobs.where}"))
