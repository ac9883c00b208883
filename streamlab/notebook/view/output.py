"""An output of a cell: a widget with a copy beside it for readers of the saved file, or plain HTML, or text.

A widget can be shown only while its kernel lives. Of a saved notebook JupyterLab shows "model not found" in its place,
even when the same bundle holds HTML, so the copy is an output of its own. Where the widget is drawn, its script hides
the copy. Renewing the copy does not draw the widget anew.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

from IPython.display import display

from streamlab.notebook.view import static_view
from streamlab.notebook.view.widget import FrameWidget

WIDGET_MIME = "application/vnd.jupyter.widget-view+json"
Bundle = dict[str, Any]


class Output:
    """What a view shows below its cell.

    Parameters
    ----------
    bundle
        Plain HTML and text, or text alone.
    widget
        What to draw instead, where the front end can.
    """

    def __init__(self, bundle: Bundle, widget: FrameWidget | None = None) -> None:
        self._widget = widget
        self._newest = bundle
        if widget is None:
            self._handle = display(bundle, raw=True, display_id=True)
            return
        model = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
        # Readers that know no widgets take the empty texts, and the copy below.
        self._handle = display({WIDGET_MIME: model, **_empty(bundle)}, raw=True, display_id=True)
        self._copy = display(self._as_copy(bundle), raw=True, display_id=True)

    def renew(self, bundle: Bundle) -> None:
        """Show what is new of plain HTML or text; beside a widget, in the copy."""
        if bundle == self._newest:
            return
        self._newest = bundle
        if self._widget is None:
            _update(self._handle, bundle)
        else:
            _update(self._copy, self._as_copy(bundle))

    def end(self, bundle: Bundle) -> None:
        """Leave plain HTML or text, for ever."""
        if self._widget is not None:
            _update(self._copy, _empty(bundle))
        _update(self._handle, bundle)

    def _as_copy(self, bundle: Bundle) -> Bundle:
        name = "" if self._widget is None else self._widget.copy_name
        now = dt.datetime.now(dt.UTC).astimezone()
        return {**bundle, "text/html": static_view.as_copy(bundle["text/html"], name, now)}


def _empty(bundle: Bundle) -> Bundle:
    return dict.fromkeys(bundle, "")


def _update(handle: Any, bundle: Bundle) -> None:
    if handle is not None:
        handle.update(bundle, raw=True)
