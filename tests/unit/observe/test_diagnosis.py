"""What a job's figures are taken to mean: each rule says its sentence, and keeps quiet when there is nothing to say."""

from __future__ import annotations

import re

import msgspec
import pytest

from streamlab.core.event_time.time import Duration
from streamlab.observe.diagnosis import RULES, Facts, Finding, Severity, completeness, diagnose
from streamlab.observe.history import Sample, Sampler
from streamlab.observe.status import (
    CheckpointStatus,
    ClockStatus,
    Failure,
    FurthestRow,
    JobState,
    JobStatus,
    SplitStatus,
    TaskStatus,
    TimeStatus,
)

NOW = 1_700_000_000_000_000
SECOND = 1_000_000
FLOW = {"read": ("enrich",), "enrich": ("write",), "write": ()}


def status(*tasks: TaskStatus, **more: object) -> JobStatus:
    known = {
        "id": "j",
        "name": "job",
        "state": JobState.RUNNING,
        "submitted_us": NOW - 600 * SECOND,
        "started_us": NOW - 600 * SECOND,
        "reported_us": NOW,
        "rows_in": 100_000,
    }
    return JobStatus(**{**known, "tasks": tasks, **more})


def task(vertex: str, subtask: int = 0, busy: float = 100, waits: float = 0, **more: object) -> TaskStatus:
    known = {"steps": (vertex,), "busy_ms_per_s": busy, "backpressured_ms_per_s": waits, "rows_in": 100_000}
    return TaskStatus(vertex=vertex, subtask=subtask, **{**known, "rows_in_per_s": 1000.0, **more})


def split(name: str, watermark_s: float | None, quiet_s: float | None, **more: object) -> SplitStatus:
    return SplitStatus(
        split=name,
        step="flights",
        watermark_us=None if watermark_s is None else int(watermark_s * SECOND),
        last_row_us=None if quiet_s is None else NOW - int(quiet_s * SECOND),
        **more,
    )


def reading(*splits: SplitStatus, timeout_ms: float | None = None, **more: object) -> TaskStatus:
    clock = ClockStatus(step="flights", delay_ms=300, idle_timeout_ms=timeout_ms)
    return task("flights", time=TimeStatus(as_of_us=NOW, clocks=(clock,), splits=splits), **more)


def found(status: JobStatus, **more: object) -> list[Finding]:
    return list(diagnose(Facts(status, **more)))


def only(status: JobStatus, **more: object) -> Finding:
    (finding,) = found(status, **more)
    return finding


def test_nothing_to_say_of_a_job_that_does_well() -> None:
    tasks = (
        reading(split("a", 100, 0.1), split("b", 101, 0.2)),
        task("enrich", 0, 400, 10),
        task("enrich", 1, 420, 10),
        task("write"),
    )
    checkpoint = CheckpointStatus(id=1, state="complete", triggered_us=NOW, duration_ms=20, alignment_ms=3)
    assert found(status(*tasks, checkpoints=(checkpoint,)), gives_to=FLOW, checkpoint_every_ms=10_000) == []


@pytest.mark.parametrize("state", JobState)
def test_nothing_to_say_of_a_job_without_any_figures(state: JobState) -> None:
    bare = JobStatus(id="j", name="n", state=state)
    assert [one.kind for one in found(bare, checkpoint_every_ms=10)] == (["failure"] if state == "failed" else [])


# -- event time ----------------------------------------------------------------------------------------------------


def test_a_quiet_split_holds_the_watermark() -> None:
    finding = only(status(reading(split("2", 200, 0.1), split("3", 100, 14))))
    assert finding.sentence == "watermark held by split 3 of flights: nothing read for 14.0 s"
    assert finding.severity is Severity.WARNING
    assert "set idle_timeout on 'flights'" in finding.move
    assert (finding.subject, finding.vertex) == ("split 3 of flights", "flights")


def test_a_split_that_never_gave_a_row_holds_the_watermark() -> None:
    finding = only(status(reading(split("2", 200, 0.1), split("3", None, None))))
    assert finding.sentence.endswith("split 3 of flights: nothing read yet, after 10 min 0 s")


