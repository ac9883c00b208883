"""JupyterLab in Chromium, as tests drive it."""

from __future__ import annotations

import ast
import contextlib
import copy
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
import psutil
import pytest

from streamlab.runtime.job_folder.home import home

ROOT = Path(__file__).parents[2]
ARTEFACTS = Path(__file__).parent / "artefacts"
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
START_S = 60.0
VIEW = ".sl-view"
WAIT_MS = 120_000
"""Longest wait for anything: the machine may be busy."""
VIEWPORT = {"width": 1300, "height": 3000}
"""Of pages: tall, because JupyterLab does not draw cells that are out of sight."""
_READY = """async () => {
  const app = window.jupyterapp;
  await app.restored;
  const notebook = app.shell.currentWidget;
  await notebook.context.ready;
  await notebook.sessionContext.ready;
}"""
_KERNEL = "window.jupyterapp.shell.currentWidget.sessionContext.session?.kernel"
SETTINGS = {
    "notification": {"fetchNews": "false", "checkForUpdates": False, "doNotDisturbMode": True},
}


class Lab:
    """A running JupyterLab, and a folder for the notebooks of one test.

    Attributes
    ----------
    folder : Path
        The notebooks.
    home : Path
        Where the jobs of its kernels are; the tests that use it have others.
    server : psutil.Process
        JupyterLab; its kernels are its children.
    url : str
        Its address.
    """

    def __init__(self, folder: Path, url: str, server: psutil.Process) -> None:
        self.folder = folder
        self.home = home()
        self.server = server
        self.url = url
        self._place = ""

    def below(self, name: str) -> Lab:
        """Return the same JupyterLab with a new folder in its folder."""
        below = copy.copy(self)
        below.folder, below._place = self.folder / name, f"{self._place}{name}/"
        below.folder.mkdir()
        return below

    def path(self, name: str) -> str:
        """Return the path of a notebook in the folder, as JupyterLab says it."""
        return f"{self._place}{name}"

    def address(self, name: str) -> str:
        """Return the address of a notebook in the folder."""
        return f"{self.url}/lab/tree/{self.path(name)}?reset"

    def write(self, name: str, *cells: str) -> str:
        """Write a notebook of code cells, and return its name."""
        # Without a kernel named in it, JupyterLab would ask which one to use, and wait.
        kernel = {"kernelspec": {"name": "python3", "display_name": "Python 3 (ipykernel)", "language": "python"}}
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code) for code in cells], metadata=kernel)
        nbformat.write(notebook, self.folder / name)
        return name

    def processes_of_jobs(self) -> list[psutil.Process]:
        """Return all processes of jobs that its kernels have started."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.Error):
                command = " ".join(process.cmdline())
                if "streamlab.runtime" in command and str(self.home) in command:
                    found.append(process)
        return found

    def end_kernels(self) -> None:
        """End all kernels, and with them their jobs; fails if one goes on."""
        kernels = [child for child in self.server.children() if "ipykernel_launcher" in child.cmdline()]
        with urllib.request.urlopen(f"{self.url}/api/sessions", timeout=START_S) as answer:
            sessions = json.load(answer)
        for session in sessions:
            request = urllib.request.Request(f"{self.url}/api/sessions/{session['id']}", method="DELETE")
            urllib.request.urlopen(request, timeout=START_S).close()
        _, alive = psutil.wait_procs(kernels, timeout=START_S)
        assert alive == []


class Page:
    """A notebook open in the browser.

    Attributes
    ----------
    page : playwright.sync_api.Page
        The browser's page.
    errors : list[str]
        What its console said of errors so far.
    is_as_new : bool
        Whether nothing has happened in it of which errors may come later: a kernel that ended before its panels did, or
        panels that were loaded again.
    """

    def __init__(self, page: Any, url: str, theme: str = "light") -> None:
        self.page = page
        self.errors = console_errors(page)
        self.is_as_new = True
        page.set_default_timeout(WAIT_MS)
        page.goto(url)
        self._wait_until_ready()
        self.theme(theme)

    def change_to(self, path: str, theme: str = "light") -> None:
        """Open another notebook in the page, which takes a fraction of what loading JupyterLab anew does."""
        self.page.evaluate("path => window.jupyterapp.commands.execute('docmanager:open', { path })", path)
        self._wait_until_ready()
        self.theme(theme)

    def close_notebook(self) -> bool:
        """Close what is open without asking about changes; returns whether the page can open another one.

        It cannot with a dialogue on it, such as the one about a kernel that has died, nor after errors or before them.
        """
        self.page.evaluate("() => [...window.jupyterapp.shell.widgets('main')].forEach((widget) => widget.dispose())")
        self.page.set_viewport_size(VIEWPORT)
        self.page.emulate_media(reduced_motion="no-preference")
        return self.is_as_new and not self.errors and bool(self.page.locator(".jp-Dialog").count() == 0)

    def theme(self, name: str) -> None:
        """Change the colours: ``light`` or ``dark``."""
        full = "JupyterLab Dark" if name == "dark" else "JupyterLab Light"
        self.page.evaluate("theme => window.jupyterapp.commands.execute('apputils:change-theme', { theme })", full)
        light = "false" if name == "dark" else "true"
        self.page.wait_for_selector(f"body[data-jp-theme-light={light}]", state="attached", timeout=60_000)
        self.page.wait_for_selector("#jupyterlab-splash", state="detached", timeout=60_000)

    def reload(self) -> None:
        """Load the page again, as a user would, while the kernel goes on."""
        self.is_as_new = False
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

    def until(self, condition: str, view: str = VIEW) -> None:
        """Wait for a condition in the page; `view` is the panel, whose parts may not be there yet."""
        look = f"try {{ return {condition}; }} catch {{ return false; }}"
        self.page.wait_for_function(
            f"name => {{ const view = document.querySelector(name); {look} }}", arg=view, timeout=WAIT_MS
        )

    def ticks(self, place: int = 0) -> None:
        """Wait until the view at a place among all views has drawn some more frames."""
        drawn = int(self.page.locator(VIEW).nth(place).get_attribute("data-seq"))
        self.page.wait_for_function(
            "([view, place, least]) => Number(document.querySelectorAll(view)[place]?.dataset.seq) > least",
            arg=[VIEW, place, drawn + 2],
            timeout=WAIT_MS,
        )

    def show(self, *, hidden: bool) -> None:
        """Tell the page that its tab is hidden, or can be seen again."""
        self.page.evaluate(
            """hidden => {
              const visibilityState = { configurable: true, get: () => (hidden ? "hidden" : "visible") };
              Object.defineProperty(document, "visibilityState", visibilityState);
              document.dispatchEvent(new Event("visibilitychange"));
            }""",
            hidden,
        )

    def until_copied(self, text: str) -> None:
        """Wait until the copy of a panel, which is kept for the saved notebook, holds a text."""
        self.page.wait_for_function(
            "text => [...document.querySelectorAll('[class^=sl-copy]')].some(copy => copy.textContent.includes(text))",
            arg=text,
            timeout=WAIT_MS,
        )

    def run_cell(self, place: int) -> None:
        """Start running one cell; does not wait for it."""
        self.page.evaluate(
            """place => {
              const app = window.jupyterapp;
              app.shell.currentWidget.content.activeCellIndex = place;
              app.commands.execute('notebook:run-cell');
            }""",
            place,
        )

    def ask(self, expression: str) -> Any:
        """Return what a Python expression of plain values gives in the kernel."""
        told = self.page.evaluate(
            """async (expression) => {
              const kernel = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel;
              const future = kernel.requestExecute({ code: "", silent: true, user_expressions: { it: expression } });
              return (await future.done).content.user_expressions.it;
            }""",
            expression,
        )
        assert told["status"] == "ok", told
        return ast.literal_eval(told["data"]["text/plain"])

    def execute(self, code: str) -> None:
        """Run code in the kernel, in no cell; does not wait for it."""
        session = "window.jupyterapp.shell.currentWidget.sessionContext.session"
        self.page.evaluate(f"code => {{ {session}.kernel.requestExecute({{code}}) }}", code)

    def save(self) -> None:
        """Save the notebook."""
        self.page.evaluate("async () => { await window.jupyterapp.commands.execute('docmanager:save') }")

    def shoot(self, selector: str, name: str) -> None:
        """Write a screenshot of an element to the artefacts."""
        ARTEFACTS.mkdir(exist_ok=True)
        self.page.locator(selector).first.screenshot(path=ARTEFACTS / f"{name}.png")

    def _wait_until_ready(self) -> None:
        self.page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget?.sessionContext", timeout=WAIT_MS)
        self.page.evaluate(_READY)
        self.page.wait_for_function(f"() => {_KERNEL}", timeout=WAIT_MS)
        self.page.evaluate(f"async () => {{ await {_KERNEL}.info }}")


def console_errors(page: Any) -> list[str]:
    """Return the list in which the errors of a page's console will be collected."""
    errors: list[str] = []

    def note(message: Any) -> None:
        if message.type == "error":
            errors.append(f"{message.text} ({message.location['url']})")

    page.on("console", note)
    page.on("pageerror", lambda error: errors.append(str(error)))
    return errors


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
