"""``ROW_NUMBER() … WHERE rn = 1`` as ``group_by(keys).agg(first or last)``: so the API keeps one row of each key."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl
from conformance_case import Unsupported
from conformance_relation import Relation
from sqlglot import exp

_BY_CLOCK = ("proctime", "proc_time")


@dataclass(frozen=True)
class FirstRows:
    """A query for the first or the last row of each group.

    Attributes
    ----------
    source : exp.Expression
        Where the rows come from.
    keys : tuple[str, ...]
        Columns of the groups.
    time : str | None
        The column that rows are ordered by; None for the order in which they come.
    is_last : bool
        Whether the latest row is kept.
    """

    source: exp.Expression
    keys: tuple[str, ...]
    time: str | None
    is_last: bool

    def of(self, relation: Relation, event_time: str | None) -> Relation:
        """Return the rows that are kept."""
        if self.time != event_time:
            msg = f"rows in the order of {self.time or 'the clock'}, in a stream of event time {event_time}"
            raise Unsupported(msg)
        others = [column for column in relation.columns if column not in self.keys]
        one = pl.col(others).last() if self.is_last else pl.col(others).first()
        frame = relation.frame.group_by(*self.keys).agg(one).select(*relation.columns)
        return Relation(frame, relation.columns)


def first_rows(node: exp.Select) -> FirstRows | None:
    """Return what a query keeps if it is one for the first or the last row of each group."""
    source, where = node.args.get("from_") or node.args.get("from"), node.args.get("where")
    inner = source.this.this if source is not None and isinstance(source.this, exp.Subquery) else None
    if not isinstance(inner, exp.Select) or where is None:
        return None
    numbers = {e.alias: e.unalias() for e in inner.expressions if isinstance(e.unalias(), exp.Window)}
    if len(numbers) != 1 or len(inner.expressions) != len(numbers) + 1 or not inner.is_star:
        return None
    ((name, window),) = numbers.items()
    rank, order = window.this, window.args.get("order")
    wanted = where.this
    is_one = isinstance(wanted, exp.EQ) and wanted.this.name == name and wanted.expression.name == "1"
    if not isinstance(rank, exp.RowNumber) or not is_one or order is None or len(order.expressions) != 1:
        return None
    by = order.expressions[0]
    time = None if by.this.name.lower() in _BY_CLOCK else by.this.name
    keys = tuple(key.name for key in window.args["partition_by"])
    return FirstRows((inner.args.get("from_") or inner.args["from"]).this, keys, time, bool(by.args.get("desc")))
