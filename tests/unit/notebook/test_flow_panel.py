"""The job graph as a panel draws it: places without overlap, and shares that are numbers or N/A."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlab.notebook.panel.course import Spent
from streamlab.notebook.panel.flow import graph_values
from streamlab.notebook.panel.layered import placed
from streamlab.observe.status import JobState, JobStatus, TaskStatus


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[str], list[tuple[str, str]]]:
    names = [f"v{i}" for i in range(draw(st.integers(0, 9)))]
    pairs = [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]
    edges = draw(st.lists(st.sampled_from(pairs), unique=True, max_size=14)) if pairs else []
    return names, edges


@given(graphs())
def test_edges_go_from_left_to_right_and_no_two_things_share_a_place(
    graph: tuple[list[str], list[tuple[str, str]]],
) -> None:
    vertices, edges = graph
    drawn = placed(vertices, edges)
    points = [place for path in drawn.edges for place in path[1:-1]]
    taken = [*drawn.vertices.values(), *points]
    assert len(set(taken)) == len(taken)
    assert all(0 <= place.layer < drawn.layers and 0 <= place.row < drawn.rows for place in taken)
    for (source, target), path in zip(edges, drawn.edges, strict=True):
        assert (path[0], path[-1]) == (drawn.vertices[source], drawn.vertices[target])
        assert [place.layer for place in path] == list(range(path[0].layer, path[-1].layer + 1))


def test_a_diamond_is_drawn_without_crossing() -> None:
    drawn = placed(["a", "b", "c", "d"], [("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")])
    assert [drawn.vertices[v] for v in "abcd"] == [(0, 0.5), (1, 0.0), (1, 1.0), (2, 0.5)]


def vertex(name: str, gives_to: list[str]) -> dict[str, Any]:
    return {
        "vertex": name,
        "steps": [name],
        "parallelism": 1,
        "gives_to": gives_to,
        "routed": ["forward"] * len(gives_to),
    }


CHAIN = [vertex("read", ["slow"]), vertex("slow", ["write"]), vertex("write", [])]


def task(name: str, busy: float, waiting: float, idle: float, **more: Any) -> TaskStatus:
    return TaskStatus(
        vertex=name, subtask=0, busy_ms_per_s=busy, backpressured_ms_per_s=waiting, idle_ms_per_s=idle, **more
    )


def status(*tasks: TaskStatus, **more: Any) -> JobStatus:
    return JobStatus(**{"id": "j", "name": "n", "state": JobState.RUNNING, "tasks": tasks, **more})


def test_shares_are_of_the_whole_and_told_in_words() -> None:
    shown = graph_values(status(task("read", 100, 850, 49.6), task("slow", 998, 0, 3)), CHAIN, {})
    read, slow, write = shown["vertices"]
    assert read["words"] == "busy 10 % · waiting 85 % · idle 5 %"
    assert slow["words"].startswith("busy >99 %")
    assert (write["shares"], write["words"]) == (None, "busy N/A · waiting N/A · idle N/A")
    assert "nan" not in str(shown).lower()


@pytest.mark.parametrize("state", [JobState.FINISHED, JobState.CANCELLED])
def test_an_ended_job_is_not_busy_but_keeps_its_averages(state: JobState) -> None:
    tasks = task("read", 50, 900, 50, rows_out=500), task("slow", 990, 0, 10)
    ended = status(*tasks, state=state, submitted_us=1, started_us=1, ended_us=2_000_001)
    shown = graph_values(ended, CHAIN, {"read": Spent(1.0, 1.0, 2.0)})
    read, slow, _ = shown["vertices"]
    assert (read["shares"], read["words"]) == ([0.25, 0.25, 0.5], "∅ busy 25 % · waiting 25 % · idle 50 %")
    assert slow["shares"] is None
    assert [edge["rate"] for edge in shown["edges"]] == ["∅ 250 rows/s", "∅ 0 rows/s"]


def test_names_of_steps_are_shown_as_text() -> None:
    shown = graph_values(status(), [vertex("\x1b[31mred", [])], {})
    assert shown["vertices"][0]["id"] == "␛[31mred"
