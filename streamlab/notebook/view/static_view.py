"""A panel as a page that stays readable for ever: plain HTML, and plain text.

No script, no style sheet: inline styles only, which every viewer of notebooks either understands or ignores.
Every value is escaped. Text has the colour of the page's own, some of it fainter, so that it fits light and dark ones.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
from collections.abc import Iterator, Sequence
from html import escape
from itertools import accumulate
from typing import Any

import polars as pl

from streamlab.notebook.charts.svg import Line, line_svg
from streamlab.observe.preview import cut_cell

Panel = dict[str, Any]
"""What `JobReader.saved` gives."""

_FONT = "font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:13px;line-height:1.45"
_QUIET = "opacity:.75"
_HEAD = "border-bottom:1px solid #8886;max-width:240px;overflow:hidden;text-overflow:ellipsis"
_STATE_COLOURS = {"failed": "#d55e00", "finished": "#009e73", "running": "#2b8cc4"}
"""Hues that people with any kind of colour vision can tell apart (Okabe and Ito). They stand out on light and on dark
pages as shapes do; no hue does so as text, so words keep the page's own colour."""
_NULL = f'<i style="{_QUIET}">null</i>'
_MARKS = 300
"""Points that a saved chart has."""
_MOST_BYTES = 80_000
"""Rows of the table are left out beyond this much HTML, so that a saved notebook stays small."""
_IN_A_LINE = 5
"""Figures beside each other: as many as a narrow page has room for."""
_MOST_LINES = 50
"""Rows of the table as text."""
_CELL = "padding:2px 24px 2px 0;border:none;white-space:nowrap;font-variant-numeric:tabular-nums;background:none"


def to_html(shown: Panel) -> str:
    """Return the panel as HTML."""
    colour = _STATE_COLOURS.get(shown["state"], "inherit")
    # What is saved may be read years later: the job was running then.
    at = f" at {shown['at']}" if shown.get("at") else ""
    title = (
        f'<div><b><span style="color:{colour}">{escape(shown["mark"])}</span> {escape(shown["state"])}</b>{escape(at)}'
        f" &nbsp;<b>{escape(shown['name'])}</b> &nbsp;"
        f'<span style="{_QUIET};font-size:11px">{escape(shown["id"])}</span></div>'
    )
    parts = [title, _figures(shown), _failure(shown), _results(shown), *_sections(shown)]
    return f'<div style="{_FONT}">{"".join(parts)}</div>'


def to_text(shown: Panel) -> str:
    """Return the panel as text for a terminal."""
    figures = " · ".join(f"{label} {value}" for label, value, _, _ in shown["figures"])
    lines = [f"{shown['mark']} {shown['state']}  {shown['name']}  ({shown['id']})", figures]
    if shown["failure"]:
        lines.append(shown["failure"]["message"])
    if shown["rows"]:
        kept = {**shown, "rows": shown["rows"][:_MOST_LINES]}
        columns = dict(_column(kept, i) for i in range(len(shown["columns"])))
        with pl.Config(
            tbl_rows=-1,
            tbl_cols=-1,
            tbl_hide_dataframe_shape=True,
            tbl_hide_column_data_types=True,
            tbl_width_chars=120,
        ):
            lines.append(str(pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String))))
    lines.append(_count(shown, _MOST_LINES))
    return "\n".join(lines)


def table(names: Sequence[str], rows: Sequence[Sequence[str | None]], *, numeric: Sequence[bool]) -> str:
    """Return rows as a table of HTML, which scrolls by itself when it is too wide for the page.

    Examples
    --------
    >>> "<td" in table(["n"], [["<7>"]], numeric=[True]), "&lt;7&gt;" in table(["n"], [["<7>"]], numeric=[True])
    (True, True)
    """
    styles = [f"{_CELL};text-align:{'right' if one else 'left'}" for one in numeric]
    heads = zip(styles, names, strict=True)
    head = "".join(f'<th style="{style};{_HEAD}">{escape(name)}</th>' for style, name in heads)
    body = "".join(f"<tr>{''.join(map(_cell, styles, row))}</tr>" for row in rows)
    whole = f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"
    return f'<div style="overflow:auto"><table style="border-collapse:collapse;margin:4px 0">{whole}</table></div>'


def _column(shown: Panel, i: int) -> tuple[str, list[str | None]]:
    """Return a column's name and cells, numbers set flush right."""
    name, cells = shown["columns"][i], [row[i] and cut_cell(row[i]) for row in shown["rows"]]
    if not shown["numeric"][i]:
        return name, cells
    texts = ["null" if cell is None else cell for cell in cells]
    width = max(map(len, texts), default=0)
    return name.rjust(width), [text.rjust(width) for text in texts]


