"""How a job shows itself at the end of a cell: as its panel, where there are widgets."""

from __future__ import annotations

from IPython.core.getipython import get_ipython

from streamlab.job import attach
from streamlab.job.job import Job
from streamlab.notebook.view.live_view import LiveView
from streamlab.notebook.view.refresher import shared_pump
from streamlab.notebook.view.render_mode import render_mode

ROWS = 10


def display_job(job: Job) -> None:
    """Show a job's panel below the present cell.

    Raises
    ------
    NotImplementedError
        If the front end has no widgets: IPython then takes the object's HTML or text.
    """
    shell = get_ipython()
    if shell is None or render_mode(shell) != "widget":
        raise NotImplementedError
    pump = shared_pump(shell)
    pump.add(LiveView(attach(job.id), "widget", ROWS, on_click=pump.wake))
