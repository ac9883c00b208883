"""Going on by hand: what a paused job does with each call, and what came of it."""

from __future__ import annotations

import datetime as dt
import html
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

import polars as pl

from streamlab.core.changelog import with_op
from streamlab.core.errors import JobError, OptionError, explained
from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US, Duration, show_us
from streamlab.core.event_time.timeouts import seconds
from streamlab.core.messages import MAIN
from streamlab.job.history.points_in_time import read_time
from streamlab.observe.status import JobStatus, StepStatus
from streamlab.runtime.client.client import JobHandle
from streamlab.runtime.job_folder.attempts import read_attempts
from streamlab.runtime.messages.protocol import StepRequested
from streamlab.runtime.tables.record_log import LogReader, standing
from streamlab.state.checkpoints.blobs import open_blobs
from streamlab.state.checkpoints.manifests import ManifestStore

_READ = pl.Schema({"source": pl.String(), "split": pl.String(), "rows": pl.Int64()})
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
Goal = Literal["watermark", "checkpoint"]
When = dt.datetime | dt.date | dt.timedelta | str | int


@dataclass(frozen=True)
class Step:
    """What a step by hand has done; everything that follows from it is in the tables already.

    Attributes
    ----------
    read : pl.DataFrame
        What was read: ``source, split, rows``.
    batches : int
        In how many batches.
    watermark_before, watermark : datetime | None
        The watermark that the steps of the query go by (the lowest, if there are several); None before the first one,
        after the end, and when the query has none.
    changes : pl.DataFrame
        What came out: the changes to the result table, as in `Job.changelog`.
    late_rows, dead_letters : int
        Rows that were late, and input that could not be understood, in this step.
    clock : datetime
        Where the job's clock stands.
    ended : bool
        Whether the sources, and with them the job, have ended.
    note : str
        Why it did not go further, if it was to.
    """

    read: pl.DataFrame
    batches: int
    watermark_before: dt.datetime | None
    watermark: dt.datetime | None
    changes: pl.DataFrame
    late_rows: int
    dead_letters: int
    clock: dt.datetime
    ended: bool
    note: str = ""
    _watermarks: str = field(default="", repr=False)

    @property
    def rows(self) -> int:
        """How many rows were read."""
        return int(self.read["rows"].sum())

    @property
    def lines(self) -> list[tuple[str, str]]:
        """What is shown of it, but for the rows that came out."""
        parts = [
            f"{rows:,} from {source}{f' ({split})' if split else ''}" for source, split, rows in self.read.iter_rows()
        ]
        nothing = "nothing: the sources have ended" if self.ended else "nothing"
        in_batches = f" (in {self.batches:,} batches)" if self.batches > 1 else ""
        lines = [("rows read", " · ".join(parts) + in_batches if parts else nothing)]
        if self._watermarks:
            lines.append(("watermark", self._watermarks))
        lines.append(("came out", f"{self.changes.height:,}"))
        lines += [("late rows", f"{self.late_rows:,}")] if self.late_rows else []
        lines += [("dead letters", f"{self.dead_letters:,}")] if self.dead_letters else []
        lines += [("note", self.note)] if self.note else []
        return lines

    def __repr__(self) -> str:
        text = "\n".join(f"{label:<12}  {value}" for label, value in self.lines)
        return f"{text}\n{self.changes}" if self.changes.height else text

    def _repr_html_(self) -> str:
        cells = "".join(
            f"<tr><th style='text-align:left'>{html.escape(label)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for label, value in self.lines
        )
        table = self.changes._repr_html_() if self.changes.height else ""
        return f"<div><table>{cells}</table>{table}</div>"