def as_copy(html: str, name: str, at: dt.datetime) -> str:
    """Return HTML as the copy of something live, whose own output is out of sight for as long as it is not drawn.

    Parameters
    ----------
    html
        What it shows.
    name
        Class of the element, by which the live one finds and hides it.
    at
        When it was like this.
    """
    words = f"a copy for readers of the saved notebook, as of {at:%Y-%m-%d %H:%M:%S %Z}"
    # Otherwise a line "Loading widget…" stands there for ever.
    hidden = f".jp-OutputArea-child:not(:has(.sl-view)):has(+ .jp-OutputArea-child .{name})"
    style = f"<style>{hidden} {{ display: none; }}</style>"
    foot = f'<div style="{_FONT};font-size:11px;{_QUIET}">{escape(words)}</div>'
    return f'<div class="{name}">{style if name else ""}{html}{foot}</div>'


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
        yield f'<div style="margin:8px 0;padding:2px 10px;border-left:3px solid #c27c00">{findings}</div>'
    charts = [
        line_svg(_few(lines), title=title, x_is_time=True, y_is_time=is_time)
        for title, (lines, is_time) in shown.get("charts", {}).items()
        if any(line.x for line in lines)
    ]
    if charts:
        zones = f'<div style="{_QUIET};font-size:11px">{escape(shown.get("zones", ""))}</div>'
        yield _folded("Time and flow", "<br>".join(charts) + zones)
    if shown.get("vertices"):
        graph = [
            (id_, steps, words, facts["rows in"], facts["rows out"], facts["state"])
            for id_, steps, words, facts in shown["vertices"]
        ]
        names = ("vertex", "steps", "time", "rows in", "rows out", "state")
        yield _folded("Job graph", table(names, graph, numeric=(False, False, False, True, True, True)))
    if shown.get("checkpoints"):
        rows = [
            (
                *(f"{one['mark']} {one['id']}", one["at"], one["duration"], one["size"]),
                " · ".join(filter(None, (one["words"], one["reason"]))),
            )
            for one in shown["checkpoints"]
        ]
        heads = ("checkpoint", "at", "took", "size", "")
        yield _folded("Checkpoints", table(heads, rows, numeric=(False, False, True, True, False)))


def _few(lines: Sequence[Line]) -> list[Line]:
    """Return lines with so few points that a saved notebook stays small."""
    return [
        dataclasses.replace(line, x=line.x[-_MARKS:], y=line.y[-_MARKS:]) if line.is_points else line for line in lines
    ]


def _folded(title: str, content: str) -> str:
    return f'<details style="margin:4px 0"><summary style="{_QUIET}">{title}</summary>{content}</details>'


def _figures(shown: Panel) -> str:
    cells = [
        f'<td style="{_CELL};padding-right:28px;text-align:left;vertical-align:top" title="{escape(meaning)}">'
        f'<span style="{_QUIET};font-size:11px">{escape(label)}</span><br>'
        f"<span{_emphasis(alarming)}>{escape(value)}</span></td>"
        for label, value, meaning, alarming in shown["figures"]
    ]
    lines = (cells[at : at + _IN_A_LINE] for at in range(0, len(cells), _IN_A_LINE))
    rows = "".join(f"<tr>{''.join(line)}</tr>" for line in lines)
    return f'<table style="border:none;margin:4px 0;border-collapse:collapse">{rows}</table>'


def _emphasis(alarming: bool) -> str:  # noqa: FBT001 - a plain fact of the figure
    return ' style="font-weight:600"' if alarming else ""


def _results(shown: Panel) -> str:
    kept = _that_fit(shown["rows"])
    rows = table(shown["columns"], kept, numeric=shown["numeric"]) if shown["columns"] else ""
    return f'{rows}<div style="{_QUIET};font-size:11px">{escape(_count(shown, len(kept)))}</div>'


def _that_fit(rows: Sequence[Sequence[str | None]]) -> Sequence[Sequence[str | None]]:
    """Return the first rows, as many as a saved notebook has room for."""
    markup = len(_CELL) + len('<td style=";text-align:right"></td>')
    sizes = accumulate(sum(markup + len(escape(cell or "null")) for cell in row) for row in rows)
    return rows[: sum(size <= _MOST_BYTES for size in sizes)]


def _count(shown: Panel, kept: int) -> str:
    """Return which rows these are, in words, when only some are kept of those that the panel showed."""
    left_out = len(shown["rows"]) - kept
    return f"{shown['count']}; the last {left_out:,} of them are left out here" if left_out > 0 else str(shown["count"])


def _cell(style: str, cell: str | None) -> str:
    if cell is None:
        return f'<td style="{style}">{_NULL}</td>'
    short = cut_cell(cell)
    title = f' title="{escape(cell)}"' if short != cell else ""
    return f'<td style="{style}"{title}>{escape(short)}</td>'


def _where(failure: dict[str, str]) -> str:
    return f"{failure['kind']} in {failure['step']}" if failure["step"] else failure["kind"]


def _failure(shown: Panel) -> str:
    failure = shown["failure"]
    if failure is None:
        return ""
    block = "white-space:pre-wrap;margin:4px 0;padding:6px 10px;border-left:3px solid #d55e00;background:none"
    parts = [f'<pre style="{block}"><b>{escape(_where(failure))}</b>\n{escape(failure["message"])}</pre>']
    for title, text in (("rows that the step was given", failure["sample"]), ("traceback", failure["traceback"])):
        if text:
            pre = f'<pre style="{block}">{escape(text)}</pre>'
            parts.append(f'<details><summary style="{_QUIET}">{title}</summary>{pre}</details>')
    return "".join(parts)
