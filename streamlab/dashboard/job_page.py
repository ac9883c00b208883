"""The page of one job: the notebook's live panel, carried by a Bokeh server instead of a kernel."""

from __future__ import annotations

import time

from bokeh.document import Document

from streamlab.core.errors import StreamlabError
from streamlab.dashboard import page
from streamlab.dashboard.transport import Transport
from streamlab.job import attach
from streamlab.notebook.charts.wire import Frame
from streamlab.notebook.view.panel_model import Screen

TICK_MS = 200
ROWS = 25
_REST = 9
"""How much longer than drawing was work a page rests after it."""


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
            job = attach(name)
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
        document.on_session_destroyed(self._left)

    def _said(self, message: dict[str, object]) -> None:
        if message.get("type") == "looking":
            self._looking = bool(message["looking"])
        self._screen.said(message)

    def _changed(self) -> None:
        self._quiet_until_s = 0.0

    def _left(self, _context: object) -> None:
        self._screen.close()

    def _frame(self) -> Frame:
        """Return what is to be shown now; when there is no more, as of a job that was deleted, the same once more."""
        if self._last is None:
            try:
                return self._screen.frame()
            except StreamlabError as error:
                self._last = self._screen.last_frame(error)
        return self._last

    def _tick(self) -> None:
        now_s, worked_s = time.monotonic(), time.process_time()
        if not self._looking or now_s < self._quiet_until_s:
            return
        frame = self._frame()
        if frame["seq"] != self._sent or self._screen.resend:
            self._screen.resend = False
            self._sent = frame["seq"]
            self._transport.send(frame)
        # On a machine that is busy with other things, drawing takes long and costs little.
        took_s = min(time.monotonic() - now_s, time.process_time() - worked_s)
        self._quiet_until_s = time.monotonic() + max(took_s * _REST, self._screen.rest_s)
