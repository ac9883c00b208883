"""Where checkpoints lie: named byte strings in a folder, or at a URL that fsspec knows (``s3://``, ``memory://``)."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, urlsplit

from streamlab.core.errors import OptionError, explained
from streamlab.state.checkpoints.blob_contract import Blobs
from streamlab.state.checkpoints.fsspec_blobs import FsspecBlobs
from streamlab.state.checkpoints.local_blobs import LocalBlobs

__all__ = ["Blobs", "FsspecBlobs", "LocalBlobs", "open_blobs"]

_URL = re.compile(r"\A[A-Za-z][A-Za-z0-9+.-]+(://|::)")


def open_blobs(location: str | os.PathLike[str]) -> Blobs:
    """Return the store at a folder (path or ``file://`` URL) or at a URL that fsspec knows. Raises OptionError."""
    if not isinstance(location, str | os.PathLike) or not os.fspath(location):
        raise OptionError(explained("checkpoints", needed="a folder or a URL", got=repr(location)))
    text = os.fspath(location)
    if not _URL.match(text):
        return LocalBlobs(text)
    parts = urlsplit(text)
    if parts.scheme == "file" and parts.netloc in {"", "localhost"}:
        return LocalBlobs(unquote(parts.path))
    return FsspecBlobs(text)
