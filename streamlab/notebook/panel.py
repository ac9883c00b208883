"""What a live view shows of a job, as one plain value: the same for the widget, the saved page and the text.

Everything in it is text, numbers or lists of them, so that it travels as one message. It is drawn by others
(`live_view`, `static_view`); who draws HTML escapes it.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from streamlab.observe.preview import Preview, preview
from streamlab.observe.status import Failure, JobStatus
from streamlab.observe.wording import STATE_MARKS, figures, progress

Panel = dict[str, Any]
"""Keys: ``name id state mark final progress figures columns dtypes numeric rows height order failure``."""

_SHOWN_LINES = 40
"""Lines of a traceback that are shown; its end says most."""


def panel(status: JobStatus, results: pl.DataFrame, limit: int) -> Panel:
    """Return what to show.

    Parameters
    ----------
    status
        The job's latest status.
    results
        Its result table as it is now.
    limit
        Most rows to show.
    """
    shown: Preview = preview(results, limit)
    return {
        "name": status.name,
        "id": status.id,
        "state": str(status.state),
        "mark": STATE_MARKS[status.state],
        "final": status.state.is_final,
        "progress": progress(status),
        "figures": [[f.label, f.value, f.meaning, f.alarming] for f in figures(status)],
        "columns": list(shown.columns),
        "dtypes": list(shown.dtypes),
        "numeric": list(shown.numeric),
        "rows": [list(row) for row in shown.rows],
        "height": shown.height,
        "order": shown.order,
        "failure": _failure(status.failure),
    }


def row_count(shown: Panel) -> str:
    """Return how many rows are shown, of how many, and which, in words.

    >>> row_count({"height": 21_100, "rows": [[]] * 10, "order": "newest t first"})
    '10 of 21,100 result rows, newest t first'
    """
    height, here = shown["height"], len(shown["rows"])
    if not height:
        return "no result rows" + ("" if shown.get("final") else " yet")
    count = f"{here:,} of {height:,} result rows" if here < height else f"{height:,} result row{'s'[: height != 1]}"
    return f"{count}, {shown['order']}" if shown["order"] else count


def _failure(failure: Failure | None) -> dict[str, str] | None:
    if failure is None:
        return None
    return {
        "kind": failure.kind,
        "message": failure.message,
        "step": failure.step,
        "sample": failure.sample,
        "traceback": "\n".join(failure.traceback.splitlines()[-_SHOWN_LINES:]),
    }
