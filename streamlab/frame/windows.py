"""The methods of a StreamFrame that need time: watermarks, and windows of event time."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any, Literal, Self

import polars as pl

from streamlab.connectors.contracts.source import Source
from streamlab.connectors.contracts.timing import Pace, timing
from streamlab.core.errors import OptionError, PlanError, explained
from streamlab.core.event_time.time import Duration, is_time
from streamlab.core.event_time.windows import CumulativeWindows, HoppingWindows, SessionWindows, Trigger, Windows
from streamlab.frame.base import FrameBase, one_expression
from streamlab.frame.group_by import GroupBy, WindowGroupBy, parse_keys
from streamlab.frame.triggers import checked_trigger
from streamlab.plan import nodes
from streamlab.plan.empty import empty_frame
from streamlab.plan.event_time import has_watermark
from streamlab.plan.rewrite import with_sources
from streamlab.plan.schema import refusal, show_columns, show_dtype

Span = str | dt.timedelta
_A_TIME = dt.datetime(2000, 2, 29, 13, 45)  # noqa: DTZ001 - any time will do


class WindowMethods(FrameBase):
    """``with_watermark``, ``group_by`` and the windows."""

    __slots__ = ()

    def with_watermark(self, column: Any, delay: Span, *, idle_timeout: Span | None = None) -> Self:
        """Declare the event time: rows come at most `delay` out of order by `column`.

        Parameters
        ----------
        column
            A Datetime or Date column.
        delay
            How far behind the latest time seen a row may still come; windows close that much later.
        idle_timeout
            After how long without rows a part of the input no longer holds windows open; None means never.

        Raises
        ------
        OptionError
            If a duration cannot be read, or is too short.
        PlanError
            If the column is missing or holds no times, or the stream is an updating one.

        Notes
        -----
        The watermark is the latest time seen, less `delay`, less one unit of the column's dtype, as Flink's
        ``BoundedOutOfOrdernessWatermarks`` has it; it says that no row at or before it is still expected.

        Examples
        --------
        >>> import datetime as dt, polars as pl, streamlab as sl
        >>> stream = sl.from_frame(pl.DataFrame({"at": [dt.datetime(2024, 1, 1)]}))
        >>> print(stream.with_watermark("at", "10s").explain().splitlines()[0])
        watermarks of at: event time at, watermark 10s behind
        """
        name = self._time_column("with_watermark", column)
        node = nodes.AssignWatermarks(
            input=self._plan,
            column=name,
            delay=_length("with_watermark", "delay", delay, least_us=0, fixed=True),
            idle_timeout=None
            if idle_timeout is None
            else _length("with_watermark", "idle_timeout", idle_timeout, least_us=1, fixed=True),
            step="with_watermark",
            schema=self._plan.schema,
            event_time=name,
        )
        self._check_appends("with_watermark", "an update has no place in time")
        return self._with(node)

    def with_pace(self, pace: Pace) -> Self:
        """Replay the sources by their event times.

        Parameters
        ----------
        pace
            ``"max"``: as fast as it goes; ``"realtime"``: as the rows happened; or how many times faster than that:
            ``"60x"`` or ``60``.

        Raises
        ------
        OptionError
            If the pace can't be read.
        PlanError
            If no source has an event time to go by.
        """
        # Any event time will do: only the pace is read here.
        factor = timing("time", pace=pace).pace
        timed = [n for n in self._plan.walk() if isinstance(n, nodes.Scan) and n.source.timing.event_time is not None]
        if not timed:
            hint = "say event_time= at the source"
            raise PlanError(explained("with_pace", needed="a source with an event time", got="none", hint=hint))

        def paced(source: Source) -> Source:
            has_time = source.timing.event_time is not None
            return replace(source, timing=replace(source.timing, pace=factor)) if has_time else source

        return self._with(with_sources(self._plan, paced))

    def group_by(self, *by: Any, maintain_order: bool = False, **named_by: Any) -> GroupBy[Self]:
        """Group by keys over the whole stream: ``agg`` gives an updating table with one row for each key.

        Parameters
        ----------
        *by, **named_by
            Columns or row-wise expressions.
        maintain_order
            Must be False: the rows of an updating table have no order.

        Returns
        -------
        GroupBy
            Its ``agg`` gives a stream with a column for each key, in the order given, and one for each aggregation,
            with the dtypes that Polars gives them.

        Raises
        ------
        PlanError
            If a column is missing, or a key must see other rows.

        Examples
        --------
        >>> import polars as pl, streamlab as sl
        >>> stream = sl.from_frame(pl.DataFrame({"k": ["a", "b", "a"], "n": [1, 2, 3]}))
        >>> stream.group_by("k").agg(pl.col("n").sum()).collect().sort("k").rows()
        [('a', 4), ('b', 2)]
        """
        if maintain_order:
            raise PlanError(
                explained(
                    "group_by",
                    needed="maintain_order=False",
                    got="maintain_order=True",
                    hint="the order of a stream's results is not defined: sort the collected frame",
                )
            )
        return GroupBy(self, "group_by", parse_keys(self, "group_by", by, named_by))

    def group_by_dynamic(
        self,
        index_column: Any,
        *,
        every: Span,
        period: Span | None = None,
        offset: Span | None = None,
        include_boundaries: bool = False,
        closed: Literal["left"] = "left",
        label: Literal["left"] = "left",
        group_by: Any = None,
        start_by: Literal["window"] = "window",
        allowed_lateness: Span | None = None,
        trigger: Trigger | None = None,
    ) -> WindowGroupBy[Self]:
        """Group by windows of event time, and by keys: tumbling windows, or hopping ones with a `period`.

        A window ``[start, start + period)`` gives its row when the watermark passes its end. Unlike in Polars, with a
        `period` longer than `every` each window that holds a row counts, also those that start before the first row.

        Parameters
        ----------
        index_column
            The event-time column.
        every
            Distance of window starts.
        period
            Length of windows; `every` when None.
        offset
            Shift of window starts.
        include_boundaries
            Whether to add ``_lower_boundary`` and ``_upper_boundary``.
        closed, label, start_by
            Only Polars' defaults, ``"left"``, ``"left"`` and ``"window"``.
        group_by
            Keys: columns or row-wise expressions.
        allowed_lateness
            How long after its end a window still takes rows, each time giving an updated result.
        trigger
            When to give early results: ``sl.every("10s")`` or ``sl.every_rows(1000)``.

        Returns
        -------
        WindowGroupBy
            Its ``agg`` gives a stream with a column for each key, the boundaries if they were asked for, the window's
            start under the name and dtype of `index_column`, and one column for each aggregation. Without `trigger` and
            `allowed_lateness` a window gives one row for each key, once; rows that come when it is closed are set aside
            (``job.late_rows()``). With one of them the stream is an updating one.

        Raises
        ------
        OptionError
            If a duration cannot be read, or is too short.
        PlanError
            If the column is not the event time, or no watermark would ever close a window.

        Examples
        --------
        >>> import datetime as dt, polars as pl, streamlab as sl
        >>> times = [dt.datetime(2024, 1, 1, 0, 0, second) for second in (1, 2, 11)]
        >>> stream = sl.from_frame(pl.DataFrame({"at": times, "n": [1, 2, 3]}), event_time="at")
        >>> sums = stream.group_by_dynamic("at", every="10s").agg(pl.col("n").sum())
        >>> sums.collect().sort("at").select(pl.col("at").dt.second(), "n").rows()
        [(0, 3), (10, 3)]
        """
        step = "group_by_dynamic"
        _check_polars_arguments(step, closed=closed, label=label, start_by=start_by)
        start = _length(step, "every", every, least_us=1)
        windows = HoppingWindows(
            every=start,
            period=start if period is None else _length(step, "period", period, least_us=1),
            offset=_offset(step, offset),
        )
        return self._windows(
            step,
            index_column,
            windows,
            group_by=group_by,
            include_boundaries=include_boundaries,
            allowed_lateness=allowed_lateness,
            trigger=trigger,
        )

    def group_by_session(
        self,
        index_column: Any,
        *,
        gap: Span,
        include_boundaries: bool = False,
        group_by: Any = None,
        allowed_lateness: Span | None = None,
        trigger: Trigger | None = None,
    ) -> WindowGroupBy[Self]:
        """Group by sessions, per key: rows that are at most `gap` apart belong together.

        A session lasts from its first row to `gap` after its last one.

        Parameters
        ----------
        index_column
            The event-time column.
        gap
            Longest silence within a session.
        include_boundaries, group_by, allowed_lateness, trigger
            As for :meth:`group_by_dynamic`.

        Raises
        ------
        OptionError
            If a duration cannot be read, or is too short.
        PlanError
            If the column is not the event time, or no watermark would ever close a window.

        Examples
        --------
        >>> import datetime as dt, polars as pl, streamlab as sl
        >>> times = [dt.datetime(2024, 1, 1, 0, 0, second) for second in (1, 4, 20)]
        >>> stream = sl.from_frame(pl.DataFrame({"at": times}), event_time="at")
        >>> visits = stream.group_by_session("at", gap="5s").agg(pl.len())
        >>> visits.collect().sort("at").select(pl.col("at").dt.second(), "len").rows()
        [(1, 2), (20, 1)]
        """
        step = "group_by_session"
        return self._windows(
            step,
            index_column,
            SessionWindows(_length(step, "gap", gap, least_us=1, fixed=True)),
            group_by=group_by,
            include_boundaries=include_boundaries,
            allowed_lateness=allowed_lateness,
            trigger=trigger,
        )

    def group_by_cumulative(
        self,
        index_column: Any,
        *,
        step: Span,
        every: Span,
        offset: Span | None = None,
        include_boundaries: bool = True,
        group_by: Any = None,
        allowed_lateness: Span | None = None,
        trigger: Trigger | None = None,
    ) -> WindowGroupBy[Self]:
        """Group by windows that share a start and grow by `step` until they are `every` long.

        Parameters
        ----------
        index_column
            The event-time column.
        step
            By how much each window is longer than the one before.
        every
            Length of the longest, and distance of starts: a multiple of `step`.
        offset
            Shift of starts.
        include_boundaries
            Whether to add ``_lower_boundary`` and ``_upper_boundary``; only the upper one tells the windows of one
            start apart.
        group_by, allowed_lateness, trigger
            As for :meth:`group_by_dynamic`.

        Raises
        ------
        OptionError
            If a duration cannot be read, or is too short, or `every` is no multiple of `step`.
        PlanError
            If the column is not the event time, or no watermark would ever close a window.

        Examples
        --------
        >>> import datetime as dt, polars as pl, streamlab as sl
        >>> times = [dt.datetime(2024, 1, 1, 0, 0, second) for second in (1, 7)]
        >>> stream = sl.from_frame(pl.DataFrame({"at": times}), event_time="at")
        >>> so_far = stream.group_by_cumulative("at", step="5s", every="10s").agg(pl.len())
        >>> so_far.collect().sort("_upper_boundary").select(pl.col("_upper_boundary").dt.second(), "len").rows()
        [(5, 1), (10, 2)]
        """
        name = "group_by_cumulative"
        short = _length(name, "step", step, least_us=1, fixed=True)
        long = _length(name, "every", every, least_us=1, fixed=True)
        if long.fixed_us("every") % short.fixed_us("step"):
            raise OptionError(
                explained(name, needed="every to be a multiple of step", got=f"every={long} and step={short}")
            )
        return self._windows(
            name,
            index_column,
            CumulativeWindows(step=short, every=long, offset=_offset(name, offset)),
            group_by=group_by,
            include_boundaries=include_boundaries,
            allowed_lateness=allowed_lateness,
            trigger=trigger,
        )

    def _windows(
        self,
        step: str,
        index_column: Any,
        windows: Windows,
        *,
        group_by: Any,
        include_boundaries: bool,
        allowed_lateness: Span | None,
        trigger: Trigger | None,
    ) -> WindowGroupBy[Self]:
        name = self._event_time_column(step, index_column)
        keys = () if group_by is None else parse_keys(self, step, (group_by,), {})
        if name in {key.meta.output_name() for key in keys}:
            raise PlanError(
                explained(
                    step,
                    needed="keys besides the windows",
                    got=f"{name!r}, their event time",
                    hint=f"leave it out, {name!r} of the result is each window's start; or rename it: "
                    f".alias('{name}_2')",
                )
            )
        self._check_appends(step, "a window's row is given once, so its rows must not change")
        if not has_watermark(self._plan):
            raise PlanError(
                explained(
                    step,
                    needed="a watermark to close windows",
                    got="an endless stream without one, whose windows would never fire",
                    hint=f".with_watermark({name!r}, '10s') before {step}, or watermark='10s' at the source",
                )
            )
        lateness = Duration("0us", 0)
        if allowed_lateness is not None:
            lateness = _length(step, "allowed_lateness", allowed_lateness, least_us=0, fixed=True)
        return WindowGroupBy(
            self,
            step,
            keys,
            index_column=name,
            windows=windows,
            include_boundaries=bool(include_boundaries),
            allowed_lateness_us=lateness.fixed_us("allowed_lateness"),
            trigger=checked_trigger(step, trigger),
        )

    def _event_time_column(self, step: str, column: Any) -> str:
        """Return the name of the window's time column, checked against the declared event time."""
        name = self._time_column(step, column)
        declared = self._plan.event_time
        if declared != name and (declared is not None or not self._plan.bounded):
            raise PlanError(
                explained(
                    step,
                    needed="the event time that the watermark speaks of",
                    got=f"column {name!r}, while the event time is {declared!r}"
                    if declared
                    else f"column {name!r} of an endless stream that has no event time",
                    hint=f".with_watermark({name!r}, '10s') before {step} declares it",
                )
            )
        return name

    def _time_column(self, step: str, column: Any) -> str:
        """Return the name of a column of times, given by name or as a plain ``pl.col``."""
        schema = self._plan.schema
        expression = one_expression(step, column)
        try:
            names = empty_frame(schema).select(expression).collect_schema().names()
        except pl.exceptions.PolarsError as error:
            raise refusal(step, error, schema) from None
        if len(names) != 1 or not expression.meta.eq(pl.col(names[0])):
            raise PlanError(
                explained(
                    step,
                    needed="a plain column of times",
                    got=str(expression),
                    hint="compute it first, with with_columns(…), and declare it with with_watermark(…)",
                )
            )
        dtype = schema[names[0]]
        if not is_time(dtype):
            raise PlanError(
                explained(
                    step,
                    needed="a Datetime or Date column",
                    got=f"{names[0]!r}, a {show_dtype(dtype)}",
                    hint=_time_hint(names[0], dtype, schema),
                )
            )
        return names[0]


