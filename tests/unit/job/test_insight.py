"""What a job shows of itself, from a folder that holds what its processes would have written."""

from __future__ import annotations

import datetime as dt

import msgspec
import polars as pl
import pytest

from streamlab.connectors.contracts.dead_letters import letters
from streamlab.core.event_time.time import MAX_TIME_US
from streamlab.core.messages import DEAD_LETTER_SCHEMA, DEAD_LETTERS
from streamlab.core.options import JobOptions
from streamlab.job.job import Job
from streamlab.observe.late_notes import LATE_NOTES, SHOWN, stored
from streamlab.observe.panes import SHOWN as PANES
from streamlab.observe.panes import STORED
from streamlab.observe.status import ClockStatus, JobState, JobStatus, SplitStatus, TaskStatus, TimeStatus
from streamlab.runtime.client.client import JobHandle
from streamlab.runtime.job_folder.attempts import Attempt, record_attempt
from streamlab.runtime.job_folder.folder import JobFolder, JobMeta, create_folder
from streamlab.runtime.job_folder.history_file import HistoryWriter
from streamlab.runtime.job_folder.job_processes import JobProcesses
from streamlab.runtime.messages.protocol import Layout, VertexLayout
from streamlab.runtime.process.processes import process_id
from streamlab.runtime.tables.results import SideTables
from streamlab.runtime.tables.window_files import PaneReader, PaneWriter, ask, wait_for_answer
from streamlab.runtime.task.task_values import SideOutput

NOW = 1_700_000_000_000_000
SECOND = 1_000_000
LAYOUT = Layout(
    2,
    (
        VertexLayout("read", ("read",), 1, is_source=True, is_sink=False, gives_to=(("sum", "hash by k"),)),
        VertexLayout("sum", ("sum", "results"), 2, is_source=False, is_sink=True),
    ),
)


@pytest.fixture
def folder(tmp_path, monkeypatch) -> JobFolder:
    monkeypatch.setenv("STREAMLAB_HOME", str(tmp_path))
    made = create_folder()
    made.write_meta(
        JobMeta(
            id=made.id,
            name="job",
            options=JobOptions("job"),
            created_us=0,
            client=None,
            sockets=str(made.path / "sockets"),
            layout=LAYOUT,
        )
    )
    record_attempt(made.results, Attempt(1, 0, LAYOUT))
    return made


def job(folder: JobFolder, **status: object) -> Job:
    known = {"id": folder.id, "name": "job", "state": JobState.FINISHED, "reported_us": NOW}
    folder.write_status(JobStatus(**{**known, **status}))
    return Job(JobHandle(folder))


def moment(us: int) -> dt.datetime:
    return dt.datetime.fromtimestamp(us / SECOND, dt.UTC)


def test_splits(folder) -> None:
    held = SplitStatus(
        split="a",
        step="read",
        rows=3,
        watermark_us=NOW - 5 * SECOND,
        latest_us=NOW - SECOND,
        last_row_us=NOW - 2_000,
        begun=True,
    )
    ended = SplitStatus(split="b", step="read", rows=9, watermark_us=MAX_TIME_US, begun=True, ended=True)
    unread = SplitStatus(split="c", step="read")
    time = TimeStatus(as_of_us=NOW, splits=(held, ended, unread), split_count=3)
    found = job(folder, tasks=(TaskStatus(vertex="read", subtask=1, time=time),)).splits()
    assert found.rows() == [
        ("read", 1, "read", "a", 3, moment(NOW - 5 * SECOND), 5000.0, moment(NOW - SECOND), 2.0, True, False, False),
        ("read", 1, "read", "b", 9, None, None, None, None, True, False, True),
        ("read", 1, "read", "c", 0, None, None, None, None, False, False, False),
    ]
    assert job(folder).splits().schema == found.schema


def test_history_and_its_feed(folder) -> None:
    writer = HistoryWriter(folder.path)
    shown = job(folder)
    feed = shown.history_feed()
    assert feed.read_new().tasks.height == 0
    for at in range(3):
        tasks = tuple(TaskStatus(vertex="sum", subtask=subtask, rows_in=at) for subtask in range(2))
        writer.note(
            JobStatus(id="j", name="n", state=JobState.RUNNING, reported_us=NOW + at * SECOND, rows_in=at, tasks=tasks)
        )
    assert feed.read_new().job["rows_in"].to_list() == [0, 1, 2]
    assert feed.read_new().job.height == 0
    assert shown.history().select("vertex", "subtask", "rows_in").rows()[-1] == ("sum", 1, 2)
    assert shown.history("job")["at"].to_list() == [moment(NOW + at * SECOND) for at in range(3)]
    assert shown.history("splits").height == shown.history("arrivals").height == 0


