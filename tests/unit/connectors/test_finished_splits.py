"""Ids of splits that have ended: exact, whatever they look like, and small where they are numbered."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlab.connectors.reading.finished_splits import FinishedIds, FinishedSplits, finished_names, merge_finished

NAMES = st.one_of(
    st.from_regex(r"\A(/in/)?(part|x<2>)?-?[0-9]{0,3}(\.[0-9])?(T[0-9]{2})?\.csv\Z"),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=6),
    st.integers(0, 40).map(lambda n: f"part-{n:02}"),
    st.integers(0, 10**25).map(str),
)


def stored(ids: FinishedIds) -> FinishedSplits:
    return msgspec.json.decode(msgspec.json.encode(ids.stored()), type=FinishedSplits)


@settings(max_examples=300, deadline=None)
@given(st.lists(NAMES, max_size=30), st.lists(NAMES, max_size=30))
def test_it_is_a_set(first: list[str], second: list[str]) -> None:
    ids = FinishedIds()
    for name in first:
        ids.add(name)
    again = FinishedIds(stored(ids))
    for name in second:
        again.add(name)
    assert set(finished_names(stored(again))) == {*first, *second}
    assert len(list(finished_names(stored(again)))) == len(again) == len({*first, *second})
    for name in {*first, *second}:
        assert name in again
        assert (name in ids) == (name in first)


@given(st.lists(st.lists(NAMES, max_size=10), max_size=4))
def test_several_are_merged(parts: list[list[str]]) -> None:
    sets = []
    for part in parts:
        ids = FinishedIds()
        for name in part:
            ids.add(name)
        sets.append(ids.stored())
    assert set(finished_names(merge_finished(sets))) == {name for part in parts for name in part}


@pytest.mark.parametrize(
    ("name", "most_bytes"),
    [
        (lambda n: f"/data/in/part-{n:05}.parquet", 100),
        (
            lambda n: f"/data/in/2024-{1 + n // 8640:02}-{1 + n // 288 % 30:02}T{n // 12 % 24:02}-{n * 5 % 60:02}.csv",
            70_000,
        ),
        (lambda n: f"/data/in/{(n + 1) * 2654435761 % 2**32:08x}.ndjson", 150_000),
    ],
    ids=["numbered", "by time", "at random"],
)
def test_ten_thousand_names_are_small(name, most_bytes: int) -> None:
    ids = FinishedIds()
    for n in range(10_000):
        ids.add(name(n))
    assert len(ids) == 10_000
    assert len(msgspec.json.encode(ids.stored())) < most_bytes
