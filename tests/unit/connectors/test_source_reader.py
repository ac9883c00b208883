"""The reader: order, watermarks, idleness, pace; and the sources that live in memory."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st
from reading import Run

from streamlab.connectors.contracts.source import Position, Read, Source, Split, SplitReader
from streamlab.connectors.contracts.timing import timing
from streamlab.connectors.reading import event_time_check as vetting
from streamlab.connectors.reading.progress import ReaderSnapshot, SplitProgress, assigned, merge_snapshots
from streamlab.connectors.sources.frames import from_frame
from streamlab.connectors.sources.generate import generate
from streamlab.core.errors import OptionError, PlanError, SourceError
from streamlab.core.event_time.time import MAX_TIME_US
from streamlab.core.messages import Batch, End, Idle, Watermark

SECOND_US = 1_000_000


def at(*seconds: float | None) -> pl.DataFrame:
    us = [None if second is None else int(second * SECOND_US) for second in seconds]
    return pl.DataFrame({"at": pl.Series(us, dtype=pl.Int64).cast(pl.Datetime("us"))})


@dataclass(frozen=True)
class Script(Source):
    """Splits whose rows come at given wall-clock times: (time, frame) each."""

    script: tuple[tuple[tuple[int, pl.DataFrame], ...], ...] = ()
    endless: bool = True
    known: tuple[int | None, ...] = field(default=())

    bounded = False

    def splits(self) -> Sequence[Split]:
        known = self.known or (None,) * len(self.script)
        return [Split(str(i), None, known[i]) for i in range(len(self.script))]

    def open(self, split: Split, position: Position) -> SplitReader:
        return _Scripted(self.script[int(split.id)], endless=self.endless)


class _Scripted(SplitReader):
    def __init__(self, script: tuple[tuple[int, pl.DataFrame], ...], *, endless: bool) -> None:
        self.script, self.endless, self.next = script, endless, 0

    @property
    def done(self) -> bool:
        return not self.endless and self.next == len(self.script)

    def read(self, limit: int, now_us: int) -> Read | None:
        if self.next == len(self.script) or self.script[self.next][0] > now_us:
            return None
        frame = self.script[self.next][1]
        self.next += 1
        return Read(frame, self.next, frame.height)

    def wakeup_us(self, now_us: int) -> int | None:
        return self.script[self.next][0] if self.next < len(self.script) else None


def script(*splits: Sequence[tuple[int, pl.DataFrame]], endless: bool = True, known: Any = (), **said: Any) -> Script:
    parts = tuple(tuple(part) for part in splits)
    return Script(
        "script", at(0).schema, parts, endless, tuple(known), timing=timing("at", **{"watermark": "0s", **said})
    )


# -- watermarks, order, idleness ---------------------------------------------------------------------------------------


def test_the_split_that_lies_back_is_read_next() -> None:
    source = script([(0, at(s)) for s in (10, 11, 12)], [(0, at(s)) for s in (1, 11.5, 13)], endless=False)
    run = Run(source, batch_rows=1).to_end()
    assert run.rows.get_column("at").dt.epoch("ms").to_list() == [10000, 1000, 11500, 11000, 12000, 13000]


def test_an_unread_split_holds_the_watermark_just_below_its_earliest_time() -> None:
    source = script([(0, at(1)), (0, at(9))], [(0, at(5))], endless=False, known=(SECOND_US, 5 * SECOND_US))
    run = Run(source, batch_rows=1)
    assert run.poll()[1:] == [Watermark(SECOND_US - 1)]
    assert run.poll()[1:] == [Watermark(5 * SECOND_US - 1)]


def test_an_idle_split_holds_nobody_back_and_all_idle_say_so() -> None:
    source = script([(0, at(1)), (9 * SECOND_US, at(2))], [(0, at(5))], idle_timeout="3s")
    run = Run(source, batch_ms=0)
    assert run.poll(0)[1:] == [Watermark(SECOND_US - 1)]
    assert run.poll(SECOND_US) == []
    assert run.poll(2 * SECOND_US) == []
    assert run.poll(6 * SECOND_US) == [Watermark(5 * SECOND_US - 1), Idle()]
    assert run.poll(7 * SECOND_US) == []
    assert [type(message) for message in run.poll(9 * SECOND_US)] == [Batch]


def test_without_a_delay_there_is_no_watermark_before_the_end() -> None:
    source = script([(0, at(1)), (0, at(2))], endless=False, watermark=None)
    run = Run(source, batch_rows=1).to_end()
    assert [m for m in run.messages if not isinstance(m, Batch)] == [Watermark(MAX_TIME_US), End()]


def test_rows_that_trickle_in_are_gathered() -> None:
    source = script([(ms * 1_000, at(ms)) for ms in range(40)])
    run = Run(source, batch_ms=10)
    sizes = {ms: sum(m.collected().height for m in run.poll(ms * 1_000) if isinstance(m, Batch)) for ms in range(40)}
    assert {ms: size for ms, size in sizes.items() if size} == {0: 1, 10: 10, 20: 10, 30: 10}
    assert run.reader.wakeup_us(39_000) == 40_000
    assert run.reader.rows_read == 31
    run.messages += run.reader.stop(39_000)
    assert run.rows.height == 40
    assert run.messages[-2:] == [Watermark(MAX_TIME_US), End()]


def test_a_split_with_nothing_to_read_keeps_no_other_waiting() -> None:
    run = Run(script([(0, at(1 + n)) for n in range(6)], [(99_000_000, at(9))]), batch_rows=1, batch_ms=50)
    given = [sum(m.collected().height for m in run.poll(0) if isinstance(m, Batch)) for _ in range(6)]
    assert given == [1] * 6


def test_frames_of_a_list_are_batches_of_their_own() -> None:
    run = Run(from_frame([at(1, 2), at(), at(9), at(3)], event_time="at", watermark="0s")).to_end()
    assert [m.collected().height for m in run.messages if isinstance(m, Batch)] == [2, 1, 1]
    assert run.messages[1] == Watermark(2 * SECOND_US - 1)
    assert run.messages[3] == Watermark(9 * SECOND_US - 1)


def test_splits_are_shared_out_in_order_of_time() -> None:
    splits = [Split("f10", None, 5), Split("f2", None, 5), Split("x", None, 1), Split("unknown")]
    assert [s.id for s in assigned(splits, 0, 2)] == ["unknown", "f2"]
    assert [s.id for s in assigned(splits, 1, 2)] == ["x", "f10"]


def test_a_subtask_without_splits_ends_at_once() -> None:
    source = from_frame(at(1))
    assert Run(source, subtask=1, parallelism=2).poll() == [Watermark(MAX_TIME_US), End()]


def test_snapshots_of_all_subtasks_make_one() -> None:
    one = ReaderSnapshot({"a": SplitProgress(3, 0, 7, finished=False)}, 7, 9)
    two = ReaderSnapshot({"b": SplitProgress(1, 2, 5, finished=True)}, 5, None)
    assert merge_snapshots([one, two]) == ReaderSnapshot({**one.splits, **two.splits}, 5, 9)
    assert merge_snapshots([]) == ReaderSnapshot()


# -- time that is no use -----------------------------------------------------------------------------------------------


def test_null_times_are_dead_letters() -> None:
    run = Run(from_frame(at(1, None, 2, None), event_time="at", watermark="0s")).to_end()
    assert run.rows.height == 2
    assert run.reasons == ["the event time 'at' is null"] * 2
    assert run.letters.item(0, "input") == '{"at":null}'
    assert run.reader.rows_read == 4
    with pytest.raises(SourceError, match="is null"):
        Run(from_frame(at(None), event_time="at"), on_error="fail").to_end()


def test_null_times_of_no_event_time_are_rows() -> None:
    assert Run(from_frame(at(None, 1))).to_end().rows.height == 2


def test_a_time_far_ahead_does_not_close_every_window() -> None:
    frames = [at(1, 2, 9_999_999, 3), at(9_999_999), at(4, 30, 55, -500), at(9_999_999, 60)]
    source = from_frame(frames, event_time="at", watermark="0s", max_advance="30s")
    run = Run(source).to_end()
    assert run.rows.get_column("at").dt.epoch("s").to_list() == [1, 2, 3, 4, 30, 55, -500, 60]
    assert run.letters.height == 3
    assert "max_advance" in run.reasons[0]
    assert max(m.us for m in run.messages if isinstance(m, Watermark) and m.us < MAX_TIME_US) < 61 * SECOND_US


@given(
    st.lists(st.integers(0, 60) | st.integers(0, 2_000), min_size=1, max_size=80),
    st.integers(1, 90),
    st.integers(1, 30),
    st.sampled_from([1, 2, 256]),
)
def test_which_times_are_too_far_ahead_depends_on_the_rows_before_them_alone(seconds, cut, advance, look) -> None:
    latest, expected = seconds[0], []
    for second in seconds:
        if second <= latest + advance:
            expected.append(second)
            latest = max(latest, second)
    frames = [at(*seconds[begin : begin + cut]) for begin in range(0, len(seconds), cut)]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vetting, "_FIRST_LOOK_ROWS", look)
        run = Run(from_frame(frames, event_time="at", watermark="5s", max_advance=f"{advance}s")).to_end()
    assert run.rows.get_column("at").dt.epoch("s").to_list() == expected
    assert run.letters.height == len(seconds) - len(expected)


def test_times_before_1970() -> None:
    run = Run(from_frame([at(-20), at(-10)], event_time="at", watermark="5s")).to_end()
    assert run.messages[1] == Watermark(-25 * SECOND_US - 1)


# -- pace --------------------------------------------------------------------------------------------------------------


def test_rows_wait_for_their_time() -> None:
    source = from_frame(at(100, 101, 100.5, 103), event_time="at", watermark="0s", pace="2x")
    run = Run(source, batch_ms=0)
    seen = {ms: sum(m.collected().height for m in run.poll(ms * 1_000) if isinstance(m, Batch)) for ms in (0, 499)}
    assert seen == {0: 1, 499: 0}
    assert run.reader.wakeup_us(499_000) == 500_000
    assert [m.collected().height for m in run.poll(500_000) if isinstance(m, Batch)] == [2]
    assert isinstance(run.poll(1_500_000)[-1], End)


def test_splits_are_paced_together() -> None:
    source = script([(0, at(10, 12))], [(0, at(11))], endless=False, pace="realtime")
    run = Run(source, batch_ms=0)
    for second, rows in ((0, 1), (1, 2), (2, 3)):
        run.poll(second * SECOND_US)
        assert run.rows.height == rows


def test_stopping_a_paced_reader_leaves_unread_what_the_pace_holds_back() -> None:
    run = Run(from_frame(at(1, 100), event_time="at", pace="realtime"))
    run.poll(0)
    run.messages += run.reader.stop(0)
    assert run.rows.height == 1


# -- what users say ----------------------------------------------------------------------------------------------------


def test_frames_of_every_kind() -> None:
    lazy, pandas = at(1).lazy(), pd.DataFrame({"at": pd.to_datetime([1], unit="s").as_unit("us")})
    for frame in (at(1), lazy, pandas, [at(1)], (f for f in [lazy, at()])):
        assert Run(from_frame(frame, event_time="at")).to_end().rows.rows() == at(1).rows()


@pytest.mark.parametrize("frame", [None, 5, "text", {"a": [1]}, [1], []])
def test_what_is_no_frame(frame: Any) -> None:
    with pytest.raises(OptionError, match="from_frame"):
        from_frame(frame)


def test_frames_that_do_not_fit_or_never_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="same columns"):
        from_frame([at(1), pl.DataFrame({"n": [1]})])
    with pytest.raises(PlanError, match="Python objects"):
        from_frame(pl.DataFrame({"o": pl.Series([object()], dtype=pl.Object)}))
    monkeypatch.setattr("streamlab.connectors.sources.frames._MAX_FRAMES", 10)
    with pytest.raises(OptionError, match=r"sl\.generate"):
        from_frame(itertools.repeat(at(1)))


@pytest.mark.parametrize(
    "said",
    [
        {"watermark": "1s"},
        {"pace": "60x"},
        {"event_time": "at", "watermark": "-1s"},
        {"event_time": "at", "watermark": "1mo"},
        {"event_time": "at", "watermark": "soon"},
        {"event_time": "at", "idle_timeout": "0s"},
        {"event_time": "at", "max_advance": "0s"},
        *({"event_time": "at", "pace": pace} for pace in ("fast", "0x", "-1x", 0, "inf", "nan", True, None)),
    ],
    ids=str,
)
def test_timing_that_makes_no_sense(said: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        timing(**said)


def test_pace_in_every_form() -> None:
    paces = [timing("at", pace=pace).pace for pace in ("max", "realtime", "60x", "1.5", 2, 0.5)]
    assert paces == [None, 1.0, 60.0, 1.5, 2.0, 0.5]


# -- generated rows ----------------------------------------------------------------------------------------------------


def numbers(start: int, count: int) -> pl.DataFrame:
    return pl.DataFrame({"n": range(start, start + count)}, schema={"n": pl.Int64})


def test_generated_rows_come_at_their_rate() -> None:
    run = Run(generate(numbers, rows_per_second=100), batch_ms=0)
    counts = []
    for ms in (0, 5, 10, 100):
        run.poll(ms * 1_000)
        counts.append(run.rows.height)
    assert counts == [1, 1, 2, 11]
    assert run.reader.wakeup_us(100_000) == 110_000
    assert run.rows.get_column("n").to_list() == list(range(11))


def test_a_generator_may_end_by_itself() -> None:
    data = numbers(0, 25)
    run = Run(generate(data.slice), batch_rows=10).to_end()
    assert run.rows.rows() == data.rows()
    assert Run(generate(numbers, limit=0)).to_end().rows.is_empty()


def numbers_from_nowhere(start: int) -> pl.DataFrame:
    return at(start)


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (lambda start, n: 1 / 0, "ZeroDivisionError"),
        (lambda start, n: [1], "DataFrame"),
        (numbers_from_nowhere, "TypeError"),
    ],
)
def test_a_generator_that_fails_at_once(function: Any, text: str) -> None:
    with pytest.raises(PlanError, match=text):
        generate(function)


@pytest.mark.parametrize("later", [at(1), numbers(0, 1).cast(pl.String), numbers(0, 60)])
def test_a_generator_that_changes_its_mind(later: pl.DataFrame) -> None:
    source = generate(lambda start, n: numbers(start, n) if start == 0 else later, limit=50)
    with pytest.raises(SourceError, match=r"function\(10, 10\)"):
        Run(source, batch_rows=10).to_end()


@pytest.mark.parametrize("said", [{"rows_per_second": 0}, {"rows_per_second": -1}, {"limit": -1}, {"limit": 1.5}])
def test_a_generator_with_odd_options(said: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        generate(numbers, **said)
