"""The page of one job: the notebook's live panel, carried by a Bokeh server instead of a kernel."""

from __future__ import annotations

import time

from bokeh.document import Document

from streamlab import session
from streamlab.core.errors import JobError, StreamlabError, explained
from streamlab.dashboard import page
from streamlab.dashboard.transport import Transport
from streamlab.notebook.screen import Screen
from streamlab.notebook.wire import Frame

TICK_MS = 200
ROWS = 25
_REST = 9
"""How much longer than drawing took a page rests after it."""


class JobPage:
    """One browser tab that shows a job.

    Parameters
    ----------
    document
        A new one, of one browser tab.
    """

    def __init__(self, document: Document) -> None:
        name = page.argument(document, "name")
        try:
            job = session.attach(name)
        except StreamlabError as error:
            page.fill_with_note(document, "No such job", str(error))
            return
        self._job = job
        self._last: Frame | None = None
        self._looking = True
        self._quiet_until_s = 0.0
        self._screen = Screen(job, ROWS, on_change=self._changed)
        self._transport = Transport(document, self._said)
        self._sent: int | None = None
        self._tick()
        page.fill_with_panel(document, job.name)
        document.add_periodic_callback(self._tick, TICK_MS)

    def _said(self, message: dict[str, object]) -> None:
        if message.get("type") == "looking":
            self._looking = bool(message["looking"])
        self._screen.said(message)

    def _changed(self, _clicked: bool) -> None:  # noqa: FBT001 - a callback
        self._quiet_until_s = 0.0

    def _frame(self) -> Frame:
        """Return what is to be shown now; when there is no more, as of a job that was deleted, the same once more."""
        if self._last is None:
            try:
                if not self._job.is_kept:
                    needed, hint = (
                        "what it has left behind",
                        "old jobs are deleted, by streamlab gc or for others",
                    )
                    raise JobError(explained(f"job {self._job.name}", needed=needed, got="nothing any more", hint=hint))
                return self._screen.frame()
            except StreamlabError as error:
                self._last = self._screen.last_frame(error)
        return self._last

    def _tick(self) -> None:
        began_s = time.monotonic()
        if not self._looking or began_s < self._quiet_until_s:
            return
        frame = self._frame()
        if frame["seq"] != self._sent or self._screen.resend:
            self._screen.resend = False
            self._sent = frame["seq"]
            self._transport.send(frame)
        ended_s = time.monotonic()
        self._quiet_until_s = ended_s + (ended_s - began_s) * _REST