def test_with_an_idle_timeout_one_waits() -> None:
    assert "after 30.0 s" in only(status(reading(split("2", 200, 0), split("3", 100, 14), timeout_ms=30_000))).move


@pytest.mark.parametrize(
    "quiet",
    [
        reading(split("2", 200, 0), split("3", 100, 4)),
        reading(split("2", 200, 0), split("3", 100, 14, idle=True)),
        reading(split("2", 200, 0), split("3", 100, 14, ended=True)),
        reading(split("2", 100, 0), split("3", 200, 14)),
        reading(split("2", 200, 0), split("3", 100, 14), backpressured_ms_per_s=900),
        reading(split("2", 200, 0), split("3", 100, 14), reached=True),
        reading(split("2", None, 0), split("3", None, 14)),
        reading(split("2", 200, 0), split("3", 100, 14), finished=True),
    ],
    ids=["not long", "idle", "ended", "ahead", "held back", "replayed", "no event time", "task ended"],
)
def test_a_split_that_holds_nothing_is_no_finding(quiet: TaskStatus) -> None:
    assert found(status(quiet)) == []


def test_a_paused_job_is_quiet_because_it_is_paused() -> None:
    assert found(status(reading(split("2", 200, 0), split("3", 100, 14)), state=JobState.PAUSED)) == []


def test_no_input_at_all_is_a_hint_while_windows_wait() -> None:
    held = status(reading(split("2", 200, 20), split("3", 100, 14)), watermark_us=100 * SECOND, state_bytes=10)
    finding = only(held)
    assert (finding.kind, finding.severity) == ("no input", Severity.HINT)
    assert finding.sentence == "no source has given rows for 14.0 s: the watermark stands at 1970-01-01 00:01:40 UTC"
    assert found(msgspec.structs.replace(held, state_bytes=0)) == []


def late(rows: int, *buckets: tuple[float, int], rows_in: int = 1000, delays: tuple[float, ...] = (300,)) -> JobStatus:
    clocks = tuple(ClockStatus(step=str(at), delay_ms=delay) for at, delay in enumerate(delays))
    windows = task("windows", late_rows=rows, time=TimeStatus(late_by=buckets))
    return status(task("read", time=TimeStatus(clocks=clocks)), windows, rows_in=rows_in, late_rows=rows)


def test_many_late_rows_name_the_delay_that_would_have_kept_them() -> None:
    finding = only(late(50, (900.0, 40), (1700.0, 9), (9700.0, 1)))
    assert finding.severity is Severity.WARNING
    assert finding.sentence == "50 rows were set aside because they came too late: 5 % of all"
    assert finding.move.startswith(
        "raise the watermark's delay, now 300 ms: 1.2 s would have kept 99 %, 2.0 s would have kept 99.9 %, "
        "10.0 s would have kept all"
    )


def test_few_late_rows_are_a_hint() -> None:
    finding = only(late(1, (900.0, 1)))
    assert finding.severity is Severity.HINT
    assert finding.sentence == "1 row was set aside because it came too late: 0.1 % of all"


@pytest.mark.parametrize("delay", [10_000, 9_960, 60_000, 3_600_000, 90_000_000, 5])
@pytest.mark.parametrize("more", [1.0, 4.0, 20.0, 900.0])
def test_the_delay_that_is_suggested_is_another_one_and_long_enough(delay: float, more: float) -> None:
    move = only(late(20, (more, 20), delays=(delay,))).move
    now, _, said = move.removeprefix("raise the watermark's delay, now ").partition(": ")
    suggested = said.partition(" would have kept")[0]
    assert suggested != now
    assert Duration.parse(suggested).us >= (delay + more) * 1000


def test_delays_that_differ_are_not_named() -> None:
    assert "900 ms more would have kept 99 %" in only(late(20, (900.0, 20), delays=(300, 5))).move


def test_late_rows_of_which_nothing_is_known_are_counted() -> None:
    assert only(late(50)).move == "look at them with job.lateness()"


