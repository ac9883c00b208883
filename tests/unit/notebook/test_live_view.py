"""When a live view draws, and what it leaves in the output."""

from __future__ import annotations

import threading
from itertools import pairwise
from statistics import median
from typing import Any

import msgspec
import polars as pl
import pytest
from test_panel_upkeep import SPLITS

from streamlab.notebook.view import live_view, output, widget
from streamlab.notebook.view.live_view import NEW_S, SETTLE_S, LiveView
from streamlab.notebook.view.refresher import EAGER_S, Pump
from streamlab.notebook.view.widget import UNANSWERED_S
from streamlab.observe.late_notes import SHOWN as LATE
from streamlab.observe.panes import SHOWN as PANES
from streamlab.observe.status import JobState, JobStatus

WIDGET = output.WIDGET_MIME


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

    key_columns = None
    ends_with_process = True
    is_kept = True

    @property
    def name(self) -> str:
        return self.now.name

    def results(self) -> pl.DataFrame:
        self.reads += 1
        return self.table

    def history_feed(self) -> FakeJob:
        return self

    def read_samples(self) -> list[Any]:
        return []

    def diagnosis(self, report: JobStatus) -> tuple[()]:
        return ()

    def graph(self) -> pl.DataFrame:
        return pl.DataFrame()

    def newest_changes(self) -> pl.DataFrame:
        return self.table.select(pl.lit("+I").alias("op"), pl.all()).reverse()

    def change(self, **values: Any) -> None:
        self.now = msgspec.structs.replace(self.now, **values)


class TimedJob(FakeJob):
    """One with nothing to say of time."""

    def newest_panes(self) -> tuple[pl.DataFrame, bool]:
        return PANES.to_frame(), True

    def lateness(self) -> pl.DataFrame:
        return LATE.to_frame()

    def splits(self, report: JobStatus) -> pl.DataFrame:
        del report
        return SPLITS


class FakeHandle:
    """Collects what is put into an output."""

    def __init__(self, bundle: dict[str, Any]) -> None:
        self.bundles = [bundle]

    def update(self, bundle: dict[str, Any], *, raw: bool) -> None:
        self.bundles.append(bundle)


Outputs = list[FakeHandle]


class Clock:
    """Time that passes when told to."""

    def __init__(self) -> None:
        self.s = 1000.0
        self.worked_s = 0.0

    def monotonic(self) -> float:
        return self.s

    def process_time(self) -> float:
        return self.worked_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(live_view, "time", clock)
    return clock


@pytest.fixture
def outputs(monkeypatch: pytest.MonkeyPatch) -> Outputs:
    """Return the outputs of the cell, as they come."""
    handles: Outputs = []

    def display(bundle: dict[str, Any], **_: Any) -> FakeHandle:
        handles.append(FakeHandle(bundle))
        return handles[-1]

    monkeypatch.setattr(output, "display", display)
    return handles


def say(view: LiveView, message: dict[str, Any]) -> None:
    """Do as the front end does when something was clicked."""
    view._widget._on_message(view._widget, message, [])


def test_a_widget_is_numbered_and_silent_while_nothing_changes(clock: Clock, outputs: Outputs) -> None:
    job = FakeJob()
    view = LiveView(job, "widget", 5)
    widget = view._widget
    shown, copy = (handle.bundles[0] for handle in outputs)
    assert shown.pop(WIDGET)["model_id"] == widget.model_id
    assert shown == {"text/html": "", "text/plain": ""}
    assert f'class="{widget.copy_name}"' in copy["text/html"]
    assert "fake" in copy["text/plain"]
    assert widget.frame["seq"] == 1
    view.tick()
    assert widget.frame["seq"] == 1
    job.change(rows_in=5)
    clock.s += 1
    view.tick()
    assert widget.frame["seq"] == 2
    view.close()


@pytest.mark.parametrize(("work_s", "rest_s"), [(0.3, 2.7), (0.01, 0.09), (5.0, 2.7)])
def test_a_view_rests_after_its_work_and_not_after_what_others_did_meanwhile(
    clock: Clock, outputs: Outputs, monkeypatch: pytest.MonkeyPatch, work_s: float, rest_s: float
) -> None:
    job = FakeJob()
    view = LiveView(job, "widget", 5)
    drawn: list[float] = []

    def read() -> pl.DataFrame:
        drawn.append(clock.s)
        clock.s += 0.3
        clock.worked_s += work_s
        return pl.DataFrame({"n": [clock.s]})

    monkeypatch.setattr(job, "results", read)
    for _ in range(1000):
        view.tick()
        clock.s += 0.01
    rests = [after - before for before, after in pairwise(drawn)]
    # Now and then more is drawn: the saved copy.
    assert median(rests) == pytest.approx(max(rest_s, 0.31), abs=0.02)
    view.close()


def test_cells_that_end_one_after_the_other_do_not_send_more(clock: Clock, outputs: Outputs) -> None:
    """At the end of each cell views are drawn; at most ten times a second all the same."""
    job = FakeJob()
    view = LiveView(job, "widget", 5)
    before = view._widget.frame["seq"]
    for _ in range(200):
        job.change(rows_in=job.now.rows_in + 1)
        clock.s += 0.01
        view.tick()
    assert view._widget.frame["seq"] - before <= 20
    view.close()


