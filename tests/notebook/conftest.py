"""JupyterLab in Chromium: one server for the tests of a file, offline, and pages that are ready to run cells."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from lab_in_browser import ARTEFACTS, CHROMIUM, Lab, Page
from lab_server import offline_context, running_chromium, running_lab


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    """Start JupyterLab; its kernels end with it."""
    with running_lab(tmp_path_factory.mktemp("lab")) as lab:
        yield lab


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Start Chromium."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")
    with running_chromium(tmp_path_factory.mktemp("chromium")) as chromium:
        yield chromium


class Opener:
    """Opens notebooks of a server, each in a page of its own."""

    def __init__(self, lab: Lab, context: Any) -> None:
        self.pages: list[Page] = []
        self._lab = lab
        self._context = context

    def __call__(self, name: str, theme: str = "light", script: Path | None = None) -> Page:
        """Open a notebook; a script runs in the page before anything else does."""
        new = self._context.new_page()
        if script is not None:
            new.add_init_script(path=script)
        page = Page(new, f"{self._lab.url}/lab/tree/{name}?reset", theme)
        self.pages.append(page)
        return page


@pytest.fixture
def open_notebook(browser: Any, lab: Lab) -> Iterator[Callable[..., Page]]:
    """Open a notebook of the server's folder; nothing beyond this machine can be reached. Kernels end with it."""
    context = offline_context(browser)
    yield Opener(lab, context)
    context.close()
    lab.end_kernels()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    """Write a screenshot of the whole page when a browser test fails."""
    report = yield
    opener = getattr(item, "funcargs", {}).get("open_notebook")
    if report.when == "call" and report.failed and opener is not None:
        ARTEFACTS.mkdir(exist_ok=True)
        for number, page in enumerate(opener.pages):
            page.page.screenshot(path=ARTEFACTS / f"failed-{item.name}-{number}.png")
    return report
