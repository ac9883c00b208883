"""The view of a job that updates in the notebook while the job runs.

A `LiveView` owns one output of one cell. How it draws depends on who looks (see `render_mode`):

- ``widget``: a front end with widgets. What is on the screen is one numbered frame, so it survives a page reload; a
  copy of plain HTML for readers of the saved file stands beside it, renewed now and then, and once more when the job
  has ended. The panel stays one that can be used for as long as its kernel lives.
- ``static``: a front end without widgets (nbclient, nbval, nbconvert). The output is plain HTML, replaced as it grows.
- ``text``: a terminal. One look at the start; nothing appears later between the user's own lines.

The kernel's `Pump` has it drawn a few times a second: the latest there is, and nothing while nobody looks.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from streamlab.job.job import Job
from streamlab.notebook.charts.wire import Frame
from streamlab.notebook.panel.choice import Mode
from streamlab.notebook.view import static_view
from streamlab.notebook.view.output import Output
from streamlab.notebook.view.panel_model import Screen
from streamlab.notebook.view.refresher import EAGER_S, SOONEST_S
from streamlab.notebook.view.widget import PanelWidget

STATIC_EVERY_S = 1.0
FIRST_COPY_S, COPY_EVERY_S = 3.0, 10.0
"""When the copy beside a widget is renewed."""
NEW_S = 2.0
"""For how long first rows are waited for so that they are there at once."""
SETTLE_S = 3.0
"""How long the panel of an ended job is drawn after its end, and after each click: until no row is marked as new."""
_REST = 9
"""How much longer than drawing was work a view rests after it, so that a huge table takes a tenth of a core at most."""


class LiveView:
    """One job in one output of a cell.

    Parameters
    ----------
    job
        What to show. Only this view may use the object.
    mode
        ``widget``, ``static`` or ``text``.
    limit
        Result rows on a page.
    compact
        Whether to show the table and one line only.
    results
        What the results show until something else is chosen.
    on_click
        Called when something was clicked, for instance to have views drawn at once.
    """

    def __init__(
        self,
        job: Job,
        mode: str,
        limit: int,
        *,
        compact: bool = False,
        results: Mode = "update",
        on_click: Callable[[], None] = lambda: None,
    ) -> None:
        self.job = job
        self.ended = False
        self._mode = mode
        self._on_click = on_click
        self._screen = Screen(job, limit, compact=compact, results=results, on_change=self._changed)
        self._drawing = threading.Lock()
        self._quiet_until_s = 0.0
        now = time.monotonic()
        self._new_until_s = now + NEW_S
        self._copy_at_s = now + FIRST_COPY_S
        self._settles_s = now + SETTLE_S
        self._is_final = job.status.is_final
        self._widget: PanelWidget | None = None
        saved = self._screen.saved()
        if mode == "widget":
            self._widget = PanelWidget(self._drawn(self._screen.frame()), self._screen.said)
        self._output = Output(self._bundle(saved), self._widget)
        if mode == "text" or (mode == "static" and saved["final"]):
            self.ended = True

    @property
    def is_new(self) -> bool:
        """Whether somebody waits for its first rows."""
        return self._widget is not None and time.monotonic() < self._new_until_s

    def tick(self) -> None:
        """Draw what is new; called by the pump, and by the shell at the end of each cell."""
        with self._drawing:
            if self.ended:
                return
            now, worked_s = time.monotonic(), time.process_time()
            if self._is_final and now >= self._settles_s:
                return
            was_final, self._is_final = self._is_final, self._screen.is_final
            if self._is_final and not was_final:
                self._settles_s = now + SETTLE_S
                if self._widget is None:
                    self._end()
                    return
                # Whether anybody looks or not: the notebook may be saved and closed.
                self._output.renew(self._bundle(self._screen.saved()))
            if now < self._quiet_until_s:
                return
            if self._widget is None:
                self._output.renew(self._bundle(self._screen.saved()))
                self._quiet_until_s = now + STATIC_EVERY_S
            elif self._widget.looked_at:
                self._draw_widget(self._widget, now)
                # On a machine that is busy with other things, drawing takes long and costs little.
                took_s = min(time.monotonic() - now, time.process_time() - worked_s)
                soonest_s = EAGER_S if self.is_new else SOONEST_S
                self._quiet_until_s = now + max(soonest_s, took_s * _REST, self._screen.rest_s)

    def close(self) -> None:
        """Draw no more; the output stays as it is now, as plain HTML."""
        with self._drawing:
            if not self.ended:
                self._end()
            self._screen.close()
            if self._widget is not None:
                self._widget.close()

    def fail(self, error: Exception) -> None:
        """Draw no more, and say why."""
        with self._drawing:
            self.ended = True
            if self._widget is not None:
                # What was shown last stays, and so does its copy.
                self._widget.frame = self._screen.last_frame(error)
            elif self._mode != "text":
                text = static_view.failed(self.job.name, error)
                self._output.end({"text/html": text, "text/plain": f"{type(error).__name__}: {error}"})

    def _changed(self) -> None:
        self._settles_s = time.monotonic() + SETTLE_S
        self._quiet_until_s = 0.0
        self._on_click()

    # -- drawing -------------------------------------------------------------------------------------------------

    def _draw_widget(self, widget: PanelWidget, now: float) -> None:
        frame = self._drawn(self._screen.frame())
        if widget.frame.get("seq") != frame["seq"]:
            widget.frame = frame
        elif self._screen.resend:
            widget.send_state("frame")
        self._screen.resend = False
        if now >= self._copy_at_s:
            self._copy_at_s = now + COPY_EVERY_S
            self._output.renew(self._bundle(self._screen.saved()))

    def _drawn(self, frame: Frame) -> Frame:
        """Note whether a frame has rows."""
        if frame["body"].get("height"):
            self._new_until_s = 0.0
        return frame

    def _end(self) -> None:
        self.ended = True
        if self._widget is not None:
            # After a page reload outputs can no longer be replaced, and then the widget is what people see.
            self._widget.frame = self._screen.frame()
        if self._mode != "text":
            self._output.end(self._bundle(self._screen.saved()))

    def _bundle(self, saved: dict[str, Any]) -> dict[str, Any]:
        bundle: dict[str, Any] = {"text/plain": static_view.to_text(saved)}
        if self._mode != "text":
            bundle["text/html"] = static_view.to_html(saved)
        return bundle
