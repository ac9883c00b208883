"""What a job shows of itself beyond its rows: figures, splits, windows, late rows, and all that over time."""

from __future__ import annotations

import dataclasses
import threading
from collections import deque
from typing import TYPE_CHECKING, Literal

import msgspec
import polars as pl

from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US
from streamlab.core.messages import DEAD_LETTER_SCHEMA, DEAD_LETTERS
from streamlab.observe.diagnosis import Facts, Finding, completeness, diagnose
from streamlab.observe.history import Sample
from streamlab.observe.history_frames import FIGURE_DTYPES, HistoryFrames, history_frames
from streamlab.observe.late_notes import LATE_NOTES, shown
from streamlab.observe.status import JobState, JobStatus, TaskStatus
from streamlab.runtime.client.client import JobHandle
from streamlab.runtime.job_folder.attempts import read_attempts
from streamlab.runtime.job_folder.history_file import HistoryReader
from streamlab.runtime.tables.note_reader import NoteReader
from streamlab.runtime.tables.window_files import PaneReader, ask, wait_for_answer

if TYPE_CHECKING:
    from streamlab.job.figures.metrics_server import MetricsServer

_TIME = pl.Datetime("us", "UTC")
_RECENT = 600
"""Samples of the history that a diagnosis looks at."""
_PANES_S = 2.0
_PAUSED_PANES_S = 10.0
"""How long workers are waited for when somebody asks for windows: one of them may be in a long call."""


class HistoryFeed:
    """Reads a job's history, each sample once, as it comes.

    Parameters
    ----------
    reader
        Reads the samples.
    """

    def __init__(self, reader: HistoryReader) -> None:
        self._reader = reader

    def read_new(self) -> HistoryFrames:
        """Return what was not read before; the frames are empty when nothing is new."""
        return history_frames(self.read_samples())

    def read_samples(self) -> list[Sample]:
        """Return what was not read before as it was noted, oldest first."""
        return self._reader.read_new()