def test_completeness_scales_what_is_known_of_this_attempt() -> None:
    assert completeness(late(50, (900.0, 10), (1800.0, 10))) == [(0.0, 0.95), (900.0, 0.975), (1800.0, 1.0)]
    assert completeness(JobStatus(id="j", name="n", state=JobState.RUNNING)) == []


# -- flow ----------------------------------------------------------------------------------------------------------


def test_the_bottleneck_is_busy_while_others_wait_for_it() -> None:
    slow = status(task("read", 0, 90, 900), task("enrich", 0, 980, 0), task("write", 0, 30, 0))
    finding = only(slow, gives_to=FLOW)
    assert finding.sentence == "bottleneck: 'enrich' is busy 98 % of the time while 'read' waits 90 %"
    assert "raise the parallelism, now 1" in finding.move
    assert finding.vertex == "enrich"


def test_a_slow_sink_is_named_as_one() -> None:
    slow = status(task("read", 0, 90, 900), task("enrich", 0, 80, 900), task("write", 0, 990, 0))
    finding = only(slow, gives_to=FLOW)
    assert finding.subject == "write"
    assert finding.move.startswith("the sink is slow")


def test_a_vertex_that_waits_itself_is_no_bottleneck() -> None:
    assert found(status(task("read", 0, 90, 900), task("enrich", 0, 300, 690), task("write")), gives_to=FLOW) == []


def test_a_busy_vertex_for_which_nobody_waits_is_no_bottleneck() -> None:
    assert found(status(task("read", 0, 700, 100), task("enrich", 0, 980, 0)), gives_to=FLOW) == []


def test_without_a_graph_there_is_no_bottleneck() -> None:
    assert found(status(task("read", 0, 90, 900), task("enrich", 0, 980, 0))) == []


def test_a_slow_chain_behind_its_own_source() -> None:
    chain = task("read", 0, 990, 0, steps=("read", "write"), batch_duration_ms=200.0, batch_rows=2000.0)
    finding = only(status(chain), gives_to={"read": ()})
    assert finding.sentence == "'read → write' is busy 99 % of the time: a batch of 2,000 rows takes 200 ms"
    quick = msgspec.structs.replace(chain, batch_duration_ms=None)
    assert found(status(quick), gives_to={"read": ()}) == []


def test_a_hot_key() -> None:
    def two(one: float, other: float, busy: float = 100) -> JobStatus:
        first = task("enrich", 0, busy, rows_in_per_s=one)
        return status(task("read"), first, task("enrich", 1, 10, rows_in_per_s=other))

    finding = only(two(900, 100), gives_to=FLOW)
    assert finding.sentence == "subtask 0 of 'enrich' gets 90 % of the rows: some key has most of them"
    assert finding.severity is Severity.HINT
    assert only(two(900, 100, busy=800), gives_to=FLOW).severity is Severity.WARNING
    assert found(two(600, 400), gives_to=FLOW) == []
    assert found(two(0, 0), gives_to=FLOW) == []


def test_a_hot_bottleneck_is_not_helped_by_more_subtasks() -> None:
    tasks = (
        task("read", 0, 9, 950),
        task("enrich", 0, 990, rows_in_per_s=9.0),
        task("enrich", 1, 9, rows_in_per_s=1.0),
    )
    first = found(status(*tasks), gives_to=FLOW)[0]
    assert first.kind == "bottleneck"
    assert "more subtasks will not help" in first.move


# -- upkeep --------------------------------------------------------------------------------------------------------


def checkpoint(number: int, state: str = "complete", **more: object) -> CheckpointStatus:
    return CheckpointStatus(id=number, state=state, triggered_us=NOW, **more)


def test_checkpoints_that_are_abandoned() -> None:
    bad = [checkpoint(at, "abandoned", reason="not complete within 5 s") for at in (2, 3, 4)]
    finding = only(status(checkpoints=(checkpoint(1, duration_ms=1), *bad)), checkpoint_every_ms=10_000)
    assert finding.severity is Severity.PROBLEM
    assert finding.sentence == (
        "checkpoint 4 was abandoned: not complete within 5 s; 3 of the last 4 were not completed, "
        "the last complete one is 1"
    )


