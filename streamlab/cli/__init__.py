"""The ``streamlab`` command."""

from __future__ import annotations

from streamlab.cli.app import main

__all__ = ["main"]
