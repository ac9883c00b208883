"""A row-by-row model of Flink's window operator, and a harness that runs the real operators beside it.

The model keeps plain lists of rows per window and does what SEMANTICS says, slowly. Times are milliseconds.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

import polars as pl

from streamlab.core.changelog import fold
from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US, Duration
from streamlab.core.event_time.windows import (
    CumulativeWindows,
    EveryRows,
    HoppingWindows,
    SessionWindows,
    Trigger,
    Windows,
)
from streamlab.core.messages import LATE_ROWS, MAIN, Batch, Message, Watermark
from streamlab.operators.base import OperatorContext
from streamlab.operators.windows import PreAggregateSpec, WindowAggregateSpec, window_operators
from streamlab.plan.expressions.split import split_aggregates
from streamlab.state.snapshot import regroup, subtask_of

SCHEMA = pl.Schema({"t": pl.Datetime("ms"), "k": pl.String, "v": pl.Int64})
AGGREGATES = (pl.len().alias("n"), pl.col("v").sum().alias("s"), pl.col("v").min().alias("low"))
BUFFERED = (*AGGREGATES[:2], pl.col("v").quantile(0.0, "lower").cast(pl.Int64).alias("low"))

Row = tuple[int, str | None, int | None]


def hopping(every: str, period: str | None = None, offset: str = "0s") -> HoppingWindows:
    return HoppingWindows(Duration.parse(every), Duration.parse(period or every), Duration.parse(offset))


def cumulative(step: str, every: str, offset: str = "0s") -> CumulativeWindows:
    return CumulativeWindows(Duration.parse(step), Duration.parse(every), Duration.parse(offset))


def session(gap: str) -> SessionWindows:
    return SessionWindows(Duration.parse(gap))


def rows_frame(rows: Sequence[Row]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema={"t": pl.Int64, "k": pl.String, "v": pl.Int64}, orient="row").cast(SCHEMA)


def specs(
    windows: Windows,
    *,
    keyed: bool = True,
    aggregates: Sequence[pl.Expr] = AGGREGATES,
    schema: pl.Schema = SCHEMA,
    keys: tuple[pl.Expr, ...] | None = None,
    lateness_ms: int = 0,
    trigger: Trigger | None = None,
    include_boundaries: bool = True,
    combines: bool = True,
) -> tuple[PreAggregateSpec, tuple[str, ...], WindowAggregateSpec]:
    keys = keys if keys is not None else (pl.col("k"),) if keyed else ()
    return window_operators(
        "windows",
        index_column="t",
        windows=windows,
        keys=keys,
        split=split_aggregates((*keys, pl.col("t")), aggregates, schema, "t"),
        input_schema=schema,
        include_boundaries=include_boundaries,
        allowed_lateness_us=lateness_ms * 1000,
        trigger=trigger,
        combines=combines,
    )


def fixed_windows(windows: HoppingWindows | CumulativeWindows, at: int) -> list[tuple[int, int]]:
    """Every window that holds a time, found by trying them all."""
    every, offset = (windows.every.us or 0) // 1000, (windows.offset.us or 0) // 1000
    if isinstance(windows, HoppingWindows):
        period = (windows.period.us or 0) // 1000
        first = (at - offset - period) // every
        starts = [offset + k * every for k in range(first, first + 2 + period // every + 2)]
        return [(s, s + period) for s in starts if s <= at < s + period]
    step = (windows.step.us or 0) // 1000
    start = (at - offset) // every * every + offset
    ends = sorted({min(start + k * step, start + every) for k in range(1, every // step + 2)})
    return [(start, end) for end in ends if at < end]


@dataclass(eq=False)
class ModelWindow:
    key: str | None
    start: int
    end: int
    rows: list[Row] = field(default_factory=list)
    given: list[tuple[object, ...]] = field(default_factory=list)

    def result(self) -> tuple[object, ...]:
        values = [v for _, _, v in self.rows if v is not None]
        return (self.key, self.start, self.end, len(self.rows), sum(values), min(values, default=None))


class Model:
    """What the window operator should have given, after every event."""

    def __init__(
        self, windows: Windows, *, keyed: bool = True, lateness_ms: int = 0, trigger: Trigger | None = None
    ) -> None:
        self.windows = windows
        self.keyed = keyed
        self.lateness = lateness_ms
        self.reach = 0 if isinstance(windows, SessionWindows) else 1
        """How far beyond the watermark windows close (ms): a session goes on for one tick more."""
        self.trigger = trigger
        self.watermark: float = float("-inf")
        self.live: list[ModelWindow] = []
        self.touched: list[ModelWindow] = []
        self.table: Counter[tuple[object, ...]] = Counter()
        self.late: list[Row] = []
        self.in_gaps: list[Row] = []

    def add(self, rows: Sequence[Row]) -> None:
        got: dict[ModelWindow, None] = {}
        place = self._place_sessions if isinstance(self.windows, SessionWindows) else self._place
        place(rows, got)
        for window in got:
            if window.end - self.reach <= self.watermark:
                self._give(window)
                continue
            if window not in self.touched:
                self.touched.append(window)
            if isinstance(self.trigger, EveryRows):
                since = len(window.rows) - sum(row[3] for row in window.given)
                if since >= self.trigger.rows:
                    self._give(window)

    def advance(self, watermark: float) -> None:
        before, self.watermark = self.watermark, watermark
        for window in self.live:
            if before < window.end - self.reach <= watermark:
                self._give(window)
        self.live = [w for w in self.live if not self._is_final(w.end)]

    def fire_timer(self) -> None:
        for window in self.touched:
            if window in self.live and window.end - self.reach > self.watermark:
                self._give(window)
        self.touched = []

    def _is_final(self, end: int) -> bool:
        return end - self.reach + self.lateness <= self.watermark

    def _give(self, window: ModelWindow) -> None:
        for row in window.given:
            self.table[row] -= 1
        window.given = [window.result()]
        self.table[window.given[0]] += 1

    def _key(self, row: Row) -> str | None:
        return row[1] if self.keyed else None

    def _place(self, rows: Sequence[Row], got: dict[ModelWindow, None]) -> None:
        for row in rows:
            windows = fixed_windows(self.windows, row[0])
            taken = [w for w in windows if not self._is_final(w[1])]
            if not taken:
                (self.late if windows else self.in_gaps).append(row)
            for start, end in taken:
                same = (w for w in self.live if (w.key, w.start, w.end) == (self._key(row), start, end))
                window = next(same, None)
                if window is None:
                    window = ModelWindow(self._key(row), start, end)
                    self.live.append(window)
                window.rows.append(row)
                got[window] = None

    def _place_sessions(self, rows: Sequence[Row], got: dict[ModelWindow, None]) -> None:
        gap = (self.windows.gap.us or 0) // 1000
        old = {id(w) for w in self.live}

        def touch(some: list[ModelWindow], others: list[ModelWindow]) -> bool:
            return any(x.key == y.key and x.start <= y.end and y.start <= x.end for x in some for y in others)

        pool = self.live + [ModelWindow(self._key(r), r[0], r[0] + gap, [r]) for r in rows]
        merged = True
        parts = [[w] for w in pool]
        while merged:
            merged = False
            for a in range(len(parts)):
                for b in range(a + 1, len(parts)):
                    if any(
                        x.key == y.key and x.start <= y.end and y.start <= x.end for x in parts[a] for y in parts[b]
                    ):
                        parts[a] += parts.pop(b)
                        merged = True
                        break
                if merged:
                    break
        self.live = []
        for part in parts:
            start, end = min(w.start for w in part), max(w.end for w in part)
            fresh = [w for w in part if id(w) not in old]
            if not fresh:
                self.live += part
                continue
            if self._is_final(end):
                self.late += [row for w in fresh for row in w.rows]
                continue
            window = ModelWindow(part[0].key, start, end, [r for w in part for r in w.rows])
            window.given = [g for w in part for g in w.given]
            self.touched = [window if w in part else w for w in self.touched]
            self.live.append(window)
            got[window] = None


class Pipeline:
    """The two operators with a hash exchange between them, as the runtime would run them."""

    def __init__(
        self,
        parts: tuple[PreAggregateSpec, tuple[str, ...], WindowAggregateSpec],
        *,
        senders: int = 1,
        receivers: int = 1,
    ) -> None:
        self.local_spec, self.keys, self.spec = parts
        self.locals = [self.local_spec.build(OperatorContext(i, senders)) for i in range(senders)]
        self.keyed = [self.spec.build(OperatorContext(i, receivers)) for i in range(receivers)]
        self.watermarks = [MIN_TIME_US] * senders
        self.out: list[list[Message]] = [[] for _ in range(receivers)]
        self.log: list[Message] = []

    def add(self, frame: pl.DataFrame | pl.LazyFrame, sender: int = 0) -> None:
        for message in self.locals[sender].process(Batch(frame, ingested_us=7)):
            assert isinstance(message, Batch)
            assert message.ingested_us == 7
            part = subtask_of(self.keys, len(self.keyed), message.collected().schema)
            for index, operator in enumerate(self.keyed):
                mine = message.collected().filter(part == index)
                if mine.height:
                    self._take(index, operator.process(Batch(mine, message.tag, message.ingested_us)))

    def advance(self, watermark_us: int, sender: int = 0) -> None:
        for message in self.locals[sender].on_watermark(watermark_us):
            assert isinstance(message, Watermark)
            self.watermarks[sender] = max(self.watermarks[sender], message.us)
        for index, operator in enumerate(self.keyed):
            self._take(index, operator.on_watermark(min(self.watermarks)))

    def tick(self, now_us: int) -> None:
        for index, operator in enumerate(self.keyed):
            if operator.next_timer_us is not None and operator.next_timer_us <= now_us:
                self._take(index, operator.on_timer(now_us))

    def end(self) -> None:
        for sender in range(len(self.locals)):
            self.advance(MAX_TIME_US, sender)
        for index, operator in enumerate(self.keyed):
            self._take(index, operator.on_end())

    def restart(self, receivers: int) -> None:
        """Stop, snapshot, and go on with another number of subtasks."""
        locals_ = [operator.snapshot() for operator in self.locals]
        self.locals = [
            self.local_spec.build(OperatorContext(i, len(locals_)), regroup([s], 0, 1)) for i, s in enumerate(locals_)
        ]
        snapshots = [operator.snapshot() for operator in self.keyed]
        self.keyed = [
            self.spec.build(OperatorContext(i, receivers), regroup(snapshots, i, receivers)) for i in range(receivers)
        ]
        self.out = [[] for _ in range(receivers)]

    def _take(self, index: int, messages: Sequence[Message]) -> None:
        self.out[index] += messages
        self.log += messages

    def frames(self, tag: str = MAIN) -> list[pl.DataFrame]:
        return [m.collected() for m in self.log if isinstance(m, Batch) and m.tag == tag]

    def results(self) -> pl.DataFrame:
        frames = self.frames()
        return fold(pl.concat(frames)) if frames else pl.DataFrame()

    def table(self) -> Counter[tuple[object, ...]]:
        """Return the folded output as the model writes it: key, start and end in ms, aggregates."""
        frame = self.results()
        if not frame.width:
            return Counter()
        ms = [pl.col(name).dt.epoch("ms") for name in ("_lower_boundary", "_upper_boundary")]
        key = pl.col("k") if "k" in frame.columns else pl.lit(None).alias("k")
        return Counter(frame.select(key, *ms, "n", "s", "low").rows())

    def late(self) -> Counter[Row]:
        frames = self.frames(LATE_ROWS)
        return Counter(
            row for f in frames for row in f.select(pl.col("t").dt.epoch("ms"), pl.col("k"), pl.col("v")).rows()
        )

    def promises(self, receiver: int = 0) -> list[int]:
        return [m.us for m in self.out[receiver] if isinstance(m, Watermark)]
