"""Checkpoints as users open them, savepoints as they own them: over stored files, without a running job."""

from __future__ import annotations

import shutil
from pathlib import Path

import polars as pl
import pytest

from streamlab.core.errors import CheckpointError, OptionError
from streamlab.core.event_time.time import MAX_TIME_US
from streamlab.graph.job_graph import JobGraph, Vertex
from streamlab.job.history.checkpoints import SCHEMA, Checkpoint, Checkpoints
from streamlab.job.history.restoring import check_fits
from streamlab.observe.status import CheckpointStatus
from streamlab.operators.base import Operator, OperatorContext, OperatorSpec
from streamlab.runtime.tables.results import ResultTable
from streamlab.state.checkpoints.blobs import Blobs, LocalBlobs
from streamlab.state.checkpoints.contents import file_name
from streamlab.state.checkpoints.manifest import (
    KnownSplit,
    Manifest,
    StoredSource,
    StoredSplit,
    StoredState,
    TaskState,
)
from streamlab.state.checkpoints.manifests import ManifestStore
from streamlab.state.checkpoints.savepoints import check_is_free, copy_checkpoint, find_savepoint
from streamlab.state.checkpoints.snapshots import SnapshotWriter, read_snapshot
from streamlab.state.checkpoints.state_files import StateFiles
from streamlab.state.snapshot import Snapshot

GROUPS = pl.DataFrame({"k": ["a", "b"], "n": [1, 2]})
TIMERS = pl.DataFrame({"k": ["a"], "at": [5]})
SOURCE = StoredSource(
    {"file": StoredSplit(7, 1, 1_000_000, False), "done": StoredSplit((3, "x"), 0, MAX_TIME_US, True)}, 0, None
)


class Step(OperatorSpec):
    """A step of which only the name counts."""

    def build(self, context: OperatorContext, snapshot: Snapshot | None = None) -> Operator:
        raise NotImplementedError


def stored(blobs: Blobs, **parts: pl.DataFrame) -> StoredState:
    state, _ = SnapshotWriter(StateFiles(blobs)).write(Snapshot({n: (f,) for n, f in parts.items()}, {}, ("k",)))
    return state


def put(blobs: Blobs, checkpoint_id: int, *tasks: TaskState) -> Manifest:
    manifest = Manifest(
        polars=pl.__version__,
        job="j",
        id=checkpoint_id,
        attempt=1,
        fingerprint="",
        parallelism={},
        splits={"read": (KnownSplit("file"),)},
        tasks=tasks,
        triggered_us=1,
        completed_us=2,
    )
    ManifestStore(blobs).put(manifest)
    return manifest


@pytest.fixture
def job(tmp_path) -> LocalBlobs:
    """Return the store of a job with two checkpoints."""
    blobs = LocalBlobs(str(tmp_path / "job"))
    for checkpoint_id in (3, 4):
        tasks = (
            TaskState("read", 0, source=SOURCE),
            TaskState("count", 0, {"count": stored(blobs, groups=GROUPS, timers=TIMERS)}),
            TaskState("count", 1, {"count": stored(blobs, groups=GROUPS.clear(), timers=TIMERS.clear())}),
        )
        put(blobs, checkpoint_id, *tasks)
    return blobs


def status(checkpoint_id: int, state: str = "complete", **fields: object) -> CheckpointStatus:
    return CheckpointStatus(id=checkpoint_id, state=state, triggered_us=0, **fields)


# -- the table of checkpoints --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "history",
    [
        [],
        [status(1, "running")],
        [status(1, "failed", reason="no room", duration_ms=3.5), status(2, size_bytes=5, alignment_ms=1)],
    ],
    ids=["none", "one", "two"],
)
def test_the_table_has_the_same_columns_whatever_is_in_it(tmp_path, history):
    table = Checkpoints(history, LocalBlobs(str(tmp_path))).to_frame()
    assert table.schema == SCHEMA
    assert table["id"].to_list() == [one.id for one in history]
    assert table["triggered"].null_count() == 0


def test_the_table_has_the_state_of_each_operator_of_those_that_are_kept(job):
    checkpoints = Checkpoints([status(2, "deleted"), status(4), status(5, "failed")], job)
    held = checkpoints.to_frame()["operators"].to_list()
    assert (held[0], held[2]) == (None, None)
    assert held[1] == [{"operator": "count", "rows": 3, "size_bytes": checkpoints[4].operators["size_bytes"].sum()}]


def test_checkpoints_are_opened_by_id_or_from_the_end(job):
    checkpoints = Checkpoints([status(2, "deleted"), status(3), status(4), status(5, "failed")], job)
    assert checkpoints[3].id == 3
    assert (checkpoints[-1].id, checkpoints[-2].id) == (4, 3)
    assert [one.id for one in checkpoints] == [3, 4]
    assert (len(checkpoints), checkpoints.ids, checkpoints.to_frame().height) == (2, [3, 4], 4)
    assert "complete" in repr(checkpoints)
    assert "complete" in checkpoints._repr_html_()


