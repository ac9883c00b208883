"""Runs lessons and saves them with what comes of it: ``.ci/save_lessons.py [LESSON …]``, without names all of them.

Each runs in a home, a folder and a kernel of its own, in UTC, so that its outputs hold no jobs and no paths of whoever
saves it. Cells follow each other as fast as they can, but the list of jobs is looked at when the job has begun.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nbclient
import nbformat

_LESSONS = Path(__file__).parents[1] / "notebooks"
_CELL_S = 600
_BEGUN_S = 3.0


def _save(path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    metadata = notebook.metadata.copy()

    def wait(cell: Any, **_: Any) -> None:
        if cell.source.startswith("%stream"):
            time.sleep(_BEGUN_S)

    with tempfile.TemporaryDirectory(prefix="lesson-") as folder:
        home = Path(folder, "home")
        home.mkdir(mode=0o700)
        os.environ.update(HOME=str(home), STREAMLAB_HOME=str(home / "streamlab"), TZ="UTC")
        client = nbclient.NotebookClient(
            notebook, timeout=_CELL_S, record_timing=False, resources={"metadata": {"path": folder}}
        )
        client.on_cell_start = wait
        client.execute()
    notebook.metadata = metadata
    nbformat.write(notebook, path)


if __name__ == "__main__":
    for lesson in sys.argv[1:] or sorted(path.stem for path in _LESSONS.glob("*.ipynb")):
        _save(_LESSONS / f"{lesson}.ipynb")
        print(lesson)
