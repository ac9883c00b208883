"""What the state of a window aggregation is made of: what must be the same to go on with it, and how it is shown."""

from __future__ import annotations

import polars as pl

from streamlab.core.column_names.own_columns import in_words, is_own
from streamlab.core.event_time.windows import CumulativeWindows, HoppingWindows, SessionWindows, Windows
from streamlab.operators.windows.columns import DUE, END, PANE, ROWS, START
from streamlab.operators.windows.window_plan import WindowPlan
from streamlab.state.forms import (
    Fact,
    Shown,
    StateForm,
    aggregate_columns,
    aggregate_facts,
    condition_columns,
    dtype_text,
)


def window_form(plan: WindowPlan) -> StateForm:
    """Return the form of the state of windows.

    Whether results can change belongs to it, since only then is what was given kept. How late rows may be and how often
    early results come does not: that may be changed.
    """
    empty = pl.LazyFrame(schema=plan.input_schema)
    rows = plan.state_rows(empty, keyed=False).collect_schema()
    keys = dict(zip(plan.key_columns, plan.key_names, strict=True))
    facts = [
        Fact("windows", windows_text(plan.windows)),
        Fact("event time", f"{plan.index_column}: {dtype_text(plan.index_dtype)}"),
        *(Fact(f"key {name}", dtype_text(rows[column])) for column, name in keys.items()),
        Fact("results", "may change" if plan.updating else "are final"),
        *([Fact("early results", "by number of rows")] if plan.counts_rows else []),
        *aggregate_facts(plan.split, rows, plan.input_schema),
        *(_result_facts(plan, rows) if plan.updating else ()),
    ]
    return StateForm("windows", tuple(facts), _columns(plan))


def windows_text(windows: Windows) -> str:
    """Return windows in words that stay the same between versions.

    >>> from streamlab.core.event_time.time import Duration
    >>> windows_text(SessionWindows(Duration.parse("30s", name="gap")))
    'sessions, gap 30s'
    """
    if isinstance(windows, SessionWindows):
        return f"sessions, gap {windows.gap}"
    offset = f", offset {windows.offset}" if windows.offset.us != 0 else ""
    if isinstance(windows, CumulativeWindows):
        return f"cumulative, {windows.step} to {windows.every}{offset}"
    if windows.kind == "hopping":
        return f"hopping, {windows.period} every {windows.every}{offset}"
    return f"tumbling, {windows.every}{offset}"


def _result_facts(plan: WindowPlan, state_rows: pl.Schema) -> list[Fact]:
    """Return the columns of results, which are kept as they were given as long as they may change."""
    bounds = [pl.lit(None, pl.Int64).alias(name) for name in (START, END)]
    results = plan.results(pl.DataFrame(schema=state_rows).with_columns(bounds)).schema
    own = {*plan.key_columns, START, END, ROWS}
    named = {name: in_words(name) if is_own(name) else f"result {name}" for name in results if name not in own}
    return [Fact(shown, dtype_text(results[name])) for name, shown in named.items()]


def _columns(plan: WindowPlan) -> dict[str, Shown]:
    zone = plan.index_dtype.time_zone if isinstance(plan.index_dtype, pl.Datetime) else None
    one_pane = isinstance(plan.windows, HoppingWindows) and plan.windows.kind == "tumbling"
    word = "session" if isinstance(plan.windows, SessionWindows) else "window"
    times = {
        PANE: f"{word}_start" if one_pane or word == "session" else "pane_start",
        START: f"{word}_start",
        END: f"{word}_end",
        DUE: "kept_until",
    }
    kept = () if plan.split.is_incremental else plan.split.columns
    return {
        **{column: Shown(name) for column, name in zip(plan.key_columns, plan.key_names, strict=True)},
        **{column: Shown(name, is_time=True, zone=zone or "") for column, name in times.items()},
        ROWS: Shown("rows"),
        **condition_columns(plan.split),
        **{name: Shown(f"{name} (input)") for name in kept if name in plan.key_names},
        **aggregate_columns(plan.split),
    }
