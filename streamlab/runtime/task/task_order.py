"""Where a task stands between its inputs and its outputs: what a checkpoint keeps of it beside the state of steps."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from streamlab.core.event_time.watermarks import WatermarkMerger
from streamlab.runtime.task.exchange import Router
from streamlab.state.checkpoints.manifest import TaskOrder


def order_of(merger: WatermarkMerger, routers: Sequence[Router]) -> TaskOrder:
    """Return where a task stands."""
    return msgspec.convert({**merger.snapshot(), "routes": [router.next for router in routers]}, TaskOrder)


def restored_merger(inputs: int, order: TaskOrder | None) -> WatermarkMerger:
    """Return what merges the watermarks of so many inputs, from where it stood if there were as many."""
    if order is None or len(order.channels) != inputs:
        return WatermarkMerger(max(1, inputs))
    return WatermarkMerger.restore({"current": order.current, "idle": order.idle, "channels": list(order.channels)})


def restore_routes(routers: Sequence[Router], order: TaskOrder | None) -> None:
    """Let each round robin go on from where it stood if there were as many."""
    if order is not None and len(order.routes) == len(routers):
        for router, position in zip(routers, order.routes, strict=True):
            router.next = position
