"""The job folder: names, files that are whole, space for the last status."""

from __future__ import annotations

import errno
import os
import stat
import threading
from types import SimpleNamespace

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlab.core.errors import OptionError, StateError
from streamlab.core.options import JobOptions
from streamlab.core.process_id import process_id
from streamlab.observe.diagnosis import Facts, diagnose
from streamlab.observe.status import JobState, JobStatus
from streamlab.observe.wording import figures
from streamlab.runtime.client.client import JobHandle
from streamlab.runtime.job_folder.folder import JobFolder, JobMeta, checked_name, create_folder, list_folders
from streamlab.runtime.job_folder.home import registry_lock
from streamlab.runtime.job_folder.job_processes import JobProcesses
from streamlab.runtime.messages.protocol import Layout, VertexLayout


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMLAB_HOME", str(tmp_path / "home"))


def meta_of(folder: JobFolder, sockets: str = "/nowhere") -> JobMeta:
    return JobMeta(
        id=folder.id,
        name="näme",
        options=JobOptions("näme", keep_rows=None),
        created_us=1,
        client=None,
        sockets=sockets,
        layout=Layout(2, (VertexLayout("v", ("v", "w"), 2, is_source=True, is_sink=False),)),
    )


def status(state=JobState.RUNNING, rows=0):
    return JobStatus(id="j", name="n", state=state, rows_in=rows)


def test_everything_is_private():
    folder = create_folder()
    folder.write_meta(meta_of(folder))
    folder.write_graph(b"graph")
    for path in (folder.path, *folder.path.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_what_is_written_is_read():
    folder = create_folder()
    assert folder.read_status() is None
    assert folder.read_processes() is None
    folder.write_meta(meta_of(folder))
    folder.write_status(status(rows=5))
    assert folder.read_meta() == meta_of(folder)
    assert folder.read_status().rows_in == 5


def test_ids_are_dated_and_differ():
    ids = {create_folder().id for _ in range(20)}
    assert len(ids) == 20
    assert all(len(i) == len("j-20131231-8f3a2c") for i in ids)


def test_readers_never_see_half_a_status():
    folder = create_folder()
    folder.write_status(status())
    done = threading.Event()
    seen = set()

    def read():
        while not done.is_set():
            seen.add(folder.read_status().rows_in)

    reader = threading.Thread(target=read)
    reader.start()
    for rows in range(300):
        folder.write_status(status(rows=rows))
    done.set()
    reader.join()
    assert seen <= set(range(300))
    assert not [p for p in folder.path.iterdir() if p.name.startswith(".")]


@pytest.mark.parametrize("content", [b"", b"{", b'{"format": 1}', b"\xff"])
def test_a_damaged_folder_is_named(content):
    folder = create_folder()
    (folder.path / "meta.json").write_bytes(content)
    with pytest.raises(StateError, match=folder.id):
        folder.read_meta()


def test_a_folder_of_another_format_is_refused():
    folder = create_folder()
    folder.write_meta(msgspec.structs.replace(meta_of(folder), format=99))
    with pytest.raises(StateError, match="format 99"):
        folder.read_meta()


def test_the_last_status_finds_room_on_a_full_disk(monkeypatch):
    folder = create_folder()
    replace = JobFolder._replace

    def on_full_disk(self, name, data):
        if (self.path / "reserve").exists():
            raise OSError(errno.ENOSPC, "No space left on device")
        replace(self, name, data)

    monkeypatch.setattr(JobFolder, "_replace", on_full_disk)
    with pytest.raises(OSError, match="No space"):
        folder.write_status(status(JobState.RUNNING))
    folder.write_status(status(JobState.FAILED))
    assert folder.read_status().state == JobState.FAILED


def test_a_full_disk_is_found_out_by_whoever_reads_the_status(monkeypatch):
    folder = create_folder()
    folder.write_meta(meta_of(folder))
    folder.write_status(status(rows=5))
    folder.write_processes(JobProcesses(process_id()))
    assert not JobHandle(folder).status().folder_full
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(f_bavail=10, f_frsize=4096))
    found = JobHandle(folder).status()
    assert (found.folder_full, found.rows_in) == (True, 5)
    assert [finding.kind for finding in diagnose(Facts(found))] == ["full disk"]
    assert any("full" in figure.value for figure in figures(found))


def test_lost_is_said_once_and_never_after_the_end():
    folder = create_folder()
    folder.write_meta(meta_of(folder))
    folder.write_lost("it vanished")
    first = folder.read_status()
    assert first.state == JobState.FAILED
    assert "it vanished" in first.failure.message
    folder.write_lost("again")
    assert folder.read_status() == first
    folder.write_status(status(JobState.FINISHED))
    folder.write_lost("again")
    assert folder.read_status().state == JobState.FINISHED


def test_only_job_folders_are_listed_oldest_first():
    folders = [create_folder() for _ in range(3)]
    for age, folder in enumerate(folders):
        folder.write_meta(meta_of(folder))
        os.utime(folder.path / "meta.json", (100 - age, 100 - age))
    create_folder()
    (folders[0].path.parent / "notes").mkdir()
    assert [f.id for f in list_folders()] == [f.id for f in reversed(folders)]


def test_a_home_that_cannot_be_made_is_an_error_with_a_way_out(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("STREAMLAB_HOME", str(tmp_path / "file" / "home"))
    with pytest.raises(StateError, match="STREAMLAB_HOME"):
        create_folder()


@pytest.mark.parametrize("name", ["flights", "Flüge 2013", "a.b", "%%", "数"])
def test_good_names(name):
    assert checked_name(name) == name


@pytest.mark.parametrize(
    "name", ["", " ", " a", "a ", "a/b", "../x", "..", ".", "a\\b", "a\nb", "\0", "-f", "x" * 101, "j-20130101-abcdef"]
)
def test_bad_names_are_refused(name):
    with pytest.raises(OptionError, match="name"):
        checked_name(name)


@given(st.text(max_size=120))
def test_a_name_is_taken_as_it_is_or_refused(name):
    try:
        assert checked_name(name) == name
    except OptionError:
        return
    assert "/" not in name
    assert name.isprintable()


def test_the_registry_lock_excludes():
    inside = []
    entered = threading.Event()

    def second():
        entered.set()
        with registry_lock():
            inside.append("second")

    with registry_lock():
        thread = threading.Thread(target=second)
        thread.start()
        assert entered.wait(10)
        inside.append("first")
    thread.join()
    assert inside == ["first", "second"]
