"""What ended jobs keep: the newest, up to a number and a size, and never what somebody still needs."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from streamlab.cli.app import app
from streamlab.core.errors import OptionError
from streamlab.core.options import JobOptions
from streamlab.core.process_id import process_id
from streamlab.observe.status import JobState, JobStatus
from streamlab.runtime.client.client import list_jobs
from streamlab.runtime.client.sweeping import sweep
from streamlab.runtime.job_folder.folder import CheckpointPlace, JobFolder, JobMeta, create_folder
from streamlab.runtime.job_folder.job_processes import JobProcesses
from streamlab.runtime.job_folder.retention import EndedJob, bytes_to_keep, folder_bytes, parse_bytes, surplus
from streamlab.runtime.messages.protocol import Layout
from streamlab.state.checkpoints.manifest import Manifest
from streamlab.state.checkpoints.manifests import ManifestStore

JOBS = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 100), st.booleans()), max_size=12).map(
    lambda facts: [EndedJob(f"j{n}", "", us, size, needed) for n, (us, size, needed) in enumerate(facts)]
)


@given(JOBS, st.integers(0, 6), st.none() | st.integers(0, 300))
def test_what_stays(jobs, keep, keep_bytes):
    old = surplus(jobs, keep, keep_bytes)
    left = [job for job in jobs if job not in old]
    own = [job for job in left if not job.is_needed]
    assert not any(job.is_needed for job in old)
    assert len(own) <= keep
    assert [job.ended_us for job in old] == sorted(job.ended_us for job in old)
    # What is kept is newer than all that goes.
    assert max((job.ended_us for job in old), default=-1) <= min((job.ended_us for job in own), default=10)
    newest = max((job.ended_us for job in jobs if not job.is_needed), default=None)
    if keep and newest is not None:
        assert any(job.ended_us == newest for job in own)
    if keep_bytes is not None and len(own) > 1:
        assert sum(job.size_bytes for job in own) <= keep_bytes
    if keep_bytes is None:
        assert len(own) == min(keep, sum(not job.is_needed for job in jobs))


@pytest.mark.parametrize(
    ("text", "expected"), [("0", 0), ("12", 12), ("3kB", 3_000), ("1.5 GB", 1_500_000_000), ("2m", 2_000_000)]
)
def test_sizes_are_read(text, expected):
    assert parse_bytes(text, "size") == expected


@pytest.mark.parametrize("text", ["", "much", "-3", "3 XB", "1e9", "GB"])
def test_what_is_no_size_is_said(text, monkeypatch):
    with pytest.raises(OptionError, match="STREAMLAB_KEEP_BYTES: needs a size such as 2GB"):
        parse_bytes(text, "STREAMLAB_KEEP_BYTES")


def test_the_environment_says_how_much(monkeypatch):
    monkeypatch.delenv("STREAMLAB_KEEP_BYTES", raising=False)
    assert bytes_to_keep() == 2_000_000_000
    monkeypatch.setenv("STREAMLAB_KEEP_BYTES", "7GB")
    assert bytes_to_keep() == 7_000_000_000


# -- folders -------------------------------------------------------------------------------------------------------


@pytest.fixture(autouse=True)
def _own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("STREAMLAB_HOME", str(tmp_path))
    monkeypatch.delenv("STREAMLAB_KEEP_BYTES", raising=False)


def job(name: str, *, ended_us: int | None = None, size: int = 0, origin: CheckpointPlace | None = None) -> JobFolder:
    """Make the folder of a job, ended or running, with so many bytes more than nothing in it."""
    folder = create_folder()
    folder.write_meta(
        JobMeta(
            id=folder.id,
            name=name,
            options=JobOptions(name),
            created_us=0,
            client=None,
            sockets=str(folder.path / "sockets"),
            layout=Layout(1, ()),
            origin=origin,
        )
    )
    own = process_id()
    assert own is not None
    folder.write_processes(JobProcesses(own))
    state = JobState.RUNNING if ended_us is None else JobState.FINISHED
    folder.write_status(JobStatus(id=folder.id, name=name, state=state, ended_us=ended_us, reported_us=1))
    (folder.path / "state").mkdir()
    (folder.path / "state" / "some.arrow").write_bytes(bytes(size))
    return folder


def names() -> set[str]:
    return {handle.meta.name for handle in list_jobs()}


def test_the_oldest_go_when_all_are_too_large_together():
    # The one that was started first ended last.
    job("last", ended_us=30, size=1_000_000)
    job("first", ended_us=10, size=1_000_000)
    job("second", ended_us=20, size=1_000_000)
    job("runs", size=5_000_000)
    gone, left = sweep(50, 3_000_000)
    assert [one.name for one in gone] == ["first"]
    assert {one.name for one in left} == {"second", "last"}
    assert names() == {"second", "last", "runs"}


def test_one_job_that_is_larger_than_all_may_be_stays_until_there_is_a_newer_one():
    job("large", ended_us=10, size=1_000_000)
    assert sweep(50, 1_000)[0] == []
    job("newer", ended_us=20)
    assert [one.name for one in sweep(50, 1_000)[0]] == ["large"]


def test_a_job_that_another_one_goes_on_from_stays():
    old = job("old", ended_us=10, size=1_000_000)
    older = job("older", ended_us=5, size=1_000_000)
    job("newest", ended_us=20)
    job("runs", origin=CheckpointPlace(str(old.path), 3))
    assert sweep(0, 0, spared=[CheckpointPlace(f"s3://bucket/{older.id}", 1)])[0][0].name == "newest"
    assert names() == {"old", "older", "runs"}


def test_a_job_whose_checkpoint_is_pinned_stays():
    folder = job("read", ended_us=10)
    store = ManifestStore(folder.checkpoint_blobs())
    manifest = Manifest(
        polars="2",
        job=folder.id,
        id=1,
        attempt=1,
        fingerprint="",
        parallelism={},
        splits={},
        tasks=(),
        triggered_us=0,
        completed_us=0,
    )
    store.put(manifest)
    with store.pin(1):
        assert sweep(0, 0)[0] == []
    assert [one.name for one in sweep(0, 0)[0]] == ["read"]


def test_a_dry_run_deletes_nothing():
    job("one", ended_us=10)
    assert [one.name for one in sweep(0, dry=True)[0]] == ["one"]
    assert names() == {"one"}


def test_a_folder_holds_what_its_files_hold(tmp_path):
    below = tmp_path / "a" / "b"
    below.mkdir(parents=True)
    (below / "x").write_bytes(bytes(70))
    (tmp_path / "a" / "y").write_bytes(bytes(7))
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    assert folder_bytes(tmp_path / "a") - (tmp_path / "a" / "up").lstat().st_size == 77
    assert folder_bytes(tmp_path / "nowhere") == 0


# -- the command ---------------------------------------------------------------------------------------------------


def test_the_command_says_what_it_frees():
    job("new", ended_us=20)
    old = job("old", ended_us=10, size=3_000_000)
    dry = CliRunner().invoke(app, ["gc", "--max-size", "1MB", "--dry-run"])
    assert dry.exit_code == 0, dry.output
    assert f"old ({old.id}): 3.3 MB" in dry.output
    assert "Would free 3.3 MB of 1 ended jobs; 1 ended jobs keep 2" in dry.output
    assert names() == {"new", "old"}
    real = CliRunner().invoke(app, ["gc", "--max-size", "1MB"])
    assert "Freed 3.3 MB of 1 ended jobs" in real.output
    assert names() == {"new"}
    assert "Freed 0 B of 0 ended jobs" in CliRunner().invoke(app, ["gc"]).output


def test_the_command_refuses_what_is_no_size():
    result = CliRunner().invoke(app, ["gc", "--max-size", "much"])
    assert result.exit_code == 2
