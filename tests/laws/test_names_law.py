"""The law of names: what a user's columns are called changes nothing but what the results' columns are called.

Names are those that streamlab's own columns had before they got a prefix, and some that it uses in frames of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from random import Random

import polars as pl
import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st
from naive_oracle import expected

import streamlab as sl
from streamlab.testing.compare import assert_same_rows
from streamlab.testing.simulation import SimulationResult, simulate
from streamlab.testing.sources import split_frames
from streamlab.testing.strategies import KINDS, Query, Step, Stream, queries, streams

FORMER = """
    all arrival at bad base bucket closed count counts deleted due end final fire forgiven group having having0 kept
    kind may_be_late new_end new_start nth_add old opens pane places rank reach round row rows session session_end
    session_start sign slot start taken turn watermark p0 p1 p2 r0 r1 key keys key0 key_key key_at key_number given_key
    given_rows of_key of_rows late_outcome late_time_us late_noted_us index
"""
POOL = (
    *(f"__{name}" for name in FORMER.split()),
    "first",
    "last",
    "rows_",
    "members",
    "width",
    "_row",
    "__s",
    "_sl_p0",
)
GIVEN = ("at", "key", "number", "value", "flag")
MADE = """
    rows total mean least most count nulls some every keys var std deviation ratio chosen weighted guarded median
    quartile two distinct rest label k part half groups middle windows
