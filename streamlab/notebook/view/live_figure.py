"""A chart of a job's result table in one output of a cell, kept up to date while the job runs.

In a front end with widgets it is Bokeh's, for as long as the kernel lives; a picture without scripts stands beside it
for readers of the saved file. Elsewhere it is that picture.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from IPython.core.getipython import get_ipython

from streamlab.job import attach
from streamlab.job.job import Job
from streamlab.notebook.charts.chart_lines import Drawn
from streamlab.notebook.charts.charts import packed_figure
from streamlab.notebook.charts.svg import Line, line_svg
from streamlab.notebook.charts.wire import Binary, Numbering
from streamlab.notebook.view.output import Output
from streamlab.notebook.view.refresher import shared_pump
from streamlab.notebook.view.render_mode import render_mode
from streamlab.notebook.view.widget import FigureWidget

HEIGHT = 300
EVERY_S = 0.4
REST = 9
"""How much longer than drawing was work the chart rests after it."""
COPY_EVERY_S = 10.0
"""How often the picture for readers of the saved file is renewed."""


def show(job: Job, fig: Any, drawn: Drawn) -> None:
    """Show a figure below the present cell, and keep it up to date when the front end can."""
    shell = get_ipython()
    if shell is None:
        raise NotImplementedError
    mode = render_mode(shell)
    if mode == "text":
        raise NotImplementedError
    pump = shared_pump(shell)
    view = LiveFigure(attach(job.id), fig, drawn, mode, pump.wake)
    if not view.ended:
        pump.add(view)


class LiveFigure:
    """A chart of one job in one output of a cell.

    Parameters
    ----------
    job
        What to show. Only this view may use the object.
    fig
        The figure as it was when it was shown.
    drawn
        What it shows of the result table.
    mode
        ``widget`` or ``static``.
    on_click
        Called when it wants to be drawn at once.
    """

    def __init__(self, job: Job, fig: Any, drawn: Drawn, mode: str, on_click: Callable[[], None]) -> None:
        self.job = job
        self.ended = False
        self._drawn = drawn
        self._title = fig.title.text or job.name
        self._numbering = Numbering()
        self._drawing = threading.Lock()
        self._quiet_until_s = 0.0
        self._resend = False
        self._is_settled = False
        """Whether all of a job that has ended is drawn."""
        self._on_click = on_click
        self._widget: FigureWidget | None = None
        if mode == "widget":
            self._widget = FigureWidget(self._frame(), self._said, figure=packed_figure(fig))
        self._output = Output(self._bundle(), self._widget)
        self._copy_at_s = time.monotonic() + COPY_EVERY_S
        if mode == "static" and job.status.is_final:
            self.ended = True

    @property
    def is_new(self) -> bool:
        """Not: a chart is not waited for row by row."""
        return False

    def tick(self) -> None:
        """Draw what is new."""
        with self._drawing:
            now, worked_s = time.monotonic(), time.process_time()
            if self.ended or self._is_settled or now < self._quiet_until_s:
                return
            is_final = self.job.status.is_final
            if self._widget is None or not self._widget.looked_at:
                self._quiet_until_s = now + 1.0
                if self._widget is None:
                    self._output.renew(self._bundle())
            else:
                frame = self._frame()
                if self._widget.frame.get("seq") != frame["seq"] or self._resend:
                    self._widget.frame = frame
                self._resend = False
                if now >= self._copy_at_s:
                    self._copy_at_s = now + COPY_EVERY_S
                    self._output.renew(self._bundle())
                took_s = min(time.monotonic() - now, time.process_time() - worked_s)
                self._quiet_until_s = now + max(EVERY_S, took_s * REST)
            if is_final:
                self._is_settled = True
                self._end()

    def fail(self, error: Exception) -> None:
        """Draw no more."""
        self.ended = True
        self._output.end({"text/plain": f"{type(error).__name__}: {error}"})

    def _end(self) -> None:
        """Leave the last picture for the saved notebook; the chart itself stays."""
        if self._widget is None:
            self.ended = True
            self._output.end(self._bundle())
        else:
            self._output.renew(self._bundle())

    def _said(self, content: dict[str, Any]) -> None:
        self._resend = self._resend or content.get("type") == "check"
        self._is_settled = False
        self._on_click()

    def _lines(self) -> tuple[list[Line], str]:
        return self._drawn.lines(self.job.results())

    def _frame(self) -> dict[str, Any]:
        lines, note = self._lines()
        binary = Binary()
        packed = [{"label": line.label, "x": binary.numbers(line.x), "y": binary.numbers(line.y)} for line in lines]
        content = {"lines": packed, "note": note, "final": self.job.status.is_final, "binary": bytes(binary)}
        return self._numbering.next(content) or self._numbering.newest

    def _bundle(self) -> dict[str, Any]:
        lines, note = self._lines()
        words = f"{self._title}: {self._drawn.y} over {self._drawn.x}, {len(lines)} lines" + (
            f" ({note})" if note else ""
        )
        return {
            "text/plain": words,
            "text/html": line_svg(
                lines,
                title=self._title,
                x_is_time=self._drawn.x_is_time,
                y_is_time=self._drawn.y_is_time,
                height=HEIGHT,
            ),
        }
