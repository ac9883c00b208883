"""Figures over time as the lines of charts, and the tables of the time tab."""

from __future__ import annotations

import datetime as dt

import msgspec
import polars as pl

from streamlab.notebook.charts.wire import Binary
from streamlab.notebook.panel.chart_data import packed_lines
from streamlab.notebook.panel.course import KEPT_TIMES, Course
from streamlab.notebook.panel.course_lines import MOST_POINTS, RECENT
from streamlab.notebook.panel.time import shown_late, shown_panes, shown_splits
from streamlab.observe.history import ArrivalSample, Sample, SplitSample, TaskSample
from streamlab.observe.late_notes import SHOWN as LATE
from streamlab.observe.panes import SHOWN as PANES

S = 1_000_000
NOW_S = 1_700_000_000


def sample(second: int, *, late: tuple[int, ...] = (), watermark_s: int | None = None) -> Sample:
    at = (NOW_S + second) * S
    mark = None if watermark_s is None else watermark_s * S
    tasks = tuple(
        TaskSample("read", subtask, 5, 5, 10, 10, 1, 1, 1, 2, mark, 700, 0, 0, 0, 0, 1000, 10, 2.5, None, None)
        for subtask in (0, 1)
    )
    arrivals = (
        ArrivalSample(
            "win", 0, "win", at, 9, None, None, mark, ((watermark_s or 0) * S + 60 * S,), len(late), late, 0, ()
        ),
    )
    splits = (SplitSample("read", 0, "a", 1, mark, False, False), SplitSample("read", 0, "b", 1, mark, False, False))
    return Sample(
        second + 1,
        at,
        at,
        1,
        "running",
        0,
        9,
        4,
        90,
        40,
        mark,
        0,
        0,
        0,
        2000,
        None,
        None,
        None,
        tasks,
        splits,
        arrivals,
    )


def local_ms(s: int) -> float:
    """Return what the clock on the wall shows."""
    offset = dt.datetime.fromtimestamp(s, tz=dt.UTC).astimezone().utcoffset()
    return (s + offset.total_seconds()) * 1000


class Feed:
    """Gives samples in portions."""

    def __init__(self, *portions: list[Sample]) -> None:
        self._portions = list(portions)

    def read_samples(self) -> list[Sample]:
        return self._portions.pop(0) if self._portions else []


def test_before_there_is_a_history_there_is_nothing_to_draw() -> None:
    course = Course(Feed())
    course.read()
    for lines in (
        course.watermarks(),
        course.lags().lines,
        course.arrivals(),
        course.ahead().lines,
        course.of_vertices(lambda figures: figures.state_bytes),
    ):
        assert lines == []
    assert all(line.x == [] for line in course.rates())


def split(name: str, watermark_s: int) -> SplitSample:
    return SplitSample("read", 0, name, 1, watermark_s * S, False, False)


def test_subtasks_are_one_line_and_splits_one_each() -> None:
    samples = []
    for second, mark in enumerate((100, 160)):
        own = {"splits": (split("a", mark), split("b", mark + 50)), "rows_in": 30 * second, "rows_out": 20 * second}
        samples.append(msgspec.structs.replace(sample(second, watermark_s=mark), **own))
    course = Course(Feed(samples[:1], samples[1:]))
    course.read()
    course.read()
    course.read()
    read, b = course.watermarks()
    assert (read.label, b.label) == ("read, a", "b")
    assert (read.x, read.y) == ([local_ms(NOW_S), local_ms(NOW_S + 1)], [100_000.0, 160_000.0])
    assert read.is_steps
    assert course.of_vertices(lambda figures: figures.state_bytes)[0].y == [2000.0, 2000.0]
    assert course.of_vertices(lambda figures: figures.queued_batches)[0].y == [4.0, 4.0]
    # Since the sample before, where there was one, so that they agree with the counts.
    assert [line.y for line in course.rates()] == [[90.0, 30.0], [40.0, 20.0]]
    lag = course.lags()
    assert (lag.lines[0].y, lag.y_label) == ([0.7, 0.7], "seconds behind the clock")


def test_no_chart_has_two_lines_that_coincide() -> None:
    one = sample(0, watermark_s=1).tasks[0]
    for lead_s, labels in ((0, []), (1, []), (30, ["read", "count"])):
        samples = []
        for second in range(100):
            ahead = msgspec.structs.replace(one, watermark_us=(second + lead_s) * S)
            behind = msgspec.structs.replace(one, vertex="count", watermark_us=second * S)
            samples.append(msgspec.structs.replace(sample(second), tasks=(ahead, behind), splits=()))
        course = Course(Feed(samples))
        course.read()
        assert [line.label for line in course.watermarks()] == labels
        # The lag is the same for both, and one line says so.
        assert [line.label for line in course.lags().lines] == ["read, count"]
    equal = [msgspec.structs.replace(sample(second), rows_out_per_s=90) for second in range(3)]
    course = Course(Feed(equal))
    course.read()
    assert [line.label for line in course.rates()] == ["rows in/s, rows out/s"]


