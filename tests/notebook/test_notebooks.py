"""What every lesson must have, and what a notebook's live cells leave where there are no widgets.

``nbval`` runs the cells of the lessons; what the conftest at the top adds to it is meant, too.
"""

from __future__ import annotations

from pathlib import Path

import nbclient
import nbformat
import pytest
from lab_in_browser import ROOT

LESSONS = sorted((ROOT / "notebooks").glob("*.ipynb"))
START = """import polars as pl
import streamlab as sl
%load_ext streamlab"""
LIVE = """%%stream counts
sl.from_frame(pl.DataFrame({"n": range(100)})).group_by(pl.col("n") % 3).agg(rows=pl.len())"""


@pytest.mark.parametrize("path", LESSONS, ids=lambda path: path.stem)
def test_a_lesson_proves_something(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    assert any("assert " in cell.source for cell in notebook.cells if cell.cell_type == "code")


def test_there_are_lessons_with_live_views() -> None:
    assert any("%%stream" in path.read_text(encoding="utf-8") for path in LESSONS)


def test_without_widgets_a_live_cell_ends_as_html(tmp_path: Path) -> None:
    cells = [nbformat.v4.new_code_cell(code) for code in (START, LIVE, "counts.wait()")]
    notebook = nbformat.v4.new_notebook(cells=cells)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    outputs = cells[1].outputs
    assert outputs
    for output in outputs:
        assert "finished" in output.data["text/html"]
        assert not any("widget" in kind for kind in output.data)
