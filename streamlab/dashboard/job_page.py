"""The page of one job: the notebook's live panel, carried by a Bokeh server instead of a kernel."""

from __future__ import annotations

import time

from bokeh.document import Document

from streamlab import session
from streamlab.core.errors import StreamlabError
from streamlab.dashboard import page
from streamlab.dashboard.transport import Transport
from streamlab.notebook.screen import Screen

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

    def _tick(self) -> None:
        began_s = time.monotonic()
        if not self._looking or began_s < self._quiet_until_s:
            return
        try:
            frame = self._screen.frame()
        except StreamlabError as error:
            frame = self._screen.last_frame(error)
        if frame["seq"] != self._sent or self._screen.resend:
            self._screen.resend = False
            self._sent = frame["seq"]
            self._transport.send(frame)
        ended_s = time.monotonic()
        self._quiet_until_s = ended_s + (ended_s - began_s) * _REST
