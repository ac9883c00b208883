"""What keeps groups: values by slot, against plain dictionaries, for every dtype, growth, nulls and snapshot."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from streamlab.state.tables import dense_columns
from streamlab.state.tables.dense_columns import DenseColumns, fits
from streamlab.state.tables.fixed_width_table import FixedWidthTable
from streamlab.state.tables.slot_order import in_order
from streamlab.state.tables.slot_runs import SLOT, SlotRuns
from streamlab.state.tables.variable_width_table import VariableWidthTable

FIXED: dict[str, tuple[pl.DataType, list[Any]]] = {
    "i8": (pl.Int8(), [-128, 127, None]),
    "u16": (pl.UInt16(), [0, 65535, None]),
    "i64": (pl.Int64(), [-(2**63), 2**63 - 1, None]),
    "u64": (pl.UInt64(), [0, 2**64 - 1, None]),
    "f32": (pl.Float32(), [0.1, float("nan"), float("-inf"), None]),
    "f64": (pl.Float64(), [0.1, float("nan"), -0.0, None]),
    "bool": (pl.Boolean(), [True, False, None]),
    "date": (pl.Date(), [dt.date(1960, 2, 29), None]),
    "datetime": (pl.Datetime("ns", "Europe/Rome"), [dt.datetime(1960, 1, 1, tzinfo=dt.UTC), None]),
    "duration": (pl.Duration("ms"), [dt.timedelta(-5), None]),
    "time": (pl.Time(), [dt.time(23, 59, 59), None]),
    "wide": (pl.Decimal(38, 0), [Decimal(10**37), Decimal(-1), None]),
    "money": (pl.Decimal(12, 2), [Decimal("-0.01"), Decimal("9999.99"), None]),
}
SCHEMA = pl.Schema({name: dtype for name, (dtype, _) in FIXED.items()})
SUMMED = pl.Schema({"n": pl.Int64(), "x": pl.Float64(), "d": pl.Decimal(38, 0)})
summands = {
    "n": st.integers(-(2**40), 2**40),
    "x": st.floats(),
    "d": st.integers(-(10**36), 10**36).map(Decimal) | st.integers(-3, 3).map(Decimal),
}
values = st.tuples(*(st.sampled_from(cells) for _, cells in FIXED.values()))


def frame_of(rows: list[Any]) -> pl.DataFrame:
    return pl.DataFrame(
        [
            pl.Series(name, [row[at] for row in rows], dtype=pl.Datetime("ns", "UTC") if name == "datetime" else dtype)
            for at, (name, dtype) in enumerate(SCHEMA.items())
        ]
    ).with_columns(pl.col("datetime").dt.convert_time_zone("Europe/Rome"))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.dictionaries(st.integers(0, 5000), values, max_size=6), max_size=5))
def test_columns_hold_every_fixed_width_dtype(batches: list[dict[int, Any]]) -> None:
    columns = DenseColumns(SCHEMA)
    known: dict[int, Any] = {}
    for batch in batches:
        columns.write(np.array(sorted(batch), np.int64), frame_of([batch[slot] for slot in sorted(batch)]))
        known |= batch
        assert_frame_equal(columns.read(np.array(list(known), np.int64)), frame_of(list(known.values())))
    assert (columns.size_bytes > 0) == bool(known)


@settings(deadline=None, max_examples=60)
@given(st.lists(st.dictionaries(st.integers(0, 300), st.tuples(*summands.values())), max_size=5), st.integers(1, 4))
def test_adding_is_reading_a_sum_of_columns_and_writing(batches: list[dict[int, Any]], part_rows: int) -> None:
    columns, plain = DenseColumns(SUMMED), DenseColumns(SUMMED)
    columns.reserve(301)
    plain.reserve(301)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dense_columns, "_PART_ROWS", part_rows)
        for batch in batches:
            slots = np.array(sorted(batch), np.int64)
            values = pl.DataFrame([batch[int(slot)] for slot in slots], schema=SUMMED, orient="row")
            assert columns.can_add(values)
            old = plain.read(slots)
            plain.write(slots, pl.DataFrame([old[name] + values[name] for name in SUMMED]))
            assert_frame_equal(columns.add(slots, values), plain.read(slots), check_exact=True)
    assert_frame_equal(columns.read(slice(0, 301)), plain.read(slice(0, 301)), check_exact=True)


def test_only_whole_rows_of_sums_are_added() -> None:
    row = {"n": [1], "x": [0.5], "d": [Decimal(1)]}
    columns = DenseColumns(SUMMED)
    columns.reserve(1)
    assert not columns.can_add(pl.DataFrame(row | {"x": [None]}, schema=SUMMED))
    columns.write(np.array([0]), pl.DataFrame(row | {"n": [None]}, schema=SUMMED))
    assert not columns.can_add(pl.DataFrame(row, schema=SUMMED))
    assert not DenseColumns(pl.Schema({"n": pl.Int8})).can_add(pl.DataFrame(schema={"n": pl.Int8}))


@pytest.mark.parametrize("sign", [1, -1])
def test_a_decimal_that_overflows_is_an_error(sign: int) -> None:
    columns = DenseColumns(pl.Schema({"d": pl.Decimal(38, 0)}))
    columns.reserve(1)
    most = pl.DataFrame({"d": [Decimal(sign * (10**38 - 1))]}, schema={"d": pl.Decimal(38, 0)})
    assert columns.add(np.array([0]), most)["d"].item() == Decimal(sign * (10**38 - 1))
    with pytest.raises(pl.exceptions.ComputeError, match="overflow"):
        columns.add(np.array([0]), most)


def test_columns_take_slices_of_frames() -> None:
    columns = DenseColumns(SCHEMA)
    frame = frame_of([[cells[at % len(cells)] for _, cells in FIXED.values()] for at in range(12)])
    columns.write(np.arange(4), frame[5:9])
    assert_frame_equal(columns.read(slice(0, 4)), frame[5:9])


def test_other_dtypes_do_not_fit() -> None:
    assert fits(SCHEMA)
    for dtype in (pl.String(), pl.List(pl.Int64), pl.Int128(), pl.Categorical()):
        assert not fits(pl.Schema({"c": dtype}))
    assert not fits(pl.Schema({str(at): pl.Int8 for at in range(65)}))


@pytest.mark.parametrize("kind", [FixedWidthTable, VariableWidthTable])
@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.dictionaries(st.integers(0, 8), st.integers(0, 9), min_size=1), st.booleans()), max_size=9)
)
def test_groups_against_a_dict(kind: Any, batches: list[tuple[dict[int, int], bool]]) -> None:
    schemas = pl.Schema({"k": pl.Int64}), pl.Schema({"v": pl.Int64})
    groups = kind(*schemas)
    known: dict[int, int] = {}
    for batch, removes in batches:
        # 8 stands for the null key.
        keys = [None if key == 8 else key for key in batch]
        rows = pl.DataFrame({"k": keys, "v": list(batch.values())}, schema={"k": pl.Int64, "v": pl.Int64})
        size = groups.index.size
        places, slots = in_order(groups.slots(rows))
        rows = rows[pl.Series(places)]
        groups.extend(rows.filter(pl.Series(slots >= size)))
        held = groups.holds(slots)
        assert held.tolist() == [key in known for key in (8 if key is None else key for key in rows["k"])]
        assert groups.get(slots[held])["v"].to_list() == [known[8 if k is None else k] for k in rows["k"].filter(held)]
        if removes:
            groups.drop(slots[held])
            known = {key: value for key, value in known.items() if key not in batch}
        else:
            groups.add(slots[~held], rows.filter(pl.Series(~held)))
            groups.put(slots[held], rows.filter(pl.Series(held)))
            known |= batch
        assert groups.rows == len(known)
    frames = groups.frames()
    found = [row for frame in frames for row in frame.rows()]
    assert sorted(found, key=str) == sorted(((None if k == 8 else k, v) for k, v in known.items()), key=str)
    again = kind(*schemas)
    for frame in frames:
        again.load(frame)
    assert again.rows == len(known)
    assert again.unused + again.rows == again.index.size


operations = st.lists(
    st.tuples(st.sampled_from(["append", "replace"]), st.lists(st.tuples(st.integers(0, 6), st.integers(0, 99)))),
    max_size=12,
)


@settings(deadline=None, max_examples=80)
@given(operations)
def test_runs_against_lists(steps: list[tuple[str, list[tuple[int, int]]]]) -> None:
    runs = SlotRuns()
    known: dict[int, list[int]] = {slot: [] for slot in range(7)}
    assert runs.fetch(np.array([0])) is None
    for what, rows in steps:
        frame = pl.DataFrame(rows, schema={SLOT: pl.Int64, "x": pl.Int64}, orient="row")
        if what == "append":
            runs.append(frame)
        else:
            replaced = np.unique([slot for slot, _ in rows]).astype(np.int64)
            # A slot more, which is left without rows.
            replaced = np.union1d(replaced, [6])
            frame = frame.filter(pl.col(SLOT) != 6)
            runs.replace(replaced, frame)
            for slot in replaced:
                known[int(slot)] = []
        for slot, x in frame.rows():
            known[slot].append(x)
        assert runs.rows == sum(map(len, known.values()))
        for wanted in ([0, 3, 6], [1, 2, 4, 5]):
            fetched = runs.fetch(np.array(wanted))
            for slot in wanted:
                found = [] if fetched is None else fetched.filter(pl.col(SLOT) == slot)["x"].to_list()
                assert found == known[slot]
    stored = [row for frame in runs.frames() for row in frame.rows()]
    assert sorted(stored) == sorted((x,) for xs in known.values() for x in xs)


def test_a_run_is_written_once_and_its_frame_never_changes() -> None:
    runs = SlotRuns()
    runs.append(pl.DataFrame({SLOT: list(range(100)), "x": list(range(100))}))
    (first,) = runs.frames()
    kept = first.clone()
    runs.append(pl.DataFrame({SLOT: [3], "x": [1000]}))
    again, second = runs.frames()
    assert again is first
    assert second["x"].to_list() == [1000]
    runs.replace(np.array([3]), pl.DataFrame({SLOT: [3], "x": [7]}))
    assert first.equals(kept)
    assert sorted(x for frame in runs.frames() for x in frame["x"]) == sorted([*(n for n in range(100) if n != 3), 7])
    assert runs.size_bytes > 0


def test_few_runs_are_kept() -> None:
    runs = SlotRuns()
    for at in range(200):
        runs.append(pl.DataFrame({SLOT: [at % 5, at % 7], "x": [at, at]}))
    assert len(runs.frames()) < 10
    for _ in range(50):
        runs.replace(np.arange(7), pl.DataFrame({SLOT: [1], "x": [0]}))
    assert runs.rows == 1
    assert sum(frame.height for frame in runs.frames()) == 1


@pytest.mark.parametrize("columns", [1, 2])
@pytest.mark.parametrize("rows", [1, 3])
def test_what_was_read_does_not_change_with_the_slots(columns: int, rows: int) -> None:
    """A page is stored while the job goes on: it must be what it was at the barrier."""
    names = [f"c{at}" for at in range(columns)]
    stored = DenseColumns(pl.Schema(dict.fromkeys(names, pl.Int64())))
    slots = np.arange(rows)
    before = pl.DataFrame({name: [1] * rows for name in names})
    stored.write(slots, before)
    page, some = stored.read(slice(0, rows)), stored.read(slots)
    stored.write(slots, before * 7)
    assert_frame_equal(page, before)
    assert_frame_equal(some, before)
