"""Takes credentials out of what is shown: addresses, and texts that may quote them, such as errors of libraries."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, unquote

HIDDEN = "***"
_USER = re.compile(
    r"(?P<scheme>\b[A-Za-z][A-Za-z0-9+.-]*://)"
    r"(?P<user>[^\s/@:'\"<>]*:(?!\d{1,5}(?:/|$|\s))[^\s'\"<>]*|[^\s/@'\"<>]+)@"
)
"""A user, or a user and a password, before a host; a password may hold slashes, a port is none."""
_NAME = (
    r"[\w.-]*(?:token|sig|signature|secret|passw(?:or)?d|pwd|passphrase|credentials?|api_?key|access_?key|account_?key)"
)
_PARAMETER = re.compile(rf"(?P<name>[?&;]{_NAME})=[^&\s'\"<>)#]+", re.IGNORECASE)
_SETTING = re.compile(rf"(?P<name>\b{_NAME})=(?!=)(?:'[^']*'|\"[^\"]*\"|[^\s,;&'\"<>)]+)", re.IGNORECASE)
_QUERY = re.compile(r"(?P<name>[?&][^=&\s]*)=[^&\s]*")
_SHORTEST = 4
"""Shorter values stand in any text."""


def without_credentials(text: str) -> str:
    """Return a text without what looks like credentials in the addresses and settings that it quotes.

    Examples
    --------
    >>> without_credentials("cannot reach s3://AKIA:abc/def@host/b?sig=1x&v=2")
    'cannot reach s3://***@host/b?sig=***&v=2'
    >>> without_credentials("host=db password='a b' user=me, from http://127.0.0.1:80/a@b")
    'host=db password=*** user=me, from http://127.0.0.1:80/a@b'
    """
    if "=" not in text and "@" not in text:
        return text
    text = _USER.sub(rf"\g<scheme>{HIDDEN}@", text)
    text = _PARAMETER.sub(rf"\g<name>={HIDDEN}", text)
    return _SETTING.sub(rf"\g<name>={HIDDEN}", text)


def shown_address(address: str) -> str:
    """Return an address as it may be shown: without its user and password, and no value of its query.

    Examples
    --------
    >>> shown_address("s3://AKIA:abc@host/b")
    's3://***@host/b'
    >>> shown_address("md:flights?motherduck_token=abc&a=1")
    'md:flights?motherduck_token=***&a=***'
    """
    return _QUERY.sub(rf"\g<name>={HIDDEN}", without_credentials(address))


def credentials_in(address: str) -> list[str]:
    """Return what is secret in an address, as it stands there and decoded."""
    found = []
    for match in _USER.finditer(address):
        user = match["user"]
        found += [user, unquote(user), *user.split(":", 1)[1:], *map(unquote, user.split(":", 1)[1:])]
    query = address.partition("?")[2]
    found += [piece.partition("=")[2] for piece in query.split("&")]
    found += [value for _, value in parse_qsl(query)]
    return [secret for secret in found if len(secret) >= _SHORTEST]


def redacted(text: str, secrets: Iterable[str]) -> str:
    """Return a text, such as another library's error, without the secrets that may be in it.

    Examples
    --------
    >>> redacted("cannot log in with 'tiger'", ["tiger"])
    "cannot log in with '***'"
    """
    for secret in sorted(filter(None, secrets), key=len, reverse=True):
        text = text.replace(secret, HIDDEN)
    return text
