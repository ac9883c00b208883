"""Watermarks: the classes against Flink's rules, case by case, and against naive models on random histories."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlab.core.errors import InternalError, OptionError
from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US
from streamlab.core.event_time.watermark_assigner import WatermarkAssigner, timer_interval_us
from streamlab.core.event_time.watermarks import (
    Active,
    BoundedOutOfOrderness,
    IdleClock,
    PartitionWatermarks,
    WatermarkMerger,
)
from streamlab.core.messages import Idle, Watermark


def drive(merger: WatermarkMerger, *steps: tuple[int, int | str]) -> list[list[object]]:
    """Apply (channel, watermark | "idle" | "active" | "end") steps and return what each of them gave."""
    out: list[list[object]] = []
    for channel, what in steps:
        if isinstance(what, int):
            given_out = merger.on_watermark(channel, what)
        else:
            given_out = {"idle": merger.on_idle, "active": merger.on_active, "end": merger.on_end}[what](channel)
        out.append(
            [s.us if isinstance(s, Watermark) else "idle" if isinstance(s, Idle) else "active" for s in given_out]
        )
    return out


class TestBoundedOutOfOrderness:
    def test_starts_at_the_minimum_and_does_not_overflow(self) -> None:
        watermarks = BoundedOutOfOrderness(10**18, 1000)
        assert watermarks.current == MIN_TIME_US
        assert watermarks.observe(MIN_TIME_US + 5) is None
        assert watermarks.current == MIN_TIME_US

    def test_sql_has_no_minus_one_tick(self) -> None:
        assert BoundedOutOfOrderness(1_000, 1_000).observe(10_000) == 8_000
        assert BoundedOutOfOrderness(1_000, 1_000, minus_tick=False).observe(10_000) == 9_000

    def test_no_rows_say_nothing(self) -> None:
        assert BoundedOutOfOrderness(0, 1).observe(None) is None

    def test_refuses_a_negative_delay(self) -> None:
        with pytest.raises(OptionError, match="zero or more"):
            BoundedOutOfOrderness(-1, 1)

    @settings(deadline=None)
    @given(st.lists(st.integers(-(2**60), 2**60)), st.integers(0, 2**60))
    def test_is_the_maximum_less_the_delay_and_grows_only(self, times: list[int], delay: int) -> None:
        watermarks = BoundedOutOfOrderness(delay, 1)
        for at, time in enumerate(times):
            before = watermarks.current
            grown = watermarks.observe(time)
            assert watermarks.current == max(max(times[: at + 1]) - delay - 1, MIN_TIME_US)
            assert grown == (watermarks.current if watermarks.current > before else None)


class TestIdleClock:
    def test_first_check_without_activity_starts_the_countdown(self) -> None:
        clock = IdleClock(10)
        assert [clock.is_idle(t) for t in (1000, 1010, 1011, 1500)] == [False, False, True, True]

    def test_activity_ends_idleness_and_the_next_quiet_check_starts_anew(self) -> None:
        clock = IdleClock(10)
        clock.is_idle(0)
        assert clock.is_idle(11)
        clock.activity()
        assert [clock.is_idle(t) for t in (12, 40, 50, 51)] == [False, False, False, True]

    def test_time_while_held_back_does_not_count(self) -> None:
        clock = IdleClock(10)
        clock.is_idle(0)
        clock.pause(5)
        assert clock.due_us is None
        assert not clock.is_idle(1000)
        clock.resume(1000)
        assert clock.due_us == 1006
        assert not clock.is_idle(1005)
        assert clock.is_idle(1006)

    def test_is_due_when_a_check_first_says_idle(self) -> None:
        clock = IdleClock(10)
        assert clock.due_us is None
        clock.is_idle(7)
        assert clock.due_us == 18
        assert clock.is_idle(18)

    @pytest.mark.parametrize("timeout", [0, -1])
    def test_refuses_a_timeout_that_is_not_positive(self, timeout: int) -> None:
        with pytest.raises(OptionError, match="idle_timeout"):
            IdleClock(timeout)


class TestWatermarkMerger:
    def test_waits_for_every_channel(self) -> None:
        assert drive(WatermarkMerger(3), (0, 0), (1, 0), (2, 0)) == [[], [], [0]]

    def test_lower_watermarks_are_ignored(self) -> None:
        assert drive(WatermarkMerger(1), (0, 25), (0, 18), (0, 42)) == [[25], [], [42]]

    def test_all_idle_gives_the_maximum_then_idle(self) -> None:
        steps = [(0, 10), (1, 5), (2, 3), (0, "idle"), (1, "idle"), (2, "idle")]
        assert drive(WatermarkMerger(3), *steps) == [[], [], [3], [], [], [10, "idle"]]

    def test_the_maximum_is_given_even_when_the_last_channel_lags(self) -> None:
        steps = [(0, 100), (1, 50), (2, 70), (1, "idle"), (1, "active"), (1, 60), (0, "idle"), (2, "idle"), (1, "idle")]
        assert drive(WatermarkMerger(3), *steps)[2:] == [[50], [70], [], [], [], [], [100, "idle"]]

    def test_a_channel_that_wakes_counts_once_it_has_caught_up(self) -> None:
        steps = [(0, 10), (1, 7), (2, 3), (2, "idle"), (2, "active"), (2, 5), (2, 9), (1, 12)]
        assert drive(WatermarkMerger(3), *steps) == [[], [], [3], [7], [], [], [], [9]]

    def test_a_channel_that_wakes_ahead_moves_the_watermark(self) -> None:
        steps = [(0, 10), (1, 20), (2, 30), (2, "idle"), (0, "idle"), (0, "active"), (1, "idle"), (2, "active")]
        assert drive(WatermarkMerger(3), *steps)[2:] == [[10], [], [20], [], [], [30]]

    def test_nothing_when_only_a_lagging_channel_is_active(self) -> None:
        steps = [(0, 10), (1, 7), (2, "idle"), (2, "active"), (0, "idle"), (1, "idle")]
        assert drive(WatermarkMerger(3), *steps) == [[], [], [7], [], [], []]

    def test_status_is_given_only_when_it_changes(self) -> None:
        steps = [(1, "active"), (1, "idle"), (0, "idle"), (0, "idle"), (1, "active"), (0, "active")]
        assert drive(WatermarkMerger(2), *steps) == [[], [], ["idle"], [], ["active"], []]

    def test_watermarks_of_an_idle_channel_are_ignored(self) -> None:
        steps = [(0, 25), (0, "idle"), (0, 50), (0, "active"), (0, 50)]
        assert drive(WatermarkMerger(1), *steps) == [[25], ["idle"], [], ["active"], [50]]

    def test_an_ended_channel_stops_counting(self) -> None:
        assert drive(WatermarkMerger(2), (0, 5), (1, 3), (1, "end"), (0, 9)) == [[], [3], [5], [9]]

    def test_the_maximum_ends_a_channel_and_comes_out_when_all_have_ended(self) -> None:
        steps = [(0, 5), (1, 3), (1, MAX_TIME_US), (1, "end"), (0, MAX_TIME_US), (0, "end")]
        assert drive(WatermarkMerger(2), *steps) == [[], [3], [5], [], [MAX_TIME_US], []]

    def test_an_ended_channel_beside_an_idle_one_does_not_end_the_stream(self) -> None:
        steps = [(0, 5), (1, 3), (0, "idle"), (1, "end"), (0, "active"), (0, 6), (0, "idle"), (0, "end")]
        assert drive(WatermarkMerger(2), *steps) == [
            [],
            [3],
            [],
            [5, "idle"],
            ["active"],
            [6],
            ["idle"],
            ["active", MAX_TIME_US],
        ]

    def test_goes_on_from_a_watermark(self) -> None:
        merger = WatermarkMerger(2, start_us=7)
        assert merger.current == 7
        assert drive(merger, (0, 6), (1, 9), (0, 8)) == [[], [], [8]]

    def test_says_which_channel_holds_it_back(self) -> None:
        merger = WatermarkMerger(2)
        drive(merger, (0, 5), (1, "idle"))
        assert [merger.watermark_of(c) for c in (0, 1)] == [5, MIN_TIME_US]
        assert [merger.is_channel_idle(c) for c in (0, 1)] == [False, True]
        assert not merger.is_idle

    def test_refuses_no_channels_and_a_foreign_state(self) -> None:
        with pytest.raises(InternalError):
            WatermarkMerger(0)
        with pytest.raises(InternalError):
            WatermarkMerger.restore({"current": 1})

    @settings(deadline=None)
    @given(st.data())
    def test_against_the_rule_written_naively(self, data: st.DataObject) -> None:
        channels = data.draw(st.integers(1, 4))
        what = st.one_of(st.integers(-5, 20), st.sampled_from(["idle", "active", "end"]))
        steps = data.draw(st.lists(st.tuples(st.integers(0, channels - 1), what), max_size=40))
        merger = WatermarkMerger(channels)
        cut = data.draw(st.integers(0, len(steps)))
        got = drive(merger, *steps[:cut])
        got += drive(WatermarkMerger.restore(merger.snapshot()), *steps[cut:])
        own = [MIN_TIME_US] * channels
        status = ["active"] * channels
        lagging = [False] * channels
        low, idle, expected = MIN_TIME_US, False, []
        for channel, step in steps:
            out: list[object] = []
            if isinstance(step, int):
                if status[channel] == "active":
                    own[channel] = max(own[channel], step)
            elif status[channel] != "end":
                lagging[channel] = step == "active" and (status[channel] == "idle" or lagging[channel])
                status[channel] = step
            lagging = [late and own[c] < low for c, late in enumerate(lagging)]
            left = [c for c in range(channels) if status[c] != "end"]
            counted = [own[c] for c in left if status[c] == "active" and not lagging[c]]
            all_idle = bool(left) and all(status[c] == "idle" for c in left)
            if idle and not all_idle:
                out.append("active")
            goal = MAX_TIME_US if not left else max(own[c] for c in left) if all_idle else min(counted, default=low)
            if goal > low:
                low = goal
                out.append(low)
            if all_idle and not idle:
                out.append("idle")
            idle = all_idle
            expected.append(out)
        assert got == expected
        rising = [us for out in got for us in out if isinstance(us, int)]
        assert rising == sorted(set(rising))


class TestPartitionWatermarks:
    @staticmethod
    def of(*splits: str) -> PartitionWatermarks:
        parts = PartitionWatermarks()
        for split in splits:
            parts.add(split)
        return parts

    def test_minimum_over_splits_that_are_not_idle(self) -> None:
        parts = self.of("a", "b", "c")
        assert parts.on_watermark("a", 2) == []
        assert parts.on_watermark("b", 5) == []
        assert parts.on_idle("c") == [Watermark(2)]
        assert parts.on_idle("a") == [Watermark(5)]
        assert parts.on_watermark("a", 3) == []
        assert parts.current == 5

    def test_all_idle_gives_the_maximum_then_idle_and_any_sign_of_life_ends_it(self) -> None:
        parts = self.of("a", "b")
        parts.on_watermark("a", 5)
        assert parts.on_watermark("b", 2) == [Watermark(2)]
        assert parts.on_idle("a") == []
        assert parts.on_idle("b") == [Watermark(5), Idle()]
        assert parts.on_idle("b") == []
        assert parts.is_idle
        assert parts.on_watermark("b", 3) == [Active()]
        assert parts.on_idle("b") == [Idle()]
        assert parts.on_active("a") == [Active()]

    def test_idle_without_any_watermark_gives_none(self) -> None:
        parts = self.of("a")
        assert parts.on_idle("a") == [Idle()]
        assert parts.on_watermark("a", 0) == [Active(), Watermark(0)]

    def test_deferred_changes_wait_for_the_next_combination(self) -> None:
        parts = self.of("a", "b")
        assert parts.on_watermark("a", 0, deferred=True) == []
        assert parts.on_watermark("b", 1, deferred=True) == []
        assert parts.emit() == [Watermark(0)]
        assert parts.on_idle("a", deferred=True) == []
        assert parts.on_idle("b", deferred=True) == []
        assert parts.emit() == [Watermark(1), Idle()]
        assert parts.on_active("a", deferred=True) == []
        assert parts.emit() == [Active()]

    def test_an_immediate_change_takes_deferred_ones_along(self) -> None:
        parts = self.of("a", "b")
        parts.on_watermark("b", 5, deferred=True)
        assert parts.on_watermark("a", 2) == [Watermark(2)]

    def test_a_lower_immediate_watermark_on_a_deferred_split_gives_nothing(self) -> None:
        parts = self.of("a")
        parts.on_watermark("a", 5, deferred=True)
        assert parts.on_watermark("a", 2) == []
        assert parts.emit() == [Watermark(5)]

    def test_a_removed_split_stops_counting_with_the_next_change(self) -> None:
        parts = self.of("low", "high")
        parts.on_watermark("low", -4343)
        assert parts.on_watermark("high", -4333) == [Watermark(-4343)]
        assert parts.remove("low")
        assert not parts.remove("low")
        assert parts.current == -4343
        assert parts.emit() == [Watermark(-4333)]

    def test_without_splits_nothing_is_said(self) -> None:
        parts = self.of("a")
        parts.on_watermark("a", 1)
        parts.remove("a")
        assert parts.emit() == []
        assert not parts.is_idle
        assert parts.current == 1

    def test_a_split_added_late_never_lowers_and_holds_until_it_has_caught_up(self) -> None:
        parts = self.of("a")
        parts.on_watermark("a", 2)
        parts.add("b")
        assert parts.on_watermark("a", 9) == []
        assert parts.on_watermark("b", 1) == []
        assert parts.on_watermark("b", 4) == [Watermark(4)]

    def test_an_unread_split_holds_at_what_is_known_of_it(self) -> None:
        parts = self.of("a")
        parts.add("unread", start_us=50)
        assert parts.on_watermark("a", 70) == [Watermark(50)]
        assert parts.watermark_of("unread") == 50

    def test_refuses_unknown_and_known_splits(self) -> None:
        parts = self.of("a")
        with pytest.raises(InternalError, match="'a'"):
            parts.on_watermark("b", 1)
        with pytest.raises(InternalError, match="known"):
            parts.add("a")
        with pytest.raises(InternalError):
            PartitionWatermarks.restore({"idle": False})

    @settings(deadline=None)
    @given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(-5, 20), st.sampled_from("wwwia")), max_size=40))
    def test_is_the_minimum_of_the_active_and_survives_a_restore(self, steps: list[tuple[str, int, str]]) -> None:
        parts = self.of("a", "b", "c")
        own = dict.fromkeys("abc", MIN_TIME_US)
        idle: set[str] = set()
        low = MIN_TIME_US
        for split, us, what in steps:
            parts = PartitionWatermarks.restore(parts.snapshot())
            if what == "w":
                own[split] = max(own[split], us)
                parts.on_watermark(split, us)
                idle.discard(split)
            elif what == "i":
                parts.on_idle(split)
                idle.add(split)
            else:
                parts.on_active(split)
                idle.discard(split)
            low = max(low, max(own.values()) if len(idle) == 3 else min(own[s] for s in own if s not in idle))
            # A split that only repeats itself may leave the combination to the next change.
            assert parts.current <= low
            parts.emit()
            assert parts.current == low
            assert parts.is_idle == (len(idle) == 3)


class TestWatermarkAssigner:
    def test_gives_each_step_after_its_rows_without_an_interval(self) -> None:
        assigner = WatermarkAssigner()
        assert assigner.next_timer_us is None
        assert assigner.before_rows() == []
        assert assigner.after_rows(5) == [Watermark(5)]
        assert assigner.after_rows(4) == []
        assert assigner.after_rows(None) == []

    def test_small_steps_wait_for_the_interval_and_large_ones_do_not(self) -> None:
        assigner = WatermarkAssigner(interval_us=5, start_us=0)
        assert assigner.on_timer(0) == []
        assert [assigner.after_rows(us) for us in (0, 1, 1)] == [[], [], []]
        assert assigner.on_timer(5) == [Watermark(1)]
        assert [assigner.after_rows(us) for us in (2, 1, 0, None)] == [[], [], [], []]
        assert assigner.on_timer(10) == [Watermark(2)]
        assert assigner.after_rows(8) == [Watermark(8)]
        assert assigner.after_rows(7) == []

    def test_idle_source_goes_idle_and_wakes_before_its_next_row(self) -> None:
        assigner = WatermarkAssigner(interval_us=50, idle_timeout_us=1000, start_us=0)
        assigner.on_timer(0)
        for us in (0, 1, 2, 3):
            assert assigner.before_rows() == []
            assert assigner.after_rows(us) == []
        assert assigner.on_upstream_watermark(2) == []
        assert assigner.on_timer(51) == [Watermark(3)]
        quiet = [signal for now in range(52, 1051) for signal in assigner.on_timer(now)]
        assert quiet == []
        assert [s for now in range(1051, 1101) for s in assigner.on_timer(now)] == [Idle()]
        assert assigner.before_rows() == [Active()]
        assert assigner.after_rows(7) == []
        assert [s for now in range(1101, 1201) for s in assigner.on_timer(now)] == [Watermark(7)]

    def test_only_the_last_watermark_from_above_passes_and_wakes(self) -> None:
        assigner = WatermarkAssigner(idle_timeout_us=10)
        assert assigner.next_timer_us == MIN_TIME_US
        for now in (0, 10, 20):
            assigner.on_timer(now)
        assert assigner.on_timer(30) == []
        assert assigner.on_upstream_watermark(3) == []
        assert assigner.on_upstream_watermark(MAX_TIME_US) == [Active(), Watermark(MAX_TIME_US)]
        assert assigner.on_upstream_watermark(MAX_TIME_US) == []

    @pytest.mark.parametrize(
        ("interval", "timeout", "expected"),
        [(5, 0, 5), (5, -1, 5), (0, 5, 5), (-1, 5, 5), (5, 42, 5), (42, 5, 5), (2, 4, 1), (4, 2, 1), (100, 110, 20)],
    )
    def test_looks_at_the_clock_often_enough(self, interval: int, timeout: int, expected: int) -> None:
        assert timer_interval_us(interval, timeout) == expected

    def test_refuses_to_look_for_nothing(self) -> None:
        with pytest.raises(OptionError):
            timer_interval_us(0, 0)


def test_a_watermark_raised_by_hand_holds_until_the_rows_are_above_it():
    times = BoundedOutOfOrderness(delay_us=5, tick_us=1)
    assert (times.observe(100), times.advance(200), times.advance(150)) == (94, 200, None)
    assert (times.observe(205), times.observe(207)) == (None, 201)


def test_splits_stay_where_they_are_when_the_combined_watermark_is_raised_by_hand():
    splits = PartitionWatermarks()
    splits.add("a")
    splits.on_watermark("a", 5)
    assert splits.advance(9) == [Watermark(9)]
    assert splits.advance(7) == []
    assert splits.watermark_of("a") == 5
    assert splits.on_watermark("a", 8) == []
    assert splits.on_watermark("a", 10) == [Watermark(10)]


def test_idle_splits_stay_idle_when_the_watermark_is_raised_by_hand():
    splits = PartitionWatermarks()
    splits.add("a", start_us=3)
    assert splits.on_idle("a") == [Watermark(3), Idle()]
    assert splits.advance(9) == [Watermark(9), Idle()]
