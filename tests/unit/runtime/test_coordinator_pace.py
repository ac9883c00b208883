"""The coordinator and the pace: who is told, what is shown, and what is refused."""

from __future__ import annotations

import msgspec
import pytest

from streamlab.core.options import JobOptions
from streamlab.observe.status import Failure, JobState
from streamlab.runtime.coordinator.attempt_state import Takeover
from streamlab.runtime.coordinator.coordinator import Coordinator
from streamlab.runtime.messages import protocol as p
from streamlab.runtime.messages.protocol import VertexLayout
from streamlab.state.checkpoints.manifest import KnownSplit

SINK = VertexLayout("sink", ("sink",), 1, is_source=False, is_sink=True)
SPLITS = {"one": (KnownSplit("a"),)}


def layout(*paces: str) -> p.Layout:
    sources = (
        VertexLayout(name, (name,), 1, is_source=True, is_sink=False, pace=pace)
        for name, pace in zip(("one", "two"), paces, strict=False)
    )
    return p.Layout(1, (*sources, SINK))


def new(*paces: str, takeover: Takeover | None = None) -> Coordinator:
    return Coordinator(
        "j", JobOptions("job", checkpoint_every_ms=1000), layout(*paces), submitted_us=0, takeover=takeover
    )


def running(*paces: str) -> Coordinator:
    coordinator = new(*paces)
    coordinator.start(1)
    coordinator.handle(p.WorkerStarted(0, 1, SPLITS), 2)
    return coordinator


@pytest.mark.parametrize(
    ("own", "shown"),
    [(("60x",), "60x"), (("max", "max"), "max"), (("max", "60x"), "each its own"), (("", "60x"), "60x"), (("",), "")],
)
def test_the_pace_of_the_sources_is_shown_until_another_is_set(own: tuple[str, ...], shown: str) -> None:
    assert running(*own).status().pace == shown


def test_workers_are_told_and_it_is_shown_at_once() -> None:
    coordinator = running("max", "")
    told, shown = coordinator.handle(p.PaceRequested("60x"), 5)
    assert told == p.SetPace("60x")
    assert (shown.status.pace, shown.status.pace_set) == ("60x", True)


@pytest.mark.parametrize("own", [(), ("",), ("", "")])
def test_a_job_whose_sources_are_live_refuses(own: tuple[str, ...]) -> None:
    coordinator = running(*own)
    refused = coordinator.handle(p.PaceRequested("60x"), 5)[0]
    assert isinstance(refused, p.Refuse)
    assert "live" in refused.reason
    assert coordinator.status().pace == ""


def test_a_job_that_stops_refuses() -> None:
    coordinator = running("max")
    coordinator.handle(p.StopRequested(), 5)
    assert coordinator.handle(p.PaceRequested("60x"), 6)[0] == p.Refuse("one that is stopping")


def test_a_job_that_starts_or_pauses_takes_it() -> None:
    coordinator = new("max")
    coordinator.start(1)
    coordinator.handle(p.PaceRequested("60x"), 2)
    coordinator.handle(p.PauseRequested(), 2)
    commands = coordinator.handle(p.WorkerStarted(0, 1, SPLITS), 3)
    assert [type(command) for command in commands[:3]] == [p.SetPace, p.SetPaused, p.Deploy]
    assert coordinator.handle(p.PaceRequested("max"), 4)[0] == p.SetPace("max")


def test_the_next_attempt_is_told_before_it_reads() -> None:
    coordinator = running("max")
    coordinator.handle(p.PaceRequested("60x"), 5)
    coordinator.handle(p.TaskFailed(0, 1, Failure(message="boom")), 6)
    assert coordinator.state is JobState.RESTARTING
    coordinator.handle(p.PaceRequested("10x"), 7)
    while coordinator.status().attempt == 1:
        coordinator.handle(p.Tick(1_000_000), 8)
    assert coordinator.handle(p.WorkerStarted(0, 2), 9)[:2] == [p.SetPace("10x"), p.Deploy(SPLITS)]


@pytest.mark.parametrize("was_set", [True, False])
def test_another_coordinator_knows_it_from_the_status(*, was_set: bool) -> None:
    coordinator = running("7x")
    if was_set:
        coordinator.handle(p.PaceRequested("60x"), 5)
    status = msgspec.json.decode(msgspec.json.encode(coordinator.status()), type=type(coordinator.status()))
    successor = new("7x", takeover=Takeover(1, layout("7x"), status=status))
    successor.start(6)
    commands = successor.handle(p.WorkerStarted(0, 2, SPLITS), 7)
    assert (p.SetPace("60x") in commands) == was_set
    assert successor.status().pace == ("60x" if was_set else "7x")


def test_a_job_that_starts_says_what_is_missing() -> None:
    coordinator = new("60x")
    coordinator.start(1)
    assert coordinator.status().awaits == "worker processes, 0 of 1 are there"
    coordinator.handle(p.WorkerStarted(0, 1), 2)
    assert coordinator.status().awaits == "workers to read the graph and to list the splits"
    coordinator.handle(p.WorkerStarted(0, 1, SPLITS), 3)
    assert (coordinator.status().state, coordinator.status().awaits) == (JobState.RUNNING, "")
