"""Stores of bytes: what all promise, and what only folders can get wrong."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import uuid
from concurrent.futures import ThreadPoolExecutor

import pytest
from checkpoint_kit import check_blobs, check_whole_round

from streamlab.core.errors import CheckpointError, OptionError
from streamlab.state.checkpoints.blobs import Blobs, FsspecBlobs, LocalBlobs, open_blobs


@pytest.fixture(params=["folder", "file url", "memory"])
def empty(request: pytest.FixtureRequest, tmp_path) -> Blobs:
    location = {
        "folder": str(tmp_path / "a" / "b"),
        "file url": (tmp_path / "with space").as_uri(),
        "memory": f"memory://{uuid.uuid4().hex}/b",
    }[request.param]
    return open_blobs(location)


def test_every_store_keeps_the_laws(empty):
    check_blobs(empty)


def test_checkpoints_live_in_every_store(empty):
    check_whole_round(empty)


@pytest.mark.parametrize(
    "name",
    [
        *("", ".", "..", "/etc/passwd", "state/../../x", "state//x", "state/", "./x", "state/.hidden", "state/x\n"),
        *("a\\b", "a\0b", "a\n", "state/é", "x" * 300, "/".join("x" * 20), "~/x", "-x"),
    ],
)
def test_names_that_lead_elsewhere_reach_no_store(empty, name):
    for use in (
        lambda: empty.put(name, b""),
        lambda: empty.create(name, b""),
        lambda: empty.get(name),
        lambda: empty.size(name),
        lambda: empty.has(name, 0),
        lambda: empty.delete(name),
        lambda: empty.sizes(name),
    ):
        with pytest.raises(CheckpointError) as refused:
            use()
        assert (refused.value.file, refused.value.matter) == (name, "refused")


def test_files_that_no_store_writes_are_not_listed(tmp_path):
    (tmp_path / "state").mkdir()
    for name in (".hidden", "with space", "fine"):
        (tmp_path / "state" / name).write_bytes(b"")
    (tmp_path / "state" / "linked").symlink_to(tmp_path)
    assert LocalBlobs(tmp_path).names("state") == ["state/fine"]


def test_links_pipes_and_folders_in_place_of_files_are_not_followed(tmp_path):
    blobs = LocalBlobs(tmp_path / "store")
    blobs.put("state/a", b"")
    (tmp_path / "secret").write_bytes(b"secret")
    folder = tmp_path / "store" / "state"
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "folder").mkdir()
    os.mkfifo(folder / "pipe")
    for name in ("link", "folder", "pipe"):
        with pytest.raises(CheckpointError, match=name) as refused:
            blobs.get(f"state/{name}")
        assert refused.value.matter == "damaged"
        assert blobs.size(f"state/{name}") is None
    blobs.put("state/link", b"mine")
    assert (tmp_path / "secret").read_bytes() == b"secret"


def test_others_cannot_read_what_is_written(tmp_path):
    LocalBlobs(tmp_path / "store").put("state/a", b"")
    for path, mode in ((tmp_path / "store" / "state", 0o700), (tmp_path / "store" / "state" / "a", 0o600)):
        assert stat.S_IMODE(path.stat().st_mode) == mode


def test_an_empty_folder_goes_with_its_last_file(tmp_path):
    blobs = LocalBlobs(tmp_path / "store")
    blobs.put("checkpoints/0001/manifest.json", b"")
    blobs.put("state/a", b"")
    blobs.delete("checkpoints/0001/manifest.json")
    assert os.listdir(tmp_path / "store") == ["state"]


def test_sweeping_removes_what_an_interrupted_write_left(tmp_path):
    blobs = LocalBlobs(tmp_path)
    blobs.put("state/a", b"")
    (tmp_path / "state" / ".b.123").write_bytes(b"half")
    blobs.sweep("state")
    blobs.sweep("nowhere")
    assert os.listdir(tmp_path / "state") == ["a"]


def test_of_many_that_create_one_name_one_succeeds(empty):
    with ThreadPoolExecutor(8) as pool:
        for turn in range(10):
            name = f"state/{turn}"
            told = list(pool.map(lambda k, name=name: empty.create(name, b"%d" % k), range(8)))
            if isinstance(empty, LocalBlobs):  # fsspec's memory store looks and then writes
                assert sum(told) == 1
                assert empty.get(name) == b"%d" % told.index(True)


def test_writers_and_deleters_of_one_folder_do_not_disturb_each_other(tmp_path):
    blobs = LocalBlobs(tmp_path / "store")

    def write_and_delete(worker: int) -> None:
        for turn in range(30):
            blobs.put(f"state/deep/{worker}", b"%d" % turn)
            assert blobs.get(f"state/deep/{worker}") == b"%d" % turn
            blobs.delete(f"state/deep/{worker}")

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(write_and_delete, range(4)))
    assert blobs.names("state") == []


def test_folders_that_are_removed_as_they_are_made_are_made_again(tmp_path, monkeypatch):
    made, mkdir = [], os.mkdir

    def make_and_lose(folder, mode=0o777):
        mkdir(folder, mode)
        made.append(os.path.basename(folder))
        if len(made) <= 5:
            os.rmdir(folder)

    monkeypatch.setattr(os, "mkdir", make_and_lose)
    blobs = LocalBlobs(tmp_path / "store")
    blobs.put("state/deep/1", b"1")
    assert blobs.get("state/deep/1") == b"1"
    assert made == ["store"] * 6 + ["state", "deep"]


def test_a_place_where_nobody_can_make_folders_is_named():
    with pytest.raises(CheckpointError, match="No such file or directory"):
        LocalBlobs("/proc/store").put("state/1", b"1")


def test_where_there_are_no_links_a_name_is_still_created_once(tmp_path, monkeypatch):
    def refuse(source: str, target: str) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    blobs = LocalBlobs(tmp_path)
    assert blobs.create("state/a", b"1")
    assert not blobs.create("state/a", b"2")
    assert blobs.get("state/a") == b"1"
    assert os.listdir(tmp_path / "state") == ["a"]


def test_a_file_in_place_of_the_folder_is_named(tmp_path):
    (tmp_path / "store").write_bytes(b"")
    with pytest.raises(CheckpointError, match="state/a"):
        LocalBlobs(tmp_path / "store").put("state/a", b"")


def test_unknown_urls_are_refused_without_their_password():
    with pytest.raises(OptionError, match="nothere") as refused:
        open_blobs("nothere://user:my@password@host/x")
    assert "password" not in str(refused.value)


def test_failures_of_a_service_are_told_apart_from_damage(monkeypatch):
    blobs = FsspecBlobs(f"memory://{uuid.uuid4().hex}")

    def fail(*arguments: object, **options: object) -> None:
        message = "no connection"
        raise RuntimeError(message)

    for method in ("pipe_file", "cat_file", "info", "find", "rm_file"):
        monkeypatch.setattr(blobs._fs, method, fail)
    for use in (
        lambda: blobs.put("a", b""),
        lambda: blobs.create("a", b""),
        lambda: blobs.get("a"),
        lambda: blobs.size("a"),
        lambda: blobs.sizes("a"),
        lambda: blobs.delete("a"),
    ):
        with pytest.raises(CheckpointError, match="no connection") as failed:
            use()
        assert (failed.value.file, failed.value.matter) == ("a", "unreachable")


def test_manifests_are_read_without_polars_and_folders_without_fsspec():
    code = (
        "import sys; from streamlab.state.checkpoints import manifests, blobs; blobs.open_blobs('x');"
        "assert not {'polars', 'fsspec', 's3fs', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_file_in_the_place_of_a_folder_is_named(tmp_path):
    (tmp_path / "plain").touch()
    with pytest.raises(CheckpointError, match="needs a folder, got a file in its place"):
        open_blobs(tmp_path / "plain").sizes("checkpoints")
