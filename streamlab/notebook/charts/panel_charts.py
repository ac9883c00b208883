"""The charts of a panel's tabs, without data: made once, and sent to each page that wants them."""

from __future__ import annotations

from functools import cache
from typing import Any

from streamlab.notebook.charts.charts import line_chart, packed_figure

_CHARTS: dict[str, dict[str, Any]] = {
    "skew": {"title": "Event time over processing time", "y_is_time": True, "y_label": "event time, UTC"},
    "ahead": {"title": "Rows ahead of the watermark, and behind it", "y_label": "ahead"},
    "watermarks": {"title": "Watermarks of steps and splits", "y_is_time": True, "y_label": "event time, UTC"},
    "lag": {"title": "Lag of the watermarks behind the clock", "y_label": "behind the clock"},
    "rates": {"title": "Rows read and written", "y_label": "rows/s", "y_from": 0},
    "batches": {"title": "Duration of a batch", "y_label": "ms", "y_from": 0},
    "state": {"title": "Size of the state", "y_label": "bytes", "y_from": 0},
    "queues": {"title": "Batches that wait at the inputs", "y_label": "batches", "y_from": 0, "y_is_count": True},
}


@cache
def figures() -> dict[str, Any]:
    """Return the charts as the front end takes them, by name."""
    return {name: packed_figure(line_chart(**options, x_is_clock=True)) for name, options in _CHARTS.items()}
