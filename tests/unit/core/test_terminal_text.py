"""What others print cannot command the terminal that it is shown on."""

from __future__ import annotations

import pytest

from streamlab.core.terminal_text import without_escapes


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[31mred\x1b[0m", "red"),
        ("\x1b]0;title\x07a", "a"),
        ("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x1b\\", "link"),
        ("\x1b]52;c;cm0gLXJm\x07a", "a"),
        ("\x1bP1$q\x1b\\a\x1b(0b\x1bc", "ab"),
        ("\x9b2Ja\x9d0;t\x07", "a0;t"),
        ("50%\r100%\r\n", "50%\n100%\n"),
        ("a\x08\x7fb\u202egnp", "abgnp"),
        ("ünï\tcode\n数", "ünï\tcode\n数"),
    ],
)
def test_escapes_are_left_out(text, shown):
    assert without_escapes(text) == shown
