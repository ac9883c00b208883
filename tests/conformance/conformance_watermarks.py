"""Adapters of the watermark categories: the state machines of ``core.event_time.watermarks``, called step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from conformance_case import Case, Row, Unsupported

from streamlab.core.errors import OptionError
from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US
from streamlab.core.event_time.watermark_assigner import WatermarkAssigner
from streamlab.core.event_time.watermarks import (
    BoundedOutOfOrderness,
    IdleClock,
    PartitionWatermarks,
    Signal,
    WatermarkMerger,
)
from streamlab.core.messages import Idle, Watermark

_MAX_MS = 2**63 - 1
_MIN_MS = -(2**63)


def _us(ms: int) -> int:
    """Return milliseconds as microseconds; the ends of time stay where they are."""
    if ms in {_MAX_MS, _MIN_MS}:
        return MAX_TIME_US if ms == _MAX_MS else MIN_TIME_US
    return ms * 1000


def _ms(us: int) -> int:
    if us in {MAX_TIME_US, MIN_TIME_US}:
        return _MAX_MS if us == MAX_TIME_US else _MIN_MS
    return us // 1000


def _shown(signals: Sequence[Signal]) -> list[dict[str, Any]]:
    out: list[dict[str, Any]] = []
    for signal in signals:
        if isinstance(signal, Watermark):
            out.append({"watermark": _ms(signal.us)})
        else:
            out.append({"status": "IDLE" if isinstance(signal, Idle) else "ACTIVE"})
    return out


def _assert_emitted(case: Case, emitted: list[list[dict[str, Any]]]) -> None:
    """Compare what came after each input with ``{"after_input": n, "emitted": …}``; inputs not named give nothing."""
    expected: list[list[dict[str, Any]]] = [[] for _ in emitted]
    for row in case.expected:
        found = row["emitted"]
        expected[row["after_input"] - 1] += found if isinstance(found, list) else [found]
    assert emitted == expected


# -- watermark-combine -------------------------------------------------------------------------------------------------


def combine(case: Case) -> None:
    channels = case.params.get("channels") or 1 + max(int(step["channel"]) for step in case.input)
    merger = WatermarkMerger(channels)
    emitted = []
    for step in case.input:
        channel = step.get("channel", 0)
        if "watermark" in step:
            signals = merger.on_watermark(channel, _us(step["watermark"]))
        elif step.get("status") == "IDLE":
            signals = merger.on_idle(channel)
        elif step.get("status") == "ACTIVE":
            signals = merger.on_active(channel)
        else:
            msg = f"the step {dict(step)}"
            raise Unsupported(msg)
        emitted.append(_shown(signals))
    _assert_emitted(case, emitted)


# -- watermark-per-partition -------------------------------------------------------------------------------------------


def per_partition(case: Case) -> None:
    splits = PartitionWatermarks()
    known: set[str] = set()
    last: int | None = None
    idle = False
    for number, (step, expected) in enumerate(zip(case.input, case.expected, strict=True), start=1):
        operation = step.get("_op")
        split = str(step.get("out"))
        removed: bool | None = None
        signals: list[Signal] = []
        if operation == "periodic_emit":
            signals = splits.emit()
        elif operation == "unregister":
            removed = splits.remove(split)
            known.discard(split)
        elif split not in known:
            splits.add(split)
            known.add(split)
        if operation is None:
            deferred = bool(step.get("deferred"))
            if "watermark" in step:
                signals += splits.on_watermark(split, _us(step["watermark"]), deferred=deferred)
            if step.get("idle"):
                signals += splits.on_idle(split, deferred=deferred)
            elif step.get("idle") is False or step.get("active"):
                signals += splits.on_active(split, deferred=deferred)
        for signal in signals:
            if isinstance(signal, Watermark):
                last, idle = _ms(signal.us), False
            else:
                idle = isinstance(signal, Idle)
        got = {"last_watermark": last, "idle": idle, "removed": removed, "returned": removed, "result": removed}
        for name, value in (expected or {}).items():
            if name not in got:
                msg = f"the expectation {name!r}"
                raise Unsupported(msg)
            assert got[name] == value, f"step {number}: {name} is {got[name]}, expected {value}"


# -- watermark-generator -----------------------------------------------------------------------------------------------


def generator(case: Case) -> None:
    params = case.params
    operations = {str(step.get("_op")) for step in case.input}
    if "interval_ms" in params or operations & {"processing_time", "processing_time_range", "upstream_watermark"}:
        _assigner(case)
    elif "timeout_ms" in params:
        _idleness(case)
    else:
        _bounded(case)


def _times(step: Row) -> Iterator[int]:
    if step["_op"] == "processing_time":
        yield step["_time"]
    else:
        yield from range(step["from"], step["to"] + 1, step.get("step", 1))


def _assigner(case: Case) -> None:
    """``WATERMARK FOR ts AS ts - delay``: the watermark operator with its clock. In Flink's SQL it starts at 0."""
    idle_ms = case.params.get("idle_timeout_ms")
    assigner = WatermarkAssigner(
        interval_us=_us(case.params.get("interval_ms", 0)),
        idle_timeout_us=_us(idle_ms) if idle_ms and idle_ms > 0 else None,
        start_us=0,
    )
    watermarks = BoundedOutOfOrderness(_us(case.params.get("delay_ms", 0)), 1000, minus_tick=False)
    column = case.data.get("time_column") or "rowtime"
    assigner.on_timer(0)
    emitted = []
    for step in case.input:
        match step["_op"]:
            case "element":
                signals = assigner.before_rows()
                time_ms = step.get(column)
                reached = watermarks.observe(None if time_ms is None else _us(time_ms))
                signals += assigner.after_rows(reached)
            case "upstream_watermark" | "watermark":
                signals = assigner.on_upstream_watermark(_us(step["_watermark"]))
            case "processing_time" | "processing_time_range":
                signals = [signal for at in _times(step) for signal in assigner.on_timer(_us(at))]
            case other:
                msg = f"the step {other!r}"
                raise Unsupported(msg)
        emitted.append(_shown(signals))
    _assert_emitted(case, emitted)


