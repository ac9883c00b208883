"""Adapters of the DataStream categories: keyed windows and triggers, with explicit elements and watermarks as steps."""

from __future__ import annotations

import re
from typing import Any

import polars as pl
from conformance_case import Case, Row, Unsupported, assert_rows
from conformance_windows import figures

import streamlab as sl
from streamlab.core.changelog import ADDS, ROW_KIND
from streamlab.core.event_time.time import MAX_TIME_US
from streamlab.testing.harness import Harness
from streamlab.testing.sources import split_frames

_SCHEMA = pl.Schema({"key": pl.String, "value": pl.Int64, "at": pl.Datetime("ms")})
_MAX_MS = 2**63 - 1


def _source() -> sl.StreamFrame:
    return split_frames([pl.DataFrame(schema=_SCHEMA)], event_time="at", watermark="0s")


def _element(key: str | None, value: int | None, at_ms: int) -> pl.DataFrame:
    row = pl.DataFrame({"key": [key], "value": [value], "at": [at_ms]}, schema={**_SCHEMA, "at": pl.Int64})
    return row.cast(_SCHEMA)


def _watermark_us(ms: int, ticks: int = 0) -> int:
    return MAX_TIME_US if ms == _MAX_MS else (ms + ticks) * 1000


def _added(frame: pl.DataFrame) -> pl.DataFrame:
    """Return the rows that a changelog adds: Flink's window operator does not take back what it gave before."""
    if ROW_KIND not in frame.columns:
        return frame
    return frame.filter(pl.col(ROW_KIND).is_in([int(kind) for kind in ADDS])).drop(ROW_KIND)


# -- window-operator ---------------------------------------------------------------------------------------------------


def window_operator(case: Case) -> None:
    harness = Harness(_windowed(case))
    # A session of ours goes on until a row that is on time can no longer join it: one tick longer than Flink's.
    ticks = 1 if "session" in case.operation.lower() else 0
    rows: list[Row] = []
    for number, step in enumerate(case.input, start=1):
        match step["_op"]:
            case "element":
                harness.push(_element(step.get("key"), step.get("value"), step["_ts"]))
            case "watermark":
                harness.watermark(_watermark_us(step["_watermark"], ticks))
            case "snapshot_restore":
                harness.restart()
            case other:
                msg = f"the step {other!r}"
                raise Unsupported(msg)
        rows += _results(_added(harness.take()))
        if step["_op"] == "watermark":
            rows.append({"_watermark": step["_watermark"]})
        late = sum(frame.height for frame in harness.late_rows())
        for check in case.data.get("checks") or ():
            if check["after_input"] == number:
                assert len(rows) == check["outputs_so_far"], f"after input {number}: {rows}"
                if "late_so_far" in check and "expected_late" in case.data:
                    assert late == check["late_so_far"], f"late rows after input {number}: {late}"
    _assert_between_watermarks(rows, case.expected)
    late_rows = [
        {"key": r["key"], "value": r["value"], "_ts": r["at"]}
        for frame in harness.late_rows()
        for r in frame.with_columns(pl.col("at").dt.epoch("ms")).iter_rows(named=True)
    ]
    assert_rows(late_rows, case.data.get("expected_late", late_rows))


def _windowed(case: Case) -> sl.StreamFrame:
    text = case.operation.lower()
    for word in ("global", "continuous", "count trigger", "purging", "processing", "evict", "delta", "dynamic"):
        if word in text:
            msg = f"windows with {word!r}"
            raise Unsupported(msg)
    ms = figures(case) | _figures(text)
    lateness = f"{ms['lateness']}ms" if ms.get("lateness") else None
    frame = _source()
    if "session" in text:
        grouped = frame.group_by_session(
            "at", gap=f"{ms['gap']}ms", group_by="key", allowed_lateness=lateness, include_boundaries=True
        )
    elif "tumbling" in text or "sliding" in text:
        if "size" not in ms:
            msg = f"windows of {case.operation}"
            raise Unsupported(msg)
        every = ms.get("slide", ms["size"]) if "sliding" in text else ms["size"]
        grouped = frame.group_by_dynamic(
            "at",
            every=f"{every}ms",
            period=f"{ms['size']}ms",
            offset=f"{ms['offset']}ms" if ms.get("offset") else None,
            group_by="key",
            allowed_lateness=lateness,
            include_boundaries=True,
        )
    else:
        msg = f"windows of {case.operation}"
        raise Unsupported(msg)
    return grouped.agg(pl.col("value").sum())


