"""The environment variable that says where everything is kept: made absolute before anybody changes folders."""

from __future__ import annotations

import os

VARIABLE = "STREAMLAB_HOME"


def settle_home() -> None:
    """Make a relative STREAMLAB_HOME absolute, for this process and its children, whatever ``chdir`` follows."""
    given = os.environ.get(VARIABLE)
    if given and not os.path.isabs(given):
        os.environ[VARIABLE] = os.path.abspath(os.path.expanduser(given))
