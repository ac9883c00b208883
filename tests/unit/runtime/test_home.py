"""The home is this user's and nobody else's, links in it are not followed, and what is refused says how to mend it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest

import streamlab as sl
from streamlab.core.errors import StateError
from streamlab.runtime.job_folder.folder import create_folder, folder_of, list_folders
from streamlab.runtime.job_folder.home import home, registry_lock, trusted_home


@pytest.fixture(autouse=True)
def own(tmp_path, monkeypatch) -> Path:
    path = tmp_path / "home"
    path.mkdir(mode=0o700)
    monkeypatch.setenv("STREAMLAB_HOME", str(path))
    return path


def _mended(error: StateError) -> None:
    subprocess.run(shlex.split(str(error).rpartition("→ ")[2]), check=True)


@pytest.mark.parametrize("name", ["", "jobs", "running"])
@pytest.mark.parametrize("mode", [0o777, 0o770, 0o702])
def test_a_folder_that_others_can_write_is_refused_until_the_hint_was_followed(own, name, mode):
    folder = own / name
    folder.mkdir(exist_ok=True)
    folder.chmod(mode)
    with pytest.raises(StateError, match="nobody else can write") as refused:
        trusted_home()
    for call in (list_folders, lambda: folder_of("j-20131231-8f3a2c"), create_folder, sl.jobs):
        with pytest.raises(StateError):
            call()
    _mended(refused.value)
    trusted_home()


@pytest.mark.parametrize("name", ["jobs", "running", "lock"])
def test_a_link_in_it_is_refused_until_the_hint_was_followed(own, tmp_path, name):
    precious = tmp_path / "precious"
    if name == "lock":
        precious.write_text("months of work")
    else:
        precious.mkdir()
    (own / name).symlink_to(precious)
    with pytest.raises(StateError, match="a link") as refused, registry_lock():
        pass
    _mended(refused.value)
    with registry_lock():
        assert precious.is_dir() or precious.read_text() == "months of work"


def test_a_home_of_somebody_else_is_refused(monkeypatch):
    monkeypatch.setattr("streamlab.runtime.job_folder.home.os.getuid", lambda: os.geteuid() + 1)
    with pytest.raises(StateError, match="of user"):
        trusted_home()


def test_links_in_place_of_job_folders_are_no_jobs(own, tmp_path):
    (own / "jobs").mkdir(mode=0o700)
    (own / "jobs" / "j-20131231-8f3a2c").symlink_to(tmp_path)
    assert list_folders() == []
    assert folder_of("j-20131231-8f3a2c") is None


@pytest.mark.parametrize("path", ["/proc/nope", "/dev/null", "/dev/null/below"])
def test_a_home_that_cannot_be_used_is_refused_at_the_start(monkeypatch, path):
    monkeypatch.setenv("STREAMLAB_HOME", path)
    with pytest.raises(StateError, match="STREAMLAB_HOME"):
        sl.from_frame(pl.DataFrame({"a": [1]})).start("q")


def test_a_relative_home_stays_where_it_was_when_streamlab_was_imported(tmp_path):
    code = (
        "import os, streamlab; os.chdir('/'); from streamlab.runtime.job_folder.home import home;"
        "print(home(), os.environ['STREAMLAB_HOME'])"
    )
    env = {**os.environ, "STREAMLAB_HOME": "mine"}
    command = [sys.executable, "-c", code]
    told = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, check=True)
    assert told.stdout.split() == [str(tmp_path / "mine")] * 2


def test_a_relative_home_that_is_set_later_is_made_absolute_by_the_first_look(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STREAMLAB_HOME", "mine")
    first = home()
    monkeypatch.chdir("/")
    assert home() == first == tmp_path / "mine"
