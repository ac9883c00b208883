"""The index from keys to slots: equal keys as Polars groups them, whatever the dtype, the cuts and the growth."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlab.core.errors import InternalError, PlanError
from streamlab.state.tables.hash_table import WordTable
from streamlab.state.tables.key_index import KeyIndex

NAN = float("nan")
COLUMNS: dict[str, tuple[pl.DataType, list[Any]]] = {
    "int8": (pl.Int8(), [0, -1, 127, None]),
    "int64": (pl.Int64(), [0, 1, -1, 2**63 - 1, -(2**63), None]),
    "uint64": (pl.UInt64(), [0, 2**64 - 1, 2**63, None]),
    "int128": (pl.Int128(), [0, 2**100, -(2**100), None]),
    "float32": (pl.Float32(), [0.0, -0.0, NAN, -NAN, 1.5, float("inf"), None]),
    "float64": (pl.Float64(), [0.0, -0.0, NAN, -NAN, 5e-324, float("-inf"), None]),
    "bool": (pl.Boolean(), [True, False, None]),
    "string": (pl.String(), ["", "a", "A", "a\0", "a longer text than fits into a view", None]),
    "binary": (pl.Binary(), [b"", b"\0", b"\0\0", None]),
    "date": (pl.Date(), [dt.date(1969, 12, 31), dt.date(2020, 1, 1), None]),
    "datetime": (pl.Datetime("ns", "UTC"), [dt.datetime(1969, 1, 1, tzinfo=dt.UTC), None]),
    "duration": (pl.Duration("ms"), [dt.timedelta(0), dt.timedelta(days=-1), None]),
    "time": (pl.Time(), [dt.time(0), dt.time(23, 59), None]),
    "decimal": (pl.Decimal(20, 2), [Decimal("1.00"), Decimal("-1.00"), None]),
    "decimal38": (pl.Decimal(38, 2), [Decimal("12345678901234567890123456.25"), Decimal("-0.01"), None]),
    "enum": (pl.Enum(["x", "y"]), ["x", "y", None]),
    "categorical": (pl.Categorical(), ["x", "y", "z", None]),
    "list": (pl.List(pl.Float64), [[], [None], [0.0], [-0.0], [NAN, 1.0], None]),
    "array": (pl.Array(pl.Int8, 2), [[0, 1], [1, 0], None]),
    "struct": (pl.Struct({"a": pl.Int64, "b": pl.String}), [{"a": 1, "b": None}, {"a": None, "b": "1"}, None]),
    "null": (pl.Null(), [None]),
}


def same_as_polars(frame: pl.DataFrame, slots: np.ndarray[Any, Any]) -> None:
    """Check that rows share a slot exactly when Polars puts them into one group."""
    groups = frame.with_columns(pl.Series("__sl_slot", slots)).group_by(frame.columns).agg(pl.col("__sl_slot").unique())
    assert groups["__sl_slot"].list.len().to_list() == [1] * groups.height
    assert groups["__sl_slot"].explode().n_unique() == groups.height


@settings(deadline=None)
@given(st.data())
def test_groups_as_polars_does(data: st.DataObject) -> None:
    names = data.draw(st.lists(st.sampled_from(sorted(COLUMNS)), min_size=1, max_size=3, unique=True))
    schema = pl.Schema({name: COLUMNS[name][0] for name in names})
    rows = data.draw(st.lists(st.tuples(*(st.sampled_from(COLUMNS[name][1]) for name in names)), max_size=40))
    frame = pl.DataFrame(rows, schema=schema, orient="row")
    index = KeyIndex(schema)
    cut = data.draw(st.integers(0, len(rows)))
    slots = np.concatenate([index.slots(frame[:cut], insert=True), index.slots(frame[cut:], insert=True)])
    same_as_polars(frame, slots)
    assert (slots < index.size).all()
    assert index.slots(frame, insert=False).tolist() == slots.tolist()


@pytest.mark.parametrize("name", COLUMNS)
def test_absent_keys_are_minus_one_until_inserted(name: str) -> None:
    dtype, values = COLUMNS[name]
    frame = pl.DataFrame({"k": pl.Series(values, dtype=dtype)})
    index = KeyIndex(frame.schema)
    assert set(index.slots(frame, insert=False).tolist()) == {-1}
    index.slots(frame.head(1), insert=True)
    groups = KeyIndex(frame.schema).slots(frame, insert=True)
    assert ((index.slots(frame, insert=False) >= 0) == (groups == groups[0])).all()


def test_slots_have_no_gaps() -> None:
    index = KeyIndex(pl.Schema({"a": pl.Int64, "b": pl.Int64}))
    frame = pl.DataFrame({"a": [5, 5, 3, 5], "b": [1, 1, 1, 2]})
    slots = index.slots(frame, insert=True).tolist()
    assert sorted(set(slots)) == [0, 1, 2]
    assert index.size == 3
    assert index.size_bytes > 0


def test_the_null_key_has_slot_zero_of_a_narrow_column() -> None:
    index = KeyIndex(pl.Schema({"a": pl.Int64}))
    frame = pl.DataFrame({"a": [7, None, 7]})
    assert index.slots(frame, insert=True).tolist() == [1, 0, 1]
    assert index.size == 2


def test_other_columns_do_not_matter() -> None:
    index = KeyIndex(pl.Schema({"b": pl.Int64}))
    index.slots(pl.DataFrame({"a": [1, 2], "b": [5, 6]}), insert=True)
    assert index.slots(pl.DataFrame({"b": [6], "z": ["?"]}), insert=False).tolist() == [2]


def test_no_rows_and_no_keys() -> None:
    assert KeyIndex(pl.Schema({"a": pl.Int64})).slots(pl.DataFrame(schema={"a": pl.Int64}), insert=True).size == 0
    with pytest.raises(InternalError):
        KeyIndex(pl.Schema())
    with pytest.raises(PlanError, match="'o' of Python objects"):
        KeyIndex(pl.Schema({"o": pl.Object}))


@pytest.mark.parametrize("width", [1, 2])
@pytest.mark.parametrize("step", [1, 2**20, 2**32, 2**44])
def test_grows_and_finds_everything_again(width: int, step: int) -> None:
    table = WordTable(width)
    keys = np.arange(30_000, dtype=np.uint64) * np.uint64(step)
    words = [keys] * width
    slots = table.slots(words, insert=True)
    assert (np.sort(slots) == np.arange(30_000)).all()
    more = [np.concatenate([keys, keys + np.uint64(1)])] * width if step > 1 else words
    expected = table.slots(more, insert=True)
    assert (expected[:30_000] == slots).all()
    assert (table.slots(more, insert=False) == expected).all()
    assert table.size == len(more[0])
    assert table.size_bytes < 60 * table.size + 100_000


@settings(deadline=None)
@given(st.lists(st.lists(st.tuples(st.integers(0, 20), st.integers(0, 3)), max_size=60), max_size=8))
def test_table_against_a_dict(batches: list[list[tuple[int, int]]]) -> None:
    table = WordTable(2)
    known: dict[tuple[int, int], int] = {}
    for batch in batches:
        array = np.array(batch, np.uint64).reshape(-1, 2)
        words = [array[:, 0].copy(), array[:, 1].copy()]
        assert table.slots(words, insert=False).tolist() == [known.get(key, -1) for key in batch]
        got = table.slots(words, insert=True).tolist()
        for key, slot in zip(batch, got, strict=True):
            assert known.setdefault(key, slot) == slot
        assert sorted(known.values()) == list(range(table.size))
