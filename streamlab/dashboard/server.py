"""The dashboard as a Bokeh server on the loopback address."""

from __future__ import annotations

import socket
from collections.abc import Callable
from functools import partial
from urllib.parse import urlencode

from bokeh.application import Application
from bokeh.application.handlers.function import FunctionHandler
from bokeh.document import Document
from bokeh.server.server import Server

from streamlab.core.errors import OptionError, explained
from streamlab.dashboard.access import TOKEN_ARGUMENT, TokenAccess, new_token
from streamlab.dashboard.address import Address, address_of, answers
from streamlab.dashboard.job_page import JobPage
from streamlab.dashboard.jobs_page import JobsPage

_LOOPBACK = "127.0.0.1"
JOB_PATH, JOBS_PATH = "/job", "/jobs"


class DashboardServer:
    """Shows the jobs of this machine's user to whoever has the token.

    Parameters
    ----------
    port
        Port of the loopback address; 0 takes a free one.

    Raises
    ------
    OptionError
        If the port is taken.
    """

    def __init__(self, port: int = 0) -> None:
        self._token = new_token()
        self._port = _free_port(port)
        self.address: Address = address_of(self._port)
        base = self.address.path.rstrip("/")
        pages: dict[str, Callable[[Document], object]] = {JOBS_PATH: JobsPage, JOB_PATH: JobPage}
        self._server = Server(
            {path: Application(FunctionHandler(partial(_fill, page))) for path, page in pages.items()},
            address=_LOOPBACK,
            port=self._port,
            prefix=base,
            allow_websocket_origin=list(self.address.origins),
            auth_provider=TokenAccess(self._token, self.address.path),
            redirect_root=False,
            use_index=False,
        )

    def url(self, job: str | None = None) -> str:
        """Return the address of a job's page, or of the list of jobs, with the token."""
        path = JOB_PATH if job else JOBS_PATH
        return f"{self.address.url.rstrip('/')}{path}?{self._query(job)}"

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
        self._server.io_loop.stop()

    def _query(self, job: str | None) -> str:
        named = {"name": job} if job else {}
        return urlencode({**named, TOKEN_ARGUMENT: self._token})


def _fill(page: Callable[[Document], object], document: Document) -> None:
    page(document)


def _free_port(wanted: int) -> int:
    """Return a port that nobody listens at: the wanted one, or any if that is 0."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((_LOOPBACK, wanted))
        except OSError as error:
            text = explained(
                "dashboard", needed="a free port", got=f"{wanted}, {error.strerror}", hint="leave --port out"
            )
            raise OptionError(text) from error
        port: int = probe.getsockname()[1]
        return port
