"""The list of frames that window state is."""

from __future__ import annotations

import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from streamlab.operators.windows.runs import Runs


def summed(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.group_by("k", "at").agg(pl.col("n").sum()).select(frame.columns)


def frame_of(rows: list[tuple[int, int, int]]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"at": pl.Int64, "k": pl.Int64, "n": pl.Int64}, orient="row")


def content(frames: list[pl.DataFrame] | tuple[pl.DataFrame, ...]) -> list[tuple[int, int, int]]:
    return sorted(summed(pl.concat([frame_of([]), *frames])).rows())


rows = st.lists(st.tuples(st.integers(-20, 20), st.integers(0, 3), st.integers(1, 5)), max_size=6)
steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["add", "add_first"]), rows),
        st.tuples(st.sampled_from(["take", "look", "restore"]), st.tuples(st.integers(-22, 22), st.integers(0, 10))),
    ),
    max_size=120,
)


@given(steps=steps)
def test_runs_hold_what_a_plain_list_would(steps: list[tuple[str, object]]) -> None:
    runs, plain = Runs("at", summed), []
    for name, value in steps:
        if name in {"add", "add_first"}:
            getattr(runs, name)(frame_of(value))
            plain += value
            continue
        bound, width = value
        if name == "take":
            taken = runs.take_before(bound)
            assert content(taken) == content([frame_of([r for r in plain if r[0] < bound])])
            plain = [r for r in plain if r[0] >= bound]
        elif name == "look":
            inside = [r for r in plain if bound <= r[0] < bound + width]
            assert content(runs.between(bound, bound + width)) == content([frame_of(inside)])
        else:
            runs = Runs("at", summed, runs.frames)
        assert content(runs.frames) == content([frame_of(plain)])
        assert runs.minimum("at") == min((r[0] for r in plain), default=None)
        assert all(frame["at"].is_sorted() and frame.height for frame in runs.frames)


def test_equal_rows_do_not_pile_up() -> None:
    runs = Runs("at", summed)
    for _ in range(1000):
        runs.add(frame_of([(0, k, 1) for k in range(4)]))
        assert len(runs.frames) < 32
    assert content(runs.frames) == [(0, k, 1000) for k in range(4)]


def test_each_row_is_merged_few_times_however_much_there_is() -> None:
    merged = 0

    def counting(frame: pl.DataFrame) -> pl.DataFrame:
        nonlocal merged
        merged += frame.height
        return summed(frame)

    runs = Runs("at", counting)
    for batch in range(512):
        runs.add(frame_of([(0, batch * 300 + k, 1) for k in range(300)]))
    assert runs.rows == 512 * 300
    assert len(runs.frames) < 8 * 4
    assert merged <= 4 * runs.rows


def test_order_of_arrival_is_kept_among_equal_times() -> None:
    runs = Runs("at", lambda frame: frame)
    for batch in range(20):
        runs.add(frame_of([(at, 0, batch) for at in (3, 1, 2)]))
    runs.add_first(frame_of([(1, 0, -1)]))
    found = pl.concat(runs.between(1, 2))
    assert found["n"].to_list() == [-1, *range(20)]


def test_frames_given_out_do_not_change_and_memory_is_let_go() -> None:
    runs = Runs("at", summed)
    runs.add(frame_of([(at, 0, 1) for at in range(1000)]))
    before = runs.frames
    runs.take_before(900)
    assert before[0].height == 1000
    assert runs.rows == 100
    assert runs.frames[0].to_arrow().column(0).chunk(0).offset == 0
    runs.replace(lambda frame: frame.filter(pl.col("at") == 950))
    assert content(runs.frames) == [(950, 0, 1)]
    runs.replace(lambda frame: frame.clear())
    assert runs.frames == ()
    assert runs.size_bytes == 0
