"""A panel on a page of its own: drawn by the real front end, in JupyterLab's colours, without a server or a kernel."""

from __future__ import annotations

import base64
import json
import re
import sys
from pathlib import Path
from typing import Any

from streamlab.notebook import front_end
from streamlab.notebook.view.panel_model import Screen

_THEMES = Path(sys.prefix) / "share" / "jupyter" / "lab" / "themes" / "@jupyterlab"
_MODEL = """
const listeners = new Set();
let frame;
const bytes = (text) => new DataView(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)).buffer);
const model = {
  get: () => frame,
  on: (event, listener) => { if (event === "change:frame") listeners.add(listener); },
  off: (_event, listener) => listeners.delete(listener),
  send: (content) => window.heard(JSON.stringify(content)),
};
window.show = (given, binary) => {
  const isFirst = frame === undefined;
  frame = { ...given, binary: bytes(binary) };
  if (isFirst) panel.render({ model, el: document.getElementById("stage") });
  else listeners.forEach((listener) => listener());
};
"""


class Stage:
    """One panel.

    Parameters
    ----------
    browser
        Opens the page.
    job
        What to show.
    theme
        ``light`` or ``dark``.
    width
        Of the page, in pixels.
    compact
        Whether to show the table and one line only.
    """

    def __init__(
        self, browser: Any, job: Any, theme: str = "light", width: int = 1000, *, compact: bool = False
    ) -> None:
        self.page = browser.new_page(viewport={"width": width, "height": 2400})
        self.errors: list[str] = []
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self._screen = Screen(job, 10, compact=compact, on_change=lambda: None)
        self.page.expose_function("heard", lambda text: self._screen.said(json.loads(text)))
        self.page.set_content(_document(theme))
        self.draw()

    def draw(self) -> None:
        """Show the newest frame."""
        frame = dict(self._screen.frame())
        binary = base64.b64encode(frame.pop("binary")).decode()
        self.page.evaluate("([frame, binary]) => window.show(frame, binary)", [frame, binary])

    def choose(self, of: str | None = None, **fields: Any) -> None:
        """Choose something, as a click does, and show what comes of it."""
        self._screen.said({"type": "choose", "of": of, "fields": fields})
        self.draw()

    def close(self) -> None:
        """Close the page, and see that nothing has gone wrong in it."""
        self.page.close()
        assert not self.errors, self.errors


def _document(theme: str) -> str:
    colours = re.sub(r"url\([^)]*\)", "none", (_THEMES / f"theme-{theme}-extension" / "index.css").read_text())
    script = front_end.script().replace("export default {", "const panel = {")
    page = "body { margin: 0; background: var(--jp-layout-color0); }"
    return (
        f'<!doctype html><html><head><meta charset="utf-8"><style>{colours}{front_end.style()}{page}</style></head>'
        f'<body data-jp-theme-light="{str(theme == "light").lower()}"><div id="stage"></div>'
        f'<script type="module">{script}{_MODEL}</script></body></html>'
    )
