"""What a bounded query must give: the same plan run by plain Polars on the whole input at once.

This is the right-hand side of the duality law. It shares no code with the operators. Where streams differ from Polars
on purpose (windows that start before the first row; sessions and cumulative windows, which Polars has not) rows are
assigned to windows here, in the plainest way. It knows nothing of late rows: the input must have none.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import singledispatchmethod

import polars as pl

from streamlab.connectors.contracts.source import START, Source
from streamlab.core.column_names.own_columns import own
from streamlab.core.errors import InternalError
from streamlab.core.event_time.time import from_us, time_us
from streamlab.core.event_time.windows import CumulativeWindows, HoppingWindows, SessionWindows
from streamlab.frame.stream_frame import StreamFrame
from streamlab.plan import nodes

_START, _END, _TIME, _SESSION = map(own, ("start", "end", "at", "session"))
_ROW, _REACH, _ALL = map(own, ("row", "reach", "all"))
_READ_ROWS = 1_000_000
_MOST_OVERLAPS = 100_000


def oracle(
    query: StreamFrame | nodes.Node, inputs: Mapping[str, pl.DataFrame] | pl.DataFrame | None = None
) -> pl.DataFrame:
    """Return the rows that a bounded query must give, changelogs folded, in no order.

    Parameters
    ----------
    query
        A frame or its plan.
    inputs
        What the sources hold, by their names, or one frame for all of them; None reads the sources to their end.

    Examples
    --------
    >>> import streamlab as sl
    >>> rows = pl.DataFrame({"k": ["a", "b", "a"], "n": [1, 2, 3]})
    >>> oracle(sl.from_frame(rows).group_by("k").agg(pl.col("n").sum())).sort("k").rows()
    [('a', 4), ('b', 2)]
    """
    plan = query.plan if isinstance(query, StreamFrame) else query
    return _Oracle(inputs).run(plan)


def read_all(source: Source) -> pl.DataFrame:
    """Return all rows of a bounded source, split after split."""
    frames = []
    for split in source.splits():
        reader = source.open(split, START)
        try:
            while not reader.done:
                read = reader.read(_READ_ROWS, 0)
                if read is not None:
                    frames.append(read.frame.lazy().collect())
        finally:
            reader.close()
    return pl.concat([source.schema.to_frame(), *frames])


class _Oracle:
    def __init__(self, inputs: Mapping[str, pl.DataFrame] | pl.DataFrame | None) -> None:
        self._inputs = inputs
        self._done: dict[int, pl.DataFrame] = {}

    def run(self, node: nodes.Node) -> pl.DataFrame:
        """Return the node's whole result; a shared node runs once."""
        if id(node) not in self._done:
            self._done[id(node)] = self._run(node)
        return self._done[id(node)]

    @singledispatchmethod
    def _run(self, node: nodes.Node) -> pl.DataFrame:
        text = f"the oracle does not know {type(node).__name__}"
        raise InternalError(text)

    @_run.register
    def _(self, node: nodes.Scan) -> pl.DataFrame:
        if self._inputs is None:
            rows = read_all(node.source)
        elif isinstance(self._inputs, pl.DataFrame):
            rows = self._inputs
        else:
            rows = self._inputs[node.source.name]
        # Rows without an event time are dead letters.
        return rows if node.event_time is None else rows.drop_nulls(node.event_time)

    @_run.register
    def _(self, node: nodes.PolarsStep) -> pl.DataFrame:
        return node.apply(self.run(node.input).lazy()).collect()

    @_run.register
    def _(self, node: nodes.MapBatches) -> pl.DataFrame:
        rows = self.run(node.input)
        given = rows if node.as_ == "polars" else rows.to_pandas()
        result = node.function(given)
        frame = result.lazy().collect() if isinstance(result, pl.DataFrame | pl.LazyFrame) else pl.from_pandas(result)
        return frame.select(pl.col(name).cast(dtype) for name, dtype in node.schema.items())

    @_run.register
    def _(self, node: nodes.AssignWatermarks) -> pl.DataFrame:
        return self.run(node.input).drop_nulls(node.column)

    @_run.register
    def _(self, node: nodes.Head) -> pl.DataFrame:
        return self.run(node.input).head(node.n)

    @_run.register
    def _(self, node: nodes.StaticJoin) -> pl.DataFrame:
        left, right = self.run(node.input).lazy(), node.right.lazy()
        return left.join(right, left_on=node.left_on, right_on=node.right_on, how=node.how, **node.kwargs).collect()

    @_run.register
    def _(self, node: nodes.StreamJoin) -> pl.DataFrame:
        left, right = self.run(node.left).lazy(), self.run(node.right).lazy()
        return left.join(right, left_on=node.left_on, right_on=node.right_on, how=node.how, **node.kwargs).collect()

    @_run.register
    def _(self, node: nodes.Union) -> pl.DataFrame:
        return pl.concat([self.run(branch) for branch in node.branches])

    @_run.register
    def _(self, node: nodes.GroupAggregate) -> pl.DataFrame:
        rows = self.run(node.input)
        if node.input.event_time is not None:
            rows = rows.sort(node.input.event_time, maintain_order=True)
        return rows.lazy().group_by(*node.keys).agg(*node.aggregates).collect()

    @_run.register
    def _(self, node: nodes.WindowAggregate) -> pl.DataFrame:
        rows = self.run(node.input).drop_nulls(node.index_column).sort(node.index_column, maintain_order=True)
        windows = node.windows
        if isinstance(windows, HoppingWindows) and windows.kind == "tumbling":
            return _by_polars(node, windows, rows)
        if isinstance(windows, HoppingWindows):
            placed = _hopping(rows, node.index_column, windows)
        elif isinstance(windows, CumulativeWindows):
            placed = _cumulative(rows, node.index_column, windows)
        else:
            return _sessions(node, windows, rows)
        return _aggregated(node, placed, [*node.keys, pl.col(_START), pl.col(_END)])

    @_run.register
    def _(self, node: nodes.Write) -> pl.DataFrame:
        return self.run(node.input)


