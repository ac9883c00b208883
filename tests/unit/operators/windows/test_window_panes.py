"""The table of windows says what a plain count of rows and keys says, whatever order rows and watermarks come in."""

from __future__ import annotations

from collections import defaultdict

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from window_model import AGGREGATES, BUFFERED, Pipeline, cumulative, fixed_windows, hopping, rows_frame, session, specs

from streamlab.core.event_time.time import MAX_TIME_US
from streamlab.core.event_time.windows import CumulativeWindows, EveryRows, HoppingWindows
from streamlab.observe.panes import NEWEST, SHOWN, STORED, together
from streamlab.operators.windows.window_aggregate import WindowAggregate

GRIDS = [hopping("10ms"), hopping("10ms", "25ms"), hopping("10ms", "4ms"), cumulative("5ms", "20ms")]
UNCOUNTED = (pl.col("v").sum().alias("s"),)


def panes(pipeline: Pipeline) -> dict[tuple[int, int], tuple[str, int | None, int | None, int, int]]:
    """Return what is shown of each window, by start and end in ms."""
    tables = [("windows", operator.panes()) for operator in pipeline.keyed if isinstance(operator, WindowAggregate)]
    assert all(table.schema == STORED for _, table in tables)
    shown = together(tables).with_columns(pl.col("window_start", "window_end").dt.epoch("ms"))
    return {(row[1], row[2]): row[3:] for row in shown.rows()}


class Counts:
    """The same by plain counting: rows and keys of each window while it takes rows."""

    def __init__(self, windows: HoppingWindows | CumulativeWindows, lateness_ms: int) -> None:
        self.windows, self.lateness = windows, lateness_ms
        self.closed = float("-inf")
        self.rows: dict[tuple[int, int], list[str | None]] = defaultdict(list)

    def add(self, at: int, key: str | None) -> None:
        mine = fixed_windows(self.windows, at)
        # A window shares its panes with those of other windows: a row that one of them takes is kept for all.
        for window in mine:
            if window[1] > self.closed - self.lateness:
                self.rows[window].append(key)

    def advance(self, watermark: int) -> None:
        self.closed = max(self.closed, watermark + 1)


events = st.lists(
    st.one_of(st.tuples(st.integers(-40, 80), st.sampled_from(["a", "b", None])), st.integers(-30, 90)), max_size=40
)


@given(windows=st.sampled_from(GRIDS), lateness_ms=st.sampled_from([0, 15]), events=events)
@settings(max_examples=60)
def test_open_windows_hold_the_rows_that_came(windows, lateness_ms, events) -> None:
    pipeline, counts = Pipeline(specs(windows, lateness_ms=lateness_ms), receivers=2), Counts(windows, lateness_ms)
    for event in events:
        if isinstance(event, tuple):
            pipeline.add(rows_frame([(*event, 1)]))
            counts.add(*event)
        elif event >= counts.closed:
            pipeline.advance(event * 1000)
            counts.advance(event)
    found = panes(pipeline)
    opened = {window: keys for window, keys in counts.rows.items() if window[1] > counts.closed}
    assert {window for window, pane in found.items() if pane[0] == "open"} == set(opened)
    for window, keys in opened.items():
        assert found[window] == ("open", len(set(keys)), len(keys), 0, 0), window
    for window in counts.rows.keys() - opened.keys():
        state, shown_keys, rows, firings, refinements = found[window]
        is_final = window[1] <= counts.closed - lateness_ms
        assert state in ({"closed"} if is_final else {"fired", "refined"}), window
        assert (firings - 1 == refinements) & (firings >= 1)
        assert (state == "refined") <= (refinements > 0)
        assert (shown_keys, rows) == (len(set(counts.rows[window])), len(counts.rows[window])), window


def played(pipeline: Pipeline, *steps: tuple[int, str] | int) -> Pipeline:
    for step in steps:
        if isinstance(step, tuple):
            pipeline.add(rows_frame([(*step, 1)]))
        else:
            pipeline.advance(step * 1000)
    return pipeline


