"""Who may see the dashboard: whoever has its token, from an address that it knows.

The token is in the address that is printed. The first request brings it, and a cookie remembers it for the pages that
follow, so that it does not stay in the address bar's history of every page. Browsers have one jar of cookies for all
ports of a host: so each server has a cookie of its own name, and what is in it is not the token, for it is shown to
whoever listens at another port.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from hashlib import sha256

from bokeh.server.auth_provider import AuthProvider
from tornado.web import HTTPError, RequestHandler
from tornado.websocket import WebSocketHandler

from streamlab.dashboard.address import Address
from streamlab.job.figures.access_token import BEARER, TOKEN_ARGUMENT

_COOKIE = "streamlab-dashboard"
_FORBIDDEN = 403


class TokenAccess(AuthProvider):  # type: ignore[misc]  # Bokeh has no types for its server
    """Lets requests in that bring the token, in the address, in a header, or in the cookie of an earlier one.

    Parameters
    ----------
    token
        The secret.
    address
        Where the dashboard is.
    """

    def __init__(self, token: str, address: Address) -> None:
        self._token = token
        self._address = address
        self._cookie = f"{_COOKIE}-{address.port}"
        self._cookie_value = hmac.new(token.encode(), self._cookie.encode(), sha256).hexdigest()
        super().__init__()

    @property
    def get_user(self) -> Callable[[RequestHandler], str]:
        """What Bokeh asks before every page and every connection."""
        return self.check

    @property
    def login_url(self) -> str:
        """Never visited, since a request without the token is refused; Bokeh wants to have one."""
        return "/"

    def check(self, request: RequestHandler) -> str:
        """Return who asks.

        Raises
        ------
        HTTPError
            403 when the token is missing or wrong, or the page was asked for by the name of another host.
        """
        if not self._address.is_proxied and request.request.host not in self._address.origins:
            raise HTTPError(_FORBIDDEN, reason="this dashboard is for this machine only")
        given = request.get_query_argument(TOKEN_ARGUMENT, None)
        if given is not None and self._fits(given):
            if not isinstance(request, WebSocketHandler):
                request.set_cookie(
                    self._cookie, self._cookie_value, path=self._address.path, httponly=True, samesite="Strict"
                )
            return "owner"
        header = request.request.headers.get("Authorization", "")
        cookie = request.get_cookie(self._cookie, "") or ""
        if self._fits(header.removeprefix(BEARER)) or _same(cookie, self._cookie_value):
            return "owner"
        raise HTTPError(_FORBIDDEN, reason="open the address that streamlab dashboard has printed, with its token")

    def _fits(self, given: str) -> bool:
        return _same(given, self._token)


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())
