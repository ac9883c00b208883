"""A panel as a page that stays readable for ever: plain HTML, and plain text.

No script, no style sheet, no class: inline styles only, which every viewer of notebooks either understands or ignores.
Every value is escaped. Colours are JupyterLab's own where it runs, so that the dark theme fits, with grey fallbacks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

import polars as pl

from streamlab.notebook.svg import Line, line_svg

Panel = dict[str, Any]
"""What `JobReader.saved` gives."""

_FONT = "font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:13px;line-height:1.45"
_QUIET = "color:var(--jp-ui-font-color2,#6b6b6b)"
_LINE = "1px solid var(--jp-border-color2,#d0d0d0)"
_STATE_COLOURS = {"failed": "#d55e00", "finished": "#009e73", "running": "#2b8cc4"}
"""Hues that people with any kind of colour vision can tell apart (Okabe and Ito), readable on light and dark pages."""
_MARKS = 300
"""Points that a saved chart has."""
_CELL = "padding:2px 24px 2px 0;border:none;white-space:nowrap;font-variant-numeric:tabular-nums;background:none"


def to_html(shown: Panel) -> str:
    """Return the panel as HTML."""
    colour = _STATE_COLOURS.get(shown["state"], "inherit")
    title = (
        f'<div><span style="color:{colour};font-weight:600">{escape(shown["mark"])} {escape(shown["state"])}</span>'
        f' &nbsp;<b>{escape(shown["name"])}</b> &nbsp;<span style="{_QUIET}">{escape(shown["id"])}</span></div>'
    )
    parts = [title, _figures(shown), _failure(shown), _table(shown), *_sections(shown)]
    return f'<div style="{_FONT}">{"".join(parts)}</div>'


def to_text(shown: Panel) -> str:
    """Return the panel as text for a terminal."""
    figures = " · ".join(f"{label} {value}" for label, value, _, _ in shown["figures"])
    lines = [f"{shown['mark']} {shown['state']}  {shown['name']}  ({shown['id']})", figures]
    if shown["failure"]:
        lines.append(shown["failure"]["message"])
    if shown["rows"]:
        columns = {name: [row[i] for row in shown["rows"]] for i, name in enumerate(shown["columns"])}
        with pl.Config(
            tbl_rows=-1,
            tbl_cols=-1,
            tbl_hide_dataframe_shape=True,
            tbl_hide_column_data_types=True,
            tbl_width_chars=120,
        ):
            lines.append(str(pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))))
    lines.append(shown["count"])
    return "\n".join(lines)


def failed(name: str, error: Exception) -> str:
    """Return what stands in place of a panel that could not be drawn."""
    return f'<div style="{_FONT}"><b>{escape(name)}</b>: {escape(type(error).__name__)}: {escape(str(error))}</div>'


def _sections(shown: Panel) -> Iterator[str]:
    """Return what the panel's other tabs last showed, folded up."""
    findings = "".join(
        f"<div>{escape(one['sign'])} {escape(one['sentence'])}"
        f'<div style="{_QUIET};padding-left:16px">→ {escape(one["move"])}</div></div>'
        for one in shown.get("findings", ())
    )
    if findings:
        yield f'<div style="margin:8px 0;padding:2px 10px;border-left:3px solid #b27b00">{findings}</div>'
    charts = [
        line_svg(_few(lines), title=title, x_is_time=True, y_is_time=is_time)
        for title, (lines, is_time) in shown.get("charts", {}).items()
        if any(line.x for line in lines)
    ]
    if charts:
        yield _folded("Time and flow", "<br>".join(charts))
    if shown.get("vertices"):
        graph = [
            (id_, steps, words, facts["rows in"], facts["rows out"], facts["state"])
            for id_, steps, words, facts in shown["vertices"]
        ]
        yield _folded("Job graph", _plain_table(("vertex", "steps", "time", "rows in", "rows out", "state"), graph))
    if shown.get("checkpoints"):
        rows = [
            (f"{one['mark']} {one['id']}", one["at"], one["duration"], one["size"], f"{one['words']} {one['reason']}")
            for one in shown["checkpoints"]
        ]
        yield _folded("Checkpoints", _plain_table(("checkpoint", "at", "took", "size", ""), rows))


def _few(lines: Sequence[Line]) -> list[Line]:
    """Return lines with so few points that a saved notebook stays small."""
    return [
        dataclasses.replace(line, x=line.x[-_MARKS:], y=line.y[-_MARKS:]) if line.is_points else line for line in lines
    ]


def _folded(title: str, content: str) -> str:
    return f'<details style="margin:4px 0"><summary style="{_QUIET}">{title}</summary>{content}</details>'


def _plain_table(names: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th style="{_CELL};border-bottom:{_LINE};text-align:left">{escape(name)}</th>' for name in names)
    body = "".join(
        "<tr>" + "".join(f'<td style="{_CELL};text-align:left">{escape(cell)}</td>' for cell in row) + "</tr>"
        for row in rows
    )
    table = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<table style="border-collapse:collapse;margin:4px 0">{table}</table>'


def _figures(shown: Panel) -> str:
    cells = "".join(
        f'<td style="{_CELL};padding-right:28px;text-align:left;vertical-align:top" title="{escape(meaning)}">'
        f'<span style="{_QUIET};font-size:11px">{escape(label)}</span><br>'
        f"<span{_emphasis(alarming)}>{escape(value)}</span></td>"
        for label, value, meaning, alarming in shown["figures"]
    )
    return f'<table style="border:none;margin:4px 0;border-collapse:collapse"><tr>{cells}</tr></table>'


def _emphasis(alarming: bool) -> str:  # noqa: FBT001 - a plain fact of the figure
    return ' style="font-weight:600"' if alarming else ""


def _table(shown: Panel) -> str:
    if not shown["columns"]:
        return ""
    head = "".join(
        f'<th style="{_CELL};border-bottom:{_LINE};text-align:{_side(numeric)}">{escape(name)}</th>'
        for name, numeric in zip(shown["columns"], shown["numeric"], strict=True)
    )
    body = "".join(
        "<tr>"
        + "".join(
            f'<td style="{_CELL};text-align:{_side(numeric)}">{_value(cell)}</td>'
            for cell, numeric in zip(row, shown["numeric"], strict=True)
        )
        + "</tr>"
        for row in shown["rows"]
    )
    table = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    count = f'<div style="{_QUIET};font-size:11px">{escape(shown["count"])}</div>'
    return f'<table style="border-collapse:collapse;margin:4px 0">{table}</table>{count}'


def _side(numeric: bool) -> str:  # noqa: FBT001 - a plain fact of the column
    return "right" if numeric else "left"


def _value(cell: str | None) -> str:
    return f'<i style="{_QUIET}">null</i>' if cell is None else escape(cell)


def _failure(shown: Panel) -> str:
    failure = shown["failure"]
    if failure is None:
        return ""
    block = "white-space:pre-wrap;margin:4px 0;padding:6px 10px;border-left:3px solid #d55e00;background:none"
    parts = [f'<pre style="{block}"><b>{escape(failure["kind"])}</b>\n{escape(failure["message"])}</pre>']
    for title, text in (("rows that the step was given", failure["sample"]), ("traceback", failure["traceback"])):
        if text:
            pre = f'<pre style="{block}">{escape(text)}</pre>'
            parts.append(f'<details><summary style="{_QUIET}">{title}</summary>{pre}</details>')
    return "".join(parts)
