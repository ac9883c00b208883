"""The dashboard as a Bokeh server on the loopback address."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from typing import Any
from urllib.parse import urlencode
from weakref import WeakSet

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.document import Document
from bokeh.server.server import BaseServer
from bokeh.server.tornado import BokehTornado
from tornado.httpserver import HTTPServer
from tornado.ioloop import IOLoop
from tornado.iostream import IOStream

from streamlab.core.errors import OptionError, explained
from streamlab.dashboard.access import TokenAccess
from streamlab.dashboard.address import Address, address_of, answers
from streamlab.dashboard.job_page import JobPage
from streamlab.dashboard.jobs_page import JobsPage
from streamlab.dashboard.metrics_page import MetricsPage
from streamlab.job.figures.access_token import TOKEN_ARGUMENT, new_token

_LOOPBACK = "127.0.0.1"
JOB_PATH, JOBS_PATH, METRICS_PATH = "/job", "/jobs", "/metrics"


class DashboardServer:
    """Shows the jobs of this machine's user to whoever has the token.

    Parameters
    ----------
    port
        Port of the loopback address; 0 takes a free one.
    metrics
        Whether Prometheus can scrape it, with the same token.
    token
        What opens it; None makes one up.

    Raises
    ------
    OptionError
        If the port is taken.
    """

    def __init__(self, port: int = 0, *, metrics: bool = False, token: str | None = None) -> None:
        self._token = new_token() if token is None else token
        listening = _listening(port)
        self._port: int = listening.getsockname()[1]
        self.address: Address = address_of(self._port)
        pages: dict[str, Callable[[Document], object]] = {JOBS_PATH: JobsPage, JOB_PATH: JobPage}
        access = TokenAccess(self._token, self.address)
        application = BokehTornado(
            {path: Application(FunctionHandler(partial(_fill, page))) for path, page in pages.items()},
            prefix=self.address.path.rstrip("/"),
            extra_websocket_origins=list(self.address.origins),
            auth_provider=access,
            extra_patterns=[(METRICS_PATH, MetricsPage, {"access": access})] if metrics else [],
            redirect_root=False,
            use_index=False,
        )
        self._http = _HangingUp(application)
        self._http.add_socket(listening)
        self._server = BaseServer(IOLoop.current(), application, self._http)

    def url(self, job: str | None = None) -> str:
        """Return the address of a job's page, or of the list of jobs, with the token."""
        path = JOB_PATH if job else JOBS_PATH
        return f"{self.address.url.rstrip('/')}{path}?{self._query(job)}"

    @property
    def metrics_url(self) -> str:
        """What Prometheus is to scrape, on this machine, with the token as ``Authorization: Bearer``."""
        return f"http://{_LOOPBACK}:{self._port}{self.address.path.rstrip('/')}{METRICS_PATH}"

    def is_reachable(self) -> bool:
        """Return whether it answers at its address, through the proxy if there is one; not from its own thread."""
        return answers(self.address, f"{JOBS_PATH[1:]}?{self._query(None)}")

    def run(self, when_ready: Callable[[], None]) -> None:
        """Serve until :meth:`stop`; `when_ready` is called when pages can be opened."""
        self._server.start()
        self._server.io_loop.add_callback(when_ready)
        self._server.io_loop.start()

    def stop(self) -> None:
        """End; may be called from any thread, and twice."""
        self._server.io_loop.add_callback(self._stop)

    def _stop(self) -> None:
        self._server.stop()
        self._http.hang_up()
        self._server.io_loop.add_callback(self._server.io_loop.stop)

    def _query(self, job: str | None) -> str:
        named = {"name": job} if job else {}
        return urlencode({**named, TOKEN_ARGUMENT: self._token})


def _fill(page: Callable[[Document], object], document: Document) -> None:
    page(document)


class _HangingUp(HTTPServer):
    """Can close the connections that it has, web sockets too; Tornado's and Bokeh's servers leave them open."""

    def initialize(self, *args: Any, **kwargs: Any) -> None:
        super().initialize(*args, **kwargs)
        self._streams: WeakSet[IOStream] = WeakSet()

    def handle_stream(self, stream: IOStream, address: tuple[Any, ...]) -> None:
        self._streams.add(stream)
        super().handle_stream(stream, address)

    def hang_up(self) -> None:
        for stream in list(self._streams):
            stream.close()


def _listening(port: int) -> socket.socket:
    """Return what listens at the port, or at any free one if it is 0."""
    try:
        listening = socket.create_server((_LOOPBACK, port))
    except OSError as error:
        text = explained("dashboard", needed="a free port", got=f"{port}, {error.strerror}", hint="leave --port out")
        raise OptionError(text) from error
    listening.setblocking(False)
    return listening
