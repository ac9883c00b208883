"""Frames in files: Arrow IPC, uncompressed, named by their SHA-256, so that equal frames are one file.

Nothing of pickle is written or read: columns of Python objects are refused.
"""

from __future__ import annotations

import hashlib
import io

import polars as pl

from streamlab.core.errors import CheckpointError, StateError, explained
from streamlab.state.checkpoints.blobs import Blobs
from streamlab.state.checkpoints.contents import damaged, file_name, read_contents
from streamlab.state.checkpoints.manifest import StoredFrame


class StateFiles:
    """Frames in one store."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs

    def put(self, frame: pl.DataFrame) -> tuple[StoredFrame, int]:
        """Store a frame; return what names it, and the bytes that had to be written (0 when it was there already).

        Raises
        ------
        StateError
            A column holds Python objects.
        CheckpointError
            The store cannot be written to.
        """
        data = _encode(frame)
        stored = StoredFrame(hashlib.sha256(data).hexdigest(), len(data), frame.height)
        name = file_name(stored)
        if self._blobs.size(name) == len(data):
            return stored, 0
        self._blobs.put(name, data)
        return stored, len(data)

    def get(self, stored: StoredFrame) -> pl.DataFrame:
        """Return a frame; its bytes are compared with length and SHA-256 before any of them is understood.

        Raises
        ------
        CheckpointError
            Names the file, and what is the matter with it.
        """
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


def _has_objects(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.List | pl.Array):
        return _has_objects(pl.Series(dtype=dtype.inner).dtype)
    if isinstance(dtype, pl.Struct):
        return any(_has_objects(pl.Series(dtype=field.dtype).dtype) for field in dtype.fields)
    return isinstance(dtype, pl.Object | pl.Unknown)


def _encode(frame: pl.DataFrame) -> memoryview:
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
    frame.rechunk().write_ipc(file, compression="uncompressed")
    return file.getbuffer()
