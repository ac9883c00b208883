"""A JupyterLab of its own and a Chromium that reaches nothing beyond this machine, for tests and for the benchmark."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from lab_in_browser import CHROMIUM, SETTINGS, VIEWPORT, Lab, free_port, wait_for_server
from playwright.sync_api import sync_playwright

_PLACES = (
    "JUPYTER_CONFIG_DIR",
    "JUPYTER_DATA_DIR",
    "JUPYTER_RUNTIME_DIR",
    "IPYTHONDIR",
    "JUPYTERLAB_SETTINGS_DIR",
    "JUPYTERLAB_WORKSPACES_DIR",
)
_CHROMIUM = ("--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu")
_OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"
"""Pages reach this machine only. Routes would do, too, but not let a page use the browser's cache."""
_END_S = 10.0


@contextmanager
def running_lab(folder: Path) -> Iterator[Lab]:
    """Start JupyterLab with settings of its own in a folder; its kernels end with it."""
    notebooks = folder / "notebooks"
    notebooks.mkdir()
    places = {name: str(folder / name.lower()) for name in _PLACES}
    settings = Path(places["JUPYTERLAB_SETTINGS_DIR"]) / "@jupyterlab" / "apputils-extension"
    settings.mkdir(parents=True)
    for name, values in SETTINGS.items():
        (settings / f"{name}.jupyterlab-settings").write_text(json.dumps(values))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with (folder / "server.log").open("w") as log:
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
                f"--notebook-dir={notebooks}",
            ],
            env={**os.environ, **places},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
    try:
        wait_for_server(url, server)
        yield Lab(notebooks, url, psutil.Process(server.pid))
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        try:
            server.wait(_END_S)
        except subprocess.TimeoutExpired:
            os.killpg(server.pid, signal.SIGKILL)
            server.wait(_END_S)


@contextmanager
def running_chromium(folder: Path) -> Iterator[Any]:
    """Start Chromium, without a sandbox because tests run as root in containers; its files go into the folder."""
    with sync_playwright() as playwright:
        own = {**os.environ, "TMPDIR": str(folder)}
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=[*_CHROMIUM, _OFFLINE], env=own)
        yield chromium
        chromium.close()


def new_context(browser: Any) -> Any:
    """Return a context of a browser, with tall pages."""
    return browser.new_context(viewport=VIEWPORT)