def _idleness(case: Case) -> None:
    timeout_us = _us(case.params["timeout_ms"])
    if any("error" in str(row).lower() or "rejected" in row for row in case.expected) or timeout_us <= 0:
        with pytest.raises(OptionError):
            IdleClock(timeout_us)
        return
    clock = IdleClock(timeout_us)
    now = 0
    got = []
    for step in case.input:
        match step["_op"]:
            case "check":
                got.append({"idle": clock.is_idle(now)})
            case "advance_ms" | "advance":
                now += _us(step["by"])
            case "activity" | "event" | "element":
                clock.activity()
            case other:
                msg = f"the step {other!r}"
                raise Unsupported(msg)
    assert got == case.expected


def _first(step: Row, *names: str) -> Any:
    return next((step[name] for name in names if name in step), None)


def _bounded(case: Case) -> None:
    """Bounded out-of-orderness; what each periodic emit gives (the lowest time before any row)."""
    delay = _first(case.params, "delay_ms", "max_out_of_orderness_ms", "bound_ms", "out_of_orderness_ms") or 0
    if delay < 0:
        with pytest.raises(OptionError):
            BoundedOutOfOrderness(_us(delay), 1000)
        return
    watermarks = BoundedOutOfOrderness(_us(delay), 1000, minus_tick=case.params.get("minus_one_ms", True))
    got: list[dict[str, Any]] = []
    observe: Callable[[int], object] = lambda ms: watermarks.observe(_us(ms))  # noqa: E731
    for step in case.input:
        time_ms = _first(step, "_ts", "ts", "timestamp", "rowtime")
        if time_ms is not None:
            observe(time_ms)
        if step.get("_op") in {"periodic_emit", "emit", "check", "probe"} or len(case.expected) == len(case.input):
            got.append({"watermark": _ms(watermarks.current)})
    for number, (row, expected) in enumerate(zip(got, case.expected, strict=True), start=1):
        if expected is None:
            continue
        value = expected if isinstance(expected, int) else _first(expected, "watermark", "_watermark", "last_watermark")
        lowest = value is None and row["watermark"] == _MIN_MS
        assert lowest or row["watermark"] == value, f"emit {number}: {row}, expected {expected}"
