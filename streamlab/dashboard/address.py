"""Where a browser finds a server of this machine: here, or behind the proxy of a JupyterHub or Binder."""

from __future__ import annotations

import os
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

_PREFIX = "JUPYTERHUB_SERVICE_PREFIX"
_PUBLIC = ("JUPYTERHUB_PUBLIC_URL", "JUPYTERHUB_HOST")
_API_TOKEN = "JUPYTERHUB_API_TOKEN"  # noqa: S105 - a name, no secret
_OWN_SERVER = "JUPYTERHUB_SERVICE_URL"
_TIMEOUT_S = 3.0


@dataclass(frozen=True)
class Address:
    """Where the dashboard is.

    Attributes
    ----------
    port : int
        Of the loopback address.
    url : str
        For the browser; without a host when only the hub knows it.
    path : str
        Path under which the browser sees it.
    origins : tuple[str, ...]
        Hosts that its pages may come from, as ``host:port``.
    probe_url : str
        Where this machine itself can see whether the way through the proxy works; the same as `url` without a proxy.
    probe_headers : Mapping[str, str]
        What the proxy wants to be sent with that.
    """

    port: int
    url: str
    path: str
    origins: tuple[str, ...]
    probe_url: str
    probe_headers: Mapping[str, str]

    @property
    def is_proxied(self) -> bool:
        """Whether browsers come through the proxy of a hub."""
        return self.path != "/"


def address_of(port: int, environment: Mapping[str, str] = os.environ) -> Address:
    """Return where a browser finds the server at a port of the loopback address.

    In a JupyterHub or Binder, which say so in the environment, that is behind ``jupyter-server-proxy``.

    >>> address_of(5006, {}).url
    'http://127.0.0.1:5006/'
    >>> hub = {"JUPYTERHUB_SERVICE_PREFIX": "/user/ada/", "JUPYTERHUB_HOST": "https://hub.example"}
    >>> address_of(5006, hub).url
    'https://hub.example/user/ada/proxy/absolute/5006/'
    """
    here = f"127.0.0.1:{port}"
    prefix = environment.get(_PREFIX)
    if not prefix:
        return Address(port, f"http://{here}/", "/", (here, f"localhost:{port}"), f"http://{here}/", {})
    path = f"{prefix.rstrip('/')}/proxy/absolute/{port}/"
    public = next((environment[name] for name in _PUBLIC if environment.get(name)), "")
    host = urlsplit(public).netloc
    base = f"{urlsplit(public).scheme}://{host}" if host else ""
    # A hub that does not say its own name: pages come from a host that is not known here. The cookie with the token is
    # not sent along from pages of other hosts (SameSite).
    origins = (here, host) if host else ("*",)
    own = environment.get(_OWN_SERVER, "http://127.0.0.1:8888/")
    own_port = urlsplit(own).port or 8888
    token = environment.get(_API_TOKEN, "")
    headers = {"Authorization": f"token {token}"} if token else {}
    return Address(port, f"{base}{path}", path, origins, f"http://127.0.0.1:{own_port}{path}", headers)


def answers(address: Address, page: str) -> bool:
    """Return whether a page, given with its token, can be opened at the address."""
    request = urllib.request.Request(f"{address.probe_url}{page}", headers=dict(address.probe_headers))  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S) as answer:  # noqa: S310 - http of this machine
            return bool(answer.status == 200)  # noqa: PLR2004 - OK
    except (urllib.error.URLError, OSError):
        return False
