"""The figures of all jobs that run, for Prometheus, at the dashboard's address and behind its token."""

from __future__ import annotations

from http import HTTPStatus

from tornado.web import RequestHandler

from streamlab.core.errors import StreamlabError
from streamlab.dashboard.access import TokenAccess
from streamlab.job import jobs
from streamlab.observe.prometheus import CONTENT_TYPE, exposition


class MetricsPage(RequestHandler):
    """Answers one scrape."""

    def initialize(self, access: TokenAccess) -> None:
        """Take who may see it; called by Tornado for each request."""
        self._access = access

    def get(self) -> None:
        """Write the figures.

        Raises
        ------
        HTTPError
            403 without the token.
        """
        self._access.check(self)
        try:
            statuses = [job.report() for job in jobs()]
            text = exposition([status for status in statuses if not status.state.is_final])
        except StreamlabError as error:
            self.set_status(HTTPStatus.SERVICE_UNAVAILABLE)
            self.set_header("Content-Type", "text/plain; charset=utf-8")
            self.finish(f"{error}\n")
            return
        self.set_header("Content-Type", CONTENT_TYPE)
        self.finish(text)
