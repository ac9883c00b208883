"""The ends of a query: run it, look at some rows, or show the plan."""

from __future__ import annotations

import datetime as dt
import html
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, overload

import polars as pl

from streamlab.core.changelog import fold, with_op
from streamlab.core.dead_letter_warning import warn_of, warn_of_late_rows
from streamlab.core.errors import OptionError, PlanError, explained
from streamlab.core.event_time.time import Duration
from streamlab.core.event_time.timeouts import seconds
from streamlab.frame.base import FrameBase
from streamlab.frame.runner import CheckpointEvery, KeepRows, RunOptions
from streamlab.plan import nodes
from streamlab.plan.explain import explain_plan
from streamlab.plan.schema import show_columns

if TYPE_CHECKING:
    from streamlab.job.job import Job

_SEE_THEM = "collect(dead_letters=True) returns them beside the rows; collect(on_error='fail') raises instead"
_WIDTH = 80
"""Characters of a line of columns, so that it fits into a cell of a notebook."""


class OutputMethods(FrameBase):
    """Methods that run the query or show it."""

    __slots__ = ()

    @overload
    def collect(
        self, *, parallelism: int | None = None, dead_letters: Literal[False] = False, **options: Any
    ) -> pl.DataFrame: ...

    @overload
    def collect(
        self, *, parallelism: int | None = None, dead_letters: Literal[True], **options: Any
    ) -> tuple[pl.DataFrame, pl.DataFrame]: ...

    def collect(
        self, *, parallelism: int | None = None, dead_letters: bool = False, **options: Any
    ) -> pl.DataFrame | tuple[pl.DataFrame, pl.DataFrame]:
        """Run a bounded query to its end and return its rows; row order is not defined.

        Parameters
        ----------
        parallelism
            Subtasks per step, and worker processes; None leaves it to streamlab, which takes one for a few rows in
            memory.
        dead_letters
            Whether input that was set aside as not understood is returned, too, as a second frame. Otherwise a
            :class:`DeadLetterWarning` counts it; its attribute `dead_letters` has the rows.
        **options
            Further fields of :class:`streamlab.core.options.JobOptions`, such as ``batch_rows``, or
            ``on_error="fail"``, which makes an error of such input.

        Raises
        ------
        PlanError
            If the stream does not end by itself.
        StreamlabError
            What made the job fail.

        Examples
        --------
        >>> import polars as pl, streamlab as sl
        >>> sl.from_frame(pl.DataFrame({"n": [1, 2]})).select(pl.col("n") * 2).collect().sort("n").rows()
        [(2,), (4,)]
        """
        if not self._plan.bounded:
            raise PlanError(
                explained(
                    "collect",
                    needed="a stream that ends by itself",
                    got=f"an endless one, from {_endless_source(self._plan)}",
                    hint="take(n) looks at its first rows, start() runs it in the background, head(n) ends it",
                )
            )
        done = self._runner.collect(self._plan, run_options(parallelism=parallelism, keep_rows=None, more=options))
        warn_of_late_rows("collect", done.far_ahead)
        if dead_letters:
            return done.rows, done.dead_letters
        warn_of("collect", done.dead_letters, _SEE_THEM)
        return done.rows

    def start(
        self,
        name: str | None = None,
        *,
        parallelism: int | None = None,
        keep_rows: KeepRows = "auto",
        detach: bool = False,
        paused: bool = False,
        checkpoint_every: CheckpointEvery = "10s",
        from_savepoint: str | os.PathLike[str] | None = None,
        allow_non_restored_state: bool = False,
        **options: Any,
    ) -> Job:
        """Start the query in the background and return at once; its rows go to a live result table.

        Parameters
        ----------
        name
            The job's name, by which ``sl.attach`` finds it; None makes one up.
        parallelism
            Subtasks per step, and worker processes; None leaves it to streamlab.
        keep_rows
            Newest rows that the table of an append-only stream keeps; None keeps all, and ``"auto"`` keeps all of a
            stream that ends by itself and a million of an endless one.
        detach
            Whether the job goes on when this process ends.
        paused
            Whether it starts paused, with a clock that stands, to go on by hand: ``job.step(rows=1)``.
        checkpoint_every
            Time between checkpoints, from which the job goes on when one of its processes dies or a step fails. None
            takes none: then any failure ends the job.
        from_savepoint
            What to go on from: the folder or URL of a savepoint, or a checkpoint of another job, such as the last one
            of a job that has ended with its kernel: ``sl.attach("hourly").checkpoints[-1]``. State is matched by the
            names of steps (see :meth:`named`) and the positions of sources by their names; steps that it does not know
            start empty.
        allow_non_restored_state
            Whether state in the savepoint that no step takes is left out; otherwise it is an error.
        **options
            Further fields of :class:`streamlab.core.options.JobOptions`, such as ``batch_rows``.

        Raises
        ------
        OptionError
            If an argument is no good, or a running job has the name.
        CheckpointError
            If the savepoint is damaged, or does not fit the query.

        Examples
        --------
        ::

            job = hourly.start("hourly")
            job.results()           # the table as it is now, while it grows
            job.stop()
        """
        return self._runner.run(
            self._plan,
            run_options(
                name=name,
                parallelism=parallelism,
                keep_rows=keep_rows,
                detach=detach,
                paused=paused,
                checkpoint_every=checkpoint_every,
                from_savepoint=from_savepoint,
                allow_non_restored_state=allow_non_restored_state,
                more=options,
            ),
        )

    def take(self, n: int, timeout: float | str | dt.timedelta | None = None) -> pl.DataFrame:
        """Return the first `n` rows that come out, and leave nothing running.

        Of an updating stream these are rows of its table as soon as it has so many.

        Parameters
        ----------
        n
            How many rows.
        timeout
            How long to wait for them, in seconds or as a duration; then there may be fewer. None waits for all.

        Raises
        ------
        OptionError
            If `n` is no number of rows, or the timeout is none.
        StreamlabError
            What made the job fail.

        Examples
        --------
        ``sl.socket("localhost", 9999, schema={"text": pl.String}).take(10, timeout="5s")``
        """
        if not isinstance(n, int) or isinstance(n, bool) or n < 0:
            raise OptionError(explained("take", needed="a number of rows, at least 0", got=repr(n)))
        plan = self._plan
        if not plan.updating:
            plan = nodes.Head(input=plan, n=n, step="take", schema=plan.schema, event_time=plan.event_time)
        table = plan.schema.to_frame()
        frames: list[pl.DataFrame] = []
        rows = self._runner.stream(plan, run_options(keep_rows=None), seconds(timeout, "take: timeout"))
        try:
            while table.height < n:
                frame = next(rows, None)
                if frame is None:
                    break
                frames.append(frame)
                table = fold(pl.concat(frames))
        finally:
            _close(rows)
        return table.head(n)

    def iter_batches(self, *, parallelism: int | None = None, **options: Any) -> Iterator[pl.DataFrame]:
        """Yield frames of rows as they come; the job ends, and leaves nothing, when the loop is left.

        Of an updating stream these are its changes: the first column, ``op``, is ``+I``, ``-U``, ``+U`` or ``-D``; a
        column ``op`` of the rows themselves is ``row.op``.

        Parameters
        ----------
        parallelism
            Subtasks per step, and worker processes.
        **options
            Further fields of :class:`streamlab.core.options.JobOptions`.

        Raises
        ------
        OptionError
            If an option is no good.
        StreamlabError
            What made the job fail.

        Examples
        --------
        ::

            for frame in counts.iter_batches():
                print(frame)        # changes: op, and the columns of counts
        """
        rows = self._runner.stream(self._plan, run_options(parallelism=parallelism, keep_rows=None, more=options))
        return _changes(rows) if self._plan.updating else rows

    def explain(self, *, parallelism: int | None = None) -> str:
        """Return the plan and the job graph as text: what is kept, keys, exchanges, guarantees.

        Parameters
        ----------
        parallelism
            Of the job graph; None stands for what :meth:`start` would choose.

        Raises
        ------
        OptionError
            If that is no parallelism.

        Examples
        --------
        >>> import polars as pl, streamlab as sl
        >>> print(sl.from_frame(pl.DataFrame({"n": [1]})).filter(pl.col("n") > 0).explain().splitlines()[0])
        filter: [(col("n")) > (dyn int: 0)]
        """
        return PlanText(f"{explain_plan(self._plan)}\n\n{self._runner.explain(self._plan, parallelism)}")

    def __repr__(self) -> str:
        kind = "updating" if self._plan.updating else "append-only"
        end = "bounded" if self._plan.bounded else "endless"
        columns = show_columns(self._plan.schema, _WIDTH)
        return f"StreamFrame, {end}, {kind}\n{columns}\n\n{explain_plan(self._plan)}"

    def _repr_html_(self) -> str:
        # A page made by nbconvert has other letters in <pre> than in code; JupyterLab breaks its lines within words.
        style = "font-family:var(--jp-code-font-family,monospace);white-space:pre;overflow:auto"
        return f"<pre style='{style}'>{html.escape(repr(self))}</pre>"


