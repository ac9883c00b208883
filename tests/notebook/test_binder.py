"""What Binder builds from ``binder/``, as far as it goes without Docker.

Binder takes the Python of ``runtime.txt``, installs ``requirements.txt`` and then runs ``postBuild`` in the checkout.
The slow test does the same in a virtual environment of its own, and runs the first notebook in it; installing takes
minutes and the network. The others look at what makes such a build fail.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import nbformat
import pytest
from lab_in_browser import ROOT

BINDER = ROOT / "binder"
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FIRST = "notebooks/01-first-stream.ipynb"
BUILD_S = 1500


def python_version() -> str:
    """Return the version of ``runtime.txt``, such as ``3.12``."""
    found = re.fullmatch(r"python-(3\.\d+)", (BINDER / "runtime.txt").read_text().strip())
    assert found is not None
    return found[1]


def interpreter() -> str:
    """Return the Python that Binder takes if this machine has it, and else the one that runs the tests."""
    wanted = shutil.which(f"python{python_version()}")
    # A version manager has a command for each Python that anybody might have chosen, and it may only complain.
    works = (
        wanted is not None and subprocess.run([wanted, "--version"], capture_output=True, check=False).returncode == 0
    )
    return wanted if wanted is not None and works else sys.executable


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w-]", line.strip(), maxsplit=1)[0].lower() for line in requirements if line.strip()}


def test_binder_takes_a_python_that_is_supported() -> None:
    assert f"Programming Language :: Python :: {python_version()}" in PROJECT["classifiers"]


def test_post_build_can_be_run() -> None:
    script = BINDER / "postBuild"
    assert os.access(script, os.X_OK)
    assert script.read_text().startswith("#!/bin/bash\n")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_notebooks_import_only_what_binder_installs(path: Path) -> None:
    installed = names(PROJECT["dependencies"]) | names(PROJECT["optional-dependencies"]["demo"])
    installed |= names((BINDER / "requirements.txt").read_text().splitlines()) | {"streamlab"}
    used = set()
    for cell in nbformat.read(path, as_version=4).cells:
        if cell.cell_type == "code" and not cell.source.startswith("%%"):
            lines = [line for line in cell.source.splitlines() if not line.startswith("%")]
            for node in ast.walk(ast.parse("\n".join(lines))):
                if isinstance(node, ast.Import):
                    used |= {alias.name.partition(".")[0] for alias in node.names}
                elif isinstance(node, ast.ImportFrom):
                    used.add(str(node.module).partition(".")[0])
    assert used - sys.stdlib_module_names - installed == set()


def test_the_badge_leads_to_the_first_notebook() -> None:
    found = re.search(r"github\.com/([\w.-]+/[\w.-]+)", " ".join(PROJECT["urls"].values()))
    assert found is not None
    link = f"https://mybinder.org/v2/gh/{found[1]}/HEAD?urlpath=lab/tree/{FIRST}"
    assert f"]({link})" in (ROOT / "README.md").read_text()
    assert (ROOT / FIRST).exists()


@pytest.mark.slow
@pytest.mark.timeout(2 * BUILD_S)
def test_binder_builds_and_the_first_notebook_runs(tmp_path: Path) -> None:
    """Slow because it installs JupyterLab, Polars and all the rest into an empty environment."""
    environment, home, checkout = tmp_path / "environment", tmp_path / "home", tmp_path / "checkout"
    home.mkdir()
    tracked = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, tracked.decode().split("\0")):
        (checkout / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, checkout / name)
    ours = ("STREAMLAB_HOME", "VIRTUAL_ENV", "PYTHONPATH", "POLARS_MAX_THREADS")
    variables = {
        **{name: value for name, value in os.environ.items() if name not in ours},
        "HOME": str(home),
        "PATH": f"{environment / 'bin'}{os.pathsep}{os.environ['PATH']}",
    }

    def run(*command: str) -> str:
        done = subprocess.run(
            command, cwd=checkout, env=variables, capture_output=True, text=True, timeout=BUILD_S, check=False
        )
        assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
        return done.stdout

    run(interpreter(), "-m", "venv", str(environment))
    run("pip", "install", "--quiet", "--disable-pip-version-check", "-r", "binder/requirements.txt")
    assert "327346" in run("./binder/postBuild")
    where = run("python", "-I", "-c", "import streamlab; print(streamlab.__file__)").strip()
    assert Path(where).is_relative_to(environment)
    run("jupyter", "nbconvert", "--to", "notebook", "--execute", FIRST, "--output-dir", str(tmp_path / "ran"))
    ran = nbformat.read(tmp_path / "ran" / Path(FIRST).name, as_version=4)
    assert all(cell.execution_count for cell in ran.cells if cell.cell_type == "code")