def test_parts_of_the_checkpoints_go_by_place(job):
    checkpoints = Checkpoints([status(2, "deleted"), status(3), status(4), status(5, "failed")], job)
    for some, ids in ((checkpoints[:], [3, 4]), (checkpoints[-1:], [4]), (checkpoints[:1], [3]), (checkpoints[5:], [])):
        assert [one.id for one in some] == ids
    assert [one.id for one in reversed(checkpoints)] == [one.id for one in checkpoints[::-1]] == [4, 3]
    assert [which in checkpoints for which in (0, 2, 3, checkpoints[4])] == [False, False, True, True]


def test_who_counts_checkpoints_from_0_is_told_how_they_are_opened(job):
    checkpoints = Checkpoints([status(2, "deleted"), status(3), status(4)], job)
    with pytest.raises(OptionError, match=r"ids begin at 1: the oldest is job.checkpoints\[3\]"):
        checkpoints[0]


def test_one_that_is_held_can_be_opened_though_the_job_keeps_it_no_longer(job):
    checkpoints = Checkpoints([status(3, "deleted"), status(4)], job)
    assert (checkpoints[3].id, checkpoints.ids) == (3, [4])
    ManifestStore(job).delete(3)
    with pytest.raises(OptionError, match="there are 4"):
        checkpoints[3]


@pytest.mark.parametrize("which", [2, 5, 0, -3, 99, "4", None])
def test_what_cannot_be_opened_is_refused_with_what_can(job, which):
    checkpoints = Checkpoints([status(2, "deleted"), status(3), status(4), status(5, "failed")], job)
    with pytest.raises(OptionError, match="there are 3, 4"):
        checkpoints[which]


def test_of_no_checkpoints_none_can_be_opened(tmp_path):
    with pytest.raises(OptionError, match="there are none"):
        Checkpoints([], LocalBlobs(str(tmp_path)))[-1]


def test_one_that_was_deleted_a_moment_ago_is_passed_over(job):
    ManifestStore(job).delete(3)
    checkpoints = Checkpoints([status(3), status(4)], job)
    assert [one.id for one in checkpoints] == [4]
    with pytest.raises(OptionError, match="still kept"):
        checkpoints[3]


# -- one checkpoint ------------------------------------------------------------------------------------------------


def test_state_of_several_parts_is_one_frame(job):
    opened = Checkpoints([status(4)], job)[4]
    state = opened.state("count")
    assert state.columns[:2] == ["subtask", "part"]
    assert state.filter(pl.col("part") == "groups").select("subtask", "k", "n").rows() == [(0, "a", 1), (0, "b", 2)]
    assert state.filter(pl.col("part") == "timers").select("subtask", "k", "at").rows() == [(0, "a", 5)]
    assert opened.operators.rows() == [
        ("count", "count", 0, 3, opened.operators["size_bytes"][0]),
        ("count", "count", 1, 0, opened.operators["size_bytes"][1]),
    ]
    assert "3 rows of state" in repr(opened)
    with pytest.raises(OptionError, match="operators: count"):
        opened.state("sum")


def test_rows_that_two_subtasks_hold_alike_are_counted_for_both(tmp_path):
    blobs = LocalBlobs(str(tmp_path))
    put(blobs, 1, *(TaskState("v", subtask, {"v": stored(blobs, rows=GROUPS)}) for subtask in range(2)))
    opened = Checkpoint(blobs, ManifestStore(blobs).get(1))
    assert opened.state("v").height == 4
    assert "4 rows of state" in repr(opened)


@pytest.mark.parametrize("name", ["subtask", "part"])
def test_a_key_may_have_the_name_of_a_column_that_is_added(tmp_path, name):
    blobs = LocalBlobs(str(tmp_path))
    rows = GROUPS.rename({"k": name})
    put(blobs, 1, TaskState("v", 0, {"v": stored(blobs, rows=rows, timers=TIMERS)}))
    state = Checkpoint(blobs, ManifestStore(blobs).get(1)).state("v")
    assert state.columns[:2] == ["subtask_", "part_"]
    assert state.filter(pl.col("part_") == "rows").select(name, "n").rows() == GROUPS.rows()


def test_parts_whose_columns_have_other_types_are_shown_together(tmp_path):
    blobs = LocalBlobs(str(tmp_path))
    state = stored(blobs, rows=GROUPS, other=pl.DataFrame({"k": [1], "n": [2.5]}))
    put(blobs, 1, TaskState("v", 0, {"v": state}))
    shown = Checkpoint(blobs, ManifestStore(blobs).get(1)).state("v")
    assert shown["k"].to_list() == ["a", "b", "1"]
    assert shown["n"].to_list() == [1.0, 2.0, 2.5]


def test_an_operator_without_rows_has_an_empty_frame(tmp_path):
    blobs = LocalBlobs(str(tmp_path))
    put(blobs, 1, TaskState("v", 0, {"v": StoredState()}))
    shown = Checkpoint(blobs, ManifestStore(blobs).get(1)).state("v")
    assert shown.schema == {"subtask": pl.Int64, "part": pl.String}


