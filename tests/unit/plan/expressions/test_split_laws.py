"""The law of a split: partial, merge in any grouping, final, equals Polars' own group_by over all rows."""

from __future__ import annotations

from expression_frames import COLUMNS, assert_same, cuts, frames
from expression_splits import MERGEABLE, SHAPES, grouped, in_parts, split_of
from hypothesis import given, settings
from hypothesis import strategies as st


def cases() -> list[tuple[str, str]]:
    pairs = [(aggregate, column) for aggregate in MERGEABLE for column in COLUMNS]
    # Polars types these, and refuses them when it meets a text.
    pairs = [(a, c) for a, c in pairs if not (a.startswith(("any", "all")) and c in {"text", "raw"})]
    return [pair for pair in pairs if (split := split_of(*pair, "whole", True)) is not None and split.is_incremental]


CASES = cases()


def test_cases_are_the_ones_meant() -> None:
    """Every aggregation is incremental for some dtype; sums, means, extremes and picks for those that matter."""
    assert {aggregate for aggregate, _ in CASES} == set(MERGEABLE)
    numbers = {"i8", "i16", "i32", "i64", "i128", "u8", "u32", "u64", "f32", "f64", "flag", "money"}
    assert {column for aggregate, column in CASES if aggregate == "sum"} == numbers | {"span"}
    assert {column for aggregate, column in CASES if aggregate == "var"} == numbers
    assert {c for a, c in CASES if a == "mean"} == numbers | {"day", "when", "when_ms", "span", "clock"}
    assert {c for a, c in CASES if a == "first"} == set(COLUMNS)
    assert {c for a, c in CASES if a == "min"} == set(COLUMNS) - {"items", "pair", "nothing"}


@settings(deadline=None)
@given(
    data=st.data(),
    case=st.sampled_from(CASES),
    shape=st.sampled_from(sorted(SHAPES)),
    keyed=st.booleans(),
    engine=st.sampled_from(["in-memory", "streaming"]),
    grouping=st.lists(st.integers(1, 3), max_size=2),
)
def test_parts_give_what_polars_gives(
    data: st.DataObject, case: tuple[str, str], shape: str, keyed: bool, engine: str, grouping: list[int]
) -> None:
    keyed = keyed or case[0] == "unique"  # without keys it gives rows, not one list
    split = split_of(*case, shape, keyed)
    if split is None:
        return
    assert split.is_incremental, split.reports
    frame = data.draw(frames([case[1]]))
    expression = SHAPES[shape](case[1], MERGEABLE[case[0]])
    # Not the streaming engine: its var(ddof=0) of a single null is 0.
    expected = grouped(frame.lazy(), (expression,), keyed=keyed).collect(engine="in-memory")
    pieces = data.draw(cuts(frame))
    got = in_parts(split, pieces, grouping, engine, keyed=keyed)
    assert_same(got.sort("key") if keyed else got, expected.sort("key") if keyed else expected)
