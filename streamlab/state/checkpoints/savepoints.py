"""Savepoints: checkpoints that the user owns, in a folder or at a URL of their own, with their files beside them.

A job can start from a checkpoint of another job as well, as long as that one keeps it.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable

import msgspec

from streamlab.core.errors import CheckpointError, OptionError, explained
from streamlab.state.checkpoints import contents
from streamlab.state.checkpoints.blobs import Blobs, open_blobs
from streamlab.state.checkpoints.contents import file_name, read_contents
from streamlab.state.checkpoints.manifest import Manifest, StoredRecording
from streamlab.state.checkpoints.manifests import ManifestStore

_CHECKPOINT = re.compile(r"(?P<place>.+)/checkpoints/(?P<id>\d{4,})/?")


def check_is_free(path: str | os.PathLike[str]) -> Blobs:
    """Return the place for a new savepoint. Raises OptionError when there is one already."""
    blobs = open_blobs(path)
    if ManifestStore(blobs).ids():
        text = explained("savepoint", needed="a place without a savepoint", got=blobs.where, hint="choose another path")
        raise OptionError(text)
    return blobs


def copy_checkpoint(
    source: Blobs,
    checkpoint_id: int,
    target: Blobs,
    recordings: Callable[[Manifest], dict[str, StoredRecording]] | None = None,
) -> Manifest:
    """Copy a checkpoint with all its files, each compared with its hash; it counts when the last byte is durable.

    `recordings` stores, at the target, what the checkpoint needs of recordings.

    Raises
    ------
    CheckpointError
        If the checkpoint is damaged or gone, or the target cannot be written to.
    """
    with ManifestStore(source).pin(checkpoint_id) as manifest:
        for stored in manifest.files:
            target.put(file_name(stored), read_contents(source, stored))
        recorded = manifest.recordings if recordings is None else {**manifest.recordings, **recordings(manifest)}
        saved = msgspec.structs.replace(manifest, kind="savepoint", recordings=recorded)
        ManifestStore(target).put(saved)
    return saved


def checkpoint_path(blobs: Blobs, checkpoint_id: int) -> str:
    """Return the path, or URL, by which :func:`find_savepoint` finds one checkpoint of several."""
    return f"{blobs.location}/checkpoints/{checkpoint_id:04d}"


def find_savepoint(path: str | os.PathLike[str]) -> tuple[str, Manifest]:
    """Return where a savepoint or a checkpoint is, and what it says.

    Parameters
    ----------
    path
        Of a savepoint; of a job's folder, for the newest of its checkpoints; or of one of them, ``…/checkpoints/0007``.

    Raises
    ------
    CheckpointError
        If it is damaged.
    OptionError
        If there is none.
    """
    blobs = open_blobs(path)
    store, one = ManifestStore(blobs), _CHECKPOINT.fullmatch(os.fspath(path))
    if one is not None and not store.ids():
        kept = open_blobs(one["place"])
        if int(one["id"]) in ManifestStore(kept).ids():
            return kept.location, ManifestStore(kept).get(int(one["id"]))
    for _, found in store.newest_first():
        if isinstance(found, CheckpointError):
            raise found
        return blobs.location, found
    is_begun = bool(blobs.names(contents.FOLDER))
    got = f"one at {blobs.where} that was begun and never finished" if is_begun else f"none at {blobs.where}"
    hint = "save to that place once more, or begin from job.checkpoints[-1]" if is_begun else ""
    raise OptionError(explained("from_savepoint", needed="a savepoint or a checkpoint", got=got, hint=hint))
