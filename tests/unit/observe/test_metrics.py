"""The list of metrics and the status that carries them say the same."""

from __future__ import annotations

import msgspec

from streamlab.observe.metrics import METRICS
from streamlab.observe.status import JobState, JobStatus, TaskStatus

_IDENTITY = {"vertex", "subtask", "steps", "finished", "reached", "time"}


def test_every_figure_of_a_task_is_defined_once() -> None:
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
    assert set(names) == {field.name for field in msgspec.structs.fields(TaskStatus)} - _IDENTITY


def test_units_stand_last_in_names_of_times() -> None:
    for metric in METRICS:
        if metric.unit.startswith("ms"):
            assert metric.name.endswith(("_ms", "_ms_per_s")), metric


def test_a_status_travels_as_json() -> None:
    status = JobStatus(id="1", name="n", state=JobState.RUNNING, tasks=(TaskStatus(vertex="v", subtask=0),))
    assert msgspec.json.decode(msgspec.json.encode(status), type=JobStatus) == status


def test_states_that_nothing_follows() -> None:
    assert {state for state in JobState if state.is_final} == {"finished", "stopped", "cancelled", "failed"}
