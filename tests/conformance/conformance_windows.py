"""Adapters for where windows lie: assigners, slices, merging of sessions, by the functions that operators use."""

from __future__ import annotations

import re
from typing import Any
from zoneinfo import ZoneInfo

import polars as pl
import pytest
from conformance_case import Case, Row, Unsupported, from_ms, to_ms

from streamlab.core.errors import StreamlabError
from streamlab.core.event_time.time import Duration
from streamlab.core.event_time.windows import CumulativeWindows, HoppingWindows, SessionWindows, Windows
from streamlab.operators.windows.grids.assign import merge_sessions, windows_of

_MS = {"ms": 1, "s": 1000, "sec": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_KINDS = {
    "tumbl": "tumbling", "hop": "hopping", "slid": "hopping", "cumul": "cumulative", "session": "session",
}  # fmt: skip
_NAMES = {
    "size": "size", "max_size": "size", "slide": "slide", "step": "step", "offset": "offset", "gap": "gap",
}  # fmt: skip


def duration(ms: int) -> Duration:
    """Return a duration of so many milliseconds."""
    return Duration.parse(f"{ms}ms" if ms >= 0 else f"-{-ms}ms")


def figures(case: Case) -> dict[str, int]:
    """Return size, slide, step, offset and gap of a case in milliseconds, from `params` and then from the words."""
    found: dict[str, int] = {}
    for name, value in case.params.items():
        base, _, unit = name.rpartition("_")
        if base in _NAMES and unit in _MS and isinstance(value, int | float):
            found[_NAMES[base]] = int(value * _MS[unit])
    words = r"\b(max size|size|slide|step|offset|gap)(?: of| =)?\s+(-?\d+)(?:\s*(ms|s|min|m|h|d)\b)?"
    for name, number, unit in re.findall(words, case.operation):
        found.setdefault(_NAMES[name.replace(" ", "_")], int(number) * _MS[unit or "ms"])
    alone = re.search(r"\btumbl\w*\s+(\d+)\b", case.operation)
    if alone and "size" not in found:
        found["size"] = int(alone[1])
    return found


def windows(case: Case) -> Windows:
    """Return the windows that a case speaks of."""
    text = case.operation.lower().replace("session time zone", "")
    at, kind = min((at, kind) for word, kind in _KINDS.items() if (at := text.find(word)) >= 0)
    if "stagger" in str(case.params) and case.params.get("stagger") not in {None, "ALIGNED"}:
        msg = "staggered windows"
        raise Unsupported(msg)
    ms = figures(case)
    if kind == "session":
        if "gap" not in ms:
            msg = "sessions whose gap depends on the row"
            raise Unsupported(msg)
        return SessionWindows(duration(ms["gap"]))
    if "size" not in ms:
        msg = f"windows without a size at {at}: {case.operation}"
        raise Unsupported(msg)
    offset = duration(ms.get("offset", 0))
    if kind == "cumulative":
        return CumulativeWindows(duration(ms["step"]), duration(ms["size"]), offset)
    every = ms.get("slide", ms["size"]) if kind == "hopping" else ms["size"]
    return HoppingWindows(duration(every), duration(ms["size"]), offset)


def placed(times_ms: list[int], spec: Windows) -> list[list[list[int]]]:
    """Return the windows ``[start, end]`` of every time, ascending, all in milliseconds."""
    rows = pl.DataFrame({"row": range(len(times_ms)), "at": times_ms}).with_columns(
        pl.col("at").cast(pl.Datetime("ms")), pl.col("row").cast(pl.Int64)
    )
    found: list[list[list[int]]] = [[] for _ in times_ms]
    for row, start, end in windows_of(rows, "at", spec).select("row", "__sl_start", "__sl_end").iter_rows():
        found[row].append([start // 1000, end // 1000])
    return [sorted(each) for each in found]


def assigner(case: Case) -> None:
    if any(isinstance(row, dict) and ("error" in row or "rejected" in row) for row in case.expected):
        with pytest.raises(StreamlabError):
            placed([0], windows(case))
        return
    times = [_time_of(row) for row in case.input]
    if any("gap_ms" in row for row in case.input):
        gaps = [SessionWindows(duration(row["gap_ms"])) for row in case.input]
        found = [placed([at], gap)[0] for at, gap in zip(times, gaps, strict=True)]
    else:
        found = placed(times, windows(case))
    for at, got, row in zip(times, found, case.expected, strict=True):
        wanted = sorted(list(window) for window in row["windows"])
        assert got == wanted, f"windows of {at}: {got}, expected {wanted}"


def _time_of(row: Row) -> int:
    names = [name for name in ("ts", "_ts", "timestamp", "processing_time", "_time", "now") if name in row]
    if not names:
        msg = f"the time in {dict(row)}"
        raise Unsupported(msg)
    return int(row[names[0]])


def slices(case: Case) -> None:
    """Slices: the window with a given end, the first end after a time. Times may be local to a time zone."""
    spec = windows(case)
    zone = ZoneInfo(case.params["time_zone"]) if "time_zone" in case.params else None
    for row, wanted in zip(case.input, case.expected, strict=True):
        got: dict[str, Any] = dict(row)
        if "window_end" in row:
            end = _ms(row["window_end"])
            found = [window for window in placed([end - 1], spec)[0] if window[1] == end]
            got["window_start"] = _like(row["window_end"], found[0][0]) if found else None
        else:
            name, value = next(item for item in row.items() if not item[0].startswith("_"))
            at = _local_ms(_ms(value), zone)
            start, end = min(placed([at], spec)[0], key=lambda window: window[1])
            shown = "" if zone is not None else value
            got |= {"slice_end": _like(shown, end), "slice_window_start": _like(shown, start), name: value}
            got["window_start"] = got["slice_window_start"]
        unknown = set(wanted) - set(got)
        if unknown:
            msg = f"slices: {', '.join(sorted(unknown))}"
            raise Unsupported(msg)
        for name, value in wanted.items():
            assert got[name] == value, f"{name} of {dict(row)}: {got[name]}, expected {value}"


def _local_ms(ms: int, zone: ZoneInfo | None) -> int:
    if zone is None:
        return ms
    instant = pl.select(pl.lit(ms).cast(pl.Datetime("ms", "UTC")).dt.convert_time_zone(zone.key))
    return int(instant.select(pl.all().dt.replace_time_zone(None).dt.epoch("ms")).item())


def _ms(value: int | str) -> int:
    return to_ms(value) if isinstance(value, str) else value


def _like(example: int | str, ms: int) -> int | str:
    return from_ms(ms) if isinstance(example, str) else ms


def session_merge(case: Case) -> None:
    spans = [tuple(row["window"]) for row in case.input]
    frame = pl.DataFrame(
        {"__sl_start": [s for s, _ in spans], "__sl_end": [e for _, e in spans], "of": range(len(spans))}
    )
    got: dict[tuple[int, int], list[list[int]]] = {}
    for start, end, at in merge_sessions(frame).select("__sl_start", "__sl_end", "of").iter_rows():
        got.setdefault((start, end), []).append(list(spans[at]))
    merges = sorted([sorted(of), list(into)] for into, of in got.items() if len(of) > 1)
    wanted = sorted([sorted(map(list, row["merged"])), list(row["into"])] for row in case.expected)
    assert merges == wanted
