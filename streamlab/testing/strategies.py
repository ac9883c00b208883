"""Hypothesis strategies for streams: rows with every awkward value, batch cuts, arrival orders, queries of the API.

Needs Hypothesis, which streamlab itself does not: ``pip install hypothesis``.

The rows of :func:`rows` have the columns of `SCHEMA`: an event time, a key with few values and one that is hot, and
numbers. Floats are multiples of a quarter, so that sums do not depend on the order of adding.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import polars as pl

from streamlab.core.errors import explained

try:
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError(
        explained("streamlab.testing.strategies", needed="Hypothesis", got="none", hint="pip install hypothesis")
    ) from error

SCHEMA = pl.Schema(
    {
        "at": pl.Datetime("us"),
        "key": pl.String(),
        "number": pl.Int64(),
        "value": pl.Float64(),
        "flag": pl.Boolean(),
    }
)
"""Columns of the rows that :func:`rows` draws."""

SECOND_US = 1_000_000
_HOT = "hot"


@dataclass(frozen=True)
class Stream:
    """Rows in an arrival order, and how far out of order they come.

    Attributes
    ----------
    frame : pl.DataFrame
        The rows as they arrive.
    bound_us : int
        No row comes more than this behind a later one; a watermark delay of this makes none late.
    """

    frame: pl.DataFrame
    bound_us: int


def _row(times: st.SearchStrategy[int | None]) -> st.SearchStrategy[tuple[Any, ...]]:
    # Half of the rows have one key, as in real data.
    keys = st.one_of(st.just(_HOT), st.sampled_from([_HOT, "a", "b", "c", "", None]))
    numbers = st.one_of(st.none(), st.integers(-5, 5), st.integers(-(2**40), 2**40))
    quarters = st.integers(-400, 400).map(lambda n: n / 4)
    values = st.one_of(st.none(), quarters, quarters, st.just(float("nan")), st.just(-0.0))
    return st.tuples(times, keys, numbers, values, st.one_of(st.none(), st.booleans()))


@st.composite
def streams(draw: st.DrawFn, *, max_rows: int = 40, nan: bool = True, null_times: bool = False) -> Stream:
    """Draw rows with an arrival order: ties, gaps, times before 1970, nulls, NaN, one hot key, none at all.

    Parameters
    ----------
    max_rows
        Most rows.
    nan
        Whether floats may be NaN.
    null_times
        Whether event times may be null; such rows are dead-lettered where event time matters.
    """
    start = draw(st.sampled_from([0, -30 * SECOND_US, 1_700_000_000 * SECOND_US, -62_000_000_000 * SECOND_US]))
    spread = draw(st.sampled_from([0, 5, 60, 4000])) * SECOND_US
    tick = draw(st.sampled_from([SECOND_US, SECOND_US // 4, 1]))
    times = st.integers(0, max(1, spread // tick)).map(lambda n: start + n * tick)
    maybe = st.one_of(times, times, times, st.none()) if null_times else times
    drawn = draw(st.lists(_row(maybe), max_size=max_rows))
    frame = pl.DataFrame(drawn, schema={**SCHEMA, "at": pl.Int64()}, orient="row").cast(SCHEMA)
    if not nan:
        frame = frame.with_columns(pl.col("value").fill_nan(None))
    bound_us = draw(st.sampled_from([0, 1, 3 * SECOND_US, 60 * SECOND_US]))
    delays = draw(st.lists(st.integers(0, bound_us), min_size=frame.height, max_size=frame.height))
    arrival = frame["at"].dt.epoch("us").fill_null(start) + pl.Series(delays, dtype=pl.Int64)
    ordered = frame.with_columns(arrival.alias("arrival")).sort("arrival", maintain_order=True).drop("arrival")
    return Stream(ordered, bound_us)


@st.composite
def batches(draw: st.DrawFn, frame: pl.DataFrame) -> list[pl.DataFrame]:
    """Draw a way to cut a frame into batches, some of them perhaps empty."""
    cuts = sorted(draw(st.lists(st.integers(0, frame.height), max_size=8)))
    edges = [0, *cuts, frame.height]
    return [frame.slice(low, high - low) for low, high in pairwise(edges)]


@dataclass(frozen=True)
class Step:
    """One call on a StreamFrame, with the text that it would have in a script."""

    text: str
    apply: Callable[[Any], Any]

    def __repr__(self) -> str:
        return self.text


@dataclass(frozen=True)
class Query:
    """Calls on a StreamFrame, one after the other."""

    steps: tuple[Step, ...]

    def __call__(self, frame: Any) -> Any:
        """Return the query over this frame: a StreamFrame, or for calls that Polars has as well, a LazyFrame."""
        for step in self.steps:
            frame = step.apply(frame)
        return frame

    def __repr__(self) -> str:
        return "frame" + "".join(step.text for step in self.steps)


def _step(text: str) -> Step:
    """Return the step that this text says, with ``pl`` and a static ``table`` of the frame's own kind."""
    apply = eval(f"lambda f, table: f{text}", {"pl": pl})  # noqa: S307 - our own texts
    return Step(text, lambda frame: apply(frame, _TABLE.lazy() if isinstance(frame, pl.LazyFrame) else _TABLE))


