"""Who may see the dashboard: whoever has its token, from an address that it knows.

The token is in the address that is printed. The first request brings it, and a cookie remembers it for the pages that
follow, so that it does not stay in the address bar's history of every page.
"""

from __future__ import annotations

import contextlib
import hmac
import os
import secrets
import stat
from collections.abc import Callable
from pathlib import Path

from bokeh.server.auth_provider import AuthProvider
from tornado.web import HTTPError, RequestHandler
from tornado.websocket import WebSocketHandler

from streamlab.core.errors import OptionError, explained

TOKEN_ARGUMENT = "token"  # noqa: S105 - a name, no secret
_COOKIE = "streamlab-dashboard"
_BEARER = "Bearer "
_FORBIDDEN = 403
_LEAST_LENGTH = 20


def new_token() -> str:
    """Return a token that nobody can guess."""
    return secrets.token_urlsafe(32)


def kept_token(path: Path) -> str:
    """Return the token in a file, which is made, for its owner only, when it is not there.

    Raises
    ------
    OptionError
        If the file cannot be read or written, others can read it, or what is in it is too short for a secret.
    """
    try:
        with contextlib.suppress(FileExistsError), open(path, "x", opener=_for_owner) as file:
            file.write(f"{new_token()}\n")
        token, mode = path.read_text(encoding="utf-8").strip(), path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(explained("token file", needed=f"{path} to be a file", got=str(error))) from error
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        text = explained("token file", needed=f"{path} for its owner only", got="others have it", hint="chmod 600")
        raise OptionError(text)
    if len(token) < _LEAST_LENGTH:
        needed = f"a token of at least {_LEAST_LENGTH} characters in {path}"
        raise OptionError(explained("token file", needed=needed, got=f"{len(token)}", hint="delete it: one is made"))
    return token


def _for_owner(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class TokenAccess(AuthProvider):  # type: ignore[misc]  # Bokeh has no types for its server
    """Lets requests in that bring the token, in the address, in a header, or in the cookie of an earlier one.

    Parameters
    ----------
    token
        The secret.
    cookie_path
        Where the cookie is sent: the path that the dashboard has for the browser.
    """

    def __init__(self, token: str, cookie_path: str = "/") -> None:
        self._token = token
        self._cookie_path = cookie_path
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
            403 when the token is missing or wrong.
        """
        given = request.get_query_argument(TOKEN_ARGUMENT, None)
        if given is not None and self._fits(given):
            if not isinstance(request, WebSocketHandler):
                request.set_cookie(_COOKIE, given, path=self._cookie_path, httponly=True, samesite="Strict")
            return "owner"
        header = request.request.headers.get("Authorization", "")
        if self._fits(header.removeprefix(_BEARER)) or self._fits(request.get_cookie(_COOKIE, "") or ""):
            return "owner"
        raise HTTPError(_FORBIDDEN, reason="open the address that streamlab dashboard has printed, with its token")

    def _fits(self, given: str) -> bool:
        return hmac.compare_digest(given.encode(), self._token.encode())
