"""The form of error texts."""

from __future__ import annotations

from streamlab.core.errors import explained


def test_what_another_error_says_is_quoted_with_one_full_stop():
    inner = explained("state", needed="room on the disk", got="none")
    outer = explained("checkpoint", needed="to be complete", got=f"a failure: {inner}", hint="try again")
    assert outer == (
        "checkpoint: needs to be complete, got a failure: state: needs room on the disk, got none.\n  → try again"
    )
