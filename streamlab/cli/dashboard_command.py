"""``streamlab dashboard``: serves until Ctrl-C, and prints the address when it is known to work."""

from __future__ import annotations

import logging
import threading
from pathlib import Path

from rich.console import Console

from streamlab.core.errors import JobError, explained
from streamlab.dashboard import DashboardServer
from streamlab.job.figures.access_token import kept_token


def run(console: Console, *, job: str | None, port: int, metrics: bool = False, token_file: Path | None = None) -> None:
    """Serve the dashboard.

    Parameters
    ----------
    console
        Where the address is printed.
    job
        The job whose page is printed; None for the list.
    port
        Port of the loopback address; 0 takes a free one.
    metrics
        Whether Prometheus can scrape it.
    token_file
        Where the token is kept; None makes a new one up.

    Raises
    ------
    OptionError
        If the port is taken, or the file is no good.
    JobError
        If the way through the proxy of a JupyterHub does not lead here.
    """
    # Requests without the token are answered; they need no warning each.
    logging.getLogger("tornado.access").setLevel(logging.ERROR)
    token = None if token_file is None else kept_token(token_file)
    server = DashboardServer(port, metrics=metrics, token=token)
    refused = threading.Event()

    def tell() -> None:
        if server.is_reachable():
            lines = [f"Dashboard: {server.url(job)}"]
            lines += [f"Prometheus: {server.metrics_url}, with the token as a bearer"] if metrics else []
            console.print("\n".join([*lines, "Ctrl-C ends it; jobs go on."]), soft_wrap=True, markup=False)
        else:
            refused.set()
            server.stop()

    server.run(when_ready=lambda: threading.Thread(target=tell, name="streamlab-dashboard-probe", daemon=True).start())
    if refused.is_set():
        address = server.address
        hint = "install jupyter-server-proxy where the notebook server runs" if address.is_proxied else "look at --port"
        text = explained("dashboard", needed=f"an answer at {address.probe_url}", got="none", hint=hint)
        raise JobError(text)
