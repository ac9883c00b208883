"""The page around what a dashboard shows: one template, with the panel's own script and style."""

from __future__ import annotations

from functools import cache
from html import escape
from pathlib import Path

from bokeh.document import Document
from bokeh.events import ConnectionLost
from bokeh.models import CustomJS

from streamlab.notebook import front_end

_FOLDER = Path(__file__).parent
_DEFAULT_EXPORT = "export default {"


def argument(document: Document, name: str) -> str:
    """Return an argument of the address that a page was opened with; empty when it is missing."""
    context = document.session_context
    given = context.request.arguments.get(name, []) if context is not None and context.request is not None else []
    return given[0].decode("utf-8", "replace") if given else ""


def fill_with_panel(document: Document, title: str) -> None:
    """Make a page with the live panel, which waits for its first frame."""
    _fill(document, title, script=_panel_script(), style=front_end.style())


def fill_with_html(document: Document, title: str, html: str, script: str = "") -> None:
    """Make a page that shows HTML, in which everything is escaped that comes from data."""
    _fill(document, title, script=script, html=html)


def fill_with_note(document: Document, title: str, text: str) -> None:
    """Make a page that says something."""
    fill_with_html(document, title, f'<h1>{escape(title)}</h1><pre class="sl-note">{escape(text)}</pre>')


def _fill(document: Document, title: str, **values: str) -> None:
    document.title = title
    # Bokeh would connect again to a session that the server has forgotten: the page is loaded anew instead.
    document.config.update(reconnect_session=False, notify_connection_status=False)
    document.js_on_event(ConnectionLost, CustomJS(code="window.streamlabLost()"))
    document.template = _read("page.html")
    script = _read("connection.js") + values.get("script", "")
    document.template_variables.update(
        {"html": "", **values, "script": script, "style": style() + values.get("style", "")}
    )


@cache
def _panel_script() -> str:
    joined = front_end.script().replace(_DEFAULT_EXPORT, "const panel = {")
    return joined + _read("dashboard.js")


@cache
def style() -> str:
    """Return the style of the page itself."""
    return _read("page.css")


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
