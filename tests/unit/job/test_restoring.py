"""Whether a changed query can go on from a savepoint is known before anything starts, and said in full."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import polars as pl
import pytest

import streamlab as sl
from streamlab.connectors.sinks.files import ParquetSink
from streamlab.core.errors import CheckpointError
from streamlab.graph.job_graph import JobGraph
from streamlab.graph.lowering import lower
from streamlab.job.history.restoring import check_fits, pinned
from streamlab.plan import nodes
from streamlab.state.checkpoints.manifest import KnownSplit, Manifest, StoredFrame, StoredState, TaskState
from streamlab.testing.wiring import CollectSink

ROWS = pl.DataFrame(
    schema={"t": pl.Datetime("us"), "k": pl.String, "i": pl.Int64, "v": pl.Float64, "d": pl.Decimal(10, 2)}
)
Stream = sl.StreamFrame
Query = Callable[[Stream], Stream]


def stream(rows: pl.DataFrame = ROWS, name: str = "rows") -> Stream:
    return sl.from_frame(rows, event_time="t", watermark="1s", name=name)


def written(frame: Stream) -> nodes.Write:
    return nodes.Write(input=frame.plan, sink=CollectSink("sink"), step="sink", schema=frame.schema)


def graph_of(frame: Stream) -> JobGraph:
    return lower(written(frame), 2)


def names(graph: JobGraph) -> list[str]:
    return [step.name for step in graph.steps]


def saved(graph: JobGraph, *, engine: str = pl.__version__, ended: bool = False) -> Manifest:
    """Return a savepoint of a job that had state in every step."""
    kept = StoredState({"groups": (StoredFrame("0" * 64, 10, 3),)}, {}, ("k",))
    steps = {step.name for step in graph.steps if not step.is_source}
    tasks = []
    for vertex in graph.vertices:
        state = {spec.step: kept for spec in vertex.operators if spec.step in steps}
        tasks.append(TaskState(vertex.id, 0, {} if ended else state, finished=ended))
    return Manifest(
        polars=engine,
        job="j",
        id=4,
        attempt=1,
        fingerprint="",
        parallelism={vertex.id: 1 for vertex in graph.vertices},
        splits={vertex.id: (KnownSplit("s"),) for vertex in graph.vertices if vertex.source is not None},
        steps=graph.steps,
        tasks=tuple(tasks),
        triggered_us=1,
        completed_us=2,
    )


def restored(manifest: Manifest, frame: Stream, *, allow: bool = False) -> JobGraph:
    graph = lower(pinned(written(frame), manifest), 3)
    check_fits(manifest, graph, allow_non_restored_state=allow)
    return graph


def windows(frame: Stream, **given: object) -> Stream:
    asked = {"every": "1h", "group_by": "k", **given}
    return frame.group_by_dynamic("t", **asked).agg(pl.len().alias("n"), pl.col("v").sum()).named("hourly")


def sessions(gap: str) -> Query:
    return lambda f: f.group_by_session("t", gap=gap, group_by="k").agg(pl.len()).named("visits")


def groups(key: pl.Expr, *aggregates: pl.Expr) -> Query:
    return lambda f: f.group_by(key).agg(*aggregates).named("per key")


K, INT, V, N = pl.col("k"), pl.col("i"), pl.col("v"), pl.len()
NOT_FITTING: dict[str, tuple[Query, Query, list[str]]] = {
    "dtype of a key": (groups(K, N), groups(K.cast(pl.Categorical), N), ["key k", "String", "Categorical"]),
    "another key": (groups(K, N), groups(INT, N), ["key k", "String", "key i", "Int64"]),
    "dtype of an aggregate": (
        groups(K, INT.sum()),
        groups(K, INT.cast(pl.Float64).sum()),
        ["aggregate 1", "sum(i): Decimal[38, 0]", "sum(i): Float64"],
    ),
    "another aggregate": (
        groups(K, V.min()),
        groups(K, V.max().alias("v")),
        ["aggregate 1", "min(v): Float64", "max(v): Float64"],
    ),
    "one aggregate more": (groups(K, N), groups(K, N, V.sum()), ["aggregate 2", "-", "sum(v): Float64"]),
    "aggregates in another order": (groups(K, N, V.sum()), groups(K, V.sum(), N), ["aggregate 1", "aggregate 2"]),
    "rows instead of partial results": (groups(K, V.sum()), groups(K, V.median()), ["state", "groups", "rows of"]),
    "other rows": (groups(K, V.median()), groups(K, INT.median()), ["column v", "column i"]),
    "over an updating stream": (
        lambda f: f.group_by("k", "i").agg(V.sum()).group_by("k").agg(INT.sum()).named("per key"),
        lambda f: f.group_by("k").agg(INT.sum()).named("per key"),
        ["counts rows"],
    ),
    "size of windows": (windows, lambda f: windows(f, every="2h"), ["windows", "tumbling, 1h", "tumbling, 2h"]),
    "offset of windows": (windows, lambda f: windows(f, offset="5m"), ["tumbling, 1h, offset 5m"]),
    "hopping windows": (windows, lambda f: windows(f, period="3h"), ["hopping, 3h every 1h"]),
    "gap of sessions": (sessions("5m"), sessions("6m"), ["sessions, gap 5m", "sessions, gap 6m"]),
    "sessions instead of windows": (
        lambda f: f.group_by_session("t", gap="1m").agg(N).named("w"),
        lambda f: f.group_by_dynamic("t", every="1m").agg(N).named("w"),
        ["sessions, gap 1m", "tumbling, 1m"],
    ),
    "results that may change": (
        windows,
        lambda f: windows(f, allowed_lateness="1h"),
        ["results", "are final", "may change"],
    ),
    "number of rows of a head": (
        lambda f: f.head(5).named("some"),
        lambda f: f.head(9).named("some"),
        ["rows", "5", "9"],
    ),
    "column of a watermark": (
        lambda f: f.with_columns(u=pl.col("t")).with_watermark("t", "1s").named("w"),
        lambda f: f.with_columns(u=pl.col("t")).with_watermark("u", "1s").named("w"),
        ["column t", "column u"],
    ),
}


@pytest.mark.parametrize("what", NOT_FITTING)
def test_state_of_another_form_is_refused_with_both_forms(what):
    before, after, expected = NOT_FITTING[what]
    manifest = saved(graph_of(before(stream())))
    for allow in (False, True):
        with pytest.raises(CheckpointError) as refused:
            restored(manifest, after(stream()), allow=allow)
        text = str(refused.value)
        assert refused.value.matter == "refused"
        assert all(part in text for part in [*expected, "in the savepoint", "in the query", "another name"]), text


@pytest.mark.parametrize("what", NOT_FITTING)
def test_it_begins_anew_under_another_name(what):
    before, after, _ = NOT_FITTING[what]
    manifest = saved(graph_of(before(stream())))
    graph = restored(manifest, after(stream()).named("anew"), allow=True)
    assert "anew" in names(graph)
    with pytest.raises(CheckpointError, match="which the query does not have"):
        restored(manifest, after(stream()).named("anew"))


def test_the_comparison_can_be_read():
    manifest = saved(graph_of(windows(stream())))
    with pytest.raises(CheckpointError) as refused:
        restored(manifest, windows(stream(), every="2h"))
    assert str(refused.value) == (
        "from_savepoint: needs 'hourly' to keep the state that it kept, got another form.\n"
        "             in the savepoint  in the query\n"
        "    windows  tumbling, 1h      tumbling, 2h\n"
        "  → begin anew under another name, .named('…'), and leave that state out: allow_non_restored_state=True"
    )


def _once(frame: pl.DataFrame) -> pl.DataFrame:
    return frame


def _twice(frame: pl.DataFrame) -> pl.DataFrame:
    return pl.concat([frame, frame])


FITTING: dict[str, tuple[Query, Query]] = {
    "another function": (lambda f: windows(f.map_batches(_once)), lambda f: windows(f.map_batches(_twice))),
    "a function less": (lambda f: windows(f.map_batches(_once)), windows),
    "another filter": (lambda f: windows(f.filter(V > 0)), lambda f: windows(f.filter(V < 0, INT > 1))),
    "another join": (
        lambda f: windows(f.join(pl.DataFrame({"k": ["a"]}), on="k", how="semi")),
        lambda f: windows(f.join(pl.DataFrame({"k": ["a"], "x": [1]}), on="k", how="left")),
    ),
    "names of results of windows": (
        windows,
        lambda f: f.group_by_dynamic("t", every="1h", group_by="k").agg(N.alias("m"), V.sum()).named("hourly"),
    ),
    "less lateness": (
        lambda f: windows(f, allowed_lateness="1h"),
        lambda f: windows(f, allowed_lateness="1s"),
    ),
    "steps before and behind": (windows, lambda f: windows(f.filter(V > 0)).filter(pl.col("n") > 1).head(3)),
    "another static frame": (
        lambda f: windows(f.join(pl.DataFrame({"k": ["a"], "x": [1]}), on="k")),
        lambda f: windows(f.join(pl.DataFrame({"k": ["b"], "y": [1.5]}), on="k")),
    ),
    "allowed lateness": (
        lambda f: windows(f, allowed_lateness="1h"),
        lambda f: windows(f, allowed_lateness="2h", trigger=sl.every("5s")),
    ),
    "boundaries": (windows, lambda f: windows(f, include_boundaries=True)),
    "another name of a column": (groups(K, N.alias("n")), groups(K, N.alias("m"))),
    "another aggregate over kept rows": (groups(K, V.median()), groups(K, V.quantile(0.9), V.mean().alias("m"))),
    "delay of the watermark": (
        lambda f: f.with_watermark("t", "1s").named("w"),
        lambda f: f.with_watermark("t", "9s").named("w"),
    ),
}


@pytest.mark.parametrize("what", FITTING)
def test_what_does_not_change_the_state_may_change(what):
    before, after = FITTING[what]
    old = graph_of(before(stream()))
    new = restored(saved(old), after(stream()))
    assert set(names(old)) <= set(names(new))


@pytest.mark.parametrize("delay", ["0s", "1h"])
def test_the_delay_of_a_source_may_change(delay):
    manifest = saved(graph_of(windows(stream())))
    other = sl.from_frame(ROWS, event_time="t", watermark=delay, idle_timeout="1m", name="rows")
    assert names(restored(manifest, windows(other))) == ["rows", "hourly"]


def test_the_sink_may_change(tmp_path):
    manifest = saved(graph_of(windows(stream())))
    plan = windows(stream()).plan
    sinks = (CollectSink("another"), ParquetSink("files", str(tmp_path)))
    for sink in sinks:
        write = nodes.Write(input=plan, sink=sink, step=sink.name, schema=plan.schema)
        graph = lower(pinned(write, manifest), 2)
        check_fits(manifest, graph, allow_non_restored_state=False)
        assert graph.vertices[-1].sink.name == sink.name


def test_titles_may_change_for_they_are_no_names():
    graph = graph_of(stream().group_by("k").agg(V.sum()))
    manifest = saved(graph)
    worded = msgspec.structs.replace(
        manifest, steps=tuple(msgspec.structs.replace(step, title="said otherwise") for step in manifest.steps)
    )
    assert names(restored(worded, stream().group_by("k").agg(V.sum()))) == names(graph)


def test_another_version_of_polars_may_write_expressions_in_another_way():
    manifest = saved(graph_of(groups(K, V.min())(stream())), engine="1.0")
    restored(manifest, groups(K, V.max())(stream()))
    with pytest.raises(CheckpointError, match="aggregate 1"):
        restored(manifest, groups(K, INT.max())(stream()))


# -- sources -------------------------------------------------------------------------------------------------------


def test_a_source_of_another_sort_is_refused(tmp_path):
    manifest = saved(graph_of(windows(stream())))
    ROWS.write_parquet(tmp_path / "rows.parquet")
    files = sl.scan_parquet(tmp_path / "rows.parquet", event_time="t", watermark="1s").named("rows")
    with pytest.raises(CheckpointError, match=r"positions in frame +positions in parquet files"):
        restored(manifest, windows(files))
    elsewhere = files.named("files")
    with pytest.raises(CheckpointError, match="state of 'rows'"):
        restored(manifest, windows(elsewhere))
    restored(manifest, windows(elsewhere), allow=True)


def test_columns_of_a_source_may_be_added_but_not_change():
    manifest = saved(graph_of(windows(stream())))
    restored(manifest, windows(stream(ROWS.with_columns(more=pl.lit(1)))))
    with pytest.raises(CheckpointError, match=r"column i +Int64 +Int32"):
        restored(manifest, windows(stream(ROWS.with_columns(pl.col("i").cast(pl.Int32)))))
    with pytest.raises(CheckpointError, match=r"column i +Int64 +-"):
        restored(manifest, windows(stream(ROWS.drop("i"))))


def test_a_new_source_before_a_step_that_has_ended_is_refused():
    manifest = saved(graph_of(groups(K, N)(stream())), ended=True)
    both = sl.concat([stream(), stream(name="others")])
    with pytest.raises(
        CheckpointError, match="no new source before 'per key', which had come to its end, got 'others'"
    ):
        restored(manifest, groups(K, N)(both))
    restored(manifest, groups(K, N)(stream()))


# -- names ---------------------------------------------------------------------------------------------------------


def per_key(frame: Stream) -> Stream:
    return frame.group_by("k").agg(pl.len().alias("n"))


def per_hour(frame: Stream) -> Stream:
    return frame.group_by_dynamic("t", every="1h", group_by="k").agg(pl.len().alias("n"))


CHANGES: dict[str, Query] = {
    "a filter before": lambda f: per_key(f.filter(V > 1)),
    "a filter behind": lambda f: per_key(f).filter(pl.col("n") > 1),
    "another branch": lambda f: sl.concat([f.group_by("k").agg(m=pl.len()).rename({"m": "n"}), per_key(f)]),
    "another aggregate before": lambda f: per_key(f.group_by("k", "i").agg(V.sum())),
    "a static join before": lambda f: per_key(f.join(pl.DataFrame({"k": ["a"], "x": [1]}), on="k")),
    "a cast of what is not aggregated": lambda f: per_key(f.with_columns(pl.col("v").cast(pl.Float32))),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_step_keeps_its_name_when_others_come_or_go(what):
    name = names(graph_of(per_key(stream())))[-1]
    assert name.startswith("group_by ")
    assert name in names(graph_of(CHANGES[what](stream())))


def test_names_are_of_the_step_alone():
    known = {
        names(graph_of(query))[-1]
        for query in (
            per_key(stream()),
            per_hour(stream()),
            stream().group_by("i").agg(pl.len().alias("n")),
            stream().group_by("k").agg(pl.len().alias("m")),
            stream().group_by_dynamic("t", every="2h", group_by="k").agg(pl.len().alias("n")),
            stream().group_by_dynamic("t", every="1h", offset="1m", group_by="k").agg(pl.len().alias("n")),
            stream().group_by_session("t", gap="1h", group_by="k").agg(pl.len().alias("n")),
            stream().head(3),
            stream().head(4),
        )
    }
    assert len(known) == 9


def test_a_lost_step_is_told_with_the_one_that_is_nearest():
    manifest = saved(graph_of(per_hour(stream())))
    changed = stream().group_by_dynamic("t", every="2h", group_by="k").agg(pl.len().alias("n"))
    with pytest.raises(CheckpointError) as refused:
        restored(manifest, changed)
    text = str(refused.value)
    assert all(part in text for part in ("the nearest to", "tumbling, 1h", "tumbling, 2h", ".named('group_by_dynamic"))
    renamed = stream().group_by_dynamic("t", every="1h", group_by="k").agg(pl.len().alias("flights"))
    with pytest.raises(CheckpointError, match="keeps state of the form that"):
        restored(manifest, renamed)
    restored(manifest, renamed.named(names(graph_of(per_hour(stream())))[-1]))


def twins(left: Stream, right: Stream) -> Stream:
    return sl.concat([per_key(left), per_key(right)])


def fed_by(graph: JobGraph) -> dict[str, str]:
    """Return, of each aggregate, the name of the filter that feeds it."""
    found = {}
    for vertex in graph.vertices:
        chain = [spec.step for spec in vertex.operators]
        if chain and chain[-1].endswith("(local)"):
            found[chain[-1].removesuffix(" (local)")] = next(
                name.split(".")[0] for name in chain if name.split(".")[0] in {"low", "high"}
            )
    return found


def low() -> Stream:
    return stream().filter(V < 0).named("low")


def high() -> Stream:
    return stream(name="others").filter(V > 0).named("high")


def test_steps_that_are_alike_are_told_apart_by_what_feeds_them():
    old = graph_of(twins(low(), high()))
    manifest = saved(old)
    assert fed_by(restored(manifest, twins(low(), high()))) == fed_by(old)
    assert fed_by(restored(manifest, twins(high(), low()))) == fed_by(old)
    third = sl.concat([per_key(stream(name="third").filter(INT > 0)), twins(high(), low())])
    assert {name: fed_by(old)[name] for name in fed_by(old)}.items() <= {
        name: feed for name, feed in fed_by_any(restored(manifest, third)).items() if feed in {"low", "high"}
    }.items()


def fed_by_any(graph: JobGraph) -> dict[str, str]:
    found = {}
    for vertex in graph.vertices:
        chain = [spec.step for spec in vertex.operators]
        if chain and chain[-1].endswith("(local)"):
            found[chain[-1].removesuffix(" (local)")] = chain[0]
    return found


def test_what_cannot_be_told_apart_must_be_said():
    old = graph_of(twins(low(), high()))
    manifest = saved(old)
    first, second = (name for name in names(old) if name.startswith("group_by"))
    assert second == f"{first} #2"
    changed = low().filter(INT > 0), high().filter(INT > 0)
    with pytest.raises(CheckpointError, match=r"which step the state of .* belongs to") as refused:
        restored(manifest, twins(*changed), allow=True)
    assert ".named(" in str(refused.value)
    said = sl.concat([per_key(changed[1]).named(second), per_key(changed[0]).named(first)])
    assert fed_by(restored(manifest, said)) == {first: "low", second: "high"}
    half = sl.concat([per_key(changed[1]).named(second), per_key(changed[0])])
    assert fed_by(restored(manifest, half)) == {first: "low", second: "high"}


def test_a_new_step_that_is_like_an_old_one_must_be_told_from_it():
    manifest = saved(graph_of(per_key(low())))
    with pytest.raises(CheckpointError, match="belongs to"):
        restored(manifest, twins(low().filter(INT > 0), high()))
    graph = restored(manifest, twins(high(), low()))
    assert fed_by(graph)[next(name for name in names(graph_of(per_key(low()))) if "group_by" in name)] == "low"


def test_sources_that_are_alike_are_told_apart_too():
    one, other = stream(ROWS, "from_frame"), stream(ROWS.with_columns(more=pl.lit(1)), "from_frame")
    both = sl.concat([one.select("k", "i"), other.select("k", "i", "more").select("k", "i")])
    old = graph_of(both)
    assert [step.name for step in old.steps] == ["from_frame", "from_frame #2"]
    turned = sl.concat([other.select("k", "i", "more").select("k", "i"), one.select("k", "i")])
    graph = restored(saved(old), turned)
    assert {v.id: v.source.schema for v in graph.vertices if v.source} == {
        v.id: v.source.schema for v in old.vertices if v.source
    }


def test_a_job_that_went_on_can_be_gone_on_from_again():
    first = graph_of(twins(low(), high()))
    second = restored(saved(first), twins(high(), low()))
    third = restored(saved(second), twins(high(), low()))
    assert fed_by(third) == fed_by(first)