def test_late_rows_with_what_became_of_them(folder) -> None:
    rows = pl.DataFrame({"n": [1, 2]})
    details = pl.DataFrame(
        {
            "outcome": ["set aside", "merged"],
            "time_us": [NOW, NOW + 1],
            "watermark_us": [NOW + 2_000, NOW + 2_001],
            "start_us": [NOW - 500, NOW],
            "end_us": [NOW + 500, NOW + 1_001],
        }
    )
    sides = SideTables(folder.results, 0, 1)
    sides.store(SideOutput(LATE_NOTES, "sum", stored(details, rows, NOW)))
    sides.close()
    assert job(folder).lateness().height == 0
    sides = SideTables(folder.results, 1, 1)
    sides.store(SideOutput(LATE_NOTES, "sum", stored(details, rows, NOW)))
    sides.flush(now=True)
    sides.close()
    found = job(folder).lateness()
    assert found.select("outcome", "step", "behind_ms", "closed_for_ms", "n").rows() == [
        ("merged", "sum", 2.0, 1.0, 2),
        ("set aside", "sum", 2.0, 1.5, 1),
    ]
    # What an attempt noted that was taken back did not happen.
    record_attempt(folder.results, Attempt(2, 0, LAYOUT))
    assert job(folder).lateness().schema == SHOWN


class Windows:
    """Stands for a task: it has one window."""

    def __init__(self, keys: int) -> None:
        self.keys = keys

    def panes(self) -> list[tuple[str, pl.DataFrame]]:
        return [("sum", pl.DataFrame([(NOW, NOW + 1, "open", self.keys, None, 0, 0)], schema=STORED, orient="row"))]


def test_a_job_that_was_looked_at_before_shows_what_workers_write_later(folder) -> None:
    watched = job(folder)
    assert watched.panes().height == 0
    for keys in (3, 4, 4, 5):
        PaneWriter(folder.path, 0, 1).write([Windows(keys)])
        assert watched.panes()["keys"].to_list() == [keys]
    watched.panes().insert_column(0, pl.Series("mine", [1]))
    assert watched.panes().schema == PANES
    record_attempt(folder.results, Attempt(2, 0, LAYOUT))
    assert watched.panes().height == 0


def test_panes_of_all_workers_are_added_up(folder) -> None:
    assert job(folder).panes().schema == PANES
    for worker, keys in ((0, 3), (1, 4)):
        PaneWriter(folder.path, worker, 1).write([Windows(keys)])
    assert job(folder).panes().select("step", "state", "keys", "rows").rows() == [("sum", "open", 7, None)]


def test_whoever_looks_again_is_told_which_windows_are_of_an_earlier_look(folder, monkeypatch) -> None:
    reader = PaneReader(folder.path)
    now_s = [1000.0]
    monkeypatch.setattr("streamlab.runtime.tables.window_files.time.monotonic", lambda: now_s[0])
    writers = [PaneWriter(folder.path, worker, 1) for worker in range(2)]

    def told(keys: int) -> None:
        for writer in writers:
            writer.write([Windows(keys)])

    assert not reader.look()[1]
    told(1)
    assert reader.look()[1]
    now_s[0] += 4
    assert reader.look()[1]
    now_s[0] += 6
    panes, are_new = reader.look()
    assert (panes["keys"].to_list(), are_new) == ([2], False)
    told(7)
    panes, are_new = reader.look()
    assert (panes["keys"].to_list(), are_new) == ([14], True)


def test_panes_of_an_earlier_attempt_do_not_count(folder) -> None:
    PaneWriter(folder.path, 0, 1).write([Windows(3)])
    record_attempt(folder.results, Attempt(2, 0, LAYOUT))
    assert job(folder).panes().height == 0


def test_a_worker_writes_windows_only_while_somebody_looks(folder) -> None:
    writers = [PaneWriter(folder.path, worker, 1) for worker in range(2)]
    writers[0].write_if_asked([Windows(1)])
    assert not (folder.path / "panes").exists()
    asked = ask(folder.path)
    assert not wait_for_answer(folder.path, asked, 0)
    writers[0].write_if_asked([Windows(1)])
    assert not wait_for_answer(folder.path, asked, 0)
    writers[1].write_if_asked([Windows(2)])
    assert wait_for_answer(folder.path, asked, 0)
    assert job(folder).panes()["keys"].to_list() == [3]