def test_the_tab_time_is_drawn_once_a_second_and_at_once_when_something_is_clicked(
    clock: Clock, outputs: Outputs
) -> None:
    job = TimedJob()
    view = LiveView(job, "widget", 5)
    say(view, {"type": "choose", "of": None, "fields": {"tab": "time"}})
    view.tick()
    before = view._widget.frame["seq"]
    assert view._widget.frame["tab"] == "time"
    for _ in range(500):
        job.change(rows_in=job.now.rows_in + 1)
        clock.s += 0.01
        view.tick()
    assert 4 <= view._widget.frame["seq"] - before <= 5
    say(view, {"type": "choose", "of": "splits", "fields": {"where": "a"}})
    view.tick()
    assert view._widget.frame["body"]["splits"]["where"] == "a"
    view.close()


@pytest.mark.parametrize("rows_come", [True, False])
def test_first_rows_are_drawn_almost_at_once(clock: Clock, outputs: Outputs, rows_come: bool) -> None:
    """Until then somebody waits for them, but not for ever."""
    job = FakeJob()
    rows, job.table = job.table, job.table.clear()
    view = LiveView(job, "widget", 5)
    view.tick()
    assert view.is_new
    if rows_come:
        job.table = rows
        clock.s += EAGER_S
        view.tick()
        assert view._widget.frame["body"]["height"] == 1
    else:
        clock.s += NEW_S
    assert not view.is_new
    view.close()


def test_nothing_is_read_or_sent_while_nobody_looks(clock: Clock, outputs: Outputs) -> None:
    job = FakeJob()
    view = LiveView(job, "widget", 5)
    widget = view._widget
    assert widget.looked_at
    widget._on_message(widget, {"type": "looking", "view": "a", "looking": False}, [])
    reads = job.reads
    job.change(rows_in=5)
    clock.s += 1
    view.tick()
    assert (job.reads, widget.frame["seq"]) == (reads, 1)
    widget._on_message(widget, {"type": "looking", "view": "b", "looking": True}, [])
    view.tick()
    assert widget.frame["seq"] == 2
    view.close()


def heard(view: LiveView, message: dict[str, Any], *, beside: bool) -> None:
    """Do as a front end whose messages come in beside a running cell, or only between cells."""
    if not beside:
        say(view, message)
        return
    thread = threading.Thread(target=say, args=(view, message))
    thread.start()
    thread.join()


@pytest.mark.parametrize("beside", [True, False])
def test_a_view_that_went_without_a_word_is_given_up_unless_it_cannot_speak(
    clock: Clock, outputs: Outputs, monkeypatch: pytest.MonkeyPatch, beside: bool
) -> None:
    monkeypatch.setattr(widget, "time", clock)
    job = FakeJob()
    view = LiveView(job, "widget", 5)

    def frames(seconds: int, *, answers: bool) -> int:
        before = view._widget.frame["seq"]
        for _ in range(seconds):
            job.change(rows_in=job.now.rows_in + 1)
            clock.s += 1
            view.tick()
            if answers and clock.s % 10 == 0:
                heard(view, {"type": "looking", "view": "a", "looking": True}, beside=beside)
        return view._widget.frame["seq"] - before

    assert frames(200, answers=True) == 200
    unheard = frames(200, answers=False)
    assert (unheard <= UNANSWERED_S + 10) if beside else (unheard == 200)
    heard(view, {"type": "check", "seq": 0}, beside=beside)
    assert frames(20, answers=False) == 20
    # A job that has nothing to tell for long gets no answers, and that says nothing of who looks.
    clock.s += 10_000
    assert frames(5, answers=True) == 5
    view.close()


@pytest.mark.parametrize("looks", [True, False])
def test_at_the_end_the_copy_is_renewed_and_the_panel_stays(clock: Clock, outputs: Outputs, looks: bool) -> None:
    job = FakeJob()
    view = LiveView(job, "widget", 5)
    say(view, {"type": "looking", "view": "a", "looking": looks})
    job.change(state=JobState.FINISHED)
    view.tick()
    shown, copy = outputs
    assert len(shown.bundles) == 1
    assert "finished" in copy.bundles[-1]["text/html"]
    assert " at " not in copy.bundles[-1]["text/html"].partition("fake")[0]
    assert view._widget.frame["head"]["final"] == looks
    clock.s += 1000
    view.tick()
    assert not view.ended
    say(view, {"type": "looking", "view": "a", "looking": True})
    view.tick()
    assert view._widget.frame["head"]["final"]
    view.close()


def test_the_panel_of_an_ended_job_takes_clicks_for_ever_and_costs_nothing(clock: Clock, outputs: Outputs) -> None:
    job = FakeJob()
    job.table = pl.DataFrame({"n": [1, 2, 3]})
    job.change(state=JobState.FAILED)
    view = LiveView(job, "widget", 5)
    view.tick()
    clock.s += SETTLE_S
    reads = job.reads
    for _ in range(5):
        view.tick()
    assert job.reads == reads
    clock.s += 1e6
    say(view, {"type": "choose", "of": "results", "fields": {"where": "n > 2"}})
    view.tick()
    assert view._widget.frame["body"]["left"] == 1
    assert not view.ended
    view.close()


