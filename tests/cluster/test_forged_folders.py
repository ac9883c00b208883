"""What a file in a job's folder says is no order: nothing outside is deleted, ended or spoken to because of it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import msgspec
import polars as pl
import pytest
from cluster_jobs import rows, slow
from patience import eventually

import streamlab as sl
from streamlab.core.errors import JobError
from streamlab.core.process_id import ProcessId, process_id
from streamlab.runtime.client import sweeping
from streamlab.runtime.job_folder.folder import JobFolder
from streamlab.runtime.job_folder.job_processes import JobProcesses

FORGED = "j-20991231-abcdef"


@pytest.fixture
def forged(home) -> JobFolder:
    """Copy the folder of a job that has ended; the copy says of itself that it runs."""
    job = sl.from_frame(pl.DataFrame({"a": [1]})).start("real")
    job.wait()
    folder = JobFolder(home / "jobs" / FORGED)
    shutil.copytree(home / "jobs" / job.id, folder.path)
    (folder.path / "status.json").unlink()
    _change(folder, id=FORGED, name="forged")
    return folder


def _change(folder: JobFolder, **changes: object) -> None:
    meta = msgspec.json.decode((folder.path / "meta.json").read_bytes())
    (folder.path / "meta.json").write_bytes(msgspec.json.encode({**meta, **changes}))


GONE = ProcessId(1, "never")


def test_processes_of_others_are_named_and_left_alone(forged, start):
    bystander = start(rows(slow), "bystander")
    eventually(lambda: bystander.report().rows_in > 0, "rows arrive")
    theirs = bystander._handle.folder.read_processes()
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, start_new_session=True) as other:
        forged.write_processes(JobProcesses(GONE, None, (process_id(other.pid), theirs.coordinator, *theirs.workers)))
        assert [str(job.status) for job in sl.jobs() if job.name == "forged"] == ["failed"]
        assert str(other.pid) in sl.attach("forged").report().failure.message
        assert other.poll() is None
    before = bystander.report().rows_in
    eventually(lambda: bystander.report().rows_in > before, "the bystander goes on")


def test_a_folder_outside_is_left_alone(forged, tmp_path):
    precious = tmp_path / "streamlab" / FORGED
    precious.mkdir(parents=True, mode=0o700)
    (precious / "thesis.txt").write_text("months of work")
    _change(forged, sockets=str(precious))
    forged.write_processes(JobProcesses(GONE))
    assert "forged" in [job.name for job in sl.jobs()]
    sweeping.sweep(keep=0, keep_bytes=0)
    assert (precious / "thesis.txt").exists()


@pytest.mark.parametrize("changes", [{"id": "j-20131231-8f3a2c"}, {"name": "a\x1b[31mb"}])
def test_a_folder_that_says_who_it_is_not_is_named_and_left_alone(forged, changes):
    _change(forged, **changes)
    with pytest.warns(UserWarning, match=FORGED):
        assert [job.name for job in sl.jobs()] == ["real"]
    assert not (forged.path / "status.json").exists()


@pytest.mark.parametrize("name", ["meta.json", "status.json", "processes.json"])
def test_pipes_and_links_in_place_of_files_are_not_waited_for(forged, name, tmp_path):
    for make in (os.mkfifo, lambda path: os.symlink(tmp_path / "elsewhere", path)):
        (forged.path / name).unlink(missing_ok=True)
        make(forged.path / name)
        assert "real" in [job.name for job in sl.jobs()]
        [job.report() for job in sl.jobs()]


def test_a_job_of_another_container_is_elsewhere_and_nothing_is_done_to_it(forged):
    here = process_id()
    there = msgspec.structs.replace(here, pid=7, namespace="pid:[1]", host="box")
    _change(forged, created_us=1, client=msgspec.to_builtins(there))
    forged.write_processes(JobProcesses(there))
    job = sl.attach("forged")
    assert job.status == "starting"
    assert "starting elsewhere (host box, process 7 of pid:[1])" in repr(job)
    assert sweeping.sweep(keep=0, keep_bytes=0)[0][0].name == "real"
    with pytest.raises(JobError, match=r"box, process 7 of pid:\[1\]"):
        job.cancel()
    assert forged.path.exists()


@pytest.mark.parametrize(
    ("started", "host", "elsewhere"),
    [("boot:1", "another", True), ("boot:1", None, False), (None, "another", False)],
)
def test_a_process_of_another_machine_is_told_from_one_before_the_last_boot(started, host, elsewhere):
    here = process_id()
    other = ProcessId(here.pid, started or here.started, here.namespace, host or here.host)
    assert other.is_elsewhere == elsewhere
    assert ProcessId(here.pid, here.started).is_alive
