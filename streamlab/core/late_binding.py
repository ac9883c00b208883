"""What a lower layer offers its users of a higher one, which it must not import: found by name when it is first used.

The package's own ``__init__``, which stands above all layers, says where things are.

Examples
--------
>>> offer("square root", "math:sqrt")
>>> offered("square root")(9.0)
3.0
"""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module
from typing import Any

_HOMES: dict[str, str] = {}


def offer(name: str, home: str) -> None:
    """Say where something is to be found: ``module:function``."""
    _HOMES[name] = home


def offered(name: str) -> Callable[..., Any]:
    """Return what was offered under a name. Raises KeyError if nothing was."""
    module, _, attribute = _HOMES[name].partition(":")
    found: Callable[..., Any] = getattr(import_module(module), attribute)
    return found