class PlanText(str):
    """A plan as text, which a notebook shows as it is: with its line breaks, and without quotes."""

    __slots__ = ()

    def _repr_pretty_(self, printer: Any, _cycle: bool) -> None:  # noqa: FBT001 - IPython's call
        printer.text(str(self))


def run_options(
    *,
    name: str | None = None,
    parallelism: int | None = None,
    keep_rows: KeepRows = "auto",
    detach: bool = False,
    paused: bool = False,
    checkpoint_every: CheckpointEvery = None,
    from_savepoint: str | os.PathLike[str] | None = None,
    allow_non_restored_state: bool = False,
    more: dict[str, Any] | None = None,
) -> RunOptions:
    """Return checked options; raises OptionError."""
    if parallelism is not None and not _is_count(parallelism):
        raise OptionError(explained("parallelism", needed="a number of subtasks, at least 1", got=repr(parallelism)))
    if keep_rows is not None and keep_rows != "auto" and not _is_count(keep_rows):
        needed = "a number of rows, at least 1, None for all, or 'auto'"
        raise OptionError(explained("keep_rows", needed=needed, got=repr(keep_rows)))
    every_ms: int | None = None
    if checkpoint_every is not None:
        every_us = Duration.parse(checkpoint_every, name="checkpoint_every").fixed_us("checkpoint_every")
        if every_us <= 0:
            needed, hint = "a duration longer than 0", "None takes no checkpoints"
            raise OptionError(explained("checkpoint_every", needed=needed, got=repr(checkpoint_every), hint=hint))
        every_ms = max(1, every_us // 1000)
    return RunOptions(
        name,
        parallelism,
        keep_rows,
        bool(detach),
        every_ms,
        from_savepoint,
        bool(allow_non_restored_state),
        bool(paused),
        more or {},
    )


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _changes(rows: Iterator[pl.DataFrame]) -> Iterator[pl.DataFrame]:
    """Yield changelogs with their row kinds in words."""
    try:
        for frame in rows:
            yield with_op(frame)
    finally:
        _close(rows)


def _close(rows: Iterator[pl.DataFrame]) -> None:
    """End what is behind an iterator now, not when it is forgotten."""
    close = getattr(rows, "close", None)
    if close is not None:
        close()


def _endless_source(plan: nodes.Node) -> str:
    return next(node.source.describe() for node in plan.walk() if isinstance(node, nodes.Scan) and not node.bounded)
