"""Reads a job for a panel: the header always, and of the tabs the one that is open."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from streamlab.job.job import Job
from streamlab.notebook.charts.wire import Binary
from streamlab.notebook.panel.chart_data import ChartData
from streamlab.notebook.panel.checkpoints import Past, timeline
from streamlab.notebook.panel.choice import Choice, Tab
from streamlab.notebook.panel.course import ChartLines, Course, VertexFigures
from streamlab.notebook.panel.flow import FLOW_FINDINGS, graph_values
from streamlab.notebook.panel.header import header
from streamlab.notebook.panel.log import LogTab
from streamlab.notebook.panel.tables import ResultPages, packed_table, table_values
from streamlab.notebook.panel.time import TimeTab, finding_values
from streamlab.observe.clock import clock
from streamlab.observe.status import JobStatus
from streamlab.observe.wording import awaited

_SAVED_CHECKPOINTS = 10
Body = dict[str, Any]
Told = Callable[[], Sequence[dict[str, Any]]]


class JobReader:
    """All that a panel shows of one job.

    Parameters
    ----------
    job
        The job; only this reader may use the object.
    told
        Gives what the panel has told its user.
    """

    def __init__(self, job: Job, told: Told = tuple) -> None:
        self.job = job
        self._ends_with_kernel = job.ends_with_process
        self._pages = ResultPages(job)
        self._past = Past(job)
        self._course = Course(job.history_feed())
        self._flow_charts = ChartData(
            self._course,
            {
                "rates": lambda: ChartLines(self._course.rates()),
                "batches": lambda: self._of_vertices(lambda figures: figures.batch_duration_ms),
                "state": lambda: self._of_vertices(lambda figures: figures.state_bytes),
                "queues": lambda: self._of_vertices(lambda figures: figures.queued_batches),
            },
        )
        self._time = TimeTab(job, self._course)
        self._log = LogTab(job)
        self._told = told
        self._bodies: dict[Tab, Callable[[JobStatus, Choice, Binary], Body]] = {
            "results": self._results,
            "time": self._time.values,
            "flow": self._flow,
            "checkpoints": self._checkpoints,
            "log": self._log_values,
        }

    @property
    def tabs(self) -> list[Tab]:
        """Tabs that there are, in order."""
        return list(self._bodies)

    def frame(self, choice: Choice) -> dict[str, Any]:
        """Return what is on the screen, as the content of a frame."""
        status = self.job.report()
        tab = choice.tab if choice.tab in self._bodies else "results"
        binary = Binary()
        body = self._bodies[tab](status, choice, binary)
        return {
            "tabs": self.tabs,
            "tab": tab,
            "head": {
                **header(status),
                "awaited": awaited(status, time.time_ns() // 1000),
                "ends_with_kernel": self._ends_with_kernel,
            },
            "body": body,
            "binary": bytes(binary),
        }

    def close(self) -> None:
        """Let go of the checkpoint that was looked at."""
        self._past.close()

    def send_charts_whole(self) -> None:
        """Have the charts' lines come whole once more, for a page that lacks what came before."""
        self._flow_charts.send_whole()
        self._time.charts.send_whole()

    def saved(self, choice: Choice) -> dict[str, Any]:
        """Return what a saved page shows, as plain values."""
        status = self.job.report()
        page = self._pages.page(choice.results)
        self._course.read()
        graph = graph_values(status, self.job.graph().to_dicts(), self._course.spent)
        return {
            **header(status),
            "at": clock(status.reported_us) if status.reported_us and not status.state.is_final else "",
            **table_values(page, _no_rows(status)),
            "findings": [finding_values(one) for one in self.job.diagnosis(status)],
            "zones": self._course.zones(),
            "charts": {
                "Event time over processing time": (self._course.arrivals(), True),
                "Watermarks of steps and splits": (self._course.watermarks(), True),
                "Rows read and written, per second": (self._course.rates(), False),
            },
            "vertices": [
                [one["id"], " → ".join(one["steps"]), one["words"], dict(one["facts"])] for one in graph["vertices"]
            ],
            "checkpoints": timeline(status)[-_SAVED_CHECKPOINTS:],
        }

    def _of_vertices(self, figure: Callable[[VertexFigures], float | None]) -> ChartLines:
        return ChartLines(self._course.of_vertices(figure))

    def _flow(self, status: JobStatus, _choice: Choice, binary: Binary) -> Body:
        findings = [] if status.state.is_final else self.job.diagnosis(status)
        charts = self._flow_charts.values(binary)
        return {
            **graph_values(status, self.job.graph().to_dicts(), self._course.spent),
            "findings": [finding_values(one) for one in findings if one.kind in FLOW_FINDINGS],
            "charts": charts,
        }

    def _checkpoints(self, status: JobStatus, choice: Choice, binary: Binary) -> Body:
        past = self._past.values(status, choice, binary)
        return {
            "takes": self.job.takes_checkpoints,
            "running": not status.state.is_final,
            "timeline": timeline(status, self._past.held),
            "past": past,
        }

    def _log_values(self, status: JobStatus, choice: Choice, binary: Binary) -> Body:
        return self._log.values(status, choice, binary, self._told())

    def _results(self, status: JobStatus, choice: Choice, binary: Binary) -> Body:
        return packed_table(self._pages.page(choice.results), choice.results, binary, _no_rows(status))


def _no_rows(status: JobStatus) -> str:
    return "no result rows" if status.state.is_final else "no result rows yet"
