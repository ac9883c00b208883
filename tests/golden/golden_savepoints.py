"""The queries whose savepoints are kept, and how one is gone on from: shared by the script that made them and the test.

Rows are made by formulas, so that a source can be read again wherever the tests run; files of file sources are kept
beside the savepoint. Where a savepoint holds paths they begin with `DATA`, and are put right when it is used.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
import polars as pl

import streamlab as sl
from streamlab.connectors.reading.stepped_reader import SteppedReader
from streamlab.connectors.recording.recording_tail import put_tail
from streamlab.core.changelog import ROW_KIND
from streamlab.core.options import JobOptions
from streamlab.graph.job_graph import JobGraph
from streamlab.graph.lowering import lower
from streamlab.job.history.restoring import check_fits, pinned
from streamlab.plan import nodes
from streamlab.runtime.task.task_states import restored_reader, restored_task, split_of
from streamlab.runtime.worker.deployment import recording_folder, with_recordings
from streamlab.state.checkpoints.blobs import LocalBlobs
from streamlab.state.checkpoints.contents import file_name, read_contents
from streamlab.state.checkpoints.manifest import Manifest
from streamlab.state.checkpoints.manifests import ManifestStore
from streamlab.state.checkpoints.savepoints import find_savepoint
from streamlab.state.checkpoints.state_files import StateFiles
from streamlab.testing.wiring import CollectSink, LocalTasks

FOLDER = Path(__file__).parent / "savepoints"
DATA = "/golden/data"
ROWS = 400
STOPS_AT = 120
"""Rows that a job has read at least when its savepoint is taken."""
_PARALLELISM = 2
_POLL_US = 50_000
_POLLS = 5_000
Stream = sl.StreamFrame


def rows() -> pl.DataFrame:
    """Return 40 seconds of rows, some of them out of order; floats are such that sums do not depend on their order."""
    n = pl.int_range(ROWS, eager=True).alias("n")
    return n.to_frame().select(
        t=((n * 100 - (n % 5) * 150) * 1_000).cast(pl.Datetime("us")),
        k=(n // 25 % 4),
        word=pl.when(n % 11 == 0).then(None).otherwise(pl.format("w{}", n % 7)),
        v=pl.when(n % 13 == 0).then(None).otherwise((n % 17) * 0.25),
        n=n,
    )


def typed_rows() -> pl.DataFrame:
    """Return rows with a column of each dtype that state can hold."""
    n = pl.col("n") % 9
    zone = "Europe/Berlin"
    sign = pl.when(n == 0).then(-0.0).when(n == 1).then(float("nan")).otherwise(n * 0.5)
    return rows().select(
        "t",
        "n",
        flag=n % 2 == 0,
        tiny=n.cast(pl.Int8) - 4,
        wide=n.cast(pl.UInt64),
        real=sign,
        money=n.cast(pl.Decimal(12, 2)),
        word=pl.when(n == 3).then(None).otherwise(pl.format("ä{}", n)),
        level=pl.format("l{}", n % 3).cast(pl.Enum(["l0", "l1", "l2"])),
        sort=pl.format("s{}", n % 2).cast(pl.Categorical()),
        raw=pl.format("b{}", n).cast(pl.Binary),
        day=pl.lit(dt.date.fromisoformat("1969-12-30")) + pl.duration(days=n),
        at=pl.col("t").dt.truncate("20s").dt.replace_time_zone(zone),
        lasts=pl.duration(milliseconds=n),
        clock=pl.time(n.cast(pl.UInt8), 30),
        some=pl.concat_list(n, n + 1),
        pair=pl.struct(a=n, b=pl.format("p{}", n)),
    )


def frame_source(given: pl.DataFrame | None = None) -> Stream:
    """Return a stream of rows that come eight times as fast as they happened."""
    found = rows() if given is None else given
    return sl.from_frame(found, event_time="t", watermark="1s", pace="8x", name="rows")


AGGREGATES = (
    pl.len().alias("rows"),
    pl.col("v").sum().alias("sum"),
    pl.col("v").mean().alias("mean"),
    pl.col("v").var().alias("var"),
    pl.col("n").min().alias("min"),
    pl.col("word").first().alias("first"),
    pl.col("word").last().alias("last"),
    pl.col("word").n_unique().alias("words"),
    (pl.col("v") > 2).any().alias("any"),
)
PER_5S = {"every": "5s", "group_by": "k"}
TYPES = ("flag", "tiny", "wide", "real", "money", "word", "level", "sort", "raw", "day", "at", "lasts", "clock")


def _typed(stream: Stream) -> Stream:
    values = [pl.col(name).first().alias(f"first_{name}") for name in (*TYPES, "some", "pair")]
    return stream.group_by(TYPES).agg(pl.len(), *values)


def _files(suffix: str, scan: Callable[..., Stream], **given: object) -> Callable[[Path], Stream]:
    def query(data: Path) -> Stream:
        source = scan(data / f"rows.{suffix}", event_time="t", watermark="1s", pace="8x", **given)
        return source.named("files").group_by_dynamic("t", **PER_5S).agg(pl.len().alias("rows"), pl.col("v").sum())

    return query


def _counted(start: int, n: int) -> pl.DataFrame:
    return pl.DataFrame({"n": range(start, start + n)})


def _live(_: Path) -> Stream:
    ticks = sl.generate(_counted, rows_per_second=100, limit=ROWS, replayable=False, name="ticks")
    return ticks.group_by(pl.col("n") % 3).agg(pl.len())


@dataclass(frozen=True)
class Golden:
    """A query, and what it shows.

    Attributes
    ----------
    query : Callable[[Path], StreamFrame]
        From the folder of its files to the stream.
    runs_on : bool
        Whether the job goes on after the savepoint, so that its sink has something to commit.
    """

    query: Callable[[Path], Stream]
    runs_on: bool = False


CASES: dict[str, Golden] = {
    "tumbling": Golden(lambda _: frame_source().group_by_dynamic("t", **PER_5S).agg(AGGREGATES)),
    "hopping": Golden(lambda _: frame_source().group_by_dynamic("t", period="15s", **PER_5S).agg(AGGREGATES[:3])),
    "cumulative": Golden(
        lambda _: frame_source().group_by_cumulative("t", step="5s", every="20s", group_by="k").agg(AGGREGATES[:3])
    ),
    "sessions": Golden(lambda _: frame_source().group_by_session("t", gap="2s", group_by="k").agg(AGGREGATES[:5])),
    "kept_rows_of_windows": Golden(
        lambda _: frame_source().group_by_dynamic("t", **PER_5S).agg(pl.col("v").median(), pl.len())
    ),
    "early_results": Golden(
        lambda _: (
            frame_source()
            .group_by_dynamic("t", trigger=sl.every_rows(10), allowed_lateness="5s", **PER_5S)
            .agg(AGGREGATES[:2])
        )
    ),
    "groups": Golden(lambda _: frame_source().group_by("k", "word").agg(*AGGREGATES[:3], *AGGREGATES[4:])),
    "groups_of_all_dtypes": Golden(lambda _: _typed(frame_source(typed_rows()))),
    "groups_without_keys": Golden(lambda _: frame_source().select(pl.len(), pl.col("v").sum())),
    "kept_rows_of_groups": Golden(lambda _: frame_source().group_by("k").agg(pl.col("v").quantile(0.9), pl.len())),
    "groups_of_groups": Golden(
        lambda _: (
            frame_source()
            .group_by("k", "word")
            .agg(pl.col("n").sum())
            .named("per word")
            .group_by("k")
            .agg(pl.col("n").sum(), pl.len())
        )
    ),
    "steps": Golden(
        lambda _: (
            frame_source()
            .join(pl.DataFrame({"k": [0, 1, 2], "name": ["a", "b", "c"]}), on="k", how="left")
            .with_watermark("t", "2s")
            .head(300)
        )
    ),
    "csv": Golden(_files("csv", sl.scan_csv)),
    "ndjson": Golden(_files("ndjson", sl.scan_ndjson)),
    "parquet": Golden(_files("parquet", sl.scan_parquet)),
    "ipc": Golden(_files("arrow", sl.scan_ipc)),
    "live": Golden(_live),
    "having": Golden(
        lambda _: (
            frame_source()
            .group_by_dynamic("t", trigger=sl.every_rows(10), allowed_lateness="5s", **PER_5S)
            .having(pl.len() > 3, pl.col("v").sum() > 1)
            .agg(AGGREGATES[:3])
        )
    ),
    "having_of_kept_rows": Golden(
        lambda _: frame_source().group_by("k", "word").having(pl.len() > 3).agg(pl.col("v").quantile(0.9), pl.len())
    ),
    "having_of_updates": Golden(
        lambda _: (
            frame_source()
            .group_by("k", "word")
            .agg(pl.col("n").sum())
            .group_by("k")
            .having(pl.len() > 1)
            .agg(pl.col("n").sum(), pl.len())
        )
    ),
    "key_beside_its_column": Golden(
        lambda _: (
            frame_source().group_by((pl.col("n") % 3).alias("v")).agg(pl.col("v").quantile(0.9).alias("most"), pl.len())
        )
    ),
    "names_of_users": Golden(
        lambda _: (
            frame_source()
            .rename({"k": "__key_v", "v": "__p0", "n": "__rows", "word": "__given_n"})
            .group_by_dynamic("t", every="5s", group_by="__key_v", trigger=sl.every_rows(10), allowed_lateness="5s")
            .having(pl.len() > 3)
            .agg(pl.len().alias("__pane"), pl.col("__p0").sum(), pl.col("__rows").median(), __having0=pl.len() > 5)
        )
    ),
    "pending": Golden(lambda _: frame_source().select("n", "word"), runs_on=True),
}


def write_files(data: Path) -> None:
    """Write the files that file sources read."""
    data.mkdir(parents=True, exist_ok=True)
    table = rows()
    table.write_csv(data / "rows.csv")
    table.write_ndjson(data / "rows.ndjson")
    table.write_parquet(data / "rows.parquet", row_group_size=100)
    table.write_ipc(data / "rows.arrow", record_batch_size=100)


def copied(saved: Path, target: Path, paths: tuple[str, str]) -> None:
    """Copy a savepoint, with one path in its manifest replaced by another."""
    where, manifest = find_savepoint(saved)
    text = msgspec.json.encode(manifest).decode().replace(*paths)
    source, blobs = LocalBlobs(where), LocalBlobs(str(target))
    for stored in manifest.files:
        blobs.put(file_name(stored), read_contents(source, stored))
    ManifestStore(blobs).put(msgspec.json.decode(text, type=Manifest))


def gone_on(saved: Path, golden: Golden, data: Path, home: Path) -> pl.DataFrame:
    """Return what a query gives when it goes on from a savepoint, run in this process to its end.

    Of an updating stream the net changes are returned: each row, and how often it comes in more than it goes.
    """
    where, manifest = find_savepoint(saved)
    frame = golden.query(data)
    query = nodes.Write(input=frame.plan, sink=CollectSink("sink"), step="sink", schema=frame.schema)
    graph = lower(pinned(query, manifest), _PARALLELISM)
    check_fits(manifest, graph, allow_non_restored_state=False)
    blobs = LocalBlobs(where)
    for vertex, recording in manifest.recordings.items():
        tail = {
            split: [(first, read_contents(blobs, one)) for first, one in parts] for split, parts in recording.items()
        }
        put_tail(recording_folder(home, vertex), tail)
    graph = with_recordings(graph, home, JobOptions("golden"))
    tasks = _tasks(graph, manifest, StateFiles(blobs))
    for task in tasks.tasks.values():
        task.begin()
    for now in range(0, _POLLS * _POLL_US, _POLL_US):
        for key in tasks.readers:
            tasks.poll(key, now)
        tasks.drain(now)
        if tasks.finished:
            break
    tasks.close()
    found = tasks.rows.joined()
    return _net(pl.DataFrame(schema=frame.schema) if found is None else found)


def _tasks(graph: JobGraph, manifest: Manifest, files: StateFiles) -> LocalTasks:
    restored = {
        (vertex.id, subtask): restored_task(manifest, vertex, subtask, files, is_own=False)
        for vertex in graph.vertices
        for subtask in range(vertex.parallelism)
    }

    def reader(vertex_id: str, subtask: int) -> SteppedReader:
        vertex = graph.vertex(vertex_id)
        splits = [split_of(known) for known in manifest.splits[vertex_id]]
        assert vertex.source is not None
        source = vertex.source.at_pace(None)
        return SteppedReader(source, splits, subtask, vertex.parallelism, restored_reader(manifest, vertex_id))

    return LocalTasks(graph, reader, restored=restored)


def _net(found: pl.DataFrame) -> pl.DataFrame:
    if ROW_KIND not in found.columns:
        return found
    sign = pl.when(pl.col(ROW_KIND).is_in([0, 2])).then(1).otherwise(-1).alias("__times")
    counted = found.with_columns(sign).group_by(pl.exclude("__times", ROW_KIND)).agg(pl.col("__times").sum())
    return counted.filter(pl.col("__times") != 0)


def clear(folder: Path) -> None:
    """Remove a folder, if it is there."""
    shutil.rmtree(folder, ignore_errors=True)
