"""Rows whose time is null, as a step between the source and the windows can make it, are dead letters."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import pytest
from window_model import AGGREGATES, BUFFERED, cumulative, hopping, rows_frame, session, specs

from streamlab.core.event_time.windows import Windows
from streamlab.core.messages import DEAD_LETTERS, MAIN, UNAGGREGATED, Batch
from streamlab.operators.base import OperatorContext

WINDOWS = [
    hopping("2s"),
    hopping("2s", "4s"),
    hopping("4s", "1s"),
    cumulative("1s", "3s"),
    session("1s"),
    hopping("1mo"),
]


@pytest.mark.parametrize("lazy", [True, False])
@pytest.mark.parametrize("combines", [True, False])
@pytest.mark.parametrize("aggregates", [AGGREGATES, BUFFERED], ids=["incremental", "buffered"])
@pytest.mark.parametrize("windows", WINDOWS, ids=str)
def test_null_times(windows: Windows, aggregates: Sequence[pl.Expr], combines: bool, lazy: bool) -> None:
    local, _, _ = specs(windows, aggregates=aggregates, combines=combines)
    operator = local.build(OperatorContext())
    rows = rows_frame([(100, "a", 1), (None, "a", 2), (200, "b", 3), (None, None, None)])  # type: ignore[list-item]
    out = [m for m in operator.process(Batch(rows.lazy() if lazy else rows, ingested_us=7)) if isinstance(m, Batch)]
    assert [m.tag for m in out] == [MAIN if combines else UNAGGREGATED, DEAD_LETTERS]
    letters = out[1].collected()
    assert letters.select("step", "reason", "input").rows() == [
        ("windows", "the event time 't' is null", '{"t":null,"k":"a","v":2}'),
        ("windows", "the event time 't' is null", '{"t":null,"k":null,"v":null}'),
    ]
    assert out[1].ingested_us == 7
    only = operator.process(Batch(rows.filter(pl.col("t").is_null())))
    assert [m.tag for m in only if isinstance(m, Batch)] == [DEAD_LETTERS]
