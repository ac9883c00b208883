"""The dashboard's server: who has the token comes in, from an origin that it knows; everybody else does not."""

from __future__ import annotations

import asyncio
import socket
import threading
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from http import HTTPStatus
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from tornado.httpclient import HTTPClientError, HTTPRequest
from tornado.websocket import websocket_connect

import streamlab as sl
from streamlab.core.errors import OptionError
from streamlab.dashboard.server import DashboardServer
from streamlab.job.figures.access_token import kept_token

Serve = Callable[..., DashboardServer]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start a server in a thread; it ends with the test."""
    running: list[tuple[DashboardServer, threading.Thread]] = []

    def start(port: int = 0, **options: Any) -> DashboardServer:
        ready = threading.Event()
        made: list[DashboardServer] = []

        def run() -> None:
            with asyncio.Runner() as runner:
                asyncio.set_event_loop(runner.get_loop())
                made.append(DashboardServer(port, **options))
                made[0].run(ready.set)

        thread = threading.Thread(target=run)
        thread.start()
        assert ready.wait(60)
        running.append((made[0], thread))
        return made[0]

    yield start
    for server, thread in running:
        server.stop()
        thread.join(60)


def answer(url: str, **headers: str) -> tuple[int, str]:
    """Return the status of the answer and the cookies that it sets."""
    try:
        with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=60) as answered:
            return answered.status, answered.headers.get("Set-Cookie", "")
    except urllib.error.HTTPError as error:
        return error.code, error.headers.get("Set-Cookie", "")


def test_the_token_opens_the_pages(serve: Serve) -> None:
    server = serve()
    page, _, token = server.url().partition("?token=")
    assert page == f"http://127.0.0.1:{server.address.probe_url.split(':')[2].rstrip('/')}/jobs"
    status, cookie = answer(server.url())
    assert status == HTTPStatus.OK
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie
    assert answer(page, Cookie=cookie.partition(";")[0])[0] == HTTPStatus.OK
    assert answer(page, Authorization=f"Bearer {token}")[0] == HTTPStatus.OK
    assert server.is_reachable()


def test_nothing_else_does(serve: Serve) -> None:
    page = serve().url("hourly").partition("?")[0]
    assert page.endswith("/job")
    port = page.split(":")[2].partition("/")[0]
    for url in (page, f"{page}?token=", f"{page}?token=guess", f"{page}?name=hourly"):
        assert answer(url) == (HTTPStatus.FORBIDDEN, "")
    assert answer(page, Authorization="Bearer guess")[0] == HTTPStatus.FORBIDDEN
    assert answer(page, Cookie=f"streamlab-dashboard-{port}=guess")[0] == HTTPStatus.FORBIDDEN


def test_two_servers_have_a_cookie_each_and_the_token_is_in_none(serve: Serve) -> None:
    servers = [serve(), serve()]
    cookies = [answer(server.url())[1].partition(";")[0] for server in servers]
    assert len({cookie.partition("=")[0] for cookie in cookies}) == 2
    for server, cookie in zip(servers, cookies, strict=True):
        page, _, token = server.url().partition("?token=")
        assert token not in cookie
        assert answer(page, Cookie="; ".join(cookies))[0] == HTTPStatus.OK
        assert answer(f"{page}?token={cookie.partition('=')[2]}")[0] == HTTPStatus.FORBIDDEN


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:{port}", "127.0.0.1.evil.example:{port}", "127.0.0.1:1"]
)
def test_a_page_that_is_asked_for_by_another_name_is_refused(serve: Serve, host: str) -> None:
    server = serve(metrics=True)
    named = host.format(port=server.address.port)
    for url in (server.url(), f"{server.metrics_url}?{server.url().partition('?')[2]}"):
        assert answer(url, Host=named)[0] == HTTPStatus.FORBIDDEN
        assert answer(url, Host=f"localhost:{server.address.port}")[0] == HTTPStatus.OK


def test_pages_of_other_hosts_cannot_connect(serve: Serve) -> None:
    server = serve()
    place = server.url().replace("http:", "ws:").replace("/jobs?", "/jobs/ws?")

    async def connect(origin: str) -> None:
        opened = await websocket_connect(HTTPRequest(place, headers={"Origin": origin}))
        opened.close()
        while await opened.read_message() is not None:
            pass

    asyncio.run(connect(server.address.probe_url.rstrip("/")))
    with pytest.raises(HTTPClientError, match="403"):
        asyncio.run(connect("http://elsewhere.example"))


def test_it_listens_on_this_machine_only(serve: Serve) -> None:
    port = int(serve().address.probe_url.split(":")[2].rstrip("/"))
    with socket.socket() as other, pytest.raises(ConnectionRefusedError):
        other.connect(("127.0.0.2", port))


def test_behind_a_hub_it_is_found_through_the_proxy(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    monkeypatch.setenv("JUPYTERHUB_SERVICE_PREFIX", "/user/ada/")
    monkeypatch.setenv("JUPYTERHUB_PUBLIC_URL", "https://hub.example/user/ada/")
    # The proxy hands the path on as it is, so the server itself can stand in for it.
    monkeypatch.setenv("JUPYTERHUB_SERVICE_URL", f"http://127.0.0.1:{port}/user/ada/")
    server = serve(port)
    assert server.url("hourly").startswith(f"https://hub.example/user/ada/proxy/absolute/{port}/job?name=hourly&token=")
    assert server.is_reachable()
    monkeypatch.setenv("JUPYTERHUB_SERVICE_URL", "http://127.0.0.1:9/user/ada/")
    assert not serve().is_reachable()


def test_a_port_that_is_taken(serve: Serve) -> None:
    port = int(serve().address.probe_url.split(":")[2].rstrip("/"))

    with pytest.raises(OptionError, match="leave --port out"):
        DashboardServer(port)


def test_its_end_hangs_up_on_whoever_is_connected(serve: Serve) -> None:
    server = serve()
    port = int(server.address.probe_url.split(":")[2].rstrip("/"))
    with socket.create_connection(("127.0.0.1", port), timeout=60) as idle:
        idle.sendall(b"GET /nothing HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert idle.recv(65_536).startswith(b"HTTP/1.1 404")
        server.stop()
        while idle.recv(65_536):
            pass


def test_prometheus_scrapes_with_the_token_and_only_when_asked(serve: Serve) -> None:
    stream = sl.generate(lambda start, n: pl.DataFrame({"n": range(start, start + n)}), rows_per_second=100)
    job = stream.start("scraped")
    try:
        server = serve(metrics=True, token="a token that somebody keeps")
        bearer = "Bearer a token that somebody keeps"
        for headers in ({}, {"Authorization": "Bearer guess"}, {"Cookie": "streamlab-dashboard=guess"}):
            assert answer(server.metrics_url, **headers) == (HTTPStatus.FORBIDDEN, "")
        request = urllib.request.Request(server.metrics_url, headers={"Authorization": bearer})
        with urllib.request.urlopen(request, timeout=60) as answered:
            assert answered.headers["Content-Type"].startswith("text/plain; version=")
            assert f'streamlab_job_rows_in_total{{job="scraped",id="{job.id}"}}' in answered.read().decode()
        assert answer(serve(token="another").metrics_url, Authorization="Bearer another")[0] == HTTPStatus.NOT_FOUND
    finally:
        job.cancel()


def test_a_token_is_kept_in_a_file_of_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "token"
    token = kept_token(path)
    assert kept_token(path) == token == path.read_text().strip()
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o644)
    with pytest.raises(OptionError, match="chmod 600"):
        kept_token(path)
    path.chmod(0o600)
    path.write_text("short")
    with pytest.raises(OptionError, match="20 characters"):
        kept_token(path)
    with pytest.raises(OptionError, match="to be a file"):
        kept_token(tmp_path)