def test_the_life_of_a_window() -> None:
    pipeline = Pipeline(specs(hopping("10ms"), lateness_ms=5))
    assert panes(played(pipeline, (1, "a"), (2, "b"), (3, "a"))) == {(0, 10): ("open", 2, 3, 0, 0)}
    assert panes(played(pipeline, 9)) == {(0, 10): ("fired", 2, 3, 1, 0)}
    assert panes(played(pipeline, (4, "c"))) == {(0, 10): ("refined", 3, 4, 2, 1)}
    assert panes(played(pipeline, 14)) == {(0, 10): ("closed", 3, 4, 2, 1)}


def test_after_a_restart_what_is_open_is_known_and_what_has_fired_before_is_not() -> None:
    pipeline = Pipeline(specs(hopping("10ms"), lateness_ms=5))
    played(pipeline, (1, "a"), (2, "b"), (12, "a"), 9).restart(1)
    assert panes(pipeline) == {(0, 10): ("fired", 2, 2, 0, 0), (10, 20): ("open", 1, 1, 0, 0)}
    assert panes(played(pipeline, (3, "a")))[0, 10] == ("fired", 2, 3, 1, 0)
    assert panes(played(pipeline, 14))[0, 10] == ("closed", None, None, 1, 0)


def test_early_results_are_firings_of_an_open_window() -> None:
    pipeline = Pipeline(specs(hopping("10ms"), trigger=EveryRows(2)))
    assert panes(played(pipeline, (1, "a"), (2, "a"), (3, "a"))) == {(0, 10): ("open", 1, 3, 1, 0)}
    assert panes(played(pipeline, 20))[0, 10] == ("closed", 1, 3, 2, 0)


@pytest.mark.parametrize(("aggregates", "rows"), [(AGGREGATES, 3), (BUFFERED, 3), (UNCOUNTED, None)])
def test_rows_are_known_when_the_query_counts_them(aggregates, rows) -> None:
    pipeline = Pipeline(specs(hopping("10ms"), aggregates=aggregates))
    assert panes(played(pipeline, (1, "a"), (2, "b"), (3, "a"))) == {(0, 10): ("open", 2, rows, 0, 0)}
    assert panes(played(pipeline, 9)) == {(0, 10): ("closed", 2, rows, 1, 0)}


def test_windows_without_keys_have_one() -> None:
    pipeline = Pipeline(specs(hopping("10ms"), keyed=False))
    assert panes(played(pipeline, (1, "a"), (2, "b"))) == {(0, 10): ("open", 1, 2, 0, 0)}


def test_sessions_are_shown_as_they_are_now() -> None:
    pipeline = Pipeline(specs(session("5ms")))
    assert panes(played(pipeline, (0, "a"), (3, "a"), (1, "b"))) == {
        (0, 8): ("open", 1, 2, 0, 0),
        (1, 6): ("open", 1, 1, 0, 0),
    }
    assert panes(played(pipeline, (8, "a"))) == {(0, 13): ("open", 1, 3, 0, 0), (1, 6): ("open", 1, 1, 0, 0)}
    # A session goes on for one tick more than a window of a grid would.
    assert panes(played(pipeline, 12)) == {(0, 13): ("open", 1, 3, 0, 0), (1, 6): ("closed", 1, 1, 1, 0)}
    assert panes(played(pipeline, 13)) == {(0, 13): ("closed", 1, 3, 1, 0), (1, 6): ("closed", 1, 1, 1, 0)}


@pytest.mark.parametrize("windows", [hopping("1ms"), session("1ms")], ids=str)
def test_only_the_newest_windows_are_shown(windows) -> None:
    pipeline = Pipeline(specs(windows))
    pipeline.add(rows_frame([(at * 10, "a", 1) for at in range(NEWEST + 100)]))
    for watermark_us in (-1, 3_000_000, MAX_TIME_US):
        pipeline.advance(watermark_us)
        starts = [start for start, _ in panes(pipeline)]
        assert starts == [at * 10 for at in range(NEWEST + 99, 99, -1)]


def test_an_operator_without_rows_has_no_windows() -> None:
    assert panes(Pipeline(specs(hopping("10ms")))) == {}
    assert panes(Pipeline(specs(session("10ms")))) == {}


def test_windows_of_several_steps_are_told_apart() -> None:
    table = pl.DataFrame([(0, 10, "open", 1, 2, 0, 0)], schema=STORED, orient="row")
    shown = together([("b", table), ("a", table)])
    assert shown.schema == SHOWN
    assert shown["step"].to_list() == ["a", "b"]
    assert together([]).schema == SHOWN
