"""What can be said about a user's ``pl.Expr`` without running it. The only place that reads its JSON form."""

from streamlab.plan.expressions.expansion import expand, output_columns, parse
from streamlab.plan.expressions.rowwise import is_aggregation, is_literal, rowwise_problem
from streamlab.plan.expressions.split import split_aggregates

__all__ = [
    "expand",
    "is_aggregation",
    "is_literal",
    "output_columns",
    "parse",
    "rowwise_problem",
    "split_aggregates",
]
