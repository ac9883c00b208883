"""An heir goes on with a job only when nobody else does."""

from __future__ import annotations

import os

import msgspec
import pytest

from streamlab.core.options import JobOptions
from streamlab.core.process_id import ProcessId, process_id
from streamlab.observe.status import JobState, JobStatus
from streamlab.runtime.job_folder.folder import JobFolder, JobMeta, create_folder
from streamlab.runtime.job_folder.job_processes import JobProcesses
from streamlab.runtime.messages.protocol import KEY_BYTES, Layout
from streamlab.runtime.supervisor import heir

GONE = ProcessId(1, "never")


@pytest.fixture
def folder(monkeypatch) -> JobFolder:
    made = create_folder()
    meta = JobMeta(
        id=made.id,
        name="job",
        options=JobOptions("job"),
        created_us=1,
        client=None,
        sockets="/nowhere",
        layout=Layout(1, ()),
    )
    made.write_meta(meta)
    started = []
    monkeypatch.setattr(heir.Guardian, "__init__", lambda self, path, patience_s: started.append(path))
    monkeypatch.setattr(heir.Guardian, "succeed", lambda self, key: len(key))
    monkeypatch.setattr(heir.time, "sleep", lambda seconds: made.write_processes(JobProcesses(GONE, GONE)))
    return made


@pytest.mark.parametrize("guardian", [None, GONE])
def test_it_becomes_the_guardian_when_there_is_none(folder, guardian):
    folder.write_processes(JobProcesses(GONE, guardian))
    assert heir.inherit(folder) == KEY_BYTES


def test_it_waits_for_a_guardian_that_lives_and_may_still_be_killed(folder):
    folder.write_processes(JobProcesses(GONE, process_id()))
    assert heir.inherit(folder) == KEY_BYTES


def test_it_leaves_a_job_alone_that_somebody_goes_on_with(folder):
    folder.write_processes(JobProcesses(process_id()))
    assert heir.inherit(folder) == 0


def test_it_leaves_a_job_alone_that_has_ended(folder):
    folder.write_processes(JobProcesses(GONE))
    folder.write_status(JobStatus(id=folder.id, name="job", state=JobState.FAILED))
    assert heir.inherit(folder) == 0


def test_only_a_process_of_the_job_counts_as_its_heir(folder):
    assert not folder.has_heir
    folder.write_heir(0, process_id())
    (folder.path / "heir-1.json").write_bytes(msgspec.json.encode({"pid": os.getpid()}))
    os.mkfifo(folder.path / "heir-2.json")
    assert not folder.has_heir
