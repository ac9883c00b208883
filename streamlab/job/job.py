"""A job as users hold it: ``job = stream.start("flights")``."""

from __future__ import annotations

import datetime as dt
import os
from typing import TYPE_CHECKING, Any

import polars as pl

from streamlab.connectors.contracts.timing import Pace
from streamlab.connectors.recording.recording import scan_recording
from streamlab.core.changelog import with_op
from streamlab.core.errors import JobError, OptionError, StreamlabError, explained
from streamlab.core.event_time.timeouts import seconds
from streamlab.core.late_binding import offered
from streamlab.core.process_id import process_id
from streamlab.frame.outputs import PlanText
from streamlab.frame.runner import Runner
from streamlab.frame.stream_frame import StreamFrame
from streamlab.job.control.pacing import PacedJob
from streamlab.job.control.rescaling import rescale
from streamlab.job.control.savepoints import (
    end,
    stop_in_place,
    stop_with_savepoint,
    take_checkpoint,
    take_savepoint,
    takes_checkpoints,
)
from streamlab.job.control.stepping import SteppedJob
from streamlab.job.figures.failures import error_of
from streamlab.job.figures.job_figures import Insight
from streamlab.job.figures.job_summary import summary_html, summary_text
from streamlab.job.figures.late_columns import no_late_rows
from streamlab.job.history.checkpoints import Checkpoint, Checkpoints
from streamlab.job.history.comparing import TOLERANCE, differing
from streamlab.job.history.job_at_checkpoint import HeldMoment, Moment
from streamlab.job.history.replaying import Until, replay
from streamlab.observe.status import JobState, JobStatus
from streamlab.runtime.client.client import JobHandle
from streamlab.runtime.job_folder.attempts import read_attempts
from streamlab.runtime.messages.protocol import CancelRequested, PauseRequested, ResumeRequested
from streamlab.runtime.tables.table_reader import read_late_rows

if TYPE_CHECKING:
    import pandas as pd


