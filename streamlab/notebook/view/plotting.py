"""``job.plot("hour", "flights", by="origin")``: a Bokeh figure whose lines follow the job's result table.

The figure is Bokeh's own, so it can be styled like any other before it is shown; shown in a cell, it keeps ticking.
"""

from __future__ import annotations

from typing import Any

from streamlab.job.job import Job
from streamlab.notebook.charts.chart_lines import Drawn, are_times, chosen
from streamlab.notebook.charts.charts import line_chart
from streamlab.notebook.view.live_figure import HEIGHT, show


def plot(job: Job, x: str | None = None, y: str | None = None, by: str | None = None) -> Any:
    """Return a figure of lines that follow the result table; see :meth:`Job.plot`."""
    x, y, by = chosen(job.result_schema, x, y, by)
    x_is_time, y_is_time = are_times(job.result_schema, x, y, by)
    fig = line_chart(job.name, x_is_time=x_is_time, y_is_time=y_is_time, y_label=y, height=HEIGHT)
    fig.xaxis.axis_label = x
    drawn = Drawn(x, y, by, x_is_time, y_is_time)
    fig._ipython_display_ = lambda: show(job, fig, drawn)
    return fig
