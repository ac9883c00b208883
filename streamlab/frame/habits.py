"""What people write out of habit from pandas and Polars' DataFrame, and what a stream has instead.

A stream has no rows before it runs, so nothing that takes a frame apart in Python can be had; each of these names gets
one sentence that helps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import NoReturn

import polars as pl

from streamlab.core.short_traceback import ShortTraceback

_RUN = "collect() of a stream that ends, take(n), or job.results() of one that runs, returns a DataFrame"
_ROLLING = "group_by_dynamic(…, every=…, period=…) gives hopping windows"
_LAZY = {
    "collect_async": "start() runs the query in the background",
    "collect_batches": "iter_batches() yields frames as they come",
    "sink_ipc": "sink_parquet(folder) writes files",
    "sink_iceberg": "sink_batches(function) hands each batch to a function",
    "show": "take(n) returns the first rows",
    "inspect": "take(n) returns the first rows",
    "show_graph": "explain() returns the plan as text",
    "execute": "start() runs the query in the background",
    "remote": "start() runs the query in the background",
    "profile": "job.metrics() has the time that each step takes",
    "clear": "head(0) is a stream without rows",
    "match_to_schema": "select(…) and cast(…) bring columns to a schema",
    "serialize": "a plan holds its sources and functions: keep the code that makes it",
}
_OTHERS = {
    "agg": "group_by(keys).agg(…), or select(pl.col('x').sum()) over everything",
    "append": "sl.concat([…]) unites streams",
    "apply": "with_columns(pl.col('x') …) computes with columns, map_batches(function) calls Python",
    "applymap": "with_columns(pl.all() …) computes with columns",
    "assign": "with_columns(name=…) adds columns",
    "astype": "cast({'x': pl.Int64}) changes dtypes",
    "at": "filter(…) chooses rows",
    "copy": "a stream never changes: use it as often as you like",
    "dropna": "drop_nulls(…), or drop_nans(…)",
    "empty": f"nobody knows before it runs: {_RUN}",
    "eval": "with_columns(…) computes with columns",
    "expanding": "group_by_cumulative(…) gives windows that grow",
    "fillna": "fill_null(…), or fill_nan(…)",
    "get_column": "pl.col('x') in select(…), filter(…) and the like",
    "get_columns": "select(…) chooses columns",
    "glimpse": f"print(stream) shows columns and steps; {_RUN}",
    "groupby": "group_by(…), or group_by_dynamic(…) in windows of time",
    "height": f"select(pl.len()) counts rows while they come; {_RUN}",
    "hstack": "with_columns(…) adds columns",
    "idxmax": "group_by(…).agg(pl.col('x').max()) has the largest value",
    "iloc": "rows of a stream have no numbers: filter(…) chooses some, head(n) takes the first",
    "index": "a stream has no index: rows are told apart by their columns",
    "info": "print(stream) shows columns and steps",
    "isna": "with_columns(pl.all().is_null())",
    "isnull": "with_columns(pl.all().is_null())",
    "item": _RUN,
    "iter_rows": "iter_batches() yields frames as they come",
    "iterrows": "iter_batches() yields frames as they come",
    "itertuples": "iter_batches() yields frames as they come",
    "loc": "filter(…) chooses rows, select(…) columns",
    "map_rows": "map_batches(function) hands each batch to a function",
    "merge": "join(other, on=…) joins with a frame or a stream, sl.concat([…]) unites streams",
    "nlargest": "in windows: group_by_dynamic(…).agg(pl.col('x').top_k(n))",
    "partition_by": "group_by(keys).agg(…)",
    "pivot_table": "group_by(keys).agg(…)",
    "plot": "job = stream.start(…), then job.plot() draws its results while they come",
    "query": "filter(pl.col('x') > 0) chooses rows",
    "resample": "group_by_dynamic(time, every='1h').agg(…)",
    "reset_index": "a stream has no index: rows are told apart by their columns",
    "rolling_max": _ROLLING,
    "rolling_mean": _ROLLING,
    "rolling_min": _ROLLING,
    "rolling_sum": _ROLLING,
    "row": _RUN,
    "rows": _RUN,
    "set_index": "a stream has no index: group_by(keys) groups by columns",
    "shape": f"width is known; select(pl.len()) counts rows while they come; {_RUN}",
    "size": "select(pl.len()) counts rows while they come",
    "sort_index": "sort the result table: job.results().sort(…)",
    "sort_values": "sort the result table: job.results().sort(…)",
    "to_csv": "sink_csv(folder) writes files while rows come",
    "to_parquet": "sink_parquet(folder) writes files while rows come",
    "to_sql": "sink_sqlite(…), sink_duckdb(…) and sink_postgres(…) write tables",
    "transform": "with_columns(…) computes with columns",
    "upsample": "windows without rows give none: fill the gaps of the result table",
    "values": _RUN,
    "value_counts": "group_by('x').len() counts values while they come",
    "vstack": "sl.concat([…]) unites streams",
    "where": "with_columns(pl.when(…).then(…).otherwise(…))",
    "write_csv": "sink_csv(folder) writes files while rows come",
    "write_database": "sink_sqlite(…), sink_duckdb(…) and sink_postgres(…) write tables",
    "write_delta": "sink_delta(path) writes a table while rows come",
    "write_ndjson": "sink_ndjson(folder) writes files while rows come",
    "write_parquet": "sink_parquet(folder) writes files while rows come",
}
_BEGINNINGS = (
    ("rolling", _ROLLING),
    ("to_", _RUN),
    ("write_", "sink_parquet(folder), sink_csv(folder) and the other sinks write while rows come"),
    ("is_", f"nobody knows before it runs: {_RUN}"),
)
_CALLED = re.compile(r"^[a-z]\w*$")


class NoSuchAttribute(ShortTraceback, AttributeError):
    """A stream has no attribute of that name."""


class NoSuchAccess(ShortTraceback, TypeError):
    """A stream cannot be used like that: it has no rows before it runs."""


def missing_attribute(name: str, columns: Iterable[str], methods: Iterable[str]) -> str:
    """Return what is said of a name that a stream has not.

    Parameters
    ----------
    name
        What was asked for.
    columns
        Names of the stream's columns.
    methods
        Names of what it has.

    Examples
    --------
    >>> print(missing_attribute("delay", ["delay"], ["filter"]))
    a StreamFrame has no 'delay'
      → it is a column: pl.col('delay'), as in filter(pl.col('delay').is_not_null())
    >>> print(missing_attribute("fltr", [], ["filter"]))
    a StreamFrame has no 'fltr'
      → did you mean 'filter'?
    """
    said = f"a StreamFrame has no {name!r}"
    if name in _LAZY:
        return f"{said}, although Polars' LazyFrame has: {_LAZY[name]}"
    if name in columns:
        written = f"pl.col({name!r})"
        return f"{said}\n  → it is a column: {written}, as in filter({written}.is_not_null())"
    hint = _OTHERS.get(name) or next((text for begin, text in _BEGINNINGS if name.startswith(begin)), "")
    near = get_close_matches(name, [*methods, *columns], 1, 0.75)
    if not hint and near:
        hint = f"did you mean {near[0]!r}?"
    if not hint and _CALLED.match(name) and hasattr(pl.DataFrame, name):
        hint = _RUN
    if hasattr(pl.LazyFrame, name):
        said = f"{said}, although Polars' LazyFrame has"
    return f"{said}\n  → {hint}" if hint else said


def refuse_item(item: object, columns: Mapping[str, object]) -> NoReturn:
    """Raise what helps whoever wrote ``stream[item]``, or has looped over a stream, which Python tries as ``[0]``."""
    if isinstance(item, str):
        near = get_close_matches(item, columns, 1)
        name = item if item in columns or not near else near[0]
        text = f"a StreamFrame has no columns to be taken out\n  → write pl.col({name!r}) in select(…), filter(…), …"
        text += f"; {_RUN}, which has [{name!r}]"
    elif isinstance(item, list | tuple):
        names = ", ".join(map(repr, item))
        text = f"a StreamFrame has no columns to be taken out\n  → select({names}) chooses columns"
    elif isinstance(item, int | slice):
        text = "a StreamFrame has no rows to be taken out or looped over: they have yet to come"
        text += f"\n  → head(n) takes the first, iter_batches() yields frames as they come; {_RUN}"
    else:
        text = (
            "a StreamFrame has no rows to be taken out: they have yet to come\n  → filter(pl.col('x') > 0) chooses rows"
        )
    raise NoSuchAccess(text)


def refuse_length() -> NoReturn:
    """Raise what helps whoever wrote ``len(stream)``."""
    text = f"a StreamFrame has no length: its rows have yet to come\n  → select(pl.len()) counts them; {_RUN}"
    raise NoSuchAccess(text)


def refuse_conversion() -> NoReturn:
    """Raise what helps whoever made a frame of a stream."""
    text = f"a StreamFrame cannot be made into a frame: its rows have yet to come\n  → {_RUN}"
    raise NoSuchAccess(text)