class Slow(Windows):
    """Each look at it lasts a tenth of a second, of which the worker itself works for so long."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, work_s: float) -> None:
        super().__init__(1)
        self.now_s = self.worked_s = 0.0
        self.seen: list[float] = []
        self._work_s = work_s
        monkeypatch.setattr("streamlab.runtime.tables.window_files.time.monotonic", lambda: self.now_s)
        monkeypatch.setattr("streamlab.runtime.tables.window_files.time.process_time", lambda: self.worked_s)

    def panes(self) -> list[tuple[str, pl.DataFrame]]:
        self.seen.append(self.now_s)
        self.now_s += 0.1
        self.worked_s += self._work_s
        return super().panes()


@pytest.mark.parametrize(("work_s", "least", "most"), [(0.1, 1, 3), (0.001, 40, 50)])
def test_a_worker_spends_little_of_its_time_on_windows_and_what_others_take_does_not_count(
    folder, monkeypatch, work_s, least, most
) -> None:
    slow = Slow(monkeypatch, work_s)
    writer = PaneWriter(folder.path, 0, 1)
    while slow.now_s < 25:
        ask(folder.path)
        writer.write_if_asked([slow])
        slow.now_s += 0.01
    assert least <= len(slow.seen) <= most


def test_a_worker_of_a_paused_job_answers_soon_and_rests_most_of_the_time(folder, monkeypatch) -> None:
    """Whoever steps through a job and looks at its windows would see those before the step otherwise."""
    slow = Slow(monkeypatch, 0.1)
    writer = PaneWriter(folder.path, 0, 1)
    ask(folder.path)
    writer.write_if_asked([slow])
    while slow.now_s < 10:
        ask(folder.path)
        writer.write_if_asked([slow], paused=True)
        slow.now_s += 0.01
    assert slow.seen[1] < 0.5
    assert len(slow.seen) < 27


def test_a_file_that_is_half_written_does_no_harm(folder) -> None:
    PaneWriter(folder.path, 0, 1).write([Windows(3)])
    (folder.path / "panes" / "1.msgpack").write_bytes(b"\x93")
    assert job(folder).panes()["keys"].to_list() == [3]


def test_diagnosis_and_completeness(folder) -> None:
    quiet = job(folder)
    assert tuple(quiet.diagnosis()) == ()
    assert repr(quiet.diagnosis()) == "Nothing to say."
    assert quiet.completeness().rows() == []
    clock = ClockStatus(step="read", delay_ms=100)
    tasks = (
        TaskStatus(vertex="read", subtask=0, time=TimeStatus(clocks=(clock,))),
        TaskStatus(vertex="sum", subtask=0, late_rows=5, time=TimeStatus(late_by=((900.0, 5),))),
    )
    late = job(folder, tasks=tasks, rows_in=100, late_rows=5)
    (finding,) = late.diagnosis()
    assert finding.sentence == "5 rows were set aside because they came too late: 5 % of all"
    assert "→ raise the watermark's delay, now 100 ms: 1.0 s would have kept 99 %" in repr(late.diagnosis())
    assert late.diagnosis().table().select("kind", "severity").rows() == [("late rows", "warning")]
    assert late.completeness().rows() == [(0.0, 0.95), (900.0, 1.0)]


def test_a_bottleneck_is_found_along_the_edges_of_the_graph(folder) -> None:
    tasks = (
        TaskStatus(vertex="read", subtask=0, steps=("read",), backpressured_ms_per_s=900),
        TaskStatus(vertex="sum", subtask=0, steps=("sum",), busy_ms_per_s=950, rows_in_per_s=5),
        TaskStatus(vertex="sum", subtask=1, steps=("sum",), busy_ms_per_s=950, rows_in_per_s=5),
    )
    folder.write_processes(JobProcesses(process_id()))
    running = job(folder, state=JobState.RUNNING, tasks=tasks, rows_in=5)
    assert [one.kind for one in running.diagnosis()] == ["bottleneck"]
    # Before there are rows, whoever is busy is starting.
    assert job(folder, state=JobState.RUNNING, tasks=tasks).diagnosis() == ()


def test_metrics_leave_out_what_is_no_figure(folder) -> None:
    found = job(folder, tasks=(TaskStatus(vertex="sum", subtask=0, merged_late_rows=3),)).metrics()
    assert "time" not in found.columns
    assert found["merged_late_rows"].to_list() == [3]
    assert found["batch_duration_ms"].to_list() == [None]
    assert set(found.columns) == {f.name for f in msgspec.structs.fields(TaskStatus)} - {"time"}


def test_dead_letters_that_were_read_are_not_read_again(folder) -> None:
    def letter(n: int) -> SideOutput:
        return SideOutput(DEAD_LETTERS, "read", letters("read", [("no number", f"x{n}", f"line {n}")]))

    sides = SideTables(folder.results, 0, 1)
    reading = job(folder)
    assert reading.dead_letters().schema == DEAD_LETTER_SCHEMA
    for n in range(3):
        sides.store(letter(n))
        sides.flush(now=True)
        assert reading.dead_letters()["input"].to_list() == [f"x{i}" for i in range(n + 1)]
        # What was read is made useless, in place.
        (log,) = (folder.results / DEAD_LETTERS).iterdir()
        with log.open("r+b") as file:
            file.write(b"\xff" * log.stat().st_size)
    sides.close()