def test_what_a_deleted_job_has_shown_stays(clock: Clock, outputs: Outputs) -> None:
    job = FakeJob()
    job.change(state=JobState.FINISHED)
    view = LiveView(job, "widget", 5)
    pump = Pump()
    pump._views = [view]
    job.is_kept = False
    pump.tick()
    assert view._widget.frame["body"]["height"] == 1
    assert "old jobs are deleted" in view._widget.frame["said"]["text"]
    assert len(outputs[0].bundles) == 1
    assert pump._views == []
    view.close()


def test_a_copy_of_a_running_job_says_when_it_was_running(clock: Clock, outputs: Outputs) -> None:
    job = FakeJob()
    job.change(reported_us=1_357_000_000_000_000)
    view = LiveView(job, "widget", 5)
    assert "running</b> at 2013-01-01" in outputs[1].bundles[0]["text/html"]
    view.close()


def test_the_copy_beside_a_widget_is_renewed_now_and_then_if_it_is_another(clock: Clock, outputs: Outputs) -> None:
    job = FakeJob()
    view = LiveView(job, "widget", 5)
    shown, copy = outputs
    for second in range(30):
        job.change(rows_in=second)
        clock.s += 1
        view.tick()
    assert len(shown.bundles) == 1
    assert len(copy.bundles) == 1 + 3
    assert "13" in copy.bundles[2]["text/html"]
    for _ in range(30):
        clock.s += 1
        view.tick()
    assert len(copy.bundles) <= 1 + 4
    view.close()


def test_without_widgets_the_output_is_replaced_once_a_second(clock: Clock, outputs: Outputs) -> None:
    job = FakeJob()
    view = LiveView(job, "static", 5)
    assert view._widget is None
    for rows in range(10):
        clock.s += 0.2
        job.change(rows_in=rows)
        view.tick()
    assert 2 <= len(outputs[0].bundles) <= 4
    assert all(set(bundle) == {"text/html", "text/plain"} for bundle in outputs[0].bundles)


def test_what_is_chosen_is_in_the_next_frame(clock: Clock, outputs: Outputs) -> None:
    job = FakeJob()
    job.table = pl.DataFrame({"n": [1, 2, 3], "k": ["a", "b", "c"]})
    woken: list[bool] = []
    view = LiveView(job, "widget", 5, on_click=lambda: woken.append(True))
    say(view, {"type": "choose", "of": "results", "fields": {"sort": 0, "descending": True, "where": "n < 3"}})
    view.tick()
    body = view._widget.frame["body"]
    assert (body["left"], body["sort"], body["descending"], body["where"]) == (2, 0, True, "n < 3")
    assert woken
    view.close()


@pytest.mark.parametrize(
    "message",
    [
        {"type": "choose", "fields": {"tab": "nowhere"}},
        {"type": "choose", "fields": {"colour": 1}},
        {"type": "choose", "fields": None},
        {"type": "do", "command": "pause", "arguments": 5},
        {"type": "error", "text": "x is undefined"},
    ],
)
def test_what_cannot_be_understood_is_told_and_changes_nothing(outputs: Outputs, message: dict[str, Any]) -> None:
    view = LiveView(FakeJob(), "widget", 5)
    before = view._screen._choice
    say(view, message)
    view.tick()
    assert view._widget.frame["said"]["error"]
    assert view._screen._choice == before
    view.close()


def test_a_command_is_carried_out_beside_and_its_error_told(outputs: Outputs) -> None:
    told = threading.Event()
    view = LiveView(FakeJob(), "widget", 5, on_click=told.set)
    view._screen._commands.put(lambda: 1 // 0, lambda text, error: told.set() if error else None)
    assert told.wait(60)
    view.close()


def test_a_frame_that_got_lost_is_sent_again(clock: Clock, outputs: Outputs, monkeypatch: pytest.MonkeyPatch) -> None:
    view = LiveView(FakeJob(), "widget", 5)
    sent: list[str] = []
    monkeypatch.setattr(view._widget, "send_state", sent.append)
    say(view, {"type": "check", "seq": 1})
    view.tick()
    assert sent == []
    say(view, {"type": "check", "seq": 0})
    view.tick()
    assert sent == ["frame"]
    view.close()


def test_a_view_that_cannot_be_drawn_says_so_and_lets_the_others_go_on(clock: Clock, outputs: Outputs) -> None:
    broken, sound = FakeJob(), FakeJob()
    views = [LiveView(broken, "static", 5), LiveView(sound, "static", 5)]
    pump = Pump()
    pump._views = list(views)
    broken.table = None
    clock.s += 2
    pump.tick()
    assert views[0].ended
    assert "AttributeError" in str(outputs[0].bundles)
    assert not views[1].ended
    assert pump._views == [views[1]]