def _time_hint(name: str, dtype: pl.DataType, schema: pl.Schema) -> str:
    if dtype == pl.String:
        return f"with_columns(pl.col({name!r}).str.to_datetime()) reads times from text"
    if dtype.is_integer():
        return f"with_columns(pl.from_epoch({name!r}, 's')) reads times from seconds since 1970"
    return f"the columns are: {show_columns(schema)}"


def _check_polars_arguments(step: str, **given: str) -> None:
    """Refuse what Polars has and streams have not, with the reason."""
    reasons = {
        "closed": ("left", "windows of a stream hold their start and not their end"),
        "label": ("left", "a window is named by its start; include_boundaries=True adds its end"),
        "start_by": ("window", "the first row of a stream is known only when all have come"),
    }
    for name, value in given.items():
        allowed, reason = reasons[name]
        if value != allowed:
            raise PlanError(explained(step, needed=f"{name}={allowed!r}", got=f"{name}={value!r}", hint=reason))


def _length(step: str, name: str, value: Span, *, least_us: int, fixed: bool = False) -> Duration:
    """Return a duration that is at least so long; a calendar one only where it need not be of fixed length."""
    duration = Duration.parse(value, name=f"{step}: {name}")
    us = duration.fixed_us(f"{step}: {name}") if fixed else duration.us
    if duration.text.startswith("-") or (us is not None and us < least_us):
        needed = f"{name} to be a duration {'longer than 0' if least_us else 'of 0 or more'}"
        raise OptionError(explained(step, needed=needed, got=repr(value), hint="such as '90s', '1h30m' or a timedelta"))
    _check_calendar(step, name, duration)
    return duration


def _check_calendar(step: str, name: str, duration: Duration) -> None:
    """Refuse mixtures such as ``1mo2d``, to which no grid of windows belongs."""
    if duration.us is None:
        try:
            pl.select(pl.lit(_A_TIME).dt.truncate(duration.text))
        except pl.exceptions.PolarsError as error:
            reason = str(error).split("\n", 1)[0]
            text = explained(step, needed=f"{name} in units that go together", got=f"{duration}", hint=reason)
            raise OptionError(text) from None


def _offset(step: str, offset: Span | None) -> Duration:
    return Duration("0us", 0) if offset is None else Duration.parse(offset, name=f"{step}: offset")
