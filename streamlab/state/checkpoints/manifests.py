"""The checkpoints of one job: which there are, what they say, and which may go.

A manifest is published last, in one step, when all that it names is durable; a checkpoint is there when its manifest
is. The file is JSON, ``{"format", "sha256", "manifest"}``, and must be byte for byte what streamlab writes: one bit
changed anywhere is found. Nothing here needs Polars, so the coordinator's process starts fast.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import msgspec

from streamlab.core.errors import CheckpointError, InternalError, explained
from streamlab.core.failpoints import reach
from streamlab.core.process_id import ProcessId
from streamlab.state.checkpoints import contents
from streamlab.state.checkpoints.blobs import Blobs
from streamlab.state.checkpoints.contents import check_length, damaged, file_name, read_contents
from streamlab.state.checkpoints.manifest import FORMAT, Manifest
from streamlab.state.checkpoints.pins import Pins

_FOLDER = "checkpoints"
_FILE = re.compile(rf"\A{_FOLDER}/([0-9]{{4}}|[1-9][0-9]{{4,17}})/manifest\.json\Z")


class _Envelope(msgspec.Struct):
    format: int
    sha256: str
    manifest: msgspec.Raw


class ManifestStore:
    """Manifests in one store; one process writes, any number read."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._pins = Pins(blobs)

    def put(self, manifest: Manifest) -> None:
        """Publish a checkpoint, durably, in one step.

        Raises
        ------
        CheckpointError
            It could not be written, or (`refused`) another checkpoint has that id: one of another attempt.
        InternalError
            The manifest holds what JSON cannot, such as NaN.
        """
        reach("manifest.write")
        data = _encode(manifest)
        name = _name(manifest.id)
        if _decode(self._blobs, name, data) != manifest:
            text = explained(f"writing {name}", needed="values that JSON can hold", got="others, such as NaN")
            raise InternalError(text)
        # A retry finds its own; a process of an attempt that is over must not replace what its successor wrote.
        if not self._blobs.create(name, data) and self._blobs.get(name) != data:
            text = explained(
                f"writing {name} at {self._blobs.where}",
                needed="a new id",
                got="one that another checkpoint has",
                hint="another process writes checkpoints of the same job",
            )
            raise CheckpointError(text, file=name, matter="refused")

    def make_durable(self, manifest: Manifest) -> None:
        """Make sure of a checkpoint that was found: whoever wrote it may have died before its name was durable.

        Raises
        ------
        CheckpointError
            The store cannot say so.
        """
        name, data = _name(manifest.id), _encode(manifest)
        if not self._blobs.has(name, len(data)):
            raise damaged(self._blobs, name, f"{len(data)} bytes", "others")

    def ids(self) -> list[int]:
        """Return the ids of all checkpoints, ascending, damaged ones too."""
        matches = (_FILE.match(name) for name in self._blobs.names(_FOLDER))
        return sorted({int(match[1]) for match in matches if match})

    def get(self, checkpoint_id: int) -> Manifest:
        """Return a manifest that is just what was written.

        Raises
        ------
        CheckpointError
            Names the file, and what is the matter with it.
        """
        name = _name(checkpoint_id)
        manifest = _decode(self._blobs, name, self._blobs.get(name))
        if manifest.id != checkpoint_id:
            raise damaged(self._blobs, name, f"checkpoint {checkpoint_id}", f"checkpoint {manifest.id}")
        return manifest

    def newest_first(self) -> Iterator[tuple[int, Manifest | CheckpointError]]:
        """Give every checkpoint, newest first: its manifest, or why it cannot be used.

        Files of state are looked at too, whether they are there with the right length. When the store itself cannot be
        reached, that is raised, since an earlier checkpoint is no answer to it.
        """
        ids = self.ids()
        # Looked for after the manifests, each of which is there only when its files are.
        sizes = self._blobs.sizes(contents.FOLDER)
        for checkpoint_id in reversed(ids):
            try:
                manifest = self.get(checkpoint_id)
                self._check_lengths(manifest, sizes)
                yield checkpoint_id, manifest
            except CheckpointError as error:
                if error.matter == "unreachable":
                    raise
                yield checkpoint_id, error

    def verify(self, manifest: Manifest) -> None:
        """Read every file of a checkpoint and raise the first :class:`CheckpointError`."""
        self._check_lengths(manifest, self._blobs.sizes(contents.FOLDER))
        for stored in sorted(manifest.files, key=file_name):
            read_contents(self._blobs, stored)

    def delete(self, checkpoint_id: int) -> bool:
        """Delete a manifest; return False, and keep it, when somebody has pinned it."""
        with self._pins.deleting(checkpoint_id) as free:
            if free:
                reach("gc.delete")
                self._blobs.delete(_name(checkpoint_id))
        return free

    def retain(self, keep: int) -> list[int]:
        """Delete all checkpoints older than the `keep` newest whole ones, and return the ids of those deleted.

        What stays: pinned ones, savepoints, those of later versions of streamlab, and all when none is whole.
        """
        if keep < 1:
            text = explained("retaining checkpoints", needed="at least 1 to keep", got=str(keep))
            raise InternalError(text)
        kept, deleted = 0, []
        for checkpoint_id, found in self.newest_first():
            if kept < keep:
                kept += isinstance(found, Manifest)
            elif not _must_stay(found) and self.delete(checkpoint_id):
                deleted.append(checkpoint_id)
        return sorted(deleted)

    def collect_garbage(self) -> list[str]:
        """Delete the files of state that no manifest names, and return their names.

        Only when no checkpoint is being written: its files are named by no manifest yet. Nothing is deleted while a
        manifest is there whose files cannot be known, since a later version of streamlab wrote it.
        """
        named: set[str] = set()
        for checkpoint_id in self.ids():
            try:
                named.update(file_name(stored) for stored in self.get(checkpoint_id).files)
            except CheckpointError as error:
                if error.matter == "newer":
                    return []
                if error.matter == "unreachable":
                    raise
        files = filter(contents.FILE.match, self._blobs.names(contents.FOLDER))
        deleted = [name for name in files if name not in named]
        for name in deleted:
            reach("gc.delete")
            self._blobs.delete(name)
        for folder in (contents.FOLDER, _FOLDER):
            self._blobs.sweep(folder)
        self._pins.forget_dead()
        return deleted

    @contextmanager
    def pin(self, checkpoint_id: int) -> Iterator[Manifest]:
        """Keep a checkpoint and its files from being deleted by any process, as long as the block runs.

        Raises
        ------
        CheckpointError
            It is being deleted just now, or cannot be read.
        """
        with self._pins.pinned(checkpoint_id) as safe:
            if not safe:
                raise self._is_going(checkpoint_id)
            yield self.get(checkpoint_id)

    def hold(self, checkpoint_id: int, owner: str, processes: Sequence[ProcessId]) -> Manifest:
        """Keep a checkpoint from being deleted, as long as one of these processes runs, or until :meth:`release`.

        Who holds it under the same name goes on with that; a savepoint, which nobody deletes, is only read.

        Raises
        ------
        CheckpointError
            It is being deleted just now, or cannot be read.
        """
        manifest = self.get(checkpoint_id)
        if manifest.kind == "savepoint":
            return manifest
        if not self._pins.hold(checkpoint_id, owner, processes):
            raise self._is_going(checkpoint_id)
        try:
            return self.get(checkpoint_id)
        except CheckpointError:
            self.release(checkpoint_id, owner)
            raise

    def release(self, checkpoint_id: int, owner: str) -> None:
        """Let go of a checkpoint that was held under this name."""
        self._pins.release(checkpoint_id, owner)

    def _is_going(self, checkpoint_id: int) -> CheckpointError:
        name = _name(checkpoint_id)
        text = explained(f"reading {name} at {self._blobs.where}", needed="that file", got="its deletion")
        return CheckpointError(text, file=name, matter="missing")

    def _check_lengths(self, manifest: Manifest, sizes: Mapping[str, int]) -> None:
        for stored in sorted(manifest.files, key=file_name):
            check_length(self._blobs, stored, sizes.get(file_name(stored)))


