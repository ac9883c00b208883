"""JupyterLab in Chromium: one of each for all tests of a worker, offline; a folder and a context for each test.

They end before the first test that uses no browser, because Playwright's event loop runs in the tests' own thread, and
others may want to run one there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path
from typing import Any

import psutil
import pytest
from lab_in_browser import ARTEFACTS, CHROMIUM, Lab, Page
from lab_server import new_context, running_chromium, running_lab


class Shared:
    """What tests share that follow one another.

    Parameters
    ----------
    kept
        Process ids that no test is blamed for.
    """

    def __init__(self, kept: set[int]) -> None:
        self._kept = kept
        self._opened: dict[str, Any] = {}
        self._stack = ExitStack()

    def get(self, name: str, opening: Callable[[], AbstractContextManager[Any]]) -> Any:
        """Return what has this name, and open it if it is not open."""
        if name not in self._opened:
            before = set(psutil.Process().children())
            self._opened[name] = self._stack.enter_context(opening())
            self._kept |= {child.pid for child in set(psutil.Process().children()) - before}
        return self._opened[name]

    @property
    def window(self) -> Page | None:
        """JupyterLab in a page of Chromium, with no notebook open, if a test has left one."""
        return self._opened.get("window")

    @window.setter
    def window(self, page: Page | None) -> None:
        self._opened["window"] = page

    def close(self) -> None:
        """Close all of it."""
        self._opened.clear()
        self._stack.close()


_SHARED = pytest.StashKey[Shared]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item, nextitem: pytest.Item | None) -> Iterator[None]:
    """Close what is shared when the next test uses no browser."""
    try:
        return (yield)
    finally:
        if "browser" not in getattr(nextitem, "fixturenames", ()) and _SHARED in item.config.stash:
            item.config.stash[_SHARED].close()


@pytest.fixture(scope="session")
def shared(request: pytest.FixtureRequest, kept_processes: set[int]) -> Shared:
    """Return what tests share that follow one another."""
    return request.config.stash.setdefault(_SHARED, Shared(kept_processes))


@pytest.fixture(scope="module")
def open_lab(shared: Shared, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Lab]:
    """Start JupyterLab, before a test looks at what there was before it; the function does so when it has ended."""

    def opened() -> Lab:
        lab: Lab = shared.get("lab", lambda: running_lab(tmp_path_factory.mktemp("lab")))
        return lab

    opened()
    return opened


@pytest.fixture(scope="module")
def open_chromium(shared: Shared, tmp_path_factory: pytest.TempPathFactory) -> Callable[[], Any]:
    """Start Chromium, before a test looks at what there was before it; the function does so when it has ended."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium: apt-get install chromium")

    def opened() -> Any:
        return shared.get("chromium", lambda: running_chromium(tmp_path_factory.mktemp("chromium")))

    opened()
    return opened


@pytest.fixture
def lab(open_lab: Callable[[], Lab], tmp_path: Path) -> Iterator[Lab]:
    """Give JupyterLab with a folder of the test's own; its kernels end with the test."""
    lab = open_lab().below(tmp_path.name)
    yield lab
    lab.end_kernels()


@pytest.fixture
def browser(open_chromium: Callable[[], Any], shared: Shared) -> Iterator[Any]:
    """Give Chromium; the contexts that a test opens end with it."""
    chromium = open_chromium()
    yield chromium
    window = shared.window
    for context in chromium.contexts:
        if window is None or context != window.page.context:
            context.close()


class Opener:
    """Opens notebooks of a server: the first in the window that an earlier test has left, others in pages of their own.

    Parameters
    ----------
    lab
        The server.
    browser
        Chromium.
    window
        A page of JupyterLab with no notebook open, if there is one.
    """

    def __init__(self, lab: Lab, browser: Any, window: Page | None) -> None:
        self.pages: list[Page] = []
        self._lab = lab
        self._window = window
        self._context = window.page.context if window is not None else new_context(browser)

    def __call__(self, name: str, theme: str = "light", script: Path | None = None) -> Page:
        """Open a notebook; a script runs in the page before anything else does."""
        if script is None and self._window is not None and self._window not in self.pages:
            page = self._window
            page.change_to(self._lab.path(name), theme)
        else:
            new = self._context.new_page()
            if script is not None:
                new.add_init_script(path=script)
            page = Page(new, self._lab.address(name), theme)
            if script is None and self._window is None:
                self._window = page
        self.pages.append(page)
        return page

    def leave_window(self) -> Page | None:
        """Close the notebooks, and all pages but one that the next test can use, if it is as good as new."""
        for page in self.pages:
            if page is not self._window:
                page.page.close()
        window = self._window
        return window if window is not None and not window.page.is_closed() and window.close_notebook() else None


@pytest.fixture
def open_notebook(request: pytest.FixtureRequest, lab: Lab, browser: Any, shared: Shared) -> Iterator[Opener]:
    """Open a notebook of the test's folder; nothing beyond this machine can be reached."""
    opener = Opener(lab, browser, shared.window)
    yield opener
    shared.window = None if request.node.stash.get(_FAILED, False) else opener.leave_window()


_FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[Any]:
    """Write a screenshot of the whole page when a browser test fails."""
    report = yield
    opener = getattr(item, "funcargs", {}).get("open_notebook")
    if report.when == "call" and report.failed and opener is not None:
        item.stash[_FAILED] = True
        ARTEFACTS.mkdir(exist_ok=True)
        for number, page in enumerate(opener.pages):
            page.page.screenshot(path=ARTEFACTS / f"failed-{item.name}-{number}.png")
    return report
