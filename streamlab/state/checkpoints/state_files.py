"""Frames in files: Arrow IPC, named by their SHA-256, so that equal bytes are one file.

A frame gives the same bytes each time. Equal frames that were computed in different ways may give others, since what
lies under nulls and in the texts' buffers differs; they are then stored twice, which is no harm. Nothing of pickle is
written or read: columns of Python objects are refused, and an unknown Arrow extension type is its plain storage.
"""

from __future__ import annotations

import hashlib
import io
from typing import Literal

import polars as pl
from polars.datatypes import DataTypeClass

from streamlab.core.errors import CheckpointError, StateError, explained
from streamlab.core.failpoints import reach
from streamlab.state.checkpoints.blobs import Blobs
from streamlab.state.checkpoints.contents import damaged, file_name, read_contents
from streamlab.state.checkpoints.manifest import StoredFrame


class StateFiles:
    """Frames in one store."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        # On a disk, LZ4 takes as long as the bytes that it saves, and processor time besides.
        self._compression: Literal["lz4", "uncompressed"] = "lz4" if blobs.is_remote else "uncompressed"
        self._sound: set[str] = set()

    def put(self, frame: pl.DataFrame) -> tuple[StoredFrame, int]:
        """Store a frame; return what names it, and the bytes that had to be written (0 when it was there already).

        Raises
        ------
        StateError
            A column holds Python objects.
        CheckpointError
            The store cannot be written to.
        """
        reach("state.write")
        data = _encode(frame, self._compression)
        stored = StoredFrame(hashlib.sha256(data).hexdigest(), len(data), frame.height)
        name = file_name(stored)
        there = self._is_there(stored)
        if not there:
            self._blobs.put(name, data)
        self._sound.add(name)
        return stored, 0 if there else len(data)

    def forget_except(self, files: frozenset[StoredFrame]) -> None:
        """Forget the state of all other files: they may be deleted from now on."""
        self._sound &= {file_name(stored) for stored in files}

    def _is_there(self, stored: StoredFrame) -> bool:
        """Return whether the file can be relied on; one that another process wrote is read once.

        Were it damaged meanwhile, a checkpoint after a recovery from that damage would name it again.
        """
        name = file_name(stored)
        if not self._blobs.has(name, stored.size_bytes):
            return False
        return name in self._sound or hashlib.sha256(self._blobs.get(name)).hexdigest() == stored.sha256

    def get(self, stored: StoredFrame) -> pl.DataFrame:
        """Return a frame; its bytes are compared with length and SHA-256 before any of them is understood.

        Raises
        ------
        CheckpointError
            Names the file, and what is the matter with it.
        """
        reach("restore.read")
        data = read_contents(self._blobs, stored)
        name = file_name(stored)
        try:
            frame = pl.read_ipc(data)
        except (pl.exceptions.PolarsError, pl.exceptions.PanicException, OSError, ValueError) as error:
            raise damaged(self._blobs, name, "an Arrow file", f"something else ({error})") from error
        if frame.height != stored.rows:
            raise damaged(self._blobs, name, f"{stored.rows} rows", f"{frame.height}")
        if unstorable(frame.schema):
            text = explained(f"reading {name}", needed="plain columns", got="Python objects")
            raise CheckpointError(text, file=name, matter="refused")
        return frame


def unstorable(schema: pl.Schema) -> list[str]:
    """Return the columns that hold Python objects, at any depth."""
    return [name for name, dtype in schema.items() if _has_objects(dtype)]


def _has_objects(dtype: pl.DataType | DataTypeClass) -> bool:
    if isinstance(dtype, pl.List | pl.Array):
        return _has_objects(dtype.inner)
    if isinstance(dtype, pl.Struct):
        return any(_has_objects(field.dtype) for field in dtype.fields)
    return dtype.is_object()


def _encode(frame: pl.DataFrame, compression: Literal["lz4", "uncompressed"]) -> bytes:
    columns = unstorable(frame.schema)
    if columns:
        text = explained(
            "storing state",
            needed="columns of plain data",
            got=f"Python objects in {columns}",
            hint="a checkpoint holds no pickled objects: convert the column before this step",
        )
        raise StateError(text)
    file = io.BytesIO()
    frame.rechunk().write_ipc(file, compression=compression)
    # Not its buffer: a file cannot be closed while that is in use, and garbage collection closes in any order.
    return file.getvalue()