def _name(checkpoint_id: int) -> str:
    return f"{_FOLDER}/{checkpoint_id:04d}/manifest.json"


def _must_stay(found: Manifest | CheckpointError) -> bool:
    return found.kind == "savepoint" if isinstance(found, Manifest) else found.matter == "newer"


def _checksum(version: int, body: bytes) -> str:
    return hashlib.sha256(b"streamlab checkpoint %d\n" % version + body).hexdigest()


def _encode(manifest: Manifest) -> bytes:
    body = msgspec.json.encode(manifest)
    return msgspec.json.encode(_Envelope(manifest.format, _checksum(manifest.format, body), msgspec.Raw(body)))


def _decode(blobs: Blobs, name: str, data: bytes) -> Manifest:
    try:
        envelope = msgspec.json.decode(data, type=_Envelope)
        body = bytes(envelope.manifest)
        if msgspec.json.encode(envelope) != data or _checksum(envelope.format, body) != envelope.sha256:
            raise damaged(blobs, name, "the bytes that were written", "others")
        if envelope.format > FORMAT:
            text = explained(
                f"reading {name} at {blobs.where}",
                needed=f"format {FORMAT} or earlier",
                got=f"format {envelope.format}",
                hint="a later version of streamlab wrote it: upgrade",
            )
            raise CheckpointError(text, file=name, matter="newer")
        return msgspec.json.decode(body, type=Manifest)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise damaged(blobs, name, "a manifest", f"something else ({error})") from error
