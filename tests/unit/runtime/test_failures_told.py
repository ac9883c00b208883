"""What is told of an error, however much data it quotes."""

from __future__ import annotations

import pytest

from streamlab.core.errors import OptionError, StepFailed
from streamlab.runtime.worker.task_runner import failure_of

LONG = "z" * 1_000_000


@pytest.mark.parametrize(
    "error",
    [
        ValueError(f"begins {LONG} ends"),
        OptionError(f"begins {LONG} ends"),
        StepFailed(f"begins {LONG} ends", step="map", traceback_text=f"begins {LONG} ends", sample=LONG),
    ],
    ids=lambda error: type(error).__name__,
)
def test_an_error_that_quotes_much_is_shortened(error: Exception) -> None:
    told = failure_of(error, "map", LONG)
    assert len(told.message) + len(told.traceback) + len(told.sample) < 40_000
    assert "begins" in told.message
    assert told.message.endswith("ends")
    assert told.traceback.strip().endswith("ends")


def test_an_error_of_the_usual_size_is_told_as_it_is() -> None:
    told = failure_of(ValueError("no such city"), "map", "a table")
    assert (told.message, told.step, told.sample) == ("map: ValueError: no such city", "map", "a table")
