"""The dashboard: jobs of this machine in a browser, outside any notebook.

The pages show the notebook's live panel. A Bokeh server on the loopback address carries them; who opens one needs the
token that is part of the printed address.
"""

from __future__ import annotations

from streamlab.dashboard.server import DashboardServer

__all__ = ["DashboardServer"]
