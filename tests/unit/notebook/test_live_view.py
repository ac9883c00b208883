"""When a live view draws, and what it leaves in the output."""

from __future__ import annotations

from typing import Any

import msgspec
import polars as pl
import pytest

from streamlab.notebook import live_view
from streamlab.notebook.live_view import LiveView, Pump
from streamlab.observe.status import JobState, JobStatus

WIDGET = "application/vnd.jupyter.widget-view+json"


class FakeJob:
    """A job whose status and results are set by the test."""

    def __init__(self) -> None:
        self.now = JobStatus(id="j-1", name="fake", state=JobState.RUNNING)
        self.table = pl.DataFrame({"n": [1]})
        self.reads = 0

    @property
    def status(self) -> JobState:
        return self.now.state

    def report(self) -> JobStatus:
        return self.now

    def results(self) -> pl.DataFrame:
        self.reads += 1
        return self.table

    def change(self, **values: Any) -> None:
        self.now = msgspec.structs.replace(self.now, **values)


class FakeHandle:
    """Collects what is put into an output."""

    def __init__(self) -> None:
        self.bundles: list[dict[str, Any]] = []

    def update(self, bundle: dict[str, Any], *, raw: bool) -> None:
        self.bundles.append(bundle)


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.s = 1000.0

    def monotonic(self) -> float:
        return self.s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(live_view, "time", clock)
    return clock


@pytest.fixture
def output(monkeypatch: pytest.MonkeyPatch) -> FakeHandle:
    handle = FakeHandle()

    def display(bundle: dict[str, Any], **_: Any) -> FakeHandle:
        handle.bundles.append(bundle)
        return handle

    monkeypatch.setattr(live_view, "display", display)
    return handle


def test_a_widget_is_numbered_and_silent_while_nothing_changes(clock: Clock, output: FakeHandle) -> None:
    job = FakeJob()
    view = LiveView(job, "widget", 5)
    widget = view._widget
    assert set(output.bundles[0]) == {WIDGET, "text/html", "text/plain"}
    assert widget.panel["seq"] == 1
    view.tick()
    assert widget.panel["seq"] == 1
    job.change(rows_in=5)
    clock.s += 1
    view.tick()
    assert widget.panel["seq"] == 2
    view.close()


def test_nothing_is_read_or_sent_while_nobody_looks(clock: Clock, output: FakeHandle) -> None:
    job = FakeJob()
    view = LiveView(job, "widget", 5)
    widget = view._widget
    assert widget.looked_at
    widget._on_message(widget, {"type": "looking", "view": "a", "looking": False}, [])
    reads = job.reads
    job.change(rows_in=5)
    clock.s += 1
    view.tick()
    assert (job.reads, widget.panel["seq"]) == (reads, 1)
    widget._on_message(widget, {"type": "looking", "view": "b", "looking": True}, [])
    view.tick()
    assert widget.panel["seq"] == 2
    view.close()


def test_the_end_replaces_the_widget_by_plain_html(clock: Clock, output: FakeHandle) -> None:
    job = FakeJob()
    view = LiveView(job, "widget", 5)
    job.change(state=JobState.FINISHED)
    view.tick()
    assert view.ended
    assert set(output.bundles[-1]) == {"text/html", "text/plain"}
    assert view._widget.panel["final"]
    updates = len(output.bundles)
    view.tick()
    assert len(output.bundles) == updates
    view.close()


def test_the_saved_copy_beside_a_widget_is_renewed_seldom(clock: Clock, output: FakeHandle) -> None:
    job = FakeJob()
    view = LiveView(job, "widget", 5)
    for second in range(30):
        job.change(rows_in=second)
        clock.s += 1
        view.tick()
    assert len(output.bundles) == 2
    assert WIDGET in output.bundles[-1]
    view.close()


def test_without_widgets_the_output_is_replaced_once_a_second(clock: Clock, output: FakeHandle) -> None:
    view = LiveView(FakeJob(), "static", 5)
    assert view._widget is None
    for _ in range(10):
        clock.s += 0.2
        view.tick()
    assert 2 <= len(output.bundles) <= 4
    assert all(set(bundle) == {"text/html", "text/plain"} for bundle in output.bundles)


def test_a_job_that_has_ended_already_needs_no_widget(output: FakeHandle) -> None:
    job = FakeJob()
    job.change(state=JobState.FAILED)
    view = LiveView(job, "widget", 5)
    assert view.ended
    assert WIDGET not in output.bundles[0]


def test_a_view_that_cannot_be_drawn_says_so_and_lets_the_others_go_on(clock: Clock, output: FakeHandle) -> None:
    broken, sound = FakeJob(), FakeJob()
    views = [LiveView(broken, "static", 5), LiveView(sound, "static", 5)]
    pump = Pump()
    pump._views = list(views)
    broken.table = None
    clock.s += 2
    pump.tick()
    assert views[0].ended
    assert "AttributeError" in str(output.bundles)
    assert not views[1].ended
    assert pump._views == [views[1]]