"""
PLAIN = (*GIVEN, *MADE.split())
_QUOTED = re.compile(rf"'({'|'.join(PLAIN)})'")
_ARGUMENT = re.compile(r"\b(number|value|flag|part|half)=")
_TABLE = pl.DataFrame({"key": ["hot", "a", "x", None], "label": ["H", "A", "X", "N"]})
seeds = st.integers(0, 2**32)
names = seeds.map(lambda seed: dict(zip(PLAIN, Random(seed).sample(POOL, len(PLAIN)), strict=True)))
"""Names for the columns of rows and of results; one number stands for all of them, so that failing is quick."""
_quick = settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))

_COUNTS = "pl.len().alias('rows'), pl.col('number').sum(), pl.col('value').mean().alias('mean')"
_BUFFERED = "pl.len().alias('rows'), pl.col('number').median(), pl.col('number').max().alias('two')"
_HAVING = ".having(pl.len() > 1, pl.col('number').count() > 0)"
_OPTIONS = ("", ", allowed_lateness='2s'", ", allowed_lateness='90s', trigger=sl.every_rows(2)")
WINDOWS = {
    "tumbling": ".group_by_dynamic('at', every='5s', group_by='key'{})",
    "hopping": ".group_by_dynamic('at', every='2s', period='7s', group_by=['key', 'flag']{})",
    "gaps": ".group_by_dynamic('at', every='5s', period='3s', include_boundaries=True{})",
    "cumulative": ".group_by_cumulative('at', step='2s', every='6s', group_by='key'{})",
    "session": ".group_by_session('at', gap='3s', group_by='key'{})",
    "session of all": ".group_by_session('at', gap='1s'{})",
}
_PARTS = f".group_by('key', 'flag').agg({_COUNTS})"
UNBOUNDED = (
    f".group_by('key'){_HAVING}.agg({_COUNTS})",
    f".group_by('key'){_HAVING}.agg({_BUFFERED})",
    f".group_by((pl.col('number') % 3).alias('value')).agg({_BUFFERED}, pl.col('value').max().alias('most'))",
    f"{_PARTS}.group_by('key').agg(pl.col('rows').sum(), pl.col('number').median())",
    f"{_PARTS}.filter(pl.col('rows') > 1).group_by('flag'){_HAVING}.agg(pl.col('rows').max(), pl.col('mean').max())",
    ".group_by('key').agg(pl.col('number').sum()).map_batches(lambda b: b.with_columns(pl.col('number') + 1))",
)


def under(text: str, names: Mapping[str, str]) -> str:
    """Return the text of a step over columns that have other names."""
    quoted = _QUOTED.sub(lambda found: repr(names[found[1]]), text)
    return _ARGUMENT.sub(lambda found: f"{names[found[1]]}=", quoted)


def other(query: Query, names: Mapping[str, str]) -> Query:
    """Return a query over columns that have other names."""
    return Query(tuple(_step(under(step.text, names), names) for step in query.steps))


def renamed(frame: pl.DataFrame, names: Mapping[str, str]) -> pl.DataFrame:
    """Return rows, or a result, under other names."""

    def name(plain: str) -> str:
        stem = plain.removesuffix("_max")
        return plain.replace(stem, names.get(stem, stem)) if stem != plain else names.get(plain, plain)

    return frame.rename(name)


def _step(text: str, names: Mapping[str, str]) -> Step:
    apply = eval(f"lambda f, table: f{text}", {"pl": pl, "sl": sl})
    table = renamed(_TABLE, names)
    return Step(text, lambda frame: apply(frame, table.lazy() if isinstance(frame, pl.LazyFrame) else table))


def _source(frame: pl.DataFrame, names: Mapping[str, str], splits: int, watermark: str) -> sl.StreamFrame:
    number = pl.int_range(frame.height, eager=True) % splits
    parts = [renamed(frame.filter(number == split), names) for split in range(splits)]
    return split_frames(parts, event_time=names["at"], watermark=watermark)


@pytest.mark.parametrize("kind", KINDS)
@_quick
@given(
    data=st.data(), stream=streams(), names=names, seed=seeds, parallelism=st.integers(1, 3), splits=st.integers(1, 3)
)
def test_a_query_under_any_names_gives_what_polars_gives(
    kind: str, data: st.DataObject, stream: Stream, names: dict[str, str], seed: int, parallelism: int, splits: int
) -> None:
    query = data.draw(queries(kinds=(kind,)))
    note(repr(other(query, names)))
    source = _source(stream.frame, names, splits, f"{stream.bound_us}us")
    result = simulate(other(query, names)(source), seed, parallelism=parallelism, crashes=1)
    assert_same_rows(result.table, renamed(expected(query, stream.frame), names))


def _late(result: SimulationResult) -> pl.DataFrame:
    return pl.concat(result.late_rows) if result.late_rows else pl.DataFrame()


def _check(
    text: str, stream: Stream, names: dict[str, str], delay: str, seed: int, rows: int, parallelism: int
) -> None:
    """Compare with the same query over columns whose names nobody else has, whose rows come one by one."""
    plain = {name: name for name in PLAIN}
    note(under(text, names))
    one_by_one = simulate(_step(text, plain).apply(_source(stream.frame, plain, 1, delay)), seed, batch_rows=1)
    query = _step(under(text, names), names).apply(_source(stream.frame, names, 1, delay))
    result = simulate(query, seed, parallelism=parallelism, batch_rows=rows, crashes=1)
    assert_same_rows(result.table, renamed(one_by_one.table, names))
    assert_same_rows(_late(result), renamed(_late(one_by_one), names))
    assert "__sl_" not in query.explain()


@pytest.mark.parametrize("window", WINDOWS)
@_quick
@given(
    stream=streams(),
    names=names,
    options=st.sampled_from(_OPTIONS),
    having=st.sampled_from(["", _HAVING]),
    aggregates=st.sampled_from([_COUNTS, _BUFFERED]),
    delay=st.sampled_from(["0s", "1s"]),
    seed=seeds,
    rows=st.sampled_from([3, 1_000]),
    parallelism=st.integers(1, 2),
)
def test_late_rows_and_updates_of_windows_under_any_names(
    window: str,
    stream: Stream,
    names: dict[str, str],
    options: str,
    having: str,
    aggregates: str,
    delay: str,
    seed: int,
    rows: int,
    parallelism: int,
) -> None:
    text = f"{WINDOWS[window].format(options)}{having}.agg({aggregates})"
    _check(text, stream, names, delay, seed, rows, parallelism)


@pytest.mark.parametrize("text", UNBOUNDED)
@_quick
@given(stream=streams(), names=names, seed=seeds, rows=st.sampled_from([3, 1_000]))
def test_updates_of_groups_under_any_names(
    text: str, stream: Stream, names: dict[str, str], seed: int, rows: int
) -> None:
    _check(text, stream, names, f"{stream.bound_us}us", seed, rows, 1)


@_quick
@given(stream=streams(null_times=True), names=names, seed=seeds)
def test_dead_letters_under_any_names(stream: Stream, names: dict[str, str], seed: int) -> None:
    step = ".with_columns(pl.when(pl.col('flag')).then(pl.col('at')).alias('at')).group_by_dynamic('at', every='5s')"
    query = _step(under(f"{step}.agg({_COUNTS})", names), names).apply(_source(stream.frame, names, 1, "60s"))
    letters = simulate(query, seed).dead_letters
    found = [row for frame in letters for row in frame["input"].str.json_decode(pl.Struct({names["key"]: pl.String}))]
    untimed = stream.frame.filter(pl.col("at").is_null() | ~pl.col("flag").fill_null(value=False))
    assert sorted(map(repr, found)) == sorted(repr({names["key"]: key}) for key in untimed["key"])
