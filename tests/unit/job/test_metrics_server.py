"""The Prometheus endpoint: on this machine only, one path, closed when it is closed."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping

import pytest

from streamlab.core.errors import JobError, OptionError
from streamlab.job.figures.metrics_server import MetricsServer
from streamlab.observe.prometheus import CONTENT_TYPE
from streamlab.observe.status import JobState, JobStatus

STATUS = JobStatus(id="j-1", name="demo", state=JobState.RUNNING, rows_in=7)


@pytest.fixture
def server() -> Iterator[MetricsServer]:
    with MetricsServer(lambda: [STATUS]) as running:
        yield running


def get(url: str, headers: Mapping[str, str] | None = None) -> tuple[int, str, str]:
    request = urllib.request.Request(url, headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.status, answer.headers["Content-Type"], answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.headers["Content-Type"], error.read().decode()


def test_it_serves_the_figures(server: MetricsServer) -> None:
    status, kind, text = get(server.url)
    assert (status, kind) == (200, CONTENT_TYPE)
    assert 'streamlab_job_rows_in_total{job="demo",id="j-1"} 7' in text.splitlines()


def test_it_listens_on_this_machine_only(server: MetricsServer) -> None:
    assert server.url.startswith("http://127.0.0.1:")
    assert get(server.url.replace("127.0.0.1", "localhost"))[0] == 200


@pytest.mark.parametrize("host", ["evil.example", "evil.example:80", "127.0.0.1.evil.example:9464"])
def test_another_host_name_is_refused(server: MetricsServer, host: str) -> None:
    assert get(server.url, {"Host": host})[0] == 403


def test_there_is_one_path(server: MetricsServer) -> None:
    assert get(server.url.replace("/metrics?", "/?"))[0] == 404
    assert get(server.url + "&a=b")[0] == 200


def test_its_token_opens_it_and_nothing_else_does(server: MetricsServer) -> None:
    token = server.url.partition("=")[2]
    assert token not in repr(server)
    assert get(server.address, {"Authorization": f"Bearer {token}"})[0] == 200
    for url in (server.address, f"{server.address}?token=", f"{server.address}?token=guess"):
        assert get(url)[0] == 403
    assert get(server.address, {"Authorization": "Bearer guess"})[0] == 403
    with MetricsServer(lambda: [STATUS], token="mine, and mine alone") as own:
        assert get(own.address, {"Authorization": "Bearer mine, and mine alone"})[0] == 200


def test_a_job_that_is_gone_is_an_error_of_the_scrape() -> None:
    def gone() -> list[JobStatus]:
        msg = "job demo: needs its folder"
        raise JobError(msg)

    with MetricsServer(gone) as server:
        assert get(server.url)[0::2] == (503, "job demo: needs its folder\n")


def test_a_port_that_is_taken_or_none(server: MetricsServer) -> None:
    with pytest.raises(OptionError, match=f"port {server.port} to be free"):
        MetricsServer(list, server.port)
    with pytest.raises(OptionError, match="0 to 65535"):
        MetricsServer(list, 65_536)


def test_closed_it_answers_no_more() -> None:
    server = MetricsServer(list)
    server.close()
    with pytest.raises(urllib.error.URLError):
        get(server.url)