def test_positions_of_sources(job, tmp_path):
    sources = Checkpoint(job, ManifestStore(job).get(4)).sources()
    shown = sources.select("split", "position", "skip", "finished").rows()
    assert shown == [("file", "7", 1, False), ("done", "(3, 'x')", 0, True)]
    assert sources["watermark"].dt.epoch("us").to_list() == [1_000_000, None]
    blobs = LocalBlobs(str(tmp_path / "other"))
    empty = Checkpoint(blobs, put(blobs, 1))
    assert empty.sources().schema == sources.schema
    # One that nobody had begun is there, too.
    assert empty.sources().rows() == [("read", None, "file", None, 0, None, False)]
    assert empty.operators.height == 0
    assert "0 rows" in repr(empty)


def test_a_damaged_file_is_named(job):
    opened = Checkpoints([status(4)], job)[4]
    file = max(ManifestStore(job).get(4).files, key=lambda one: one.rows)
    path = Path(job.where) / file_name(file)
    path.chmod(0o600)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(CheckpointError, match=file.sha256):
        opened.state("count")
    with pytest.raises(CheckpointError, match=file.sha256):
        copy_checkpoint(job, 4, LocalBlobs(str(Path(job.where).parent / "savepoint")))


def test_a_damaged_manifest_is_named(job):
    path = Path(job.where) / "checkpoints/0004/manifest.json"
    path.chmod(0o600)
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(CheckpointError, match=r"0004/manifest\.json"):
        Checkpoints([status(4)], job)[4]


# -- savepoints ----------------------------------------------------------------------------------------------------


def test_a_savepoint_stands_by_itself(job, tmp_path):
    target = tmp_path / "savepoint"
    saved = copy_checkpoint(job, 4, check_is_free(target))
    shutil.rmtree(job.where)
    where, found = find_savepoint(target)
    assert where == str(target)
    assert found == saved
    assert found.kind == "savepoint"
    blobs = LocalBlobs(where)
    ManifestStore(blobs).verify(found)
    state = read_snapshot(found.tasks[1].operators["count"], StateFiles(blobs), found.format)
    assert state.keyed["groups"][0].equals(GROUPS)


def test_one_place_takes_one_savepoint(job, tmp_path):
    copy_checkpoint(job, 3, check_is_free(tmp_path / "savepoint"))
    with pytest.raises(OptionError, match="a place without a savepoint"):
        check_is_free(tmp_path / "savepoint")


def test_what_a_copy_that_broke_off_has_left_is_no_savepoint(job, tmp_path):
    target = LocalBlobs(str(tmp_path / "savepoint"))
    target.put(file_name(next(iter(ManifestStore(job).get(3).files))), b"half")
    with pytest.raises(OptionError, match=r"(?s)begun and never finished.*once more"):
        find_savepoint(tmp_path / "savepoint")
    copy_checkpoint(job, 3, check_is_free(tmp_path / "savepoint"))
    ManifestStore(target).verify(find_savepoint(tmp_path / "savepoint")[1])


def test_a_checkpoint_that_is_gone_is_not_copied(job, tmp_path):
    ManifestStore(job).delete(3)
    with pytest.raises(CheckpointError, match="0003"):
        copy_checkpoint(job, 3, check_is_free(tmp_path / "savepoint"))
    with pytest.raises(OptionError, match="none at"):
        find_savepoint(tmp_path / "savepoint")


# -- whether a query can go on from it -----------------------------------------------------------------------------


def graph(*steps: str, source: str = "read") -> JobGraph:
    read = Vertex(source, ResultTable("read", pl.Schema()), (), None, 1)  # only whether there is one counts
    return JobGraph((read, Vertex(steps[0], None, tuple(Step(step) for step in steps), None, 1)), ())


def test_a_query_with_all_the_steps_goes_on(job):
    manifest = ManifestStore(job).get(4)
    check_fits(manifest, graph("count"), allow_non_restored_state=False)
    check_fits(manifest, graph("new", "count"), allow_non_restored_state=False)


@pytest.mark.parametrize(("changed", "lost"), [(graph("sum"), "count"), (graph("count", source="scan"), "read")])
def test_a_renamed_step_is_refused_unless_its_state_may_be_left_out(job, changed, lost):
    manifest = ManifestStore(job).get(4)
    with pytest.raises(CheckpointError, match=f"state of '{lost}'") as refused:
        check_fits(manifest, changed, allow_non_restored_state=False)
    assert refused.value.matter == "refused"
    assert "allow_non_restored_state=True" in str(refused.value)
    check_fits(manifest, changed, allow_non_restored_state=True)


def test_a_step_that_had_no_rows_is_not_missed(tmp_path):
    blobs = LocalBlobs(str(tmp_path))
    manifest = put(blobs, 1, TaskState("v", 0, {"gone": stored(blobs, rows=GROUPS.clear())}))
    check_fits(manifest, graph("count"), allow_non_restored_state=False)
