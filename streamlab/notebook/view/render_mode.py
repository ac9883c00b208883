"""How views are drawn for whoever runs the present cell."""

from __future__ import annotations

import os

from IPython.core.interactiveshell import InteractiveShell

from streamlab.core.errors import OptionError, explained

_MODES = ("auto", "widget", "static", "text")


def render_mode(shell: InteractiveShell) -> str:
    """Return ``widget``, ``static`` or ``text``.

    The environment variable STREAMLAB_RENDER decides unless it is ``auto`` or missing. A front end for people says
    which cell it runs, and runners of whole notebooks do not: that tells whether a widget would ever be seen.

    Raises
    ------
    OptionError
        If STREAMLAB_RENDER is none of the modes.
    """
    given = os.environ.get("STREAMLAB_RENDER", "auto")
    if given not in _MODES:
        raise OptionError(explained("STREAMLAB_RENDER", needed=" or ".join(_MODES), got=repr(given)))
    if given != "auto":
        return given
    kernel = getattr(shell, "kernel", None)
    if kernel is None:
        return "text"
    metadata = kernel.get_parent().get("metadata", {})
    return "widget" if metadata else "static"
