"""The view of a job that updates in the notebook while the job runs.

A `LiveView` owns one output of one cell. How it draws depends on who looks (see `render_mode`):

- ``widget``: a front end with widgets. The whole panel is one trait, numbered, so it survives a page reload; the bundle
  also holds plain HTML for readers of the saved file, renewed now and then. At the end of the job the output is
  *replaced* by plain HTML, because a widget without its kernel cannot be shown again.
- ``static``: a front end without widgets (nbclient, nbval, nbconvert). The output is plain HTML, replaced as it grows.
- ``text``: a terminal. One look at the start; nothing appears later between the user's own lines.

One thread of the kernel, `Pump`, visits all views a few times a second. It reads what the job has written and draws the
latest: states in between are skipped, and nothing is sent while nobody looks.
"""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import anywidget
import traitlets
from IPython.core.interactiveshell import InteractiveShell
from IPython.display import display

from streamlab.core.errors import OptionError, explained
from streamlab.notebook import static_view
from streamlab.notebook.panel import Panel, panel, row_count
from streamlab.session.job import Job

TICK_S = 0.2
"""How often views are drawn."""
STATIC_EVERY_S = 1.0
FIRST_COPY_S, COPY_EVERY_S = 3.0, 30.0
"""When the plain HTML beside a widget is renewed: each time draws the widget anew, so seldom."""
_REST = 9
"""How much longer than drawing took a view rests after it, so that a huge table takes a tenth of a core at most."""
_WIDGET_MIME = "application/vnd.jupyter.widget-view+json"
_MODES = ("auto", "widget", "static", "text")
_SIDE = Path(__file__).parent


def render_mode(shell: InteractiveShell) -> str:
    """Return how views are drawn for whoever runs the present cell: ``widget``, ``static`` or ``text``.

    The environment variable STREAMLAB_RENDER decides unless it is ``auto`` or missing. A front end for people says
    which cell it runs, and runners of whole notebooks do not: that tells whether a widget would ever be seen.

    Raises
    ------
    OptionError
        If STREAMLAB_RENDER is none of the modes.
    """
    given = os.environ.get("STREAMLAB_RENDER", "auto")
    if given not in _MODES:
        raise OptionError(explained("STREAMLAB_RENDER", needed=" or ".join(_MODES), got=repr(given)))
    if given != "auto":
        return given
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return "text"
    metadata = kernel.get_parent().get("metadata", {})
    return "widget" if metadata else "static"


class PanelWidget(anywidget.AnyWidget):
    """The browser's side of a live view."""

    _esm = _SIDE / "live_view.js"
    _css = _SIDE / "live_view.css"
    panel = traitlets.Dict().tag(sync=True)

    def __init__(self, first: Panel) -> None:
        super().__init__(panel=first)
        self._looks: dict[str, bool] = {}
        self.on_msg(self._on_message)

    @property
    def looked_at(self) -> bool:
        """Whether anyone can see it; assumed until a view says otherwise, since views may speak only between cells."""
        return not self._looks or any(self._looks.values())

    def _on_message(self, _widget: Any, content: dict[str, Any], _buffers: Any) -> None:
        if content.get("type") == "looking":
            self._looks[str(content["view"])] = bool(content["looking"])


