"""JupyterLab in Chromium: one server for the tests of a file, offline, and pages that are ready to run cells."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_in_browser import ARTEFACTS, CHROMIUM, SETTINGS, Lab, Page, free_port, wait_for_server
from playwright.sync_api import sync_playwright


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Start JupyterLab with settings of its own; its kernels end with it."""
    tmp_path = tmp_path_factory.mktemp("lab")
    folder = tmp_path / "notebooks"
    folder.mkdir()
    places = {
        name: str(tmp_path / name.lower())
        for name in (
            "JUPYTER_CONFIG_DIR",
            "JUPYTER_DATA_DIR",
            "JUPYTER_RUNTIME_DIR",
            "IPYTHONDIR",
            "JUPYTERLAB_SETTINGS_DIR",
            "JUPYTERLAB_WORKSPACES_DIR",
        )
    }
    settings = Path(places["JUPYTERLAB_SETTINGS_DIR"]) / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    for name, values in SETTINGS.items():
        (settings / f"{name}.jupyterlab-settings").write_text(json.dumps(values))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(
            [
                sys.executable,
                "-m",
                "jupyterlab",
                "--no-browser",
                "--allow-root",
                f"--ServerApp.port={port}",
                "--ServerApp.ip=127.0.0.1",
                "--IdentityProvider.token=",
                "--ServerApp.password=",
                "--ServerApp.disable_check_xsrf=True",
                "--LabApp.expose_app_in_browser=True",
                f"--notebook-dir={folder}",
            ],
            env={**os.environ, **places},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for_server(url, server)
        yield Lab(folder, url)
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(10)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Start Chromium, without a sandbox because tests run as root in containers."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with sync_playwright() as playwright:
        arguments = ["--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"]
        own = {**os.environ, "TMPDIR": str(tmp_path_factory.mktemp("chromium"))}
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments, env=own)
        yield chromium
        chromium.close()


class Opener:
    """Opens notebooks of a server, each in a page of its own."""

    def __init__(self, lab: Lab, context: Any) -> None:
        self.pages: list[Page] = []
        self._lab = lab
        self._context = context

    def __call__(self, name: str, theme: str = "light") -> Page:
        page = Page(self._context.new_page(), f"{self._lab.url}/lab/tree/{name}?reset", theme)
        self.pages.append(page)
        return page


@pytest.fixture
def open_notebook(browser: Any, lab: Lab) -> Iterator[Callable[..., Page]]:
    """Open a notebook of the server's folder; nothing beyond this machine can be reached. Kernels end with it."""
    # Tall, because JupyterLab does not draw cells that are out of sight.
    context = browser.new_context(viewport={"width": 1300, "height": 3000})
    local = ("data:", "blob:")
    context.route(
        "**/*",
        lambda route: (
            route.continue_()
            if "127.0.0.1" in route.request.url or route.request.url.startswith(local)
            else route.abort()
        ),
    )
    yield Opener(lab, context)
    context.close()
    lab.end_kernels()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    """Write a screenshot of the whole page when a browser test fails."""
    report = yield
    opener = getattr(item, "funcargs", {}).get("open_notebook")
    if report.when == "call" and report.failed and opener is not None:
        ARTEFACTS.mkdir(exist_ok=True)
        for number, page in enumerate(opener.pages):
            page.page.screenshot(path=ARTEFACTS / f"failed-{item.name}-{number}.png")
    return report
