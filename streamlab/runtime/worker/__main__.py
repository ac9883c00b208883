"""A worker process: ``python -m streamlab.runtime.worker <events fd> <whose> <parent>``, started by a coordinator.

What is imported here stays: it is kept from the garbage collector, which would look through all of it again and again.
"""

from __future__ import annotations

import gc
import sys


def main() -> None:
    """Import all that a worker needs, and run as one."""
    gc.disable()
    from streamlab.runtime.worker.worker import main as work  # noqa: PLC0415 - see above

    gc.freeze()
    gc.enable()
    work(int(sys.argv[1]), int(sys.argv[3]))


if __name__ == "__main__":
    main()