class LiveView:
    """One job in one output of a cell.

    Parameters
    ----------
    job
        What to show. Only this view may use the object: reading results is not thread-safe.
    mode
        ``widget``, ``static`` or ``text``.
    limit
        Most result rows to show.
    """

    def __init__(self, job: Job, mode: str, limit: int) -> None:
        self.job = job
        self._mode = mode
        self._limit = limit
        self._lock = threading.Lock()
        self._seq = 0
        self._drawn: Panel = {}
        self._copied_s = time.monotonic()
        self._copy_after_s = FIRST_COPY_S
        self.ended = False
        self._quiet_until_s = 0.0
        first = self._read()
        self._widget = PanelWidget(first) if mode == "widget" and not first["final"] else None
        self._handle = display(self._bundle(first), raw=True, display_id=True)
        if mode == "text" or first["final"]:
            self._end(first)

    def tick(self) -> None:
        """Draw what is new; called by the pump, and by the shell at the end of each cell."""
        with self._lock:
            if self.ended:
                return
            now = time.monotonic()
            if self.job.status.is_final:
                self._end(self._read())
            elif now < self._quiet_until_s:
                return
            elif self._widget is None:
                self._replace(self._read())
                self._quiet_until_s = now + STATIC_EVERY_S
            elif self._widget.looked_at:
                self._draw_widget(self._widget, now)
                self._quiet_until_s = now + (time.monotonic() - now) * _REST

    def close(self) -> None:
        """Draw no more; the output stays as it is now, as plain HTML."""
        with self._lock:
            if not self.ended:
                self._end(self._read())
            if self._widget is not None:
                self._widget.close()

    def fail(self, error: Exception) -> None:
        """Draw no more, and say why."""
        with self._lock:
            shown = {"kind": type(error).__name__, "message": str(error), "step": "", "sample": "", "traceback": ""}
            self._end({**self._drawn, "failure": shown, "seq": self._seq + 1})

    def _read(self) -> Panel:
        status = self.job.report()
        shown = panel(status, self.job.results(), self._limit)
        same = self._drawn and all(shown[key] == self._drawn.get(key) for key in shown)
        if not same:
            self._seq += 1
            self._drawn = {**shown, "count": row_count(shown), "seq": self._seq}
        return self._drawn

    def _draw_widget(self, widget: PanelWidget, now: float) -> None:
        shown = self._read()
        if widget.panel.get("seq") != shown["seq"]:
            widget.panel = shown
        if now - self._copied_s >= self._copy_after_s:
            self._copied_s, self._copy_after_s = now, COPY_EVERY_S
            self._update(self._bundle(shown))

    def _replace(self, shown: Panel) -> None:
        self._update({"text/html": static_view.to_html(shown), "text/plain": static_view.to_text(shown)})

    def _end(self, shown: Panel) -> None:
        self.ended = True
        if self._widget is not None:
            # After a page reload the output can no longer be replaced, and then the widget is what people see.
            self._widget.panel = shown
        if self._mode != "text":
            self._replace(shown)

    def _update(self, bundle: dict[str, Any]) -> None:
        if self._handle is not None:
            self._handle.update(bundle, raw=True)

    def _bundle(self, shown: Panel) -> dict[str, Any]:
        text = {"text/plain": static_view.to_text(shown)}
        if self._mode == "text":
            return text
        bundle: dict[str, Any] = {**text, "text/html": static_view.to_html(shown)}
        if self._widget is not None:
            bundle[_WIDGET_MIME] = {"version_major": 2, "version_minor": 1, "model_id": self._widget.model_id}
        return bundle


class Pump:
    """Draws all live views of this kernel, from one thread that lives while there are any."""

    def __init__(self) -> None:
        self._views: list[LiveView] = []
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()
        """Set when the pump is stopped for good."""

    def add(self, view: LiveView) -> None:
        """Keep a view up to date until its job has ended."""
        with self._lock:
            self._views.append(view)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="streamlab-live-views", daemon=True)
                self._thread.start()

    def tick(self, *_: Any) -> None:
        """Draw all views once, and let go of those that are done."""
        with self._lock:
            views = list(self._views)
        for view in views:
            self._draw(view)
        with self._lock:
            self._views = [view for view in self._views if not view.ended]

    def stop(self) -> None:
        """Let go of all views; the thread ends by itself."""
        self._stopped.set()
        with self._lock:
            self._views = []

    def _draw(self, view: LiveView) -> None:
        try:
            view.tick()
        except Exception as error:
            # One view that cannot be drawn, for instance because its job's folder is gone, must not end the others.
            view.fail(error)

    def _run(self) -> None:
        while True:
            with self._lock:
                if not self._views or self._stopped.is_set():
                    self._thread = None
                    return
            self.tick()
            self._stopped.wait(TICK_S)
