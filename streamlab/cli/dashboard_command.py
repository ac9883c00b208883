"""``streamlab dashboard``: serves until Ctrl-C, and prints the address when it is known to work."""

from __future__ import annotations

import logging
import threading

from rich.console import Console

from streamlab.core.errors import JobError, explained
from streamlab.dashboard import DashboardServer


def run(console: Console, *, job: str | None, port: int) -> None:
    """Serve the dashboard.

    Parameters
    ----------
    console
        Where the address is printed.
    job
        The job whose page is printed; None for the list.
    port
        Port of the loopback address; 0 takes a free one.

    Raises
    ------
    JobError
        If the way through the proxy of a JupyterHub does not lead here.
    """
    # Requests without the token are answered; they need no warning each.
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    server = DashboardServer(port)
    refused = threading.Event()

    def tell() -> None:
        if server.is_reachable():
            console.print(f"Dashboard: {server.url(job)}\nCtrl-C ends it; jobs go on.", soft_wrap=True, markup=False)
        else:
            refused.set()
            server.stop()

    server.run(when_ready=lambda: threading.Thread(target=tell, name="streamlab-dashboard-probe", daemon=True).start())
    if refused.is_set():
        address = server.address
        hint = "install jupyter-server-proxy where the notebook server runs" if address.is_proxied else "look at --port"
        text = explained("dashboard", needed=f"an answer at {address.probe_url}", got="none", hint=hint)
        raise JobError(text)
