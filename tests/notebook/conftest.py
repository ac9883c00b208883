"""JupyterLab in Chromium: a server of its own for each theme, offline, and a page that is ready to run cells."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parents[2]
ARTEFACTS = Path(__file__).parent / "artefacts"
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
START_S = 60.0
_READY = """async () => {
  const app = window.jupyterapp;
  await app.restored;
  const notebook = app.shell.currentWidget;
  await notebook.context.ready;
  await notebook.sessionContext.ready;
  await notebook.sessionContext.session.kernel.info;
}"""
_SETTINGS = {
    "notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
}


class Lab:
    """A running JupyterLab.

    Attributes
    ----------
    folder : Path
        Its notebooks.
    """

    def __init__(self, folder: Path, url: str) -> None:
        self.folder = folder
        self.url = url


class Page:
    """A notebook open in the browser.

    Attributes
    ----------
    page : playwright.sync_api.Page
        The browser's page.
    errors : list[str]
        What its console said of errors so far.
    """

    def __init__(self, page: Any, url: str) -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(url)
        self._wait_until_ready()

    def reload(self) -> None:
        """Load the page again, as a user would, while the kernel goes on."""
        self.page.reload()
        self._wait_until_ready()

    def run_all(self) -> None:
        """Start running all cells; does not wait for them."""
        self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")

    def execute(self, code: str) -> None:
        """Run code in the kernel, in no cell; does not wait for it."""
        session = "window.jupyterapp.shell.currentWidget.sessionContext.session"
        self.page.evaluate(f"code => {{ {session}.kernel.requestExecute({{code}}) }}", code)

    def save(self) -> None:
        """Save the notebook."""
        self.page.evaluate("() => window.jupyterapp.commands.execute('docmanager:save')")

    def shoot(self, selector: str, name: str) -> None:
        """Write a screenshot of an element to the artefacts."""
        ARTEFACTS.mkdir(exist_ok=True)
        self.page.locator(selector).first.screenshot(path=ARTEFACTS / f"{name}.png")

    def _wait_until_ready(self) -> None:
        self.page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.sessionContext", timeout=60_000)
        self.page.evaluate(_READY)


@pytest.fixture(params=["light", "dark"])
def theme(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def lab(tmp_path: Path, theme: str) -> Iterator[Lab]:
    """Start JupyterLab with settings of its own; its kernels end with it."""
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
    themes = {"theme": "JupyterLab Dark" if theme == "dark" else "JupyterLab Light"}
    for name, values in {**_SETTINGS, "themes": themes}.items():
        (settings / f"{name}.jupyterlab-settings").write_text(json.dumps(values))
    port = _free_port()
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
        _wait_for(url, server)
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


@pytest.fixture
def open_notebook(browser: Any, lab: Lab) -> Iterator[Callable[[str], Page]]:
    """Open a notebook of the server's folder; nothing beyond this machine can be reached."""
    # Tall, because JupyterLab does not draw cells that are out of sight.
    context = browser.new_context(viewport={"width": 1300, "height": 6000})
    local = ("data:", "blob:")
    context.route(
        "**/*",
        lambda route: (
            route.continue_()
            if "127.0.0.1" in route.request.url or route.request.url.startswith(local)
            else route.abort()
        ),
    )

    def opened(name: str) -> Page:
        return Page(context.new_page(), f"{lab.url}/lab/tree/{name}?reset")

    yield opened
    context.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _wait_for(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert server.poll() is None, "JupyterLab did not start"
        try:
            with urllib.request.urlopen(f"{url}/api/status", timeout=1):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    pytest.fail("JupyterLab does not answer")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    """Write a screenshot of the whole page when a browser test fails."""
    report = yield
    page = getattr(item, "funcargs", {}).get("page")
    if report.when == "call" and report.failed and page is not None:
        ARTEFACTS.mkdir(exist_ok=True)
        page.page.screenshot(path=ARTEFACTS / f"failed-{item.name}.png")
    return report
