"""Checkpoints at any URL that fsspec knows: ``s3://``, ``gs://``, ``memory://`` and more."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from streamlab.core.errors import CheckpointError, OptionError, explained
from streamlab.core.redaction import credentials_in, redacted, shown_address
from streamlab.state.checkpoints.blob_contract import Blobs, checked, failures, named_well

_SHORTEST_SECRET = 4


class FsspecBlobs(Blobs):
    """Objects below a URL that fsspec knows; needs ``pip install 'streamlab[cloud]'``.

    Meant for stores that write an object wholly or not at all and list what was just written, as S3 does.

    Parameters
    ----------
    url
        For instance ``s3://bucket/jobs/flights``.
    options
        Passed to the file system, for instance ``{"endpoint_url": "https://minio.example.org"}``. S3 finds credentials
        by itself (environment, ``~/.aws``).
    """

    is_remote = True

    def __init__(self, url: str, options: Mapping[str, Any] | None = None) -> None:
        self.where, self.location = shown_address(url), url
        self._secrets = [*credentials_in(url), *_texts(options or {})]
        try:
            import fsspec  # noqa: PLC0415 - an optional library
        except ImportError as missing:
            text = explained(
                f"checkpoints at {self.where}",
                needed="the library fsspec",
                got="an installation without it",
                hint="pip install 'streamlab[cloud]'",
            )
            raise OptionError(text) from missing
        try:
            # A listing that was kept from before another process wrote would hide what it wrote.
            self._fs, self._root = fsspec.url_to_fs(url, use_listings_cache=False, **(options or {}))
        except (ImportError, ValueError) as refused:
            text = explained(
                f"checkpoints at {self.where}",
                needed="a folder or a URL that fsspec knows",
                got=redacted(str(refused), self._secrets),
                hint="pip install 'streamlab[cloud]' brings s3://",
            )
            raise OptionError(text) from (None if self._secrets else refused)
        except Exception as refused:  # file systems that connect at once raise classes of their own
            got = redacted(f"{type(refused).__name__}: {refused}", self._secrets)
            hint = "see to the address and the credentials, and that it can be reached from here"
            text = explained(f"checkpoints at {self.where}", needed="a store that answers", got=got, hint=hint)
            raise CheckpointError(text, matter="unreachable") from (None if self._secrets else refused)

    def put(self, name: str, data: bytes | memoryview) -> None:
        """Write, or replace, atomically and durably."""
        with failures("writing", name, self.where, self._secrets):
            self._fs.pipe_file(self._path(name), bytes(data))

    def create(self, name: str, data: bytes | memoryview) -> bool:
        """Write like :meth:`put` unless the name is there already; return whether it was written."""
        with failures("writing", name, self.where, self._secrets):
            try:
                self._fs.pipe_file(self._path(name), bytes(data), mode="create")
            except FileExistsError:
                return False
        return True

    def get(self, name: str) -> bytes:
        """Return all bytes."""
        with failures("reading", name, self.where, self._secrets):
            return bytes(self._fs.cat_file(self._path(name)))

    def size(self, name: str) -> int | None:
        """Return the length in bytes, or None when the name is not there."""
        with failures("looking at", name, self.where, self._secrets):
            try:
                found = self._fs.info(self._path(name))
            except FileNotFoundError:
                return None
            return int(found["size"]) if found["type"] == "file" else None

    def has(self, name: str, size_bytes: int) -> bool:
        """Return whether the name is there with that length, and durably so, whoever wrote it."""
        return self.size(name) == size_bytes

    def delete(self, name: str) -> None:
        """Remove; a name that is not there is no error."""
        with failures("deleting", name, self.where), suppress(FileNotFoundError):
            self._fs.rm_file(self._path(name))

    def sizes(self, folder: str) -> dict[str, int]:
        """Return the lengths of all files below a folder, at any depth, by name; empty when there is no such folder."""
        with failures("listing", folder, self.where, self._secrets):
            try:
                found = self._fs.find(self._path(folder), detail=True)
            except FileNotFoundError:
                return {}
            return named_well({path[len(self._root) :].lstrip("/"): info["size"] for path, info in found.items()})

    def sweep(self, folder: str) -> None:
        """Nothing to do: an interrupted write leaves nothing that can be seen."""

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{checked(name, self.where)}"


def _texts(options: Mapping[str, Any]) -> list[str]:
    """Return the texts among options, at any depth: any of them may be a secret."""
    found = []
    for value in options.values():
        if isinstance(value, Mapping):
            found += _texts(value)
        elif isinstance(value, str) and len(value) >= _SHORTEST_SECRET:
            found.append(value)
    return found
