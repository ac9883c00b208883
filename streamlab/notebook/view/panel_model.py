"""What is on the screen of one panel, whatever carries it there: takes what the front end says, and gives frames."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import msgspec

from streamlab.core.errors import JobError, explained
from streamlab.job import attach
from streamlab.job.history.job_at_checkpoint import HeldMoment
from streamlab.job.job import Job
from streamlab.notebook.charts.panel_charts import figures
from streamlab.notebook.charts.wire import Frame, Numbering
from streamlab.notebook.panel.choice import Choice, Mode, TableChoice
from streamlab.notebook.panel.reader import JobReader
from streamlab.notebook.view.actions import carry_out, compare
from streamlab.notebook.view.commands import Commands
from streamlab.notebook.view.panel_messages import Sayings

_TIME_TAB_S = 1.0
"""The tab Time shows most, and draws its charts once a second: to work it out more often would be dear, to no end."""


class Screen:
    """One panel's choices, commands and frames.

    Frames and saved values are asked for by one thread at a time; :meth:`said` may be called on any.

    Parameters
    ----------
    job
        What to show. Only this screen may use the object.
    rows
        Result rows on a page.
    compact
        Whether to show the table and one line only.
    results
        What the results show until something else is chosen.
    on_change
        Called when there may be something new to draw.
    """

    def __init__(
        self,
        job: Job,
        rows: int,
        *,
        compact: bool = False,
        results: Mode = "update",
        on_change: Callable[[], None],
    ) -> None:
        self.job = job
        self.resend = False
        """Whether the front end misses the newest frame."""
        self._compact = compact
        self._wants_figures = False
        """Whether the front end has no charts yet; they come with each frame until it says that it has."""
        self._on_change = on_change
        table = TableChoice().changed(rows=rows)
        self._choice = Choice(
            results=table.changed(mode=results), past=table, panes=table, late=table, splits=table, letters=table
        )
        self._choosing = threading.Lock()
        self._readers = [JobReader(job, lambda: self._sayings.all)]
        self._common: HeldMoment | None = None
        """The first job where the replay of it ends."""
        self._commands = Commands()
        self._sayings = Sayings()
        self._numbering = Numbering()

    @property
    def is_final(self) -> bool:
        """Whether nothing that is shown will change by itself."""
        return all(reader.job.status.is_final for reader in self._readers)

    @property
    def rest_s(self) -> float:
        """For how long a frame of the open tab is new enough, while nothing is clicked."""
        return _TIME_TAB_S if self._choice.tab == "time" else 0.0

    def frame(self) -> Frame:
        """Return what is to be on the screen, numbered; the same frame while nothing changes.

        Raises
        ------
        JobError
            If the job was deleted.
        """
        reader = self._reader
        if not reader.job.is_kept:
            hint = "old jobs are deleted, by streamlab gc or for others"
            needed = "what it has left behind"
            raise JobError(explained(f"job {reader.job.name}", needed=needed, got="nothing any more", hint=hint))
        content = {
            **reader.frame(self._choice),
            "original": "" if reader is self._readers[0] else self.job.name,
            "compact": self._compact,
            "said": self._sayings.newest,
        }
        if self._wants_figures:
            content["figures"] = figures()
        return self._numbering.next(content) or self._numbering.newest

    def saved(self) -> dict[str, Any]:
        """Return what a page without scripts shows."""
        return self._readers[0].saved(self._choice)

    def last_frame(self, error: Exception) -> Frame:
        """Return the frame that says that there will be no more."""
        self._sayings.add(f"This panel has ended. {error}", error=True)
        return {**self._numbering.newest, "seq": -1, "said": self._sayings.newest}

    def said(self, content: dict[str, Any]) -> None:
        """Take note of what the front end says, such as a click; returns at once."""
        kind = content.get("type")
        try:
            if kind == "choose":
                with self._choosing:
                    self._choice = self._choice.changed(of=content.get("of"), **content.get("fields", {}))
            elif kind == "do":
                self._do(str(content.get("command")), dict(content.get("arguments", {})))
            elif kind == "error":
                self._sayings.add(f"The panel's own script failed: {content.get('text')}", error=True)
            elif kind in {"need_figures", "have_figures"}:
                self._wants_figures = kind == "need_figures"
            elif kind == "need_charts":
                self._reader.send_charts_whole()
            elif kind == "check":
                self.resend = self.resend or content.get("seq") != self._numbering.newest["seq"]
        except (TypeError, ValueError, AttributeError, msgspec.ValidationError) as error:
            self._sayings.add(f"The panel did not understand: {error}", error=True)
        self._on_change()

    def _do(self, command: str, arguments: dict[str, Any]) -> None:
        def told(text: str, error: Exception | None) -> None:
            self._sayings.add(text or str(error or ""), error=error is not None)
            self._on_change()

        if command == "back":
            self._leave_replay()
        else:
            self._commands.put(lambda: self._carried_out(command, arguments), told)

    def _carried_out(self, command: str, arguments: dict[str, Any]) -> str:
        if command == "compare":
            return compare(self._reader.job, self.job, self._common)
        outcome = carry_out(self._reader.job, command, arguments)
        if outcome.show is not None:
            replay = JobReader(attach(outcome.show.id), lambda: self._sayings.all)
            self._leave_replay()
            self._readers, self._common = [self._readers[0], replay], outcome.common
            with self._choosing:
                self._choice = self._choice.changed(tab="results")
        return outcome.text

    def close(self) -> None:
        """Let go of the checkpoints that were looked at."""
        self._leave_replay()
        self._readers[0].close()

    def _leave_replay(self) -> None:
        left, self._readers = self._readers[1:], self._readers[:1]
        for reader in left:
            reader.close()
        if self._common is not None:
            self._common.release()
            self._common = None

    @property
    def _reader(self) -> JobReader:
        """Reads the job that is shown: the first one, or a replay of it."""
        return self._readers[-1]
