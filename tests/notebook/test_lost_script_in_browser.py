"""Bokeh's script, which a kernel sends once: a page that has not got it asks again, and at last says so."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from streamlab.notebook import front_end

AGAIN_MS = 10_000
SET_UP = """(code) => {
  const { loadBokeh } = new Function(`${code}; return { loadBokeh };`)();
  let listener;
  window.asked = 0;
  const model = {
    on: (_event, callBack) => { listener = callBack; },
    off: () => { listener = undefined; },
    send: () => { window.asked += 1; },
  };
  window.answer = (text) => listener({ type: "bokeh" }, [new TextEncoder().encode(text)]);
  window.load = () => {
    loadBokeh(model).then(() => { window.end = "there"; }, (error) => { window.end = error.message; });
  };
  window.load();
}"""


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """Give a page that has asked for the script, and a clock of its own that stands."""
    page = browser.new_page()
    page.clock.install()
    page.evaluate(SET_UP, front_end.script(("charts",)))
    yield page
    page.close()


def test_a_script_that_was_lost_is_asked_for_again(page: Any) -> None:
    assert page.evaluate("asked") == 1
    page.clock.run_for(AGAIN_MS)
    assert page.evaluate("asked") == 2
    page.evaluate("answer('window.Bokeh = { own: true };')")
    assert page.evaluate("end") == "there"
    page.clock.run_for(10 * AGAIN_MS)
    assert page.evaluate("asked") == 2


def test_a_kernel_that_is_gone_is_not_asked_for_ever(page: Any) -> None:
    page.clock.run_for(100 * AGAIN_MS)
    assert page.evaluate("asked") == 6
    assert "did not come" in page.evaluate("end")
    page.evaluate("load()")
    assert page.evaluate("asked") == 7
