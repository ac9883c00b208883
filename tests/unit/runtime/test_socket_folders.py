"""Where a job's sockets are made, and that nothing is removed or spoken to because a file says so."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from streamlab.core.errors import StateError
from streamlab.runtime.job_folder import socket_folders
from streamlab.runtime.job_folder.socket_folders import create_sockets_folder, remove_sockets_folder, trusted_sockets

JOB = "j-20131231-8f3a2c"


@pytest.fixture
def short(monkeypatch) -> Iterator[Path]:
    path = Path(tempfile.mkdtemp(prefix="sl-", dir="/tmp"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(path))
    yield path
    shutil.rmtree(path)


def test_sockets_live_in_a_short_private_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / ("x" * 200)))
    path = create_sockets_folder(JOB)
    try:
        assert len(f"{path}/999-999") < 100
        assert stat.S_IMODE(path.stat().st_mode) == 0o700
    finally:
        remove_sockets_folder(path, JOB)
    assert not path.exists()


def _open_to_others(root: Path) -> None:
    root.mkdir()
    root.chmod(0o777)


def _a_file(root: Path) -> None:
    root.write_text("in the way")


def _a_link(root: Path) -> None:
    root.symlink_to("/tmp")


@pytest.mark.parametrize("made", [_open_to_others, _a_file, _a_link])
def test_a_root_that_cannot_be_trusted_is_named_and_another_one_is_taken(short, made):
    made(short / "streamlab")
    with pytest.warns(UserWarning, match="private") as warned:
        path = create_sockets_folder(JOB)
    assert "XDG_RUNTIME_DIR" in str(warned[0].message)
    assert not path.is_relative_to(short)
    assert trusted_sockets(path, JOB) == path
    remove_sockets_folder(path, JOB)
    assert not path.parent.exists()


def test_a_root_of_somebody_else_is_named_and_another_one_is_taken(short, monkeypatch):
    (short / "streamlab").mkdir(mode=0o700)
    monkeypatch.setattr(socket_folders.os, "getuid", lambda: os.geteuid() + 1)
    with pytest.warns(UserWarning, match="of user"):
        path = create_sockets_folder(JOB)
    monkeypatch.undo()
    shutil.rmtree(path.parent)


def test_only_sockets_are_removed(short):
    path = create_sockets_folder(JOB)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path / "control"))
    (path / "thesis.txt").write_text("months of work")
    remove_sockets_folder(path, JOB)
    assert [entry.name for entry in path.iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("where", ["{short}", "{short}/precious", "relative/streamlab/" + JOB, "{short}/other/" + JOB])
def test_a_folder_that_is_no_job_s_is_left_alone(short, where):
    place = Path(where.format(short=short))
    if place.is_absolute():
        place.mkdir(parents=True, exist_ok=True)
    remove_sockets_folder(place, JOB)
    assert place.exists() == place.is_absolute()
    with pytest.raises(StateError, match="left alone"):
        trusted_sockets(place, JOB)


def test_sockets_of_another_job_and_links_are_left_alone(short):
    other = create_sockets_folder("j-20131231-ffffff")
    (other.parent / JOB).symlink_to(other)
    for place in (other, other.parent / JOB):
        remove_sockets_folder(place, JOB)
        with pytest.raises(StateError, match="left alone"):
            trusted_sockets(place, JOB)
    assert other.exists()