_TABLE = pl.DataFrame({"key": [_HOT, "a", "x", None], "label": ["H", "A", "X", "N"]})

_ROW_STEPS = [
    ".filter(pl.col('number') > 0)",
    ".filter(pl.col('key').is_not_null(), pl.col('flag') | (pl.col('value') < 50))",
    ".filter(pl.lit(False))",
    ".with_columns(number=pl.col('number') * 2 - 1, value=pl.col('value').abs())",
    ".with_columns(pl.col('key').fill_null('none').str.to_uppercase())",
    ".with_columns(pl.when(pl.col('flag')).then(pl.col('value')).otherwise(0.5).alias('value'))",
    ".select('at', 'key', pl.col('number').clip(-3, 3), 'value', flag=pl.col('flag').not_())",
    ".rename({'key': 'k'}).rename({'k': 'key'})",
    ".drop_nulls(['number'])",
    ".fill_null(0)",
    ".drop_nans('value')",
    ".with_columns(pl.col('value').fill_nan(None))",
    ".with_columns(part=pl.concat_list('number', pl.lit(1))).explode('part').drop('part')",
    ".join(table, on='key', how='left').drop('label')",
    ".join(table, on='key', how='semi')",
    ".join(table, on='key', how='anti')",
    ".join(table, on='key', how='inner').drop('label')",
    ".map_batches(lambda b: b.filter(pl.col('number') != 3))",
]

_MERGED = [
    "pl.len().alias('rows')",
    "pl.col('number').sum()",
    "pl.col('value').sum().alias('total')",
    "pl.col('value').mean().alias('mean')",
    "pl.col('number').min().alias('least'), pl.col('value').max().alias('most')",
    "pl.col('number').count().alias('count'), pl.col('number').null_count().alias('nulls')",
    "pl.col('flag').any().alias('some'), pl.col('flag').all().alias('every')",
    "pl.col('key').n_unique().alias('keys')",
    "pl.col('number').clip(-100, 100).var().alias('var'), pl.col('number').clip(-9, 9).std().alias('std')",
    # For the deviation with ddof=0 of one null some of Polars' engines give 0.0, the others null.
    "pl.col('number').fill_null(0).clip(-100, 100).std(ddof=0).alias('deviation')",
    "(pl.col('value').sum() / pl.len()).alias('ratio')",
    "pl.col('number').filter(pl.col('flag')).sum().alias('chosen')",
    "(pl.col('number') * pl.col('number').clip(-3, 3)).sum().alias('weighted')",
    "pl.when(pl.len() > 2).then(pl.col('number').max()).otherwise(None).alias('guarded')",
    "pl.col('value', 'number').max().name.suffix('_max')",
]
_BUFFERED = [
    "pl.col('number').median().alias('median')",
    "pl.col('number').quantile(0.25, 'lower').alias('quartile')",
    "pl.col('number').sort().tail(2).sum().alias('two')",
    "pl.col('number').drop_nulls().unique().sum().alias('distinct')",
]