class Diagnosis(tuple[Finding, ...]):
    """Findings, the worst first, that show as text."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "\n".join(str(finding) for finding in self) or "Nothing to say."

    def table(self) -> pl.DataFrame:
        """Return a row per finding: ``kind``, ``severity``, ``subject``, ``sentence``, ``move``, ``vertex``."""
        names = [field.name for field in dataclasses.fields(Finding)]
        rows = [tuple(str(getattr(finding, name)) for name in names) for finding in self]
        return pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String()), orient="row")


class Insight:
    """The part of a `Job` that looks at it. Nothing here changes the job.

    Parameters
    ----------
    handle
        The client's side of the job.
    """

    def __init__(self, handle: JobHandle) -> None:
        self._handle = handle
        self._reader: HistoryReader | None = None
        self._recent: deque[Sample] = deque(maxlen=_RECENT)
        self._panes = PaneReader(handle.folder.path)
        self._late_notes = NoteReader(handle.folder.results, LATE_NOTES)
        self._dead_letters = NoteReader(handle.folder.results, DEAD_LETTERS)
        self._reading = threading.Lock()

    def metrics(self) -> pl.DataFrame:
        """Return the figures of each task.

        Returns
        -------
        pl.DataFrame
            One row per subtask: ``vertex``, ``subtask``, and a column for each figure, its unit at the end of its name;
            `streamlab.observe.metrics.METRICS` says what each means.
        """
        fields = [field for field in msgspec.structs.fields(TaskStatus) if field.name != "time"]
        tasks = [
            {field.name: getattr(task, field.name) for field in fields}
            | {"vertex": task.shown, "steps": " → ".join(task.steps)}
            for task in self._handle.status().tasks
        ]
        dtypes = {**FIGURE_DTYPES, tuple[str, ...]: pl.String()}
        return pl.DataFrame(tasks, schema={field.name: dtypes[field.type] for field in fields})

    def watermarks(self) -> pl.DataFrame:
        """Return how far each task is in event time.

        Returns
        -------
        pl.DataFrame
            One row per subtask: ``vertex``, ``subtask``, ``watermark`` (UTC; null before the first one and after the
            end of the input), ``lag_ms`` (wall clock minus watermark) and ``at_end``.
        """
        tasks = self._handle.status().tasks
        return pl.DataFrame(
            {
                "vertex": [task.shown for task in tasks],
                "subtask": [task.subtask for task in tasks],
                "watermark": [_time(task.watermark_us) for task in tasks],
                "lag_ms": [task.lag_ms for task in tasks],
                "at_end": [task.watermark_us == MAX_TIME_US for task in tasks],
            },
            schema={
                "vertex": pl.String(),
                "subtask": pl.Int64(),
                "watermark": _TIME,
                "lag_ms": pl.Float64(),
                "at_end": pl.Boolean(),
            },
        )

    def splits(self, report: JobStatus | None = None) -> pl.DataFrame:
        """Return how far the splits of its sources have been read, those that hold the watermark back first.

        Of many splits of one subtask, 30 are shown; the newest of those that have ended come last.

        Parameters
        ----------
        report
            What `report` gave a moment ago, for figures of one moment; None: as it is now.

        Returns
        -------
        pl.DataFrame
            ``vertex``, ``subtask``, ``source``, ``split``, ``rows`` (given out), ``watermark`` (null when its rows say
            nothing of time yet), ``lag_ms`` (wall clock minus watermark), ``latest`` (event time), ``quiet_ms`` (since
            its last row; null before one, and once it has ended), ``begun``, ``idle``, ``ended``.
        """
        rows = [
            (
                task.shown,
                task.subtask,
                split.step,
                split.split,
                split.rows,
                _time(split.watermark_us),
                None if split.watermark_us is None or split.ended else (task.time.as_of_us - split.watermark_us) / 1000,
                _time(split.latest_us),
                None if split.last_row_us is None else max(0.0, (task.time.as_of_us - split.last_row_us) / 1000),
                split.begun,
                split.idle,
                split.ended,
            )
            for task in (report or self._handle.status()).tasks
            for split in task.time.splits
        ]
        schema = {
            "vertex": pl.String(),
            "subtask": pl.Int64(),
            "source": pl.String(),
            "split": pl.String(),
            "rows": pl.Int64(),
            "watermark": _TIME,
            "lag_ms": pl.Float64(),
            "latest": _TIME,
            "quiet_ms": pl.Float64(),
            "begun": pl.Boolean(),
            "idle": pl.Boolean(),
            "ended": pl.Boolean(),
        }
        return pl.DataFrame(rows, schema=schema, orient="row")

    def history(self, of: Literal["tasks", "job", "splits", "arrivals"] = "tasks") -> pl.DataFrame:
        """Return its figures over time: two samples a second for the last five minutes, the whole course more thinly.

        The coordinator keeps them in the job's folder, so they outlive kernels and coordinators.

        Parameters
        ----------
        of
            ``"tasks"``: a row per time and subtask; ``"job"``: a row per time; ``"splits"``: a row per time and split;
            ``"arrivals"``: a row per interval and step, with the event times of the rows that came in it.

        See Also
        --------
        streamlab.observe.history_frames.HistoryFrames : The columns.
        """
        frames: pl.DataFrame = getattr(history_frames(HistoryReader(self._handle.folder.path).read_new()), of)
        return frames

    def history_feed(self) -> HistoryFeed:
        """Return a reader that gives the history so far, and on each further call only what is new."""
        return HistoryFeed(HistoryReader(self._handle.folder.path))

    def panes(self) -> pl.DataFrame:
        """Return the windows of its steps, the newest 500 of each, those that end last first.

        Waits until all workers have told how things are now: for two seconds at most, or for ten while the job is
        paused and they have nothing else to do.

        Returns
        -------
        pl.DataFrame
            ``step``, ``window_start``, ``window_end``, ``state`` (open, fired, refined: fired again for late rows,
            closed: takes no more rows), ``keys`` and ``rows`` (null where nobody counts them), ``firings`` (early ones
            included) and ``refinements``. What has fired is known since the attempt began.
        """
        folder = self._handle.folder.path
        state = self._handle.status().state
        if not state.is_final:
            wait_for_answer(folder, ask(folder), _PAUSED_PANES_S if state is JobState.PAUSED else _PANES_S)
        with self._reading:
            return self._panes.read()

    def newest_panes(self) -> tuple[pl.DataFrame, bool]:
        """Return windows as `panes` does, without waiting, and whether all workers have told them since this was asked.

        For those who ask again and again: workers go on telling for five seconds after each time.
        """
        is_final = self._handle.status().state.is_final
        with self._reading:
            return (self._panes.read(), True) if is_final else self._panes.look()

    def diagnosis(self, report: JobStatus | None = None) -> Diagnosis:
        """Return what is wrong with it, in words, the worst first; empty when there is nothing to say.

        Each `Finding` has ``severity``, ``subject``, ``sentence`` and ``move`` (what to do next).

        Parameters
        ----------
        report
            What `report` gave a moment ago, for figures of one moment; None: as it is now.
        """
        meta = self._handle.meta
        attempts = read_attempts(self._handle.folder.results)
        layout = attempts[-1].layout if attempts else meta.layout
        facts = Facts(
            report or self._handle.status(),
            self._recent_samples(),
            {vertex.id: tuple(target for target, _ in vertex.gives_to) for vertex in layout.vertices},
            meta.options.checkpoint_every_ms,
        )
        shown = {task.vertex: task.shown for task in facts.status.tasks}
        return Diagnosis(dataclasses.replace(one, vertex=shown.get(one.vertex, one.vertex)) for one in diagnose(facts))

    def _recent_samples(self) -> list[Sample]:
        """Return the newest samples of its history; only what is new is read."""
        with self._reading:
            if self._reader is None:
                self._reader = HistoryReader(self._handle.folder.path)
            self._recent += self._reader.read_new()
            return list(self._recent)

    def completeness(self) -> pl.DataFrame:
        """Return what share of its rows a longer watermark delay would have kept, as far as they came too late.

        Returns
        -------
        pl.DataFrame
            ``more_delay_ms``, rising from 0 (the delay as it is), and ``kept``, from 0 to 1.
        """
        schema = {"more_delay_ms": pl.Float64(), "kept": pl.Float64()}
        return pl.DataFrame(completeness(self._handle.status()), schema=schema, orient="row")

    def serve_metrics(self, port: int = 0, *, token: str | None = None) -> MetricsServer:
        """Serve its figures to Prometheus, on this machine only, until the returned server is closed.

        Parameters
        ----------
        port
            Where to listen; 0 takes a free port, see ``.url``.
        token
            What opens it, in the address or as ``Authorization: Bearer``; None makes one up, which ``.url`` holds.

        Raises
        ------
        OptionError
            If the port is none, or taken.
        """
        from streamlab.job.figures.metrics_server import MetricsServer  # noqa: PLC0415 - a web server, for few

        return MetricsServer(lambda: [self._handle.status()], port, token)

    def lateness(self) -> pl.DataFrame:
        """Return the newest late rows, about a thousand of each worker, with what became of them, newest first.

        All rows that were set aside, just as they came, are in `late_rows`.

        Returns
        -------
        pl.DataFrame
            ``outcome`` (set aside, or merged: a window still took it within the allowed lateness), ``step``,
            ``noted_at`` (wall clock), ``event_time``, ``watermark`` (against which it was judged), ``behind_ms``
            (watermark minus event time), ``window_start``, ``window_end``, ``closed_for_ms`` (watermark minus the
            window's end), and the row's own columns.
        """
        with self._reading:
            notes = self._late_notes.read()
        return shown(notes)

    def dead_letters(self) -> pl.DataFrame:
        """Return the input that could not be understood.

        What was read once is kept, so that asking again costs what is new.

        Returns
        -------
        pl.DataFrame
            Strings: ``step`` (which refused it), ``reason``, ``input`` (the row or line as text, at most 10,000
            characters of it) and ``origin`` (the file or place that it came from).
        """
        with self._reading:
            letters = self._dead_letters.read()
        return pl.concat([DEAD_LETTER_SCHEMA.to_frame(), *(frame for _, frame in letters)])


def _time(us: int | None) -> int | None:
    return us if us is not None and MIN_TIME_US < us < MAX_TIME_US else None
