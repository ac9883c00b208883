"""The lessons in JupyterLab in Chromium, run by "Run All", or in two parts with a look at the panel between."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from lab_in_browser import ROOT, VIEW, WAIT_MS, Lab, Page
from tutorials import LESSONS, Tutorial

pytestmark = [pytest.mark.browser, pytest.mark.timeout(1800)]

BACKPRESSURE = "06-backpressure"


def test_each_lesson_is_run_in_the_browser() -> None:
    assert sorted(LESSONS) == sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize("stem", [stem for stem in LESSONS if stem != BACKPRESSURE])
def test_a_tutorial_runs_from_the_top_to_the_end(lab: Lab, open_notebook: Callable[..., Page], stem: str) -> None:
    tutorial = Tutorial(lab, open_notebook, stem)
    tutorial.run_all()
    tutorial.check()
    tutorial.shoot()


def test_a_slow_sink_is_found_in_the_panel(lab: Lab, open_notebook: Callable[..., Page]) -> None:
    """As the lesson tells: look into the tab Flow before going on."""
    tutorial = Tutorial(lab, open_notebook, BACKPRESSURE)
    tutorial.run_through("slow")
    tutorial.page.page.click(f"{VIEW} [data-tab=flow]")
    tutorial.page.page.wait_for_selector(f"{VIEW} .sl-findings:has-text('bottleneck')", timeout=WAIT_MS)
    tutorial.page.shoot(VIEW, "bottleneck-light")
    tutorial.run_rest("slow")
    tutorial.check()
    tutorial.shoot()