_GROUPS = {
    "unbounded": [
        ".group_by('key')",
        ".group_by('key', (pl.col('number') % 3).alias('rest'))",
        ".group_by(half=pl.col('flag'))",
    ],
    "dynamic": [
        ".group_by_dynamic('at', every='5s', group_by='key')",
        ".group_by_dynamic('at', every='1m')",
        ".group_by_dynamic('at', every='2s', period='6s', group_by='key')",
        ".group_by_dynamic('at', every='3s', period='5s', offset='1s', group_by='flag')",
        ".group_by_dynamic('at', every='10s', period='4s', group_by='key')",
        ".group_by_dynamic('at', every='7s', offset='-2s', include_boundaries=True, group_by=['key', 'flag'])",
    ],
    "session": [
        ".group_by_session('at', gap='3s', group_by='key')",
        ".group_by_session('at', gap='1m')",
        ".group_by_session('at', gap='1s', group_by=['key', 'flag'], include_boundaries=True)",
    ],
    "cumulative": [
        ".group_by_cumulative('at', step='2s', every='10s', group_by='key', include_boundaries=True)",
        ".group_by_cumulative('at', step='20s', every='1m', include_boundaries=True)",
    ],
}
_NESTED = [
    ".group_by('rows').agg(pl.len().alias('groups'), pl.col('key').n_unique().alias('keys'))",
    ".group_by('rest').agg(pl.col('rows').sum(), pl.col('rows').max().alias('most'), pl.col('total').min())",
    ".group_by('rest').agg(pl.col('rows').mean().alias('mean'), pl.col('rows').median().alias('middle'))",
    ".filter(pl.col('rows') > 1)",
    ".filter(pl.col('rest').is_null() | (pl.col('total') > 0)).with_columns(pl.col('rows') * 10)",
    ".with_columns(part=pl.concat_list('rows', pl.lit(0, pl.UInt32))).explode('part')",
    ".select(pl.len(), pl.col('rows').sum())",
    ".group_by('key').agg(pl.col('total').sum()).group_by('total').agg(pl.len())",
]
"""What can follow :data:`_FIRST`, whose results change as rows come."""
_FIRST = (
    ".group_by('key', (pl.col('number') % 3).alias('rest'))"
    ".agg(pl.len().alias('rows'), pl.col('number').clip(-9, 9).sum().alias('total'))"
)
_CASCADES = [
    ".group_by_dynamic('at', every='{n}s').agg(pl.col('rows').sum(), pl.len().alias('windows'))",
    ".group_by_dynamic('at', every='{n}s', period='{m}s', group_by='key').agg(pl.col('rows').max())",
    ".group_by_session('at', gap='{n}s', group_by='key').agg(pl.col('rows').sum())",
    ".filter(pl.col('rows') > 1).group_by_dynamic('at', every='{n}s').agg(pl.col('rows').min(), pl.len())",
]
"""What can follow windows: windows of their results."""


KINDS = ("rows", *_GROUPS, "nested", "global", "cascade")
"""The ends of queries that :func:`queries` draws from."""


def row_steps(max_steps: int = 3) -> st.SearchStrategy[tuple[Step, ...]]:
    """Draw steps that keep the columns of `SCHEMA`."""
    return st.lists(st.sampled_from(_ROW_STEPS).map(_step), max_size=max_steps).map(tuple)


@st.composite
def queries(draw: st.DrawFn, *, kinds: tuple[str, ...] = KINDS) -> Query:
    """Draw a query: row-wise steps, then perhaps aggregates.

    Parameters
    ----------
    kinds
        Which ends there may be: ``"rows"`` (none), ``"unbounded"``, ``"global"``, ``"nested"`` (aggregates of
        aggregates), ``"dynamic"``, ``"session"``, ``"cumulative"``, ``"cascade"`` (windows of windows).
    """
    steps = draw(row_steps())
    kind = draw(st.sampled_from(kinds))
    if kind == "rows":
        return Query(steps)
    if kind == "nested":
        return Query((*steps, _step(_FIRST), _step(draw(st.sampled_from(_NESTED)))))
    if kind == "cascade":
        window = draw(st.sampled_from([g for g in _GROUPS["dynamic"] + _GROUPS["session"] if "'key'" in g]))
        n = draw(st.sampled_from([1, 4, 30]))
        after = draw(st.sampled_from(_CASCADES)).format(n=n, m=3 * n)
        return Query((*steps, _step(f"{window}.agg(pl.len().alias('rows'))"), _step(after)))
    if kind == "global":
        chosen = draw(st.lists(st.sampled_from(_MERGED + _BUFFERED), min_size=1, max_size=4, unique=True))
        return Query((*steps, _step(f".select({', '.join(chosen)})")))
    group = draw(st.sampled_from(_GROUPS[kind]))
    chosen = draw(st.lists(st.sampled_from(_MERGED), min_size=1, max_size=4, unique=True))
    if draw(st.booleans()):
        chosen = [*chosen, draw(st.sampled_from(_BUFFERED))]
    # A column that is grouped by cannot be aggregated under its own name.
    return Query((*steps, _step(f"{group}.agg({', '.join(chosen)})")))
