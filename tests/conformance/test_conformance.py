"""Every case of ``--cases DIR`` (the repository's own by default) through the adapter of its category."""

from __future__ import annotations

from collections.abc import Callable

import conformance_lookup
import conformance_operator
import conformance_query
import conformance_watermarks
import conformance_windows
import pytest
from conformance_case import Case, Unsupported

ADAPTERS: dict[str, Callable[[Case], None]] = {
    "window-assigner": conformance_windows.assigner,
    "window-slices": conformance_windows.slices,
    "window-slices-dst": conformance_windows.slices,
    "session-merge": conformance_windows.session_merge,
    "trigger": conformance_operator.trigger,
    "window-operator": conformance_operator.window_operator,
    "watermark-generator": conformance_watermarks.generator,
    "watermark-combine": conformance_watermarks.combine,
    "watermark-per-partition": conformance_watermarks.per_partition,
    "window-agg": conformance_query.query,
    "window-agg-cascading": conformance_query.query,
    "window-agg-grouping-sets": conformance_query.query,
    "window-agg-ltz": conformance_query.query,
    "restore-window-agg": conformance_query.query,
    "window-tvf": conformance_query.query,
    "group-window": conformance_query.query,
    "group-agg": conformance_query.query,
    "restore-group-agg": conformance_query.query,
    "set-operators": conformance_query.query,
    "dedup": conformance_query.query,
    "restore-dedup": conformance_query.query,
    "lookup-join": conformance_lookup.lookup_join,
}


def test_case(case: Case) -> None:
    if case.data.get("quirk"):
        pytest.skip("not gated: the case marks its own expectation as a quirk")
    adapter = ADAPTERS.get(case.category)
    if adapter is None:
        pytest.skip("this category is not supported yet")
    try:
        adapter(case)
    except Unsupported as reason:
        pytest.skip(str(reason))
