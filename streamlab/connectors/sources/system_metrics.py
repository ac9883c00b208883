"""A live stream that every machine has: its CPU, memory, disk and network, one row an interval. Not replayable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl
import psutil

from streamlab.connectors.contracts.source import Position, Read, Source, Split, SplitReader
from streamlab.connectors.contracts.timing import DurationLike, Pace, check_timing, timing
from streamlab.core.errors import OptionError, explained
from streamlab.core.event_time.time import Duration

STEP = "system_metrics"
SCHEMA = pl.Schema(
    {
        "time": pl.Datetime("us"),
        "cpu_percent": pl.Float64(),
        "memory_percent": pl.Float64(),
        "memory_used_bytes": pl.Int64(),
        "swap_percent": pl.Float64(),
        "disk_read_bytes_per_s": pl.Float64(),
        "disk_written_bytes_per_s": pl.Float64(),
        "network_received_bytes_per_s": pl.Float64(),
        "network_sent_bytes_per_s": pl.Float64(),
        "processes": pl.Int64(),
    }
)
"""Time is UTC; rates are means since the row before, null where this machine doesn't count."""


def system_metrics(
    interval: DurationLike = "1s",
    *,
    event_time: str | None = "time",
    watermark: DurationLike | None = "0s",
    idle_timeout: DurationLike | None = None,
    pace: Pace = "max",
    max_advance: DurationLike | None = None,
) -> SystemMetricsSource:
    """Return a source that anyone has, a live one: what this machine is doing, one row an interval.

    The columns are ``time`` (UTC, Datetime in µs), ``cpu_percent``, ``memory_percent``, ``memory_used_bytes``,
    ``swap_percent``, ``disk_read_bytes_per_s``, ``disk_written_bytes_per_s``, ``network_received_bytes_per_s``,
    ``network_sent_bytes_per_s`` and ``processes``. Rates are means since the row before, null where they are not known.

    Parameters
    ----------
    interval
        Time between two rows.
    event_time, watermark, idle_timeout, pace, max_advance
        See :func:`~streamlab.connectors.contracts.timing.timing`.

    Raises
    ------
    OptionError
        If the interval is not above zero.

    Examples
    --------
    >>> import streamlab as sl
    >>> sl.system_metrics("500ms").columns[:3]
    ['time', 'cpu_percent', 'memory_percent']
    """
    every = Duration.parse(interval, name="interval")
    if every.fixed_us("interval") <= 0:
        raise OptionError(explained("interval", needed="a duration above zero", got=repr(str(every))))
    said = timing(event_time, watermark if event_time else None, idle_timeout, pace, max_advance)
    check_timing(STEP, SCHEMA, said)
    return SystemMetricsSource(STEP, SCHEMA, every, timing=said)


@dataclass(frozen=True)
class SystemMetricsSource(Source):
    """Samples this machine.

    Attributes
    ----------
    interval : Duration
        Time between two rows.
    """

    interval: Duration

    @property
    def bounded(self) -> bool:
        """Never ends."""
        return False

    @property
    def replayable(self) -> bool:
        """What was not sampled is gone."""
        return False

    @property
    def max_parallelism(self) -> int | None:
        """One machine, one reader."""
        return 1

    def splits(self) -> Sequence[Split]:
        """One."""
        return [Split("machine")]

    def open(self, split: Split, position: Position) -> SplitReader:
        """Go on with now, whatever the position: it only counts rows."""
        return _Sampler(self.interval.fixed_us("interval"), int(str(position)))

    def describe(self) -> str:
        """Say how often."""
        return f"{self.name}: every {self.interval}"


class _Sampler(SplitReader):
    def __init__(self, interval_us: int, position: int) -> None:
        self._interval_us = interval_us
        self._at = position
        self._next_us: int | None = None
        self._before: tuple[int, tuple[float | None, ...]] | None = None

    @property
    def done(self) -> bool:
        return False

    def read(self, limit: int, now_us: int) -> Read | None:
        """Return one row when it is time; intervals that were missed are left out."""
        if self._next_us is None or now_us < self._next_us - self._interval_us:
            psutil.cpu_percent()  # the first call only starts the measurement
            self._before = (now_us, _counters())
            self._next_us = now_us + self._interval_us
            return None
        if now_us < self._next_us:
            return None
        self._next_us += (now_us - self._next_us) // self._interval_us * self._interval_us + self._interval_us
        self._at += 1
        return Read(self._sample(now_us), self._at, 1)

    def wakeup_us(self, now_us: int) -> int | None:
        return self._next_us

    def _sample(self, now_us: int) -> pl.DataFrame:
        counters = _counters()
        before_us, before = self._before or (now_us, counters)
        self._before = (now_us, counters)
        seconds = (now_us - before_us) / 1e6
        rates = [
            (now - then) / seconds if now is not None and then is not None and seconds > 0 else None
            for now, then in zip(counters, before, strict=True)
        ]
        memory = psutil.virtual_memory()
        row: list[Any] = [now_us, psutil.cpu_percent(), memory.percent, memory.used, psutil.swap_memory().percent]
        row += [*rates, len(psutil.pids())]
        numbers = pl.Schema({**SCHEMA, "time": pl.Int64()})
        return pl.DataFrame([row], schema=numbers, orient="row").with_columns(pl.col("time").cast(SCHEMA["time"]))


def _counters() -> tuple[float | None, ...]:
    """Return bytes read, written, received and sent since the machine started."""
    disk, network = psutil.disk_io_counters(), psutil.net_io_counters()
    read = (disk.read_bytes, disk.write_bytes) if disk else (None, None)
    return (*read, *((network.bytes_recv, network.bytes_sent) if network else (None, None)))
