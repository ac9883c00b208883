"""JupyterLab in Chromium, as tests drive it."""

from __future__ import annotations

import json
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import nbformat
import pytest

ROOT = Path(__file__).parents[2]
ARTEFACTS = Path(__file__).parent / "artefacts"
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
START_S = 60.0
VIEW = ".sl-view"
WAIT_MS = 120_000
"""Longest wait for anything: the machine may be busy."""
_READY = """async () => {
  const app = window.jupyterapp;
  await app.restored;
  const notebook = app.shell.currentWidget;
  await notebook.context.ready;
  await notebook.sessionContext.ready;
  await notebook.sessionContext.session.kernel.info;
}"""
SETTINGS = {
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

    def write(self, name: str, *cells: str) -> str:
        """Write a notebook of code cells, and return its name."""
        # Without a kernel named in it, JupyterLab would ask which one to use, and wait.
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}}
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in cells], metadata=kernel)
        nbformat.write(notebook, self.folder / name)
        return name

    def end_kernels(self) -> None:
        """End all kernels, and with them their jobs."""
        with urllib.request.urlopen(f"{self.url}/api/sessions", timeout=START_S) as answer:
            sessions = json.load(answer)
        for session in sessions:
            request = urllib.request.Request(f"{self.url}/api/sessions/{session['id']}", method="DELETE")
            urllib.request.urlopen(request, timeout=START_S).close()


class Page:
    """A notebook open in the browser.

    Attributes
    ----------
    page : playwright.sync_api.Page
        The browser's page.
    errors : list[str]
        What its console said of errors so far.
    """

    def __init__(self, page: Any, url: str, theme: str = "light") -> None:
        self.page = page
        self.errors: list[str] = []
        page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.goto(url)
        self._wait_until_ready()
        self.theme(theme)

    def theme(self, name: str) -> None:
        """Change the colours: ``light`` or ``dark``."""
        full = "JupyterLab Dark" if name == "dark" else "JupyterLab Light"
        self.page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", full)
        light = "false" if name == "dark" else "true"
        self.page.wait_for_selector(f"body[data-jp-theme-light={light}]", state="attached", timeout=60_000)
        self.page.wait_for_selector("#jupyterlab-splash", state="detached", timeout=60_000)

    def reload(self) -> None:
        """Load the page again, as a user would, while the kernel goes on."""
        self.page.reload()
        self._wait_until_ready()

    def run_all(self) -> None:
        """Start running all cells; does not wait for them."""
        self.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-all-cells') }")

    def seq_above(self, least: int) -> int:
        """Wait until the panel has drawn a frame with a number above `least`, and return its number."""
        self.page.wait_for_function(
            "([view, least]) => Number(document.querySelector(view)?.dataset.seq) > least",
            arg=[VIEW, least],
            timeout=WAIT_MS,
        )
        return int(self.page.locator(VIEW).first.get_attribute("data-seq"))

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


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for_server(url: str, server: subprocess.Popen[bytes]) -> None:
    """Wait until the server answers."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        assert server.poll() is None, "JupyterLab did not start"
        try:
            with urllib.request.urlopen(f"{url}/api/status", timeout=1):
                return
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.1)
    pytest.fail("JupyterLab does not answer")
