"""Power failures and full disks at every step of writing a checkpoint: what was complete before stays complete.

The process writes through an `os` that stops it at a given step. What is on the disk then is drawn anew: names and
bytes that were not synced may be there, or not, or half.
"""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from checkpoint_kit import manifest_of, newest_whole, publish

from streamlab.core.errors import CheckpointError
from streamlab.state.checkpoints import blobs as blobs_module
from streamlab.state.checkpoints.blobs import LocalBlobs
from streamlab.state.checkpoints.manifest import Manifest
from streamlab.state.checkpoints.manifests import ManifestStore
from streamlab.state.checkpoints.state_files import StateFiles

OLD = pl.DataFrame({"key": ["a"], "n": [1]})
NEW = pl.DataFrame({"key": ["a", "b"], "n": [2, None]})


class Killed(BaseException):
    """The process ends here."""


class Content:
    """Bytes of a file: as the process sees them, and as they were last synced."""

    def __init__(self) -> None:
        self.seen = b""
        self.synced = b""


class LossyDisk:
    """`os` for one process after another, on a disk that forgets what was not synced."""

    def __init__(self) -> None:
        self.steps_left = 10**9
        self.steps = 0
        self.dead = False
        self.refuse: Callable[[str], None] = lambda step: None
        self.seen: dict[str, dict[str, Content | None]] = {}
        """By folder: its names; None is a folder."""
        self.synced: dict[str, dict[str, Content | None]] = {}
        self._open: dict[int, str] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(os, name)

    def _step(self, name: str) -> None:
        if self.dead or self.steps_left == 0:
            self.dead = True
            raise Killed
        self.refuse(name)
        self.steps_left -= 1
        self.steps += 1

    def _names(self, path: str) -> dict[str, Content | None]:
        return self.seen.setdefault(os.path.dirname(path), {})

    def open(self, path: str, flags: int, mode: int = 0o777) -> int:
        if flags & os.O_CREAT:
            self._step("open")
        opened = os.open(path, flags, mode)
        if flags & os.O_CREAT:
            self._names(path)[os.path.basename(path)] = Content()
        self._open[opened] = path
        return opened

    def write(self, opened: int, data: memoryview) -> int:
        self._step("write")
        written = os.write(opened, data[: max(1, len(data) // 2)])
        path = self._open[opened]
        content = self._names(path)[os.path.basename(path)]
        content.seen += bytes(data[:written])
        return written

    def fsync(self, opened: int) -> None:
        self._step("fsync")
        path = self._open[opened]
        if os.path.isdir(path):
            self.synced[path] = dict(self.seen.get(path, {}))
        else:
            content = self._names(path)[os.path.basename(path)]
            content.synced = content.seen

    def replace(self, source: str, target: str) -> None:
        self._step("replace")
        os.replace(source, target)
        self._names(target)[os.path.basename(target)] = self._names(source).pop(os.path.basename(source))

    def link(self, source: str, target: str) -> None:
        self._step("link")
        os.link(source, target)
        self._names(target)[os.path.basename(target)] = self._names(source)[os.path.basename(source)]

    def unlink(self, path: str) -> None:
        self._step("unlink")
        os.unlink(path)
        self._names(path).pop(os.path.basename(path), None)

    def mkdir(self, path: str, mode: int) -> None:
        self._step("mkdir")
        os.mkdir(path, mode)
        self._names(path)[os.path.basename(path)] = None

    def restart(self, steps: int = 10**9) -> None:
        """Begin a new process; the machine ran on."""
        self.dead = False
        self.steps_left = steps

    def after_power_failure(self, root: str, target: Path, choose: Callable[[], float]) -> None:
        """Write what is on the disk to `target`; `choose` gives numbers in ``[0, 1)``: 0 keeps what was synced."""
        names = self.synced.get(root, {}) | {}
        seen = self.seen.get(root, {})
        target.mkdir()
        for name in sorted(names.keys() | seen.keys()):
            kept = seen if choose() >= 0.5 else names
            if name not in kept:
                continue
            content = kept[name]
            if content is None:
                self.after_power_failure(os.path.join(root, name), target / name, choose)
            else:
                extra = content.seen[len(content.synced) :]
                (target / name).write_bytes(content.synced + extra[: int(len(extra) * choose())])


@pytest.fixture
def disk(monkeypatch) -> Iterator[LossyDisk]:
    disk = LossyDisk()
    monkeypatch.setattr(blobs_module, "os", disk)
    yield disk
    for opened in disk._open:
        try:
            os.close(opened)
        except OSError:
            continue


def outcomes(disk: LossyDisk, root: Path, tmp_path: Path) -> Iterator[LocalBlobs]:
    """Give stores as they may be after a power failure: nothing unsynced kept, all kept, and mixtures."""
    choices: list[Callable[[], float]] = [lambda: 0.0, lambda: 0.999]
    choices += [random.Random(seed).random for seed in range(4)]
    for choose in choices:
        target = tmp_path / f"after{len(list(tmp_path.iterdir()))}"
        disk.after_power_failure(str(root), target, choose)
        yield LocalBlobs(target)


def steps_of_a_checkpoint(disk: LossyDisk, root: Path) -> int:
    publish(LocalBlobs(root / "trial"), 1, OLD)
    before = disk.steps
    publish(LocalBlobs(root / "trial"), 2, OLD, NEW)
    return disk.steps - before


def killed_while_publishing(disk: LossyDisk, root: Path, steps: int) -> tuple[Manifest, bool]:
    """Publish checkpoint 1, die `steps` steps into checkpoint 2; return what 1 says, and whether 2 was complete."""
    disk.restart()
    first = publish(LocalBlobs(root), 1, OLD)
    disk.restart(steps)
    try:
        publish(LocalBlobs(root), 2, OLD, NEW)
    except Killed:
        return first, False
    return first, True


def check_every_crash(disk: LossyDisk, tmp_path: Path) -> None:
    steps = steps_of_a_checkpoint(disk, tmp_path / "stores")
    assert steps > 10
    second = manifest_of(2, *(StateFiles(LocalBlobs(tmp_path / "names")).put(f)[0] for f in (OLD, NEW)))
    for step in range(steps + 1):
        root = tmp_path / "stores" / str(step)
        first, complete = killed_while_publishing(disk, root, step)
        assert complete == (step == steps)
        disk.restart()
        for after in outcomes(disk, root, tmp_path):
            assert newest_whole(after) in ((second,) if complete else (first, second))
            # The job goes on from there, and nothing is left of the attempt that died.
            publish(after, 3, NEW)
            ManifestStore(after).retain(1)
            ManifestStore(after).collect_garbage()
            assert len(after.names("state")) == 1
            assert not list(Path(after.where).rglob(".*"))


def test_a_power_failure_at_any_step_leaves_a_whole_checkpoint(disk, tmp_path):
    check_every_crash(disk, tmp_path)


@pytest.mark.parametrize("forgotten", ["files", "folders"])
def test_a_store_that_forgets_to_sync_is_caught(disk, tmp_path, monkeypatch, forgotten):
    def fsync(self: LossyDisk, opened: int) -> None:
        if os.path.isdir(self._open[opened]) != (forgotten == "folders"):
            real(self, opened)

    real = LossyDisk.fsync
    monkeypatch.setattr(LossyDisk, "fsync", fsync)
    with pytest.raises(AssertionError):
        check_every_crash(disk, tmp_path)


def test_what_a_killed_process_had_renamed_is_made_durable_by_who_relies_on_it(disk, tmp_path):
    steps = steps_of_a_checkpoint(disk, tmp_path / "stores")
    for step in range(steps):
        root = tmp_path / "stores" / str(step)
        killed_while_publishing(disk, root, step)
        disk.restart()  # the process died, the machine did not
        second = publish(LocalBlobs(root), 2, OLD, NEW)
        for after in outcomes(disk, root, tmp_path):
            assert newest_whole(after) == second


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_full_disk_fails_the_checkpoint_by_name_and_harms_no_other(disk, tmp_path, code):
    steps = steps_of_a_checkpoint(disk, tmp_path / "stores")
    for step in range(steps):
        root = tmp_path / "stores" / str(step)
        blobs = LocalBlobs(root)
        first = publish(blobs, 1, OLD)
        start = disk.steps

        def refuse(name: str, full=start + step) -> None:
            if disk.steps >= full and name != "unlink":
                raise OSError(code, os.strerror(code))

        disk.refuse = refuse
        with pytest.raises(CheckpointError, match=os.strerror(code)) as failed:
            publish(LocalBlobs(root), 2, OLD, NEW)
        assert failed.value.matter == "unreachable"
        assert failed.value.file.startswith(("state/", "checkpoints/0002"))
        disk.refuse = lambda name: None
        assert newest_whole(blobs) in (first, manifest_of(2, *(StateFiles(blobs).put(f)[0] for f in (OLD, NEW))))
        assert not list(root.rglob(".*"))
        publish(blobs, 3, OLD, NEW)
        assert newest_whole(blobs).id == 3