def _by_polars(node: nodes.WindowAggregate, windows: HoppingWindows, rows: pl.DataFrame) -> pl.DataFrame:
    grouped = rows.lazy().group_by_dynamic(
        node.index_column,
        every=windows.every.text,
        offset=windows.offset.text,
        include_boundaries=node.include_boundaries,
        group_by=list(node.keys) or None,
    )
    return grouped.agg(*node.aggregates).collect()


def _instants(rows: pl.DataFrame, column: str) -> pl.DataFrame:
    """Return the rows with their time as a Datetime in microseconds, in the column's own zone."""
    dtype = rows.schema[column]
    zone = dtype.time_zone if isinstance(dtype, pl.Datetime) else None
    return rows.with_columns(pl.col(column).cast(pl.Datetime("us", zone)).alias(_TIME))


def _hopping(rows: pl.DataFrame, column: str, windows: HoppingWindows) -> pl.DataFrame:
    """Return a row for each row and each window that holds it, going back from the latest window start."""
    offset, backwards = windows.offset.text, _negated(windows.offset.text)
    start = pl.col(_TIME).dt.offset_by(backwards).dt.truncate(windows.every.text).dt.offset_by(offset)
    placed = _instants(rows, column).with_row_index(_ROW).with_columns(start.alias(_START))
    found = []
    for _ in range(_MOST_OVERLAPS):
        inside = placed.with_columns(pl.col(_START).dt.offset_by(windows.period.text).alias(_END)).filter(
            pl.col(_END) > pl.col(_TIME)
        )
        found.append(inside)
        if not inside.height:
            break
        placed = inside.drop(_END).with_columns(pl.col(_START).dt.offset_by(_negated(windows.every.text)))
    return _in_us(pl.concat(found).sort(_ROW, maintain_order=True).drop(_ROW))


def _cumulative(rows: pl.DataFrame, column: str, windows: CumulativeWindows) -> pl.DataFrame:
    """Return a row for each row and each of the growing windows that holds it."""
    every, step = windows.every.fixed_us("every"), windows.step.fixed_us("step")
    offset = windows.offset.fixed_us("offset")
    time = time_us(column)
    ends = pl.DataFrame({_REACH: range(step, every + 1, step)}, schema={_REACH: pl.Int64})
    return (
        rows.with_columns(time.alias(_TIME), (time - (time - offset) % every).alias(_START))
        .join(ends, how="cross", maintain_order="left")
        .with_columns((pl.col(_START) + pl.col(_REACH)).alias(_END))
        .filter(pl.col(_END) > pl.col(_TIME))
        .drop(_TIME, _REACH)
    )


def _sessions(node: nodes.WindowAggregate, windows: SessionWindows, rows: pl.DataFrame) -> pl.DataFrame:
    """Return the result of sessions: a row opens one when it is further than the gap from the row before it."""
    gap = windows.gap.fixed_us("gap")
    numbered = [own(f"key{at}") for at in range(len(node.keys))]
    keys = [key.alias(name) for key, name in zip(node.keys, numbered, strict=True)]
    names = numbered or [_ALL]
    keyed = rows.with_columns(*keys, pl.lit(0).alias(_ALL), time_us(node.index_column).alias(_TIME))
    opens = pl.col(_TIME).diff().over(names).fill_null(gap + 1) > gap
    marked = keyed.with_columns(opens.cum_sum().over(names).alias(_SESSION))
    bounds = [pl.col(_TIME).min().over([*names, _SESSION]), pl.col(_TIME).max().over([*names, _SESSION]) + gap]
    placed = marked.with_columns(bounds[0].alias(_START), bounds[1].alias(_END))
    placed = placed.drop(*numbered, _ALL, _TIME)
    return _aggregated(node, placed, [*node.keys, pl.col(_SESSION), pl.col(_START), pl.col(_END)])


def _aggregated(node: nodes.WindowAggregate, placed: pl.DataFrame, groups: list[pl.Expr]) -> pl.DataFrame:
    """Return the aggregates of rows that carry the bounds of their windows, in the form of the node's result."""
    schema = node.schema
    times = {node.index_column: _START, "_lower_boundary": _START, "_upper_boundary": _END}
    shown = {name: times[name] for name in schema if name in times}
    if not node.include_boundaries:
        shown = {node.index_column: _START}
    result = placed.lazy().group_by(*groups).agg(*node.aggregates)
    times_shown = [from_us(pl.col(bound), schema[name]).alias(name) for name, bound in shown.items()]
    return result.with_columns(*times_shown).select(schema.names()).collect()


def _in_us(placed: pl.DataFrame) -> pl.DataFrame:
    return placed.with_columns(time_us(_START).alias(_START), time_us(_END).alias(_END)).drop(_TIME)


def _negated(duration: str) -> str:
    return duration.removeprefix("-") if duration.startswith("-") else f"-{duration}"
