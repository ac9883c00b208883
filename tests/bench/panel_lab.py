"""A notebook with a panel in a real browser, as the benchmark of the panel drives and measures it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lab_in_browser
import psutil
from lab_in_browser import VIEW, WAIT_MS, Lab, Page
from lab_server import new_context, running_chromium, running_lab

_PROBE = Path(lab_in_browser.__file__).with_name("panel_probe.js")
_SETUP = """import os, time
from pathlib import Path
import polars as pl
import streamlab as sl
from streamlab.demo import flights
%load_ext streamlab
Path("{pid}").write_text(str(os.getpid()))"""
_RUN_CELL = """at => {
  const app = window.jupyterapp;
  app.shell.currentWidget.content.activeCellIndex = at;
  app.commands.execute('notebook:run-cell');
  return window.slProbe.now();
}"""
_POLL_S = 0.05


class Bench:
    """A page with one notebook, whose first cell has run.

    Attributes
    ----------
    page : Any
        The browser's page.
    kernel : psutil.Process
        The notebook's kernel.
    """

    def __init__(self, page: Page, folder: Path, pid_file: str) -> None:
        self.page = page.page
        self._page = page
        self._folder = folder
        self.run_cell(0)
        self.kernel = psutil.Process(int(self._written(pid_file)))

    def run_cell(self, at: int) -> float:
        """Run a cell, do not wait for it, and return the wall clock in ms."""
        return float(self.page.evaluate(_RUN_CELL, at))

    def execute(self, code: str) -> None:
        """Run code in the kernel, in no cell; do not wait for it."""
        self._page.execute(code)

    def told(self, expression: str) -> str:
        """Return what an expression is in the kernel, as text."""
        name = f"told-{time.monotonic_ns()}"
        self.execute(
            f"Path({name!r}).with_suffix('.part').write_text(str({expression})); "
            f"Path({name!r}).with_suffix('.part').rename({name!r})"
        )
        return self._written(name)

    def probe(self, expression: str) -> Any:
        """Return what an expression is in the page, with the probe as ``probe``."""
        return self.page.evaluate(f"() => {{ const probe = window.slProbe; return {expression}; }}")

    def until(self, expression: str) -> None:
        """Wait for a condition in the page, with the probe as ``probe`` and the panel as ``view``."""
        look = f"const probe = window.slProbe; const view = document.querySelector('{VIEW}');"
        self.page.wait_for_function(
            f"() => {{ {look} try {{ return {expression}; }} catch {{ return false; }} }}", timeout=WAIT_MS
        )

    def wait(self, seconds: float) -> None:
        """Let the page go on for a while."""
        self.page.wait_for_timeout(seconds * 1000)

    def open_tab(self, name: str) -> None:
        """Open a tab of the panel, and wait until it and its charts are drawn."""
        self.page.click(f"{VIEW} [data-tab={name}]")
        self.until(f"view.dataset.tab === '{name}'")
        if name in {"time", "flow"}:
            self.page.wait_for_selector(f"{VIEW} .sl-panel:not([hidden]) [data-points] canvas", timeout=WAIT_MS)

    def hide(self) -> None:
        """Put another tab of JupyterLab in front of the notebook."""
        self.page.evaluate("() => { window.jupyterapp.commands.execute('launcher:create') }")
        self.page.wait_for_selector(VIEW, state="hidden", timeout=WAIT_MS)

    def show(self) -> None:
        """Put the notebook in front again."""
        self.page.evaluate("""() => {
          const { shell } = window.jupyterapp;
          const notebook = [...shell.widgets('main')].find((one) => one.context?.path?.endsWith('.ipynb'));
          shell.activateById(notebook.id);
        }""")
        self.page.wait_for_selector(VIEW, state="visible", timeout=WAIT_MS)

    def close(self) -> None:
        """Close the page."""
        self.page.close()

    def _written(self, name: str) -> str:
        deadline = time.monotonic() + WAIT_MS / 1000
        path = self._folder / name
        while not path.exists() or not path.read_text():
            if time.monotonic() > deadline:
                message = f"the kernel has not written {name}"
                raise TimeoutError(message)
            self.wait(_POLL_S)
        return path.read_text()


class Notebooks:
    """Opens notebooks of a JupyterLab in a Chromium, both started for this.

    Parameters
    ----------
    lab
        The server.
    context
        Of the browser.
    """

    def __init__(self, lab: Lab, context: Any) -> None:
        self._lab = lab
        self._context = context
        self._count = 0

    @contextmanager
    def open(self, *cells: str) -> Iterator[Bench]:
        """Open a notebook of these cells, behind one that imports; its kernel and its jobs end with it."""
        self._count += 1
        pid_file = f"pid-{self._count}"
        name = self._lab.write(f"bench-{self._count}.ipynb", _SETUP.format(pid=pid_file), *cells)
        page = Page(self._context.new_page(), self._lab.address(name))
        try:
            yield Bench(page, self._lab.folder, pid_file)
        finally:
            page.page.close()
            self._lab.end_kernels()


@contextmanager
def notebooks(folder: Path) -> Iterator[Notebooks]:
    """Start JupyterLab and Chromium in a folder."""
    chromium_folder = folder / "chromium"
    chromium_folder.mkdir()
    with running_lab(folder) as lab, running_chromium(chromium_folder) as browser:
        context = new_context(browser)
        context.add_init_script(path=str(_PROBE))
        yield Notebooks(lab, context)
        context.close()


def processor_s(processes: list[psutil.Process]) -> float:
    """Return the processor time that processes have taken so far, each without its children."""
    times = [process.cpu_times() for process in processes if process.is_running()]
    return sum(one.user + one.system for one in times)
