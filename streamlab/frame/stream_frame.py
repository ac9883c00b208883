"""StreamFrame: a Polars LazyFrame that never ends."""

from __future__ import annotations

from typing import NoReturn

import polars as pl

from streamlab.connectors.source import Source
from streamlab.frame.join import JoinMethods
from streamlab.frame.outputs import OutputMethods
from streamlab.frame.refused import RefusedMethods
from streamlab.frame.runner import Runner
from streamlab.frame.table_sinks import TableSinkMethods
from streamlab.frame.totals import TotalMethods
from streamlab.frame.windows import WindowMethods
from streamlab.plan.nodes import Scan
from streamlab.plan.schema import check_names

_READ_RENAMED = (
    "streamlab computes with a column of that name: read it with Polars, as in sl.from_frame(frame.rename({…}))"
)
_INSTEAD = {
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


class StreamFrame(TotalMethods, JoinMethods, WindowMethods, RefusedMethods, OutputMethods, TableSinkMethods):
    """A query over a stream: Polars' LazyFrame, except that rows keep coming.

    Methods have Polars' names, arguments and expressions. Each one checks itself at once against the columns there
    are and returns a new frame; nothing runs before one of the outputs (`collect`, `start`, `take`, `sink_…`) is
    called. What a bounded stream gives is what Polars gives for the same query; row order is not defined.

    Frames come from ``sl.from_frame``, ``sl.scan_parquet`` and the other sources.

    Examples
    --------
    >>> import polars as pl, streamlab as sl
    >>> flights = sl.from_frame(pl.DataFrame({"origin": ["JFK", "LGA", "JFK"], "delay": [4.0, 0.0, 8.0]}))
    >>> late = flights.filter(pl.col("delay") > 0).group_by("origin").agg(pl.col("delay").mean())
    >>> late.collect().rows()
    [('JFK', 6.0)]
    """

    __slots__ = ()

    @classmethod
    def reading(cls, source: Source, runner: Runner) -> StreamFrame:
        """Return the stream of a source's rows.

        Raises
        ------
        PlanError
            If a column has a name that streamlab keeps for itself.

        Examples
        --------
        As ``sl.stream(source)``, with a runner of one's own.
        """
        check_names(source.name, source.schema, _READ_RENAMED)
        scan = Scan(source=source, step=source.name, schema=source.schema, event_time=source.timing.event_time)
        return cls(scan, runner)

    def __contains__(self, name: object) -> bool:
        return name in self._plan.schema

    def __bool__(self) -> NoReturn:
        text = "the truth value of a StreamFrame is ambiguous: it has no rows before it runs"
        raise TypeError(text)

    def __getattr__(self, name: str) -> NoReturn:
        if not name.startswith("_") and hasattr(pl.LazyFrame, name):
            instead = f": {_INSTEAD[name]}" if name in _INSTEAD else ""
            text = f"a StreamFrame has no {name!r}, although Polars' LazyFrame has{instead}"
            raise AttributeError(text, name=name, obj=self)
        text = f"'StreamFrame' object has no attribute {name!r}"
        raise AttributeError(text, name=name, obj=self)
