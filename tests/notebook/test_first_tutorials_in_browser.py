"""The lessons for beginners, opened in JupyterLab in Chromium and run by "Run All"."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from lab_in_browser import Lab, Page
from tutorials import FIRST, Tutorial

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1800)]


@pytest.mark.parametrize("stem", FIRST)
def test_a_tutorial_runs_from_the_top_to_the_end(lab: Lab, open_notebook: Callable[..., Page], stem: str) -> None:
    tutorial = Tutorial(lab, open_notebook, stem)
    tutorial.run_all()
    tutorial.check()
    tutorial.shoot()
