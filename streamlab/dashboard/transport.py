"""Carries frames to a page and clicks back, through the document of a Bokeh server's session.

Down goes one column of bytes: the length of the head, the head as JSON, and the binary columns. Up comes a list of
messages; the page numbers them, because the newest few are sent again with each new one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
from bokeh.document import Document
from bokeh.events import DocumentReady
from bokeh.models import ColumnDataSource, CustomJS

from streamlab.notebook.charts.wire import Frame


class Transport:
    """One page's connection.

    Parameters
    ----------
    document
        The page's.
    said
        Called with each message of the page, in order.
    """

    def __init__(self, document: Document, said: Callable[[dict[str, Any]], None]) -> None:
        self._said = said
        self._heard = 0
        self._down = ColumnDataSource({"bytes": np.zeros(0, np.uint8)})
        self._up = ColumnDataSource({"messages": []})
        self._up.on_change("data", self._on_messages)
        document.add_root(self._down)
        document.add_root(self._up)
        begin = CustomJS(args={"down": self._down, "up": self._up}, code="window.streamlab.begin(down, up)")
        document.js_on_event(DocumentReady, begin)

    def send(self, frame: Frame) -> None:
        """Have the page draw a frame."""
        head = msgspec.json.encode({key: value for key, value in frame.items() if key != "binary"})
        packed = len(head).to_bytes(4, "little") + head + frame.get("binary", b"")
        self._down.data = {"bytes": np.frombuffer(packed, np.uint8)}

    def _on_messages(self, _attribute: str, _old: object, new: dict[str, list[str]]) -> None:
        for text in new["messages"]:
            message = msgspec.json.decode(text, type=dict[str, Any])
            number = message.pop("n")
            if number > self._heard:
                self._heard = number
                self._said(message)