def test_the_watermark_is_a_staircase_and_late_rows_are_points_behind_it() -> None:
    course = Course(Feed([sample(0, watermark_s=100), sample(1, watermark_s=160, late=(130 * S,))]))
    course.read()
    stairs, rows, late, merged = course.arrivals()
    assert (stairs.is_steps, stairs.y) == (True, [100_000.0, 160_000.0])
    assert rows.y == [160_000.0, 220_000.0]
    assert (late.label, late.y, merged.y) == ("late, set aside", [130_000.0], [])


def test_rows_are_as_far_behind_as_the_watermark_that_judged_them_says() -> None:
    """In a replay the watermark goes on by days within the interval at whose end it is known."""
    hour = 3600 * S
    arrival = sample(0, watermark_s=46 * 3600, late=(0,)).arrivals[0]
    arrival = msgspec.structs.replace(
        arrival, sample_us=(5 * hour,), sample_watermark_us=(4 * hour,), late_watermark_us=(3 * hour + 22 * 60 * S,)
    )
    course = Course(Feed([msgspec.structs.replace(sample(0), arrivals=(arrival,))]))
    course.read()
    (zero, rows, late, merged), label = course.ahead()
    assert label == "hours ahead"
    assert (set(zero.y), rows.y, [round(y, 3) for y in late.y], merged.y) == ({0.0}, [1.0], [-3.367], [])
    packed = packed_lines([zero, rows, late, merged], Binary())
    assert [one["marker"] for one in packed["points"]] == ["circle", "x"]


def test_the_newest_moments_are_all_drawn() -> None:
    course = Course(Feed([sample(second, watermark_s=second) for second in range(1000)]))
    course.read()
    stairs = course.arrivals()[0]
    newest = stairs.x[-RECENT:]
    assert newest == [local_ms(NOW_S + second) for second in range(1000 - RECENT, 1000)]


def test_a_long_history_is_bounded_in_memory_and_on_the_wire() -> None:
    course = Course(Feed([sample(second, watermark_s=second) for second in range(KEPT_TIMES + 500)]))
    course.read()
    course._feed = Feed([sample(second, watermark_s=second) for second in range(KEPT_TIMES + 500, KEPT_TIMES + 700)])
    course.read()
    line = course.arrivals()[0]
    assert len(line.x) <= MOST_POINTS + 2 * RECENT
    assert line.x[-1] == local_ms(NOW_S + KEPT_TIMES + 699)
    assert len(course._moments) <= KEPT_TIMES


def test_of_many_steps_those_that_stand_out_are_drawn() -> None:
    one = sample(0, watermark_s=1).tasks[0]
    tasks = tuple(
        msgspec.structs.replace(one, vertex=f"v{n:02}", state_bytes=n, watermark_us=(99 - n) * S, lag_ms=n)
        for n in range(30)
    )
    course = Course(Feed([msgspec.structs.replace(sample(0), tasks=tasks, splits=())]))
    course.read()
    for lines in (course.of_vertices(lambda figures: figures.state_bytes), course.watermarks(), course.lags().lines):
        assert [line.label for line in lines] == [*(f"v{n}" for n in range(22, 30)), "and 22 more"]


def test_tables_have_signs_and_spans_in_words() -> None:
    hour = dt.datetime(2013, 1, 1, 5, tzinfo=dt.UTC)
    panes = pl.DataFrame([("w", hour, hour, "open", 1, None, 0, 0)], schema=PANES, orient="row")
    assert shown_panes(panes)["state"].to_list() == ["○ open"]
    late = pl.DataFrame([("set aside", "w", hour, hour, hour, 90_000.0, hour, hour, 1300.0)], schema=LATE, orient="row")
    assert shown_late(late.with_columns(n=1)).row(0)[:2] == ("set aside", "1 min 30 s")
    splits = pl.DataFrame(
        {
            "vertex": "v", "subtask": 0, "source": "s", "split": ["a", "b", "c", "d"], "rows": 1, "watermark": hour,
            "lag_ms": [None, 5.0, 5.0, 5.0], "latest": hour, "quiet_ms": 1.0, "begun": [True, True, False, True],
            "idle": [False, True, False, False], "ended": [True, False, False, False],
        }
    )  # fmt: skip
    shown = shown_splits(splits)
    assert shown["state"].to_list() == ["■ ended", "◌ idle", "○ waits", "● being read"]
    assert shown["lag"].to_list()[:2] == ["—", "5 ms"]
