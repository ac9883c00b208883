"""Streams in notebooks: the ``%%stream`` magic and its live view.

The only package that knows IPython, ipywidgets and anywidget; nothing else imports it, so that worker processes never
do. ``%load_ext streamlab`` leads to :func:`load_ipython_extension`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

_ATTRIBUTE = "_streamlab_magics"


def load_ipython_extension(shell: InteractiveShell) -> None:
    """Give the shell the ``stream`` magic, and get the processes of a first job ready: ``%load_ext streamlab``.

    Loading twice changes nothing.
    """
    from streamlab.runtime.client.spares import warm_up  # noqa: PLC0415 - only notebooks need all this

    # They import what the first job will need, while this process does the same.
    warm_up()
    from streamlab.notebook.magics.magics import StreamMagics  # noqa: PLC0415 - costs a second

    if not hasattr(shell, _ATTRIBUTE):
        magics = StreamMagics(shell)
        setattr(shell, _ATTRIBUTE, magics)
        shell.register_magics(magics)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """Take the magic away from the shell: what ``%unload_ext streamlab`` does. Jobs go on."""
    magics = getattr(shell, _ATTRIBUTE, None)
    if magics is not None:
        magics.close()
        delattr(shell, _ATTRIBUTE)
        for kind in ("line", "cell"):
            shell.magics_manager.magics[kind].pop("stream", None)
