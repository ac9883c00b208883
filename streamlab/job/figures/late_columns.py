"""Which columns late rows have, before there is one: those of the rows that the query's windows are given."""

from __future__ import annotations

import polars as pl

from streamlab.core.errors import StateError
from streamlab.plan import nodes
from streamlab.runtime.client.client import JobHandle


def no_late_rows(handle: JobHandle) -> pl.DataFrame:
    """Return the table of late rows of a job that has none; without columns when its query is not known."""
    try:
        query: nodes.Node = handle.folder.understand_query()
    except StateError:
        return pl.DataFrame()
    given = [node.input.schema.to_frame() for node in query.walk() if isinstance(node, nodes.WindowAggregate)]
    return pl.concat(given, how="diagonal_relaxed") if given else pl.DataFrame()