class Job(Insight, PacedJob, SteppedJob):
    """A running or ended job.

    All methods read what the job has written, or send it a request; none of them runs the query here. A job goes on
    when this object is dropped. It ends with the process that started it, unless it was started with ``detach=True``.

    Parameters
    ----------
    handle
        The client's side of the job.
    runner
        Runs streams that are made of what the job has kept.

    Examples
    --------
    ::

        job = hourly.start("hourly")        # or, in another process: sl.attach("hourly")
        job.results()                       # a pl.DataFrame, at any time
        job.stop()
    """

    def __init__(self, handle: JobHandle, runner: Runner | None = None) -> None:
        super().__init__(handle)
        self._runner = runner

    @property
    def id(self) -> str:
        """Its id, unique for all time."""
        return self._handle.meta.id

    @property
    def name(self) -> str:
        """Its name, unique among running jobs."""
        return self._handle.meta.name

    @property
    def status(self) -> JobState:
        """Where it is in its life; compares equal to plain text such as ``"running"``."""
        return self._handle.status().state

    @property
    def is_kept(self) -> bool:
        """Whether its folder is there, with all that it has left; old ended jobs are deleted when others start."""
        return self._handle.folder.path.is_dir()

    @property
    def ends_with_process(self) -> bool:
        """Whether it ends with this process, which has started it, and without ``detach=True``."""
        meta = self._handle.meta
        return meta.client == process_id() and not meta.options.detach

    def report(self) -> JobStatus:
        """Return everything that is known of it now: rows, rates, watermark, latency, and the figures of each task."""
        return self._handle.status()

    def wait(self, timeout: float | str | dt.timedelta | None = None) -> JobState:
        """Wait until it has ended, and return its state.

        Ctrl-C ends the waiting, not the job.

        Parameters
        ----------
        timeout
            Longest time to wait: seconds, or a duration such as ``"1m"``. The state is then perhaps not final.

        Raises
        ------
        StreamlabError
            Why the job failed, if it did: `StepFailed`, `SourceError`, `SinkError`, `WorkerLost`, …
        """
        status = self._handle.wait(seconds(timeout))
        if status.failure is not None:
            raise error_of(status.failure)
        return status.state

    @property
    def exception(self) -> StreamlabError | None:
        """Why it failed; None if it did not, or not yet."""
        failure = self._handle.status().failure
        return None if failure is None else error_of(failure)

    # -- rows ----------------------------------------------------------------------------------------------------

    def results(self) -> pl.DataFrame:
        """Return its result table as it is now, changelogs folded; row order is not defined.

        The columns are those of the query (`result_schema`). A row in it is never shown twice, also when the job has
        failed meanwhile and gone on: rows after the checkpoint that it went on from are withdrawn first. The table of
        a query that writes into a sink of yours is empty.
        """
        self._handle.look_after()
        return self._handle.table.table()

    def to_pandas(self) -> pd.DataFrame:
        """Return its result table as it is now, as a pandas DataFrame."""
        return self.results().to_pandas()

    def changelog(self) -> pl.DataFrame:
        """Return the changes that make up the result table, oldest first within a key.

        The first column, ``op``, says what a row does: ``+I`` (insert), ``-U`` and ``+U`` (a row before and after an
        update), ``-D`` (delete); a column ``op`` of the table itself is ``row.op`` here. The oldest changes of a
        long-running job are merged into one ``+I`` per row.
        """
        return with_op(self._handle.table.changelog())

    def newest_changes(self) -> pl.DataFrame:
        """Return up to 1,000 of the newest changes, newest first, as in `changelog`; ``-U`` only where it was written.

        Cheap however long the job has been running, unlike `changelog`, which reads all of them.
        """
        return with_op(self._handle.table.newest()).reverse()

    @property
    def key_columns(self) -> tuple[str, ...] | None:
        """Columns that identify a row of its result table; None when rows are only added, or none do."""
        return self._handle.table.keys

    def late_rows(self) -> pl.DataFrame:
        """Return the rows that came after their window had closed, as they came to the window.

        The columns are those of the window's input; with several windows those of all of them, null where a row has
        none of the name.
        """
        late = read_late_rows(self._handle.folder.results)
        return late if late.width else no_late_rows(self._handle)

    @property
    def result_schema(self) -> pl.Schema:
        """Columns of its result table and their types; empty when it writes into a sink of yours."""
        return self._handle.table.schema

    def plot(self, x: str | None = None, y: str | None = None, by: str | None = None) -> Any:
        """Return a chart of its result table that keeps ticking: a Bokeh figure, to be styled before it is shown.

        Parameters
        ----------
        x, y
            Columns of numbers or times. None takes the first column of times, or else of numbers, for `x`, and the
            first other one of numbers for `y`.
        by
            Column with a line of its own for each value; of many values the twelve with most rows. None, when `x` is
            not given either, takes the first column of text.

        Raises
        ------
        OptionError
            If a column is not there, or cannot be drawn.

        Examples
        --------
        ``chart = hourly.plot("dep_time", "flights", by="origin")``, then ``chart.title.text = "Departures"`` and
        ``chart`` at the end of the cell.
        """
        return offered("job.plot")(self, x, y, by)

    # -- figures -------------------------------------------------------------------------------------------------

    def graph(self) -> pl.DataFrame:
        """Return the vertices of its job graph, sources first, as its newest attempt runs them.

        Returns
        -------
        pl.DataFrame
            ``vertex`` (String), ``steps`` (List(String): the names of the steps that run in it), ``parallelism``
            (Int64), ``gives_to`` (List(String): the vertices that its rows go to) and ``routed`` (List(String): how,
            for each of them).
        """
        attempts = read_attempts(self._handle.folder.results)
        layout = attempts[-1].layout if attempts else self._handle.meta.layout
        shown = {v.id: v.steps[0] if v.steps else v.id for v in layout.vertices}
        rows = [
            (
                shown[v.id],
                list(v.steps),
                v.parallelism,
                [shown[to] for to, _ in v.gives_to],
                [how for _, how in v.gives_to],
            )
            for v in layout.vertices
        ]
        names = pl.List(pl.String)
        types = (pl.String(), names, pl.Int64(), names, names)
        columns = ("vertex", "steps", "parallelism", "gives_to", "routed")
        return pl.DataFrame(rows, schema=pl.Schema(zip(columns, types, strict=True)), orient="row")

    def explain(self) -> str:
        """Return the plan that it runs, as text."""
        return PlanText(self._handle.meta.plan)

    def log(self, newest: int | None = None) -> str:
        """Return what its processes and the user functions in them have printed: the newest 8 to 16 MB of each.

        Parameters
        ----------
        newest
            How many bytes of each process at most, the newest; None: all that is kept.
        """
        return self._handle.folder.read_logs(newest)

    def processes(self) -> pl.DataFrame:
        """Return its processes that run now.

        Returns
        -------
        pl.DataFrame
            ``role`` (String: worker, coordinator or guardian) and ``pid`` (Int64); empty when it has ended.
        """
        self._handle.look_after()
        found = self._handle.folder.read_processes()
        named = [] if found is None else [("guardian", found.guardian), ("coordinator", found.coordinator)]
        named += [] if found is None else [("worker", worker) for worker in found.workers]
        rows = [(role, process.pid) for role, process in named if process is not None and process.is_alive]
        return pl.DataFrame(rows, schema={"role": pl.String, "pid": pl.Int64}, orient="row")

    # -- checkpoints ---------------------------------------------------------------------------------------------

    @property
    def checkpoints(self) -> Checkpoints:
        """Its checkpoints: a table, and each opened by its id, ``job.checkpoints[7].state("hourly")``."""
        return Checkpoints(self._handle.status().checkpoints, self._handle.folder.checkpoint_blobs())

    @property
    def takes_checkpoints(self) -> bool:
        """Whether it was started so that it takes checkpoints."""
        return takes_checkpoints(self._handle)

    def checkpoint(self, timeout: float | str | dt.timedelta | None = "1m") -> Checkpoint:
        """Take a checkpoint now, and return it when it is complete.

        Parameters
        ----------
        timeout
            Longest time to wait for it.

        Raises
        ------
        JobError
            If the job has ended, takes no checkpoints, or the checkpoint failed or did not come in time.

        Examples
        --------
        ``job.checkpoint().state("hourly")`` is the state of the step "hourly" as it is now.
        """
        checkpoint_id = take_checkpoint(self._handle, seconds(timeout))
        return self.checkpoints[checkpoint_id]

    def savepoint(self, path: str | os.PathLike[str], timeout: float | str | dt.timedelta | None = "10m") -> Checkpoint:
        """Take a checkpoint that is yours: a copy that no job deletes, for ``start(from_savepoint=path)``.

        Parameters
        ----------
        path
            Folder or URL for it.
        timeout
            Longest time to wait for the checkpoint.

        Raises
        ------
        OptionError
            If there is a savepoint at that place already.
        JobError, CheckpointError
            If the checkpoint fails or cannot be copied.

        Examples
        --------
        ``job.savepoint("backups/hourly")``, and later ``changed.start("hourly", from_savepoint="backups/hourly")``
        """
        return take_savepoint(self._handle, path, seconds(timeout))

    def rescale(self, parallelism: int, timeout: float | str | dt.timedelta | None = "10m") -> None:
        """Go on with another number of subtasks: a checkpoint, then the same query from it; nothing is lost.

        Parameters
        ----------
        parallelism
            Subtasks per step, and worker processes.
        timeout
            Longest time to wait until the job runs again.

        Raises
        ------
        OptionError
            If that is no number of subtasks.
        JobError
            If the job has ended or takes no checkpoints, or does not run again in time.

        Examples
        --------
        ``job.rescale(4)``
        """
        rescale(self._handle, parallelism, seconds(timeout))

    def replay(
        self,
        checkpoint: int,
        *,
        until: Until = "end",
        pace: Pace = "max",
        with_: StreamFrame | None = None,
        name: str | None = None,
        side_effects: bool = False,
        paused: bool = False,
    ) -> Job:
        """Start a new job that goes on from one of this job's checkpoints and reads the same rows once more.

        Same code, same rows, same results: its result table begins as it stood at the checkpoint, and the rows come
        from the same positions of the same sources, from the recording where a source cannot be read again. Whether a
        row of several splits is late depends on the order in which they were read, so jobs note their batches and in
        which order steps took them, and a replay repeats that; what is not noted says ``docs/guarantees.md``.

        Parameters
        ----------
        checkpoint
            Id of the checkpoint, which must still be kept; -1 is the newest.
        until
            Id of a later checkpoint, at whose positions the replay ends and leaves open what is open. Or an *event
            time*: a datetime, a date, or text such as ``"2013-01-01 12:00"`` (with a zone only if the source's times
            have one; UTC without). Each subtask of a source gives nothing more behind the batch with which its
            watermark has reached that time, so every window that ends by then has fired, and what is open then stays
            open. ``"end"`` goes to the end of the sources (of the recording as it is now).
        pace
            ``"max"``, ``"realtime"`` or a factor such as ``"10x"``: how fast rows come, by their event times.
        with_
            Another query to go on with, from the same state: what would have been if …? Steps find their state by name.
        name
            The new job's name; None makes one up.
        side_effects
            Whether it writes where this job writes. Otherwise its rows only go to a result table of its own.
        paused
            Whether it starts paused, to go on by hand: see :meth:`step`.

        Raises
        ------
        CheckpointError
            If a checkpoint is damaged, or does not fit the other query.
        OptionError
            If a checkpoint is not kept any more, if the sources never end and `until` does not say where the replay
            does, if `until` is a time and a source makes no watermarks, or all had reached it at the checkpoint.

        See Also
        --------
        compare : The rows that differ.

        Examples
        --------
        ::

            again = job.replay(5)
            again.wait()
            again.compare(job)              # empty: the same rows, the same results

            what_if = job.replay(5, with_=longer_windows, until=7)
            morning = job.replay(5, until="2013-01-01 12:00")
        """
        if with_ is not None and not isinstance(with_, StreamFrame):
            raise OptionError(explained("replay", needed="with_= to be a stream", got=f"a {type(with_).__name__}"))
        handle = replay(
            self._handle,
            self.checkpoints.id_of(checkpoint),
            until=until,
            pace=pace,
            changed=None if with_ is None else with_.plan,
            name=name,
            side_effects=side_effects,
            paused=paused,
        )
        return Job(handle, self._runner)

    def at(self, checkpoint: int) -> Moment:
        """Return the result table, the side tables and the state as they stood at a checkpoint.

        Parameters
        ----------
        checkpoint
            Id of a checkpoint that is still kept; -1 is the newest.

        Raises
        ------
        OptionError
            If there is no such checkpoint.

        Examples
        --------
        ``job.at(7).results()``, ``job.at(7).state("hourly")``
        """
        return Moment(self._handle, self.checkpoints[checkpoint])

    def hold(self, checkpoint: int) -> HeldMoment:
        """Return what :meth:`at` does, and keep the checkpoint from being deleted, for as long as somebody looks at it.

        That ends with ``release()``, with the block in ``with job.hold(7) as moment:``, or with this process.

        Parameters
        ----------
        checkpoint
            Id of a checkpoint that is still kept; -1 is the newest.

        Raises
        ------
        OptionError
            If there is no such checkpoint.
        CheckpointError
            If it is being deleted just now, or cannot be read.
        """
        return HeldMoment(self._handle, self.checkpoints.id_of(checkpoint))

    def compare(self, other: Job | Moment, *, tolerance: float = TOLERANCE) -> pl.DataFrame:
        """Return the rows of the result tables that differ.

        Parameters
        ----------
        other
            Another job, such as a replay, or a moment: ``job.at(7)``.
        tolerance
            By what part of their value floats may differ that count as equal: the last digits of a sum depend on the
            order in which its rows were added. 0 compares exactly.

        Returns
        -------
        pl.DataFrame
            The column ``in`` (String), ``here`` or ``there``, and those of both tables; a row that one side has twice
            more stands there twice. Empty when the tables are equal.

        Raises
        ------
        OptionError
            If that is neither a job nor a moment of one.
        """
        if not isinstance(other, Job | Moment):
            got, hint = f"a {type(other).__name__}", "sl.attach(name) finds a job, job.at(7) a moment of one"
            raise OptionError(explained("compare", needed="a job or a moment of one", got=got, hint=hint))
        return differing(self.results(), other.results(), tolerance=tolerance)

    @property
    def recording(self) -> StreamFrame:
        """What it has recorded of its source, as a stream of its own; see ``sl.scan_recording``.

        Raises
        ------
        OptionError
            If nothing was recorded: its sources can be read again, or it takes no checkpoints.
        """
        if self._runner is None:
            raise JobError(
                explained(f"recording of job {self.name}", needed="a job of this session", got="a bare handle")
            )
        return StreamFrame.reading(scan_recording(self._handle.folder.path), self._runner)

    # -- requests ------------------------------------------------------------------------------------------------

    def pause(self) -> None:
        """Stop reading sources; what was read goes on its way.

        Raises
        ------
        JobError
            If the job has ended.
        """
        self._handle.request(PauseRequested())

    def resume(self) -> None:
        """Read on by itself, with the time of day.

        Raises
        ------
        JobError
            If the job has ended.
        """
        self._handle.request(ResumeRequested())

    def stop(
        self,
        timeout: float | str | dt.timedelta | None = None,
        *,
        savepoint: str | os.PathLike[str] | None = None,
        drain: bool = False,
    ) -> JobState:
        """Stop reading sources and end where the job stands; wait for that, and return the state.

        All that was read is worked through and committed; rows that a pace still holds back are unread. Open windows
        are not fired: what is open is in the last checkpoint, ``job.checkpoints[-1]``, from which
        ``start(from_savepoint=…)`` goes on. A job that takes no checkpoints has no place for it, and fires it. One that
        has ended already stays as it is.

        Parameters
        ----------
        timeout
            Longest time to wait; 0 does not wait.
        savepoint
            Folder or URL for a savepoint, to which the last checkpoint is copied.
        drain
            Whether what is open is fired before the end, as if the sources had come to theirs; for when the query will
            not go on. No more is read for that either.

        Raises
        ------
        JobError
            If the last checkpoint cannot be taken: the job then goes on. If there is to be a savepoint, and the job
            takes no checkpoints, or has ended before it could be taken, or does not end in time.
        """
        if savepoint is None:
            return stop_in_place(self._handle, seconds(timeout), drain=drain)
        return stop_with_savepoint(self._handle, savepoint, seconds(timeout), drain=drain)

    def cancel(self, timeout: float | str | dt.timedelta | None = None) -> JobState:
        """End it now, and return the state. What is in the result table stays; what is on its way is dropped.

        A job that has ended already stays as it is.

        Parameters
        ----------
        timeout
            Longest time to wait; 0 does not wait.
        """
        return end(self._handle, CancelRequested("asked for"), seconds(timeout))

    # -- looks ---------------------------------------------------------------------------------------------------

    def __repr__(self) -> str:
        return summary_text(self.report())

    def _ipython_display_(self) -> None:
        offered("job.display")(self)

    def _repr_html_(self) -> str:
        return summary_html(self.report())
