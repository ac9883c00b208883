"""The inputs of a task, and from which of them the next message is taken.

*In turn*     one input after the other, leaving out those that wait for a barrier; the turns are noted.
*Following*   in a replay: as the job that is replayed took them, as long as that is known (see :mod:`.turns`).
*By hand*     one input after the other up to its barrier, so that nothing depends on what arrives first.

Batches that wait at an input behind each other are taken as one (but by hand): a step costs what it costs for one
batch, and rows know their own watermarks.

A task that follows takes barriers, and what says nothing new, as they come. A barrier between two messages that the
other job took in the opposite order would be a contradiction, and so would be another message than was noted. Then, and
at the end of the notes, it goes on in turn for good.
"""

from __future__ import annotations

from collections.abc import Sequence

from streamlab.core.event_time.time import MAX_TIME_US
from streamlab.core.messages import Barrier, Batch, Message, Watermark
from streamlab.runtime.network.transport import Inbox
from streamlab.runtime.process.job_log import say
from streamlab.runtime.task.exchange import Channel
from streamlab.runtime.task.task import Task
from streamlab.runtime.worker.input_order_log import Turn, TurnLog, TurnTrail

_PATIENCE_US = 30_000_000
"""How long the input whose turn it is may give nothing while another one is full."""


class Inputs:
    """See the module.

    Parameters
    ----------
    task
        Whose inputs they are.
    inboxes
        The receiving ends, in the order of ``task.inputs``.
    log
        Takes note of turns.
    trail
        What another task noted, to be followed.
    until_us
        The event time that sources read to: an input whose watermark has reached it gives nothing any more, and turns
        in which the other task took something from it are passed over.
    batch_rows
        Most rows that batches have together that are taken as one.
    """

    def __init__(
        self,
        task: Task,
        inboxes: Sequence[Inbox],
        log: TurnLog | None,
        trail: TurnTrail | None,
        *,
        until_us: int | None = None,
        batch_rows: int = 500_000,
    ) -> None:
        self._task = task
        self._inboxes = list(inboxes)
        self._log = log
        self._trail = trail
        self._until_us = until_us
        self._batch_rows = batch_rows
        self._by_hand = False
        self._step = 0
        self._next = 0
        self._starved_us: int | None = None
        self._keep_watermarks()

    def __len__(self) -> int:
        return sum(map(len, self._inboxes))

    @property
    def batches(self) -> int:
        """How many batches wait."""
        return sum(inbox.batches for inbox in self._inboxes)

    @property
    def followed(self) -> int | None:
        """How many turns were followed; None when that is over, or never was."""
        return None if self._trail is None else self._trail.followed

    def go_by_hand(self, *, by_hand: bool) -> None:
        """Take messages by hand from now on, or no longer."""
        self._by_hand = by_hand
        self._keep_watermarks()

    def begin_step(self, number: int) -> None:
        """Let the barriers of a step in: its clock is known here from now on."""
        self._step = number

    def take(self, now_us: int) -> tuple[Channel, Message] | None:
        """Take the next message, if there is one that may be taken."""
        if self._by_hand:
            at = self._next_by_hand()
        elif self._trail is not None:
            at = self._next_noted(self._trail, now_us)
        else:
            at = self._next_in_turn()
        if at is None:
            return None
        inbox = self._inboxes[at]
        channel, batches = inbox.channel, self._batches_of(inbox)
        message = inbox.take_batches(batches) if batches else inbox.take()
        if isinstance(message, Barrier):
            return channel, message
        if self._by_hand:
            self._leave()
        if not self._task.is_known(channel, message):
            if self._log is not None:
                self._log.note(Turn.of(at, message, batches))
            if self._trail is not None:
                self._trail.advance()
        return channel, message

    def discard(self) -> None:
        """Drop what waits: the task has ended, and those that send must be able to go on to their own ends."""
        for inbox in self._inboxes:
            while len(inbox):
                inbox.take()

    def wait(self) -> None:
        """Take note that sources are paused: that nothing comes has its reason."""
        self._starved_us = None

    def passed(self, checkpoint_id: int) -> None:
        """Take note that the task's state was taken."""
        if self._log is not None:
            self._log.passed(checkpoint_id)

    def forget_before(self, checkpoint_id: int) -> None:
        """Take note that no checkpoint before this one is kept."""
        if self._log is not None:
            self._log.forget_before(checkpoint_id)

    def close(self) -> None:
        """Close what is open."""
        if self._log is not None:
            self._log.close()

    def _batches_of(self, inbox: Inbox) -> int:
        """Return how many batches are taken as one; 0 when something else is next."""
        if not isinstance(inbox.head, Batch):
            return 0
        if self._by_hand:
            return 1
        turn = None if self._trail is None else self._trail.next()
        return inbox.batches_in_a_row(self._batch_rows) if turn is None else turn.batches

    # -- whose message is next -----------------------------------------------------------------------------------

    def _next_by_hand(self) -> int | None:
        awaited = (at for at, inbox in enumerate(self._inboxes) if self._task.awaits(inbox.channel))
        at = next(awaited, None)
        return at if at is not None and self._has_message(self._inboxes[at]) else None

    def _next_in_turn(self) -> int | None:
        for step in range(len(self._inboxes)):
            at = (self._next + step) % len(self._inboxes)
            inbox = self._inboxes[at]
            if self._has_message(inbox) and not self._task.is_blocked(inbox.channel):
                self._next = at + 1
                return at
        return None

    def _next_noted(self, trail: TurnTrail, now_us: int) -> int | None:
        open_ones = ((at, i) for at, i in enumerate(self._inboxes) if not self._task.is_blocked(i.channel))
        free = [at for at, inbox in open_ones if self._has_message(inbox)]
        for at in free:
            if self._has_no_turn(self._inboxes[at]):
                return at
        turn = trail.next()
        while turn is not None and self._gives_no_more(turn.input):
            trail.advance()
            turn = trail.next()
        if turn is None:
            self._leave()
            return self._next_in_turn()
        inbox = self._inboxes[turn.input]
        if self._task.is_blocked(inbox.channel):
            return None if not free else self._deviate("a checkpoint was taken where the other job took none")
        while len(inbox) and _was_left_out(inbox.head, turn):
            if self._is_last(inbox.head):
                return turn.input  # what replaced it there does not come here
            inbox.take()
        if not self._has_message(inbox):
            return self._starve(now_us)
        return self._follow(turn, inbox, now_us)

    def _follow(self, turn: Turn, inbox: Inbox, now_us: int) -> int | None:
        """Take what was noted from the input that it came from, all of it together."""
        if turn.batches > 1 and isinstance(inbox.head, Batch) and inbox.batches_in_a_row() < turn.batches:
            if inbox.holds_more_than_rows:
                return self._deviate("batches that were taken as one come apart here")
            return self._starve(now_us)
        self._starved_us = None
        is_noted = Turn.of(turn.input, inbox.head, turn.batches) == turn
        return turn.input if is_noted else self._deviate(f"{type(inbox.head).__name__} came where another was noted")

    def _has_message(self, inbox: Inbox) -> bool:
        """Return whether there is something to take; the barrier of a step that has not begun here must wait."""
        if not len(inbox):
            return False
        head = inbox.head
        return not (isinstance(head, Barrier) and head.kind == "step" and head.checkpoint_id > self._step)

    def _gives_no_more(self, at: int) -> bool:
        """Return whether nothing but a barrier can come from an input, since its sources have been read to the time."""
        inbox = self._inboxes[at]
        has_none = not len(inbox) or isinstance(inbox.head, Barrier)
        return self._until_us is not None and has_none and self._task.watermark_of(inbox.channel) >= self._until_us

    def _is_last(self, message: Message) -> bool:
        """Return whether a watermark is one behind which sources give nothing more."""
        return self._until_us is not None and isinstance(message, Watermark) and message.us >= self._until_us

    def _has_no_turn(self, inbox: Inbox) -> bool:
        return isinstance(inbox.head, Barrier) or self._task.is_known(inbox.channel, inbox.head)

    def _starve(self, now_us: int) -> int | None:
        """Wait for the input whose turn it is, but not for ever while others are held up."""
        if not any(inbox.is_full for inbox in self._inboxes):
            self._starved_us = None
            return None
        if self._starved_us is None or now_us < self._starved_us:
            self._starved_us = now_us
        if now_us - self._starved_us < _PATIENCE_US:
            return None
        return self._deviate(f"nothing came for {_PATIENCE_US // 1_000_000} s from the input whose turn it was")

    def _deviate(self, reason: str) -> int | None:
        task = self._task
        say(
            f"{task.vertex.id}[{task.subtask}]: takes its inputs in an order of its own from here on, since {reason}; "
            "rows that are late may differ from those of the job that is replayed"
        )
        self._leave()
        return self._next_in_turn()

    def _leave(self) -> None:
        self._trail = None
        self._keep_watermarks()

    def _keep_watermarks(self) -> None:
        for inbox in self._inboxes:
            inbox.keeps_watermarks = self._by_hand or self._trail is not None


def _was_left_out(message: Message, turn: Turn) -> bool:
    """Return whether a watermark was not taken where a turn was: a later one, or batches put together, made it void.

    The latter may have been before a checkpoint; a source that begins there says again where it is.
    """
    if not isinstance(message, Watermark):
        return False
    return message.us < turn.us if turn.is_watermark else bool(turn.batches) and message.us != MAX_TIME_US
