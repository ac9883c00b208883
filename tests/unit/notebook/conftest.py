"""An IPython shell for tests of the magic."""

from __future__ import annotations

import atexit
import warnings
from collections.abc import Iterator

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.testing.globalipapp import start_ipython


@pytest.fixture(scope="session")
def _session_shell() -> Iterator[InteractiveShell]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        shell = start_ipython()
    shell = shell if shell is not None else InteractiveShell.instance()
    yield shell
    # Now, while the folder with its history is still there; at the end of the process it is not.
    shell.atexit_operations()
    atexit.unregister(shell.atexit_operations)


@pytest.fixture
def shell(_session_shell: InteractiveShell) -> Iterator[InteractiveShell]:
    """Give a shell whose names are gone after the test."""
    yield _session_shell
    _session_shell.reset(new_session=False, aggressive=False)
