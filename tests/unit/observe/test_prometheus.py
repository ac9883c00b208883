"""The text that Prometheus scrapes, read back by Prometheus' own parser."""

from __future__ import annotations

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US
from streamlab.observe.metrics import METRICS
from streamlab.observe.prometheus import exposition
from streamlab.observe.status import (
    CheckpointStatus,
    JobState,
    JobStatus,
    SplitStatus,
    TaskStatus,
    TimeStatus,
)

ODD = 'a "quoted" \\ name\nof two lines'


def full() -> JobStatus:
    split = SplitStatus(split=ODD, step="read", rows=5, watermark_us=1_500_000, last_row_us=2_000_000, begun=True)
    task = TaskStatus(
        vertex=ODD,
        subtask=1,
        rows_in=5,
        busy_ms_per_s=250,
        lag_ms=1500,
        watermark_us=1_500_000,
        late_rows=2,
        time=TimeStatus(splits=(split,)),
    )
    checkpoint = CheckpointStatus(id=3, state="complete", triggered_us=4_000_000, duration_ms=20, size_bytes=99)
    return JobStatus(
        id="j-1", name=ODD, state=JobState.RUNNING, rows_in=5, late_rows=2, tasks=(task,), checkpoints=(checkpoint,)
    )


def read(*statuses: JobStatus) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(exposition(statuses))}


def value(families: dict[str, Metric], name: str) -> float:
    (sample,) = families[name].samples
    return sample.value


def test_the_text_is_read_back_with_its_values_in_base_units() -> None:
    families = read(full())
    assert value(families, "streamlab_job_rows_in") == 5
    assert value(families, "streamlab_task_busy_ratio") == 0.25
    assert value(families, "streamlab_task_lag_seconds") == 1.5
    assert value(families, "streamlab_task_watermark_timestamp_seconds") == 1.5
    assert value(families, "streamlab_checkpoint_duration_seconds") == 0.02
    assert value(families, "streamlab_checkpoint_size_bytes") == 99
    assert value(families, "streamlab_split_last_row_timestamp_seconds") == 2


def test_labels_are_escaped_and_come_back_as_they_were() -> None:
    families = read(full())
    (sample,) = families["streamlab_split_rows"].samples
    assert sample.labels == {
        "job": ODD,
        "id": "j-1",
        "vertex": ODD,
        "subtask": "1",
        "source": "read",
        "split": ODD,
    }


def test_a_state_is_one_of_all() -> None:
    states = {one.labels["state"]: one.value for one in read(full())["streamlab_job_state"].samples}
    assert states == {str(state): float(state is JobState.RUNNING) for state in JobState}


def test_each_family_has_its_meaning_and_its_kind() -> None:
    text = exposition([full()])
    for name, family in read(full()).items():
        assert family.documentation, name
        assert family.type in {"counter", "gauge"}, name
        assert all(one.name.endswith("_total") == (family.type == "counter") for one in family.samples), name
    helps = [line.split()[2] for line in text.splitlines() if line.startswith("# HELP")]
    types = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert helps == types
    assert len(set(helps)) == len(helps)


def test_every_metric_of_a_task_is_there_unless_prometheus_makes_it_itself() -> None:
    known = TaskStatus(**{"vertex": "v", "subtask": 0, **{metric.name: 7 for metric in METRICS}})
    families = read(JobStatus(id="j", name="n", state=JobState.RUNNING, tasks=(known,)))
    rates = {"rows_in_per_s", "rows_out_per_s"}
    assert len([name for name in families if name.startswith("streamlab_task_")]) == len(METRICS) - len(rates)


def test_what_is_not_known_has_no_line() -> None:
    families = read(JobStatus(id="j", name="n", state=JobState.STARTING, tasks=(TaskStatus(vertex="v", subtask=0),)))
    assert not {"streamlab_task_lag_seconds", "streamlab_job_latency_p50_seconds", "streamlab_checkpoint_id"} & set(
        families
    )
    assert "NaN" not in exposition([JobStatus(id="j", name="n", state=JobState.STARTING)])


def test_a_watermark_that_is_no_time_has_no_line() -> None:
    for us in (MIN_TIME_US, MAX_TIME_US):
        assert "watermark" not in exposition([JobStatus(id="j", name="n", state=JobState.RUNNING, watermark_us=us)])


def test_several_jobs_share_their_families() -> None:
    other = JobStatus(id="j-2", name="other", state=JobState.FINISHED, rows_in=8)
    samples = read(full(), other)["streamlab_job_rows_in"].samples
    assert {one.labels["id"]: one.value for one in samples} == {"j-1": 5, "j-2": 8}


def test_no_jobs_no_text() -> None:
    assert exposition([]) == ""
