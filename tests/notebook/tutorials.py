"""A tutorial in JupyterLab in Chromium, run from the top to the end as a learner does."""

from __future__ import annotations

import shutil
from collections.abc import Callable

import nbformat
from lab_in_browser import ARTEFACTS, ROOT, VIEW, WAIT_MS, Lab, Page

LESSONS = {
    "01-first-stream": "light",
    "03-event-time-and-watermarks": "light",
    "04-windows": "dark",
    "05-checkpoints-and-replay": "light",
    "06-backpressure": "light",
    "07-anomaly-detection": "dark",
    "02-teaching-mode": "light",
}
"""Lessons, and the colours in which they are looked at."""
LESSON_MS = 900_000
"""Longest wait for a whole lesson: the machine may be busy."""
WIDGET = "application/vnd.jupyter.widget-view+json"
_WIDTH, _SHORTEST, _TALLEST = 1300, 2000, 16_000
_NOTEBOOK = "window.jupyterapp.shell.currentWidget.content"
_IS_FINAL = """([views, place]) => {
  const state = document.querySelectorAll(views)[place]?.dataset.state;
  return ["finished", "stopped", "cancelled"].includes(state);
}"""
_SCROLLED = ".jp-NotebookPanel .jp-WindowedPanel-outer"


class Tutorial:
    """A lesson that is open in the browser.

    Attributes
    ----------
    page : Page
        Where it is open.
    """

    def __init__(self, lab: Lab, open_notebook: Callable[..., Page], stem: str) -> None:
        self._stem = stem
        self._theme = LESSONS[stem]
        self._path = lab.folder / f"{stem}.ipynb"
        shutil.copy(ROOT / "notebooks" / self._path.name, self._path)
        self.page = open_notebook(self._path.name, self._theme)
        # Otherwise JupyterLab draws only cells that are in sight.
        self._do(f"{_NOTEBOOK}.notebookConfig = {{...{_NOTEBOOK}.notebookConfig, windowingMode: 'none'}}")

    def run_all(self) -> None:
        """Run all cells, and wait for the last."""
        self._run("notebook:run-all-cells")

    def run_through(self, source: str) -> None:
        """Run the cells up to the one with this text, that one included, and wait for it."""
        self._do(f"{_NOTEBOOK}.activeCellIndex = {self._index(source) + 1}")
        self._run("notebook:run-all-above")

    def run_rest(self, source: str) -> None:
        """Run the cells after the one with this text, and wait for the last."""
        self._do(f"{_NOTEBOOK}.activeCellIndex = {self._index(source) + 1}")
        self._run("notebook:run-all-below")

    def check(self) -> None:
        """Check that all has gone well: each cell has run, jobs have ended, and the copies of their panels say so."""
        views = self.page.page.locator(f"{VIEW}[data-state]")
        for place in range(views.count()):
            # One that is out of sight is told nothing.
            views.nth(place).scroll_into_view_if_needed()
            self.page.page.wait_for_function(_IS_FINAL, arg=[f"{VIEW}[data-state]", place], timeout=WAIT_MS)
        self.page.save()
        cells = [cell for cell in self._cells() if cell.cell_type == "code" and cell.source]
        assert [cell.source for cell in cells if cell.execution_count is None] == []
        outputs = [output for cell in cells for output in cell.outputs]
        assert [output for output in outputs if output.output_type == "error" or output.get("name") == "stderr"] == []
        live = [cell for cell in cells if cell.source.startswith("%%stream")]
        texts = ["".join(one.get("data", {}).get("text/plain", "") for one in cell.outputs) for cell in live]
        assert ["✓ finished" in text for text in texts] == [True] * len(live)
        assert self.page.errors == []

    def shoot(self) -> None:
        """Write a picture of the whole lesson to the artefacts."""
        height = self.page.page.evaluate(f"() => document.querySelector('{_SCROLLED}').scrollHeight")
        size = {"width": _WIDTH, "height": max(_SHORTEST, min(height + 150, _TALLEST))}
        self.page.page.set_viewport_size(size)
        self._do(f"document.querySelector('{_SCROLLED}').scrollTop = 0")
        ARTEFACTS.mkdir(exist_ok=True)
        self.page.page.screenshot(path=ARTEFACTS / f"tutorial-{self._stem}-{self._theme}.png")

    def _run(self, command: str) -> None:
        # Not awaited in there, because a dialogue would hold it up for ever.
        self._do(f"window.ran = 'no'; window.jupyterapp.commands.execute('{command}').then(well => window.ran = well)")
        self.page.page.wait_for_function("() => window.ran !== 'no'", timeout=LESSON_MS)
        assert self.page.page.evaluate("() => window.ran") is True, self._failures()

    def _failures(self) -> list[str]:
        self.page.save()
        outputs = [output for cell in self._cells() for output in cell.get("outputs", [])]
        return ["\n".join(output.traceback) for output in outputs if output.output_type == "error"]

    def _index(self, source: str) -> int:
        (index,) = (at for at, cell in enumerate(self._cells()) if cell.source == source)
        return index

    def _cells(self) -> list[nbformat.NotebookNode]:
        cells: list[nbformat.NotebookNode] = nbformat.read(self._path, as_version=4).cells
        return cells

    def _do(self, code: str) -> None:
        self.page.page.evaluate(f"() => {{ {code} }}")
