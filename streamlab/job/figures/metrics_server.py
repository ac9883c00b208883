"""A Prometheus endpoint on this machine only, for as long as somebody wants one.

It listens on the loopback address, answers ``GET /metrics`` and nothing else, and refuses requests for other hosts, so
that a web page cannot read it by way of a name that it has pointed here, and requests without its token, so that no
other user of the machine can.
"""

from __future__ import annotations

import hmac
import threading
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from urllib.parse import parse_qs, urlencode

from streamlab.core.errors import OptionError, StreamlabError, explained
from streamlab.job.figures.access_token import BEARER, TOKEN_ARGUMENT, new_token
from streamlab.observe.prometheus import CONTENT_TYPE, exposition
from streamlab.observe.status import JobStatus

_HOST = "127.0.0.1"
_HOSTS = {"127.0.0.1", "localhost", "[::1]"}
_MOST_PORTS = 65_535


class MetricsServer:
    """A running endpoint; `close` ends it, as does leaving it as a context.

    Parameters
    ----------
    statuses
        Called for each scrape.
    port
        Where to listen; 0 takes a free port.
    token
        What opens it; None makes one up.

    Raises
    ------
    OptionError
        If the port is none, or taken.
    """

    def __init__(self, statuses: Callable[[], Sequence[JobStatus]], port: int = 0, token: str | None = None) -> None:
        if not isinstance(port, int) or isinstance(port, bool) or not 0 <= port <= _MOST_PORTS:
            raise OptionError(explained("port", needed=f"a number from 0 to {_MOST_PORTS}", got=repr(port)))
        self._token = new_token() if token is None else token
        try:
            self._server = ThreadingHTTPServer((_HOST, port), _handler(statuses, self._token))
        except OSError as error:
            text = explained("metrics", needed=f"port {port} to be free", got=error.strerror or str(error))
            raise OptionError(text) from error
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, name="metrics", daemon=True)
        self._thread.start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """What Prometheus is to scrape, with the token."""
        return f"{self.address}?{urlencode({TOKEN_ARGUMENT: self._token})}"

    @property
    def address(self) -> str:
        """What Prometheus is to scrape if it brings the token as ``Authorization: Bearer``."""
        return f"http://{_HOST}:{self.port}/metrics"

    def wait(self) -> None:
        """Wait until it is closed, or for ever."""
        self._thread.join()

    def close(self) -> None:
        """End it."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> MetricsServer:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<MetricsServer {self.address}>"


def _handler(statuses: Callable[[], Sequence[JobStatus]], token: str) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version = "streamlab"
        sys_version = ""

        def do_GET(self) -> None:
            host = self.headers.get("Host", "").rpartition(":")[0] or self.headers.get("Host", "")
            if host not in _HOSTS:
                self._answer(HTTPStatus.FORBIDDEN, "this endpoint is for this machine only\n")
            elif self.path.partition("?")[0] != "/metrics":
                self._answer(HTTPStatus.NOT_FOUND, "only /metrics is here\n")
            elif not self._has_token():
                self._answer(HTTPStatus.FORBIDDEN, "the address with its token opens it\n")
            else:
                try:
                    text = exposition(statuses())
                except StreamlabError as error:
                    self._answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{error}\n")
                else:
                    self._answer(HTTPStatus.OK, text, CONTENT_TYPE)

        def _has_token(self) -> bool:
            given = parse_qs(self.path.partition("?")[2]).get(TOKEN_ARGUMENT, [])
            header = self.headers.get("Authorization", "").removeprefix(BEARER)
            return any(hmac.compare_digest(one.encode(), token.encode()) for one in (header, *given[:1]))

        def log_message(self, *args: object) -> None:
            """Scrapes are not worth a line each."""

        def _answer(self, status: HTTPStatus, text: str, kind: str = "text/plain; charset=utf-8") -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", kind)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    return Handler
