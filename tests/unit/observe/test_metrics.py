"""The list of metrics and the status that carries them say the same."""

from __future__ import annotations

from pathlib import Path

import msgspec

from streamlab.observe.metrics import METRICS
from streamlab.observe.status import JobState, JobStatus, TaskStatus

_IDENTITY = {"vertex", "subtask", "steps", "finished", "reached", "time", "dead_letter"}


def test_every_figure_of_a_task_is_defined_once() -> None:
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))
    assert set(names) == {field.name for field in msgspec.structs.fields(TaskStatus)} - _IDENTITY


def test_the_page_about_observing_lists_them_all() -> None:
    page = (Path(__file__).parents[3] / "docs" / "observing.md").read_text(encoding="utf-8")
    listed = page.partition("<!-- metrics: begin -->")[2].partition("<!-- metrics: end -->")[0]
    rows = [f"| `{one.name}` | {one.kind} | {one.unit} | {one.meaning} |" for one in METRICS]
    assert listed.strip().splitlines()[2:] == rows


def test_units_stand_last_in_names_of_times() -> None:
    for metric in METRICS:
        if metric.unit.startswith("ms"):
            assert metric.name.endswith(("_ms", "_ms_per_s")), metric


def test_a_status_travels_as_json() -> None:
    status = JobStatus(id="1", name="n", state=JobState.RUNNING, tasks=(TaskStatus(vertex="v", subtask=0),))
    assert msgspec.json.decode(msgspec.json.encode(status), type=JobStatus) == status


def test_states_that_nothing_follows() -> None:
    assert {state for state in JobState if state.is_final} == {"finished", "stopped", "cancelled", "failed"}