class SteppedJob:
    """The methods of a job that go on by hand."""

    _handle: JobHandle
    _news: _News | None = None

    def step(
        self,
        to: int | Goal = 1,
        *,
        rows: int | None = None,
        timeout: float | str | dt.timedelta | None = None,
    ) -> Step:
        """Let a paused job read on by hand, and return when everything that follows is in the tables.

        The job's clock stands between steps, and no two sources read at once, so the same steps from the same start
        give the same results, every time. Of several sources or splits the one whose watermark is lowest is read next.
        The end of the sources is a step of its own. ``resume()`` lets the job run on by itself.

        Parameters
        ----------
        to
            How many batches; ``"watermark"``: batch by batch until the watermark has risen; ``"checkpoint"``: in a
            replay, to where the original job's next checkpoint lies that is still kept.
        rows
            Size of the batches: at most so many rows, all of one split. None: what the job reads at full speed.
        timeout
            Longest time to wait; the step goes on without us after that.

        Raises
        ------
        OptionError
            If an argument is no good.
        JobError
            If the job is not paused, has ended, fails in the step, or there is no further checkpoint.

        Examples
        --------
        ::

            job = stream.start(paused=True)
            job.step(rows=1)            # one row
            job.step(3)                 # three batches
            job.step("watermark", rows=1)
            while not job.step(rows=100).ended:
                ...
        """
        if rows is not None:
            rows = _count("step: rows", rows)
        if to == "checkpoint":
            return self._step_to_checkpoint(rows, timeout)
        if to == "watermark":
            return self._ask("step", StepRequested(_token(), "watermark", rows=rows), timeout)
        if isinstance(to, str):
            raise OptionError(
                explained("step", needed="a number of batches, 'watermark' or 'checkpoint'", got=repr(to))
            )
        return self._ask("step", StepRequested(_token(), "batches", _count("step", to), rows), timeout)

    def advance_watermark(self, to: When, timeout: float | str | dt.timedelta | None = None) -> Step:
        """Raise the watermark of a paused job by hand, without reading: windows before it fire.

        Rows that come behind it later are late, by the ordinary rules.

        Parameters
        ----------
        to
            The time: a datetime (UTC when it has no zone), text such as ``"2013-01-01 12:00"``, or microseconds since
            1970. Or how far from the present watermark: a timedelta, or text such as ``"10m"``.
        timeout
            As for :meth:`step`.

        Raises
        ------
        OptionError
            If that is no time.
        JobError
            If the job is not paused, makes no watermarks, or its watermark is there already.
        """
        us, is_relative = _moment(to)
        return self._ask(
            "advance_watermark", StepRequested(_token(), "event_time", us, is_relative=is_relative), timeout
        )

    def advance_clock(self, by: str | dt.timedelta, timeout: float | str | dt.timedelta | None = None) -> Step:
        """Let the clock of a paused job go on by hand: what waits for it happens, such as early results of windows.

        Parameters
        ----------
        by
            How far, such as ``"10s"``.
        timeout
            As for :meth:`step`.

        Raises
        ------
        OptionError
            If that is no duration above zero.
        JobError
            If the job is not paused.
        """
        us = Duration.parse(by, name="advance_clock").fixed_us("advance_clock")
        if us <= 0:
            raise OptionError(explained("advance_clock", needed="a duration above zero", got=repr(by)))
        return self._ask("advance_clock", StepRequested(_token(), "clock", us), timeout)

    def _step_to_checkpoint(self, rows: int | None, timeout: float | str | dt.timedelta | None) -> Step:
        """Go to the first of the original job's checkpoints that the job is not at yet."""
        step, origin = f"step of job {self._handle.meta.name}", self._handle.meta.origin
        if origin is None:
            hint = "step('watermark'), or a number of batches"
            raise JobError(explained(step, needed="the replay of another job", got="a job of its own", hint=hint))
        store = ManifestStore(open_blobs(origin.location))
        for checkpoint in (found for found in store.ids() if found > origin.id):
            with store.pin(checkpoint):
                request = StepRequested(_token(), "checkpoint", checkpoint, rows, origin.location)
                taken = self._ask("step", request, timeout)
            if taken.batches:
                return taken
        needed = "a later checkpoint of the original job that is still kept"
        raise JobError(explained(step, needed=needed, got="none", hint="resume() goes on to the end"))

    def _ask(self, verb: str, request: StepRequested, timeout: float | str | dt.timedelta | None) -> Step:
        handle, limit_s = self._handle, seconds(timeout)
        step = f"{verb} of job {handle.meta.name}"
        status = handle.status()
        if status.state.is_final:
            hint = "start it, or replay() it, once more"
            raise JobError(explained(step, needed="a paused job", got=f"one that is {status.state}", hint=hint))
        if status.wish != "pause" and not _starts_paused(handle, status):
            hint = "pause() it first, or start(paused=True)"
            raise JobError(explained(step, needed="a paused job", got=f"one that is {status.state}", hint=hint))
        if self._news is None:
            self._news = _News(handle)
        self._news.take()
        handle.request(request)

        def is_done(status: JobStatus) -> bool:
            taken = _step_of(status, request)
            return taken is None or taken.state != "running"

        handle.wait_until(is_done, limit_s)
        status = handle.status()
        taken = _step_of(status, request)
        if taken is None or taken.state != "done":
            got = f"a job that is {status.state}"
            if taken is not None:
                got = "no end of it in time" if taken.state == "running" else f"a failure: {taken.reason}"
            raise JobError(explained(step, needed="to be done", got=got))
        return _step(taken, self._news.take(), status.clock_us)


