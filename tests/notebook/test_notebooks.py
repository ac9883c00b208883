"""Every notebook runs from the top to the end in a fresh kernel, and proves something.

``nbval`` compares outputs; it lets a cell pass whose magic is unknown, and this does not.
"""

from __future__ import annotations

from pathlib import Path

import nbclient
import nbformat
import pytest
from lab_in_browser import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
pytestmark = pytest.mark.timeout(900)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebook(path: Path, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert any("assert " in cell.source for cell in notebook.cells if cell.cell_type == "code")
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    live = [cell for cell in notebook.cells if cell.source.startswith("%%stream")]
    assert all(cell.outputs for cell in live)
    for output in (output for cell in live for output in cell.outputs):
        assert "finished" in output.data["text/html"]
        assert not any("widget" in kind for kind in output.data)


def test_there_are_notebooks_with_live_views() -> None:
    assert any("%%stream" in path.read_text(encoding="utf-8") for path in NOTEBOOKS)