def test_a_checkpoint_that_failed_once_is_forgotten_with_the_next() -> None:
    both = (checkpoint(1, "failed"), checkpoint(2, duration_ms=5), checkpoint(3, "running"))
    assert found(status(checkpoints=both), checkpoint_every_ms=10_000) == []


def test_checkpoints_that_take_longer_than_their_interval() -> None:
    finding = only(
        status(checkpoints=(checkpoint(1, duration_ms=12_000, new_bytes=10**9),)), checkpoint_every_ms=10_000
    )
    assert finding.sentence == "checkpoint 1 took 12.0 s, longer than the 10.0 s between two"
    assert "1.0 GB were written" in finding.move


def test_checkpoints_that_wait_for_barriers() -> None:
    one = checkpoint(1, duration_ms=4_000, alignment_ms=3_500)
    assert "waited 3.5 s for barriers" in only(status(checkpoints=(one,)), checkpoint_every_ms=10_000).sentence


FAILURE = Failure(message="map: boom\nmore", step="map")


def samples(*restarts: int, every_s: int = 60) -> list[Sample]:
    taken = []
    sampler = Sampler()
    for at, count in enumerate(restarts):
        when = NOW - (len(restarts) - 1 - at) * every_s * SECOND
        sample = sampler.sample(status(restarts=count, reported_us=when))
        assert sample is not None
        taken.append(sample)
    return taken


def test_a_restart_loop() -> None:
    again = status(restarts=5, last_failure=FAILURE)
    finding = only(again, samples=samples(1, 1, 1, 2, 3, 4, 4, 5))
    assert finding.severity is Severity.PROBLEM
    assert finding.sentence == "restarted 4 times within 5 min 0 s; the last time after: map: boom"
    assert finding.subject == "map"


def test_restarts_of_long_ago_are_a_hint() -> None:
    finding = only(status(restarts=5, last_failure=FAILURE), samples=samples(5, 5, 5, 5, 5, 5, 5, 5))
    assert (finding.severity, finding.sentence) == (
        Severity.HINT,
        "restarted 5 times; the last time after: map: boom",
    )


def test_a_young_job_that_restarts_all_the_time() -> None:
    assert only(status(restarts=3, submitted_us=NOW - 20 * SECOND)).kind == "restart loop"


def test_a_job_that_failed_says_why_first() -> None:
    failed = status(task("a", dead_letters=1), state=JobState.FAILED, failure=FAILURE, dead_letters=1)
    kinds = [(one.kind, one.severity) for one in found(failed)]
    assert kinds == [("failure", Severity.PROBLEM), ("dead letters", Severity.WARNING)]
    assert found(failed)[0].sentence == "the job has failed: map: boom"


def growing(*sizes: int, watermark: bool = True) -> list[Sample]:
    sampler = Sampler()
    taken = []
    for at, bytes_ in enumerate(sizes):
        when = NOW - (len(sizes) - 1 - at) * 20 * SECOND
        moment = status(reported_us=when, state_bytes=bytes_, watermark_us=when if watermark else 5)
        taken.append(sampler.sample(moment))
    return [one for one in taken if one is not None]


def test_state_that_grows_steadily() -> None:
    tasks = (task("read"), task("group", state_bytes=10**8))
    sizes = [at * 10**7 for at in range(1, 13)]
    finding = only(status(*tasks, attempt=1), samples=growing(*sizes))
    assert finding.sentence == "state has grown from 10.0 MB to 120.0 MB in 3 min 40 s, most of it in 'group'"
    assert "keeps every key for ever" in finding.move
    assert "watermark stands still" in only(status(*tasks), samples=growing(*sizes, watermark=False)).move


@pytest.mark.parametrize(
    "sizes",
    [[10**8] * 12, [10**6 * at for at in range(12)], [5 * 10**7, 10**8] * 6, [10**8, 2 * 10**8]],
    ids=["level", "small", "up and down", "two samples"],
)
def test_state_that_does_not_grow_is_no_finding(sizes: list[int]) -> None:
    assert found(status(task("group")), samples=growing(*sizes)) == []