class _News:
    """The changes to a job's result table since they were last asked for."""

    def __init__(self, handle: JobHandle) -> None:
        self._schema = handle.table.schema
        self._results = handle.folder.results
        self._log = LogReader(self._results / MAIN)
        self._seen: dict[tuple[str, int], int] = {}
        """Rows that each writer had written, by attempt: what is rewritten later is no news."""

    def take(self) -> pl.DataFrame:
        """Return them, as :func:`.changelog.with_op` shows them."""
        frames = [self._schema.to_frame()]
        for record in standing(self._log.read_new(), read_attempts(self._results)):
            header, writer = record.header, (record.prefix, record.header.attempt)
            if header.voids_from < 0 and header.first_row >= self._seen.get(writer, 0):
                self._seen[writer] = header.first_row + header.rows
                frames.append(record.frame)
        rows = pl.concat(frames, how="diagonal")
        if not rows.width:
            # It writes elsewhere.
            return pl.DataFrame(schema={"op": pl.String})
        return with_op(rows)


def _step(taken: StepStatus, changes: pl.DataFrame, clock_us: int | None) -> Step:
    read = [(part.source, part.split, part.rows) for part in taken.read]
    before, after = taken.watermark_before_us, taken.watermark_us
    shown = "" if before is None else show_us(before)
    if before != after:
        shown = f"{shown} → {show_us(after)}"
    return Step(
        read=pl.DataFrame(read, schema=_READ, orient="row"),
        batches=taken.batches,
        watermark_before=_time(before),
        watermark=_time(after),
        changes=changes,
        late_rows=taken.late_rows,
        dead_letters=taken.dead_letters,
        clock=_EPOCH + dt.timedelta(microseconds=clock_us or 0),
        ended=taken.ended,
        note=taken.reason,
        _watermarks=shown,
    )


def _step_of(status: JobStatus, request: StepRequested) -> StepStatus | None:
    return status.step if status.step is not None and status.step.request == request.request else None


def _starts_paused(handle: JobHandle, status: JobStatus) -> bool:
    """Return whether a job that has said nothing yet will be paused."""
    return handle.meta.options.paused and not status.reported_us


def _time(us: int | None) -> dt.datetime | None:
    if us is None or not MIN_TIME_US < us < MAX_TIME_US:
        return None
    try:
        return _EPOCH + dt.timedelta(microseconds=us)
    except OverflowError:
        return None


def _moment(to: When) -> tuple[int, bool]:
    """Return microseconds, and whether they count from the present watermark.

    >>> _moment("1970-01-01 00:01"), _moment("2m"), _moment(5)
    ((60000000, False), (120000000, True), (5, False))
    """
    if isinstance(to, int) and not isinstance(to, bool):
        return to, False
    moment = read_time(to)
    if moment is not None:
        return moment.us, False
    if isinstance(to, str | dt.timedelta):
        length = None
        with suppress(OptionError):
            length = Duration.parse(to)
        if length is not None:
            return length.fixed_us("advance_watermark"), True
    needed = "a datetime, text such as '2013-01-01 12:00' or '10m', a timedelta, or microseconds"
    raise OptionError(explained("advance_watermark", needed=needed, got=repr(to)))


def _count(step: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise OptionError(explained(step, needed="a whole number, at least 1", got=repr(value)))
    return value


def _token() -> str:
    return secrets.token_hex(8)
