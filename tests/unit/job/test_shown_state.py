"""State in a checkpoint has the columns that users know, for every kind of state."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import polars as pl
import pytest

import streamlab as sl
from streamlab.core.errors import OptionError
from streamlab.core.event_time.time import MAX_TIME_US
from streamlab.core.messages import Barrier, Batch
from streamlab.job.history.checkpoints import Checkpoint
from streamlab.job.history.shown_state import shown_state
from streamlab.state.checkpoints.blobs import Blobs, LocalBlobs
from streamlab.state.checkpoints.manifest import Manifest, StoredColumn, StoredStep, TaskState
from streamlab.state.checkpoints.snapshots import SnapshotWriter
from streamlab.state.checkpoints.state_files import StateFiles
from streamlab.testing.harness import PushReader, graph_of
from streamlab.testing.wiring import LocalTasks

DAY = dt.datetime.fromisoformat("2024-01-01")
ROWS = pl.DataFrame(
    {
        "t": [DAY + dt.timedelta(minutes=at) for at in range(4)],
        "k": ["a", "b", "a", None],
        "i": [1, 2, 3, 4],
        "v": [1.5, 2.5, None, 4.5],
    }
)
N, MEAN = pl.len().alias("n"), pl.col("v").mean().alias("mean")
WINDOW = {"group_by": "k"}
STATES: dict[str, tuple[Callable[[sl.StreamFrame], sl.StreamFrame], list[str]]] = {
    "tumbling": (
        lambda f: f.group_by_dynamic("t", every="1h", **WINDOW).agg(N, MEAN),
        ["k", "window_start", "n", "count(v)", "sum(v)"],
    ),
    "hopping": (
        lambda f: f.group_by_dynamic("t", every="1h", period="2h", **WINDOW).agg(N),
        ["k", "pane_start", "n"],
    ),
    "cumulative": (
        lambda f: f.group_by_cumulative("t", step="1h", every="1d", **WINDOW).agg(N),
        ["k", "pane_start", "n"],
    ),
    "sessions": (
        lambda f: f.group_by_session("t", gap="1h", **WINDOW).agg(N),
        ["k", "session_start", "session_end", "n", "kept_until"],
    ),
    "buffered windows": (
        lambda f: f.group_by_dynamic("t", every="1h", **WINDOW).agg(pl.col("k").n_unique().alias("d"), MEAN.median()),
        ["k", "window_start", "t", "k (input)", "v"],
    ),
    "groups": (lambda f: f.group_by("k").agg(N, MEAN, pl.col("i").sum()), ["k", "n", "count(v)", "sum(v)", "i"]),
    "kept rows": (lambda f: f.group_by("k").agg(pl.col("v").median()), ["k", "t", "v", "v (result)"]),
    "kept rows by an expression": (
        lambda f: f.group_by((pl.col("i") % 2).alias("i")).agg(pl.col("i").median().alias("m")),
        ["i", "t", "i (input)", "m (result)"],
    ),
    "no keys": (lambda f: f.select(N, pl.col("v").max() - pl.col("v").min()), ["n", "max(v)", "min(v)"]),
}


def checkpoint(query: Callable[[sl.StreamFrame], sl.StreamFrame], blobs: Blobs) -> Checkpoint:
    """Return a checkpoint that is taken when the rows are in."""
    graph = graph_of(query(sl.from_frame(ROWS, event_time="t", watermark="2h")))
    reader = PushReader()
    tasks = LocalTasks(graph, lambda *_: reader)
    reader.push(Batch(ROWS))
    for key in tasks.readers:
        tasks.poll(key, 0)
        tasks.drain(0)
        tasks.inject_barrier(key, Barrier(1))
    tasks.drain(0)
    writer = SnapshotWriter(StateFiles(blobs))
    parts = [
        TaskState(*key, {step: writer.write(state)[0] for step, state in restored.operators.items()})
        for key, restored in tasks.states().items()
    ]
    manifest = Manifest(
        polars=pl.__version__,
        job="j",
        id=1,
        attempt=1,
        fingerprint="",
        parallelism={},
        splits={},
        steps=graph.steps,
        tasks=tuple(parts),
        triggered_us=1,
        completed_us=2,
    )
    return Checkpoint(blobs, manifest)


@pytest.mark.parametrize("kind", STATES)
def test_columns_are_those_that_users_know(kind: str, tmp_path) -> None:
    query, columns = STATES[kind]
    method = query(sl.from_frame(ROWS, event_time="t", watermark="1s")).plan.step
    state = checkpoint(query, LocalBlobs(str(tmp_path))).state(method)
    assert state.columns == ["subtask", "part", *columns]
    assert state.height > 0
    times = [name for name in columns if name.endswith(("_start", "_end", "kept_until"))]
    assert all(state.schema[name] == pl.Datetime("us") for name in times)


def test_what_the_state_says_can_be_read(tmp_path) -> None:
    state = checkpoint(STATES["tumbling"][0], LocalBlobs(str(tmp_path))).state("group_by_dynamic")
    assert state.drop("subtask", "part").sort("k").rows() == [
        (None, DAY, 1, 1, 4.5),
        ("a", DAY, 2, 1, 1.5),
        ("b", DAY, 1, 1, 2.5),
    ]


def test_results_that_may_change_are_shown_with_their_windows(tmp_path) -> None:
    def early(frame: sl.StreamFrame) -> sl.StreamFrame:
        return frame.group_by_dynamic("t", every="1h", trigger=sl.every_rows(1)).agg(N).named("early")

    state = checkpoint(early, LocalBlobs(str(tmp_path))).state("early")
    given = state.filter(pl.col("part") == "emitted")
    assert given.select("window_start", "window_end", "rows", "n").row(0) == (
        DAY,
        DAY + dt.timedelta(hours=1),
        4,
        4,
    )


def test_a_method_is_enough_when_it_is_there_once(tmp_path) -> None:
    def twice(frame: sl.StreamFrame) -> sl.StreamFrame:
        return frame.group_by("k", "i").agg(N).group_by("k").agg(pl.col("n").sum())

    opened = checkpoint(twice, LocalBlobs(str(tmp_path)))
    with pytest.raises(OptionError, match=r"operators: .*count by k and i"):
        opened.state("group_by")
    names = [name for name in opened.operators["operator"] if "(" not in name]
    assert names == ["count by k and i", "sum of n by k"]
    assert [opened.state(name).height for name in names] == [4, 3]


def test_times_are_shown_in_their_zone_and_never_is_null() -> None:
    frame = pl.DataFrame({"__sl_pane": [0, MAX_TIME_US, None], "n": [1, 2, 3], "__sl_all": [0, 0, 0]})
    columns = {
        "__sl_pane": StoredColumn("n", is_time=True, zone="Europe/Berlin"),
        "n": StoredColumn("n"),
        "__sl_all": StoredColumn(""),
    }
    step = StoredStep("s", "v", "s", "", "windows", columns=columns)
    found = shown_state(frame, step)
    assert found.columns == ["n", "n_"]
    assert found.schema["n"] == pl.Datetime("us", "Europe/Berlin")
    assert found["n"].is_null().to_list() == [False, True, True]
    assert shown_state(frame, None).columns == frame.columns
