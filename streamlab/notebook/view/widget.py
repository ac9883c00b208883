"""The kernel's side of a panel in the browser: one trait that holds the newest frame, and messages that come back.

Frames are a trait because its value is fetched again when the page is loaded again. Everything that the browser has to
say comes as a message, never as a change of a trait, so only the thread that draws ever writes one.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from typing import Any

import anywidget
import traitlets

from streamlab.notebook import front_end
from streamlab.notebook.charts.charts import bokeh_script
from streamlab.notebook.charts.wire import Frame

Said = Callable[[dict[str, Any]], None]
UNANSWERED_S = 40.0
"""For how long frames are sent to views of which nothing is heard; those that are there say so every ten seconds."""
_PAUSE_S = 5.0
"""A frame that comes so long after the one before it waits for an answer of its own."""


class FrameWidget(anywidget.AnyWidget):
    """Something in the browser that draws frames.

    Parameters
    ----------
    first
        The frame that it starts with.
    said
        Called with what the front end says of clicks and errors, on any thread; must return at once.
    """

    frame = traitlets.Dict().tag(sync=True)
    copy_name = traitlets.Unicode().tag(sync=True)
    """Class of the element to hide where this is drawn: a copy of it for readers of the saved file."""

    def __init__(self, first: Frame, said: Said, **traits: Any) -> None:
        super().__init__(frame=first, copy_name=f"sl-copy-{secrets.token_hex(8)}", **traits)
        self._said = said
        self._looks: dict[str, bool] = {}
        self._sent_s = self._unanswered_s = time.monotonic()
        """When the last frame was sent, and the first one since something was heard of a view, or since a pause."""
        self._hears_at_once = False
        """Whether messages come in beside a running cell, as far as is known."""
        self.on_msg(self._on_message)
        self.observe(self._note_sent, "frame")
        _answer_while_busy(self.comm)

    @property
    def looked_at(self) -> bool:
        """Whether anyone can see it; assumed until a view says otherwise, since views may speak only between cells.

        A view that went without a word, because its browser crashed, is given up after a while; otherwise the server
        would keep what is sent, for when it comes back.
        """
        if self._hears_at_once and self._sent_s - self._unanswered_s > UNANSWERED_S:
            return False
        return not self._looks or any(self._looks.values())

    def _note_sent(self, _change: Any) -> None:
        before_s, self._sent_s = self._sent_s, time.monotonic()
        if self._sent_s - before_s > _PAUSE_S:
            self._unanswered_s = self._sent_s

    def _on_message(self, _widget: Any, content: dict[str, Any], _buffers: Any) -> None:
        self._unanswered_s = self._sent_s
        self._hears_at_once = threading.current_thread() is not threading.main_thread()
        if content.get("type") == "need_bokeh":
            self.send({"type": "bokeh"}, [bokeh_script()])
        elif content.get("type") == "looking":
            self._looks[str(content["view"])] = bool(content["looking"])
        self._said(content)


class PanelWidget(FrameWidget):
    """A job's panel in the browser."""

    _esm = front_end.script()
    _css = front_end.style()


class FigureWidget(FrameWidget):
    """A chart in the browser; its lines are the frames."""

    _esm = front_end.script(front_end.FIGURE)
    _css = front_end.style()
    figure = traitlets.Dict().tag(sync=True)


def _answer_while_busy(comm: Any) -> None:
    """Have the browser's messages handled where the browser wants them: beside a running cell, not after it.

    ipykernel 7.4 sends them to the thread that wrote to the comm last, which is the one that is busy with the cell;
    before, and for other comms, it is the subshell that the message names. All that happens there is queueing.
    """
    if hasattr(comm, "_reply_subshell_for"):
        comm._reply_subshell_for = lambda _data, default: default
