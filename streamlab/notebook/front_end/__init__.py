"""The browser's side of a panel: one ES module per concern, joined into the one text that a widget takes.

Modules import each other by name, ``import { element } from "./dom.js";``, one line each, so that editors understand
them. Joined, they share one scope: what they define at the top has to differ.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

_FOLDER = Path(__file__).parent
PANEL = (
    *("dom", "wire", "charts", "chart_range", "chart_list", "findings", "table"),
    *("results", "header", "time", "flow", "checkpoints", "log", "panel"),
)
"""Modules of a job's panel, each after those that it imports."""
FIGURE = ("dom", "wire", "charts", "figure")
"""Modules of a single chart."""
STYLES = ("panel", "tabs", "table", "flow", "checkpoints", "charts")
_IMPORT = re.compile(r"^import \{[^}]*\} from \"\./\w+\.js\";\n", re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)


@cache
def script(modules: tuple[str, ...] = PANEL) -> str:
    """Return modules as one."""
    return "\n".join(_EXPORT.sub("", _IMPORT.sub("", _read(f"{name}.js"))) for name in modules)


@cache
def style() -> str:
    """Return all style sheets as one."""
    return "\n".join(_read(f"{name}.css") for name in STYLES)


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")
