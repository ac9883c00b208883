"""Whole numbers that lie close together: the same slots as a hash table gives, and the way from one to the other."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlab.state.tables import key_index, range_table
from streamlab.state.tables.hash_table import WordTable
from streamlab.state.tables.key_index import KeyIndex
from streamlab.state.tables.range_table import RangeTable, lie_close

EXTREMES = (-(2**63), 2**63 - 1)
batches = st.lists(st.lists(st.integers(-30, 30), max_size=40), max_size=8)


def words(numbers: list[int]) -> np.ndarray[tuple[int], np.dtype[np.uint64]]:
    return np.array(numbers, np.int64).view(np.uint64)


@pytest.mark.parametrize("first", [0, -(2**63) + 30, 2**63 - 31])
@settings(deadline=None)
@given(batches=batches)
def test_table_against_a_dict(first: int, batches: list[list[int]]) -> None:
    table = RangeTable(words([first + 3, first + 1]), words([]))
    known = {first + 3: 0, first + 1: 1}
    for batch in ([first + number for number in batch] for batch in batches):
        assert table.slots([words(batch)], insert=False).tolist() == [known.get(key, -1) for key in batch]
        if table.takes(words(batch)):
            got = table.slots([words(batch)], insert=True).tolist()
            for key, slot in zip(batch, got, strict=True):
                assert known.setdefault(key, slot) == slot
        assert sorted(known.values()) == list(range(table.size))
        assert table.keys().view(np.int64).tolist() == sorted(known, key=lambda key: known[key])
        again = WordTable.of(table.keys())
        assert again.slots([table.keys()], insert=True).tolist() == list(range(table.size))


def test_far_numbers_are_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    table = RangeTable(words([1, 2, 3]), words([]))
    assert table.takes(words([20]))
    assert table.takes(words([2**23]))
    monkeypatch.setattr(range_table, "_SMALL", 8)
    assert table.takes(words([20]))
    assert not table.takes(words([2**23]))
    for extreme in EXTREMES:
        assert not table.takes(words([extreme]))
        assert table.slots([words([extreme, 2])], insert=False).tolist() == [-1, 1]
    assert not lie_close(words(list(EXTREMES)), words([]))


@pytest.mark.parametrize("small", [2**24, 8])
@settings(deadline=None)
@given(
    batches=st.lists(
        st.lists(st.one_of(st.none(), st.integers(-9, 40), st.sampled_from(EXTREMES)), max_size=30), max_size=9
    )
)
def test_an_index_goes_from_one_table_to_the_other_and_keeps_its_slots(
    small: int, batches: list[list[int | None]]
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(range_table, "_SMALL", small)
        patch.setattr(key_index, "_FIRST_LOOK", 4)
        index = KeyIndex(pl.Schema({"k": pl.Int64}))
        known: dict[int | None, int] = {}
        for batch in batches:
            frame = pl.DataFrame({"k": batch}, schema={"k": pl.Int64})
            assert index.slots(frame, insert=False).tolist() == [known.get(key, -1) for key in batch]
            for key, slot in zip(batch, index.slots(frame, insert=True).tolist(), strict=True):
                assert known.setdefault(key, slot) == slot
        assert len(set(known.values())) == len(known)
        assert index.size == len(known.keys() - {None}) + 1


def test_close_numbers_take_less_memory_and_a_far_one_brings_the_hash_table_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(key_index, "_FIRST_LOOK", 1000)
    index = KeyIndex(pl.Schema({"k": pl.Int64}))
    hashed = WordTable(1)
    numbers = np.arange(5_000, 15_000)
    slots = index.slots(pl.DataFrame({"k": numbers}), insert=True)
    hashed.slots([numbers.view(np.uint64)], insert=True)
    assert index.size_bytes < hashed.size_bytes / 3
    index.slots(pl.DataFrame({"k": [2**62]}), insert=True)
    assert index.size_bytes > hashed.size_bytes / 2
    assert index.slots(pl.DataFrame({"k": numbers}), insert=False).tolist() == slots.tolist()