def test_dead_letters() -> None:
    finding = only(status(task("parse", dead_letters=50), dead_letters=50))
    assert finding.sentence == "50 pieces of input were set aside as not understood, 0.05 % of the rows read"
    assert (finding.subject, "job.dead_letters()" in finding.move) == ("parse", True)


def test_no_sentence_holds_a_number_that_is_none() -> None:
    tasks = (reading(split("2", 200, 0), split("3", None, None)), task("enrich", 0, 980, 900, batch_duration_ms=None))
    every = status(*tasks, restarts=1, late_rows=7, dead_letters=2, checkpoints=(checkpoint(1, "failed"),))
    told = found(every, gives_to=FLOW, checkpoint_every_ms=1)
    assert {one.kind for one in told} >= {
        "held watermark",
        "restart",
        "late rows",
        "dead letters",
        "failed checkpoints",
    }
    for one in told:
        assert one.sentence
        assert one.move
        assert not {"nan", "None", "inf"} & set(re.findall(r"\w+", str(one)))


def test_every_rule_has_nothing_to_say_of_a_new_job() -> None:
    facts = Facts(JobStatus(id="j", name="n", state=JobState.STARTING))
    assert all(rule(facts) == [] for rule in RULES)


def test_a_row_of_the_far_future_is_named() -> None:
    far = NOW // SECOND + 40 * 365 * 86_400
    splits = (split("a.csv", 100, 0.1), split("b.csv", far - 10, 0.1, latest_us=far * SECOND))
    finding = only(status(reading(*splits)))
    assert (finding.kind, finding.severity) == ("far future", Severity.HINT)
    assert "a row of split b.csv of flights is of 2063-" in finding.sentence
    assert ", 40.0 years ahead of the clock" in finding.sentence
    late = [one for one in found(status(reading(*splits), late_rows=1)) if one.kind == "far future"]
    assert [one.severity for one in late] == [Severity.WARNING]


def test_a_first_row_that_is_far_ahead_of_all_others_is_named() -> None:
    ahead = split("a.csv", 0, 0.1, latest_us=NOW - 3_600 * SECOND)
    days_ms = 86_400_000.0
    window = msgspec.structs.replace(
        task("w", 0, late_rows=99), time=TimeStatus(late_by=((2 * days_ms, 9), (40 * days_ms, 90)))
    )
    said = [one for one in found(status(reading(ahead), window, rows_in=100, late_rows=99)) if one.kind == "far future"]
    assert [one.severity for one in said] == [Severity.WARNING]
    assert said[0].sentence.startswith("most rows are late, all of them by 1 d 0 h or more: a row of split a.csv of ")
    few = status(reading(ahead), window, rows_in=1_000, late_rows=99)
    assert [one for one in found(few) if one.kind == "far future"] == []


def test_the_row_of_the_far_future_is_shown_with_what_to_do() -> None:
    far = FurthestRow(us=(NOW + 90 * 86_400 * SECOND), split="/in/b.csv", step="scan_csv", column="at", row='{"n":7}')
    finding = only(status(task("scan_csv", time=TimeStatus(as_of_us=NOW, furthest=far))))
    assert finding.sentence.startswith("a row of split /in/b.csv of scan_csv is of 2024-02-12")
    assert finding.sentence.endswith('; the row: {"n":7}')
    assert ".filter(pl.col('at') < …).with_watermark('at', …)" in finding.move


def test_the_first_dead_letter_is_shown() -> None:
    one = status(task("read", dead_letters=2, dead_letter="column 'x' is new (b.csv)"), dead_letters=2)
    assert only(one).sentence.endswith("; the first: column 'x' is new (b.csv)")


def test_values_that_a_sink_wrote_as_null_are_counted_and_said() -> None:
    finding = only(status(task("out", 0, values_nulled=1_200), task("out", 1, values_nulled=34)))
    assert finding.kind == "nulled values"
    assert finding.sentence.startswith("1,234 values were NaN or infinite and were written as null")