def _figures(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for name, number, unit in re.findall(r"(lateness|gap|tumbling|size|slide)\s+(\d+)\s*(ms|s)?\b", text):
        found["size" if name == "tumbling" else name] = int(number) * (1000 if unit == "s" else 1)
    return found


def _results(frame: pl.DataFrame) -> list[Row]:
    """Return result rows in time order: Flink's time is that of the window's last millisecond."""
    if not frame.height:
        return []
    ordered = frame.sort("_upper_boundary", "_lower_boundary", "key")
    edges = ordered.with_columns(pl.col("_lower_boundary", "_upper_boundary").dt.epoch("ms"))
    return [
        {
            "key": row["key"],
            "value": row["value"],
            "window_start": row["_lower_boundary"],
            "window_end": row["_upper_boundary"],
            "_ts": row["_upper_boundary"] - 1,
        }
        for row in edges.iter_rows(named=True)
    ]


def _assert_between_watermarks(rows: list[Row], expected: list[Row]) -> None:
    """Watermarks come in order; rows between two of them in any."""
    got, wanted = _cut(rows), _cut(expected)
    assert [mark for mark, _ in got] == [mark for mark, _ in wanted]
    for (_, some), (_, others) in zip(got, wanted, strict=True):
        assert_rows(some, others)


def _cut(rows: list[Row]) -> list[tuple[int | None, list[Row]]]:
    parts: list[tuple[int | None, list[Row]]] = []
    between: list[Row] = []
    for row in rows:
        if "_watermark" in row:
            parts.append((row["_watermark"], between))
            between = []
        else:
            between.append(row)
    return [*parts, (None, between)]


# -- trigger -----------------------------------------------------------------------------------------------------------


def trigger(case: Case) -> None:
    """Watch a trigger through a window operator: an element fires when the operator gives a row at once.

    Windows of one length that do not overlap are tumbling windows; that is all that triggers are tested on here.
    """
    spans = {tuple(step["window"]) for step in case.input if "window" in step}
    lengths = {end - start for start, end in spans}
    if len(lengths) != 1 or any(start % (end - start) for start, end in spans):
        msg = "triggers on windows of different lengths"
        raise Unsupported(msg)
    (length,) = lengths
    early, lateness = _trigger(case, length)
    frame = _source().group_by_dynamic(
        "at", every=f"{length}ms", group_by="key", include_boundaries=True, trigger=early, allowed_lateness=lateness
    )
    harness = Harness(frame.agg(pl.len().alias("n")))
    for number, (step, expected) in enumerate(zip(case.input, case.expected, strict=True), start=1):
        match step["_op"]:
            case "element":
                harness.push(_element("key", 1, step["window"][0]))
            case "watermark":
                harness.watermark(_watermark_us(step["_watermark"]))
            case other:
                msg = f"triggers: the step {other!r}"
                raise Unsupported(msg)
        fired = sorted(
            [row["_lower_boundary"], row["_upper_boundary"]]
            for row in _added(harness.take())
            .select(pl.col("_lower_boundary", "_upper_boundary").dt.epoch("ms"))
            .iter_rows(named=True)
        )
        _check_fired(number, fired, expected)


def _check_fired(number: int, fired: list[list[int]], expected: Any) -> None:
    if expected is None:
        return
    if "result" in expected:
        got = "FIRE" if fired else "CONTINUE"
        assert got == expected["result"].removesuffix("_AND_PURGE"), f"step {number}: {got}, expected {expected}"
    if "fires" in expected:
        assert fired == sorted(map(list, expected["fires"])), f"step {number}: {fired}, expected {expected}"


def _trigger(case: Case, length: int) -> tuple[Any, str | None]:
    text = case.operation.lower()
    if "purg" in text or "delta" in text:
        msg = "purging and delta triggers"
        raise Unsupported(msg)
    if "count" in text:
        rows = case.params.get("count") or case.params.get("max_count") or re.search(r"count\D*(\d+)", text)
        if rows is None:
            msg = "a count trigger without a count"
            raise Unsupported(msg)
        return sl.every_rows(int(rows if isinstance(rows, int) else rows[1])), None
    if "continuous" in text:
        interval_ms = case.params.get("interval_ms") or _interval_ms(text)
        if interval_ms < length:
            msg = "early results every so much event time"
            raise Unsupported(msg)
        return None, "1d"
    if "event-time" in text or "event time" in text:
        return None, "1d"
    msg = f"the trigger {case.operation}"
    raise Unsupported(msg)


def _interval_ms(text: str) -> int:
    found = re.search(r"(\d+)\s*(ms|s|minute|hour)", text)
    units = {"ms": 1, "s": 1000, "minute": 60_000, "hour": 3_600_000}
    return int(found[1]) * units[found[2]] if found else 0
