"""What drives the splits of one source subtask: order, watermarks, pace, idleness, dead letters.

Rules
-----
- The split whose watermark is lowest is read next, and a split that is still to be read holds the watermark below its
  earliest time (at the minimum when that is unknown). So the order of reading never makes a row late.
- A watermark follows each batch, from the data alone. The reader's is the minimum over its splits that are not idle; a
  split that has ended no longer counts, and when all have, the watermark is the maximum and the stream ends.
- Rows that are read at full speed are gathered up to `batch_rows`; rows that trickle in for up to `batch_ms`.
- With a pace, rows wait until their event time has come, measured from the earliest time of all splits (`pacing`).
- Positions in a snapshot are those of rows that were given out, not of rows that were read.
- What was given out is noted (see :mod:`.cuts`); a replay gives out the same batches as long as there are notes.

The reader is pure with respect to time: the clock is an argument.
"""

from __future__ import annotations

import heapq
import zlib
from collections import deque
from collections.abc import Collection, Iterable, Sequence
from typing import Literal

import polars as pl

from streamlab.connectors.cuts import Cut, CutLog, CutTrail
from streamlab.connectors.following import Waiting, all_due, earliest, planned
from streamlab.connectors.formats.base import UNREADABLE, first_line
from streamlab.connectors.lane import Lane, Piece
from streamlab.connectors.letters import letters, refuse
from streamlab.connectors.pacing import Pacing, reached
from streamlab.connectors.progress import ReaderSnapshot, SplitProgress, assigned, rows_of
from streamlab.connectors.source import Source, Split
from streamlab.connectors.split_figures import note_rows, source_clocks, split_statuses
from streamlab.connectors.vetting import Vetting
from streamlab.core.failpoints import reach
from streamlab.core.messages import DEAD_LETTERS, Batch, End, Idle, Message, Watermark
from streamlab.core.time import MAX_TIME_US, MIN_TIME_US, tick_us
from streamlab.core.watermarks import IdleClock, PartitionWatermarks, Signal
from streamlab.observe.status import TimeStatus
from streamlab.observe.time_notes import TimeNotes

DISCOVER_EVERY_US = 250_000
"""How often a source that discovers splits is asked for new ones."""

_LOOK_US = 5_000
"""How often it is looked whether what another reader gave out next is there, and due."""

_FINISHED = ""
"""Stands, in the combined watermark, for all splits of a discovering source that have ended."""


class SourceReader:
    """Reads a source's splits for one subtask.

    Parameters
    ----------
    source
        What is read.
    splits
        *All* splits of the source; the reader takes its own share.
    subtask, parallelism
        Which of how many readers this is.
    snapshot
        Where to go on.
    batch_rows
        Rows that a batch grows to at full speed.
    batch_ms
        How long rows that trickle in are gathered.
    on_error
        What happens to input that cannot be understood, unless the source says it itself.
    until
        As far as rows are given out: those that had been given out when this snapshot was taken. None: to the end.
    cuts
        Takes note of what is given out.
    trail
        What another reader noted from this snapshot on: the same batches are given out.
    """

    def __init__(
        self,
        source: Source,
        splits: Sequence[Split],
        subtask: int = 0,
        parallelism: int = 1,
        snapshot: ReaderSnapshot | None = None,
        *,
        batch_rows: int = 500_000,
        batch_ms: int = 10,
        on_error: Literal["fail", "dead_letter"] = "dead_letter",
        until: ReaderSnapshot | None = None,
        cuts: CutLog | None = None,
        trail: CutTrail | None = None,
    ) -> None:
        self.source = self._given_source = source
        self._cuts = cuts
        self._trail = None if source.discovers else trail
        self._parts: list[tuple[str, int]] = []
        self._ends: list[str] = []
        self._idle: set[str] = set()
        self._look_again_us = MIN_TIME_US
        self._until = until
        self.rows_read = 0
        """Rows that were given out, dead letters included."""
        self.notes = TimeNotes()
        """What was noted of the event times of rows that were given out."""
        self._subtask, self._parallelism = subtask, parallelism
        self._batch_rows, self._batch_us = max(1, batch_rows), batch_ms * 1000
        self._fails = (source.on_error or on_error) == "fail"
        timing = source.timing
        column = timing.event_time
        self._delay_us = timing.watermark.fixed_us("watermark") if timing.watermark else None
        self._tick_us = tick_us(source.schema[column]) if column else 1
        self._idle_us = timing.idle_timeout.fixed_us("idle_timeout") if timing.idle_timeout else None
        self._column = column
        self._vetting = Vetting(source)
        self._restored = restored = snapshot or ReaderSnapshot()
        self._known = {split.id for split in splits} | set(restored.splits)
        self._lanes: dict[str, Lane] = {}
        self._finished: dict[str, SplitProgress] = {}
        self._queue: deque[Piece] = deque()
        self._last: list[tuple[str, pl.DataFrame | pl.LazyFrame, int]] = []
        self._watermarks = PartitionWatermarks.restore({"current": restored.watermark_us, "idle": False, "splits": []})
        self._latest_us = restored.latest_us
        starts = [split.first_time_us for split in splits if split.first_time_us is not None]
        begins_us = min(starts, default=None) if restored.latest_us is None else restored.latest_us
        self._pacing = Pacing(timing.pace, begins_us)
        self._given_us: int | None = None
        self._next_look_us = MIN_TIME_US
        self._folder_clock = IdleClock(self._idle_us) if self._idle_us else None
        self._ended = False
        if source.discovers:
            self._watermarks.add(_FINISHED, restored.watermark_us)
        self._adopt(assigned(splits, subtask, parallelism))

    # -- what the task calls -------------------------------------------------------------------------------------

    def poll(self, now_us: int) -> list[Message]:
        """Read on and return what there is: batches, dead letters, the watermark, idleness, at last the end.

        Raises
        ------
        SourceError
            If input cannot be understood and that is to fail, or a split cannot be read at all.
        """
        if self._ended:
            return []
        reach("source.read")
        self._pacing.start(now_us)
        if self._trail is not None and 0 < self._look_again_us - now_us <= _LOOK_US:
            return []
        followed = self._follow(now_us)
        if followed is not None:
            return followed if self._lanes else followed + self._end()
        self._discover(now_us)
        self._fill(now_us)
        self._change_pace(now_us)
        if self._must_wait(now_us):
            return []
        out = self._give(now_us, self._due_pieces(self._pacing.allowed_us(now_us)))
        if not self._lanes and not self.source.discovers:
            self._note()
            return out + self._end()
        return out + self._idleness(now_us)

    def reread(self) -> list[Message]:
        """Return the rows given out last, of which some were lazy, collected; what cannot be read is a dead letter."""
        frames: list[pl.DataFrame | pl.LazyFrame] = []
        refused: list[pl.DataFrame] = []
        for split, frame, rows in self._last:
            try:
                frames.append(frame.lazy().collect())
            except UNREADABLE as error:
                reason = f"{rows:,} rows cannot be read: {first_line(error)}"
                letter = letters(self.source.name, [(reason, "", split)])
                if letter is not None:
                    refused.append(letter)
                    self.rows_read += letter.height - rows
        return self._batches(frames, refused, self._given_us or 0)

    def stop(self, now_us: int) -> list[Message]:
        """Stop reading: give out what was read, then the last watermark and the end."""
        if self._ended:
            return []
        out = self._give(now_us, self._due_pieces(None))
        self._note()
        return out + self._end()

    def wakeup_us(self, now_us: int) -> int | None:
        """Return when the next poll is worth making (now or earlier: at once), or None: soon, nobody can tell."""
        if self._ended:
            return None
        if self._trail is not None:
            return max(now_us, self._look_again_us)
        if self._must_wait(now_us) and self._given_us is not None:
            return self._given_us + self._batch_us
        wishes = [self._next_look_us] if self.source.discovers else []
        unsure = False
        for lane in self._lanes.values():
            wish = now_us
            if lane.queued or lane.room == 0 or self._pacing.is_early(lane, now_us):
                continue
            if lane.dry:
                if lane.clock is not None and lane.clock.due_us is not None:
                    wishes.append(lane.clock.due_us)
                known = lane.wakeup_us(now_us)
                unsure = unsure or known is None
                wish = known if known is not None else MAX_TIME_US
            wishes.append(wish)
        wishes += self._pacing.waits_until(self._lanes.values(), self._queue, self._column)
        earliest = min(wishes, default=None)
        return None if unsure and (earliest is None or earliest > now_us) else earliest

    @property
    def reached(self) -> bool:
        """Whether everything was given out that is to be, and there is more: the reader waits for ever then."""
        return self._until is not None and bool(self._lanes) and all(lane.room == 0 for lane in self._lanes.values())

    def snapshot(self) -> ReaderSnapshot:
        """Return positions and watermarks as of what was given out, once they can be opened after a power failure.

        Raises
        ------
        SourceError
            If what was recorded cannot be made durable.
        """
        reach("source.position")
        for lane in self._lanes.values():
            lane.make_durable()
        running = {
            name: SplitProgress(
                lane.position, lane.skip, self._watermarks.watermark_of(name), finished=False, rows=lane.rows_given
            )
            for name, lane in self._lanes.items()
            if lane.begun
        }
        return ReaderSnapshot(self._finished | running, self._watermarks.current, self._latest_us)

    def time_status(self, most_splits: int) -> TimeStatus:
        """Return the clock that the source is, and what is known of its splits."""
        finished = {name: (one.rows, one.watermark_us) for name, one in self._finished.items()}
        splits = split_statuses(self.source.name, self._lanes, finished, self._watermarks, most_splits)
        return TimeStatus(
            clocks=source_clocks(self.source), splits=splits, split_count=len(self._lanes) + len(self._finished)
        )

    def passed(self, checkpoint_id: int) -> None:
        """Take note that a barrier was sent after what was given out."""
        if self._cuts is not None:
            self._cuts.passed(checkpoint_id)

    def forget_before(self, checkpoint_id: int) -> None:
        """Take note that no checkpoint before this one is kept, so that nobody replays from there."""
        if self._cuts is not None:
            self._cuts.forget_before(checkpoint_id)

    def release(self, oldest: ReaderSnapshot) -> None:
        """Take note that no snapshot older than this one is kept, so that nothing before it is read again."""
        for name, lane in self._lanes.items():
            if name in oldest.splits:
                lane.release(oldest.splits[name].position)

    def close(self) -> None:
        """Release what is open."""
        for lane in self._lanes.values():
            lane.close()
        if self._cuts is not None:
            self._cuts.close()

    # -- splits --------------------------------------------------------------------------------------------------

    def _discover(self, now_us: int) -> None:
        if not self.source.discovers or self._next_look_us - DISCOVER_EVERY_US <= now_us < self._next_look_us:
            return
        self._next_look_us = now_us + DISCOVER_EVERY_US
        found = self.source.new_splits(self._known)
        self._known |= {split.id for split in found}
        self._adopt([s for s in found if zlib.crc32(s.id.encode()) % self._parallelism == self._subtask])

    def _adopt(self, splits: Sequence[Split]) -> None:
        for split in splits:
            progress = self._restored.splits.get(split.id)
            if progress is not None and progress.finished:
                self._finished[split.id] = progress
                continue
            start = MIN_TIME_US
            if self._delay_us is not None and split.min_time_us is not None:
                start = split.min_time_us - self._tick_us
            lane = Lane(self.source, split, self._vetting)
            if progress is not None:
                start = max(progress.watermark_us, start)
                reached = progress.watermark_us + self._behind_us if progress.watermark_us > MIN_TIME_US else None
                lane = Lane(
                    self.source,
                    split,
                    self._vetting,
                    reached_us=reached,
                    position=progress.position,
                    skip=progress.skip,
                    rows_given=progress.rows,
                )
            lane.limit = self._limit_of(split.id)
            lane.order_us = start
            lane.clock = IdleClock(self._idle_us) if self._idle_us else None
            self._watermarks.add(split.id, start)
            self._lanes[split.id] = lane
        if self._lanes and self.source.discovers:
            self._watermarks.on_idle(_FINISHED, deferred=True)

    def _limit_of(self, split: str) -> int | None:
        """Return how many rows of a split are given out at most."""
        return None if self._until is None else rows_of(self._until, split)

    # -- reading -------------------------------------------------------------------------------------------------

    def _fill(self, now_us: int) -> None:
        """Read until a batch is full, or nothing more can be had now."""
        lanes = [lane for lane in self._lanes.values() if self._can_read(lane, now_us)]
        order = [(lane.order_us, at, lane) for at, lane in enumerate(lanes)]
        heapq.heapify(order)
        rows = sum(piece.left for piece in self._queue) if self._pacing.factor is None else 0
        while order and rows < self._batch_rows and not (self.source.keeps_batches and self._has_due(now_us)):
            _, at, lane = heapq.heappop(order)
            left = lane.rows_left()
            if rows and left is not None and left > self._batch_rows - rows and self._pacing.factor is None:
                break
            piece = self._read(lane, self._batch_rows - rows, now_us)
            if piece is None:
                continue
            if self._pacing.factor is None:
                rows += piece.left
            else:
                allowed = self._pacing.allowed_us(now_us)
                if allowed is None or not self._column or piece.due(self._column, allowed) < piece.left:
                    continue
                rows += piece.left
            if not lane.exhausted:
                heapq.heappush(order, (lane.order_us, at, lane))
        if self._pacing.begins_us is None and self._pacing.factor is not None and self._column:
            times = [piece.next_time_us(self._column) for piece in self._queue]
            self._pacing.begins_us = min((time for time in times if time is not None), default=None)

    def _read(self, lane: Lane, limit: int, now_us: int) -> Piece | None:
        """Read once from a split; what comes waits to be given out."""
        lane.dry = False
        piece = lane.fetch(limit, now_us)
        if piece is None:
            return None
        self._queue.append(piece)
        if piece.max_time_us is not None and self._delay_us is not None:
            reached = piece.max_time_us - self._behind_us
            lane.order_us = reached if lane.is_fresh else max(lane.order_us, reached)
            lane.is_fresh = False
        return piece

    def _can_read(self, lane: Lane, now_us: int) -> bool:
        if lane.exhausted or lane.room == 0:
            return False
        return self._pacing.factor is None or not (lane.queued or self._pacing.is_early(lane, now_us))

    def _must_wait(self, now_us: int) -> bool:
        """Return whether rows that trickle in are to be gathered a little longer."""
        if not self._queue or self._given_us is None or not 0 <= now_us - self._given_us < self._batch_us:
            return False
        dry = not self.source.keeps_batches and any(lane.dry for lane in self._lanes.values())
        waiting = self._pacing.factor is not None or dry
        return waiting and sum(piece.left for piece in self._queue) < self._batch_rows

    # -- pace ----------------------------------------------------------------------------------------------------

    def set_pace(self, factor: float | None) -> None:
        """Give out rows at another pace from the next poll on, event time going on from where it stands then.

        A source whose pace nobody can change keeps it.

        Parameters
        ----------
        factor
            How many times faster than they happened; None: as fast as it goes.
        """
        if not self._given_source.pace_name:
            return
        self.source = self._given_source.at_pace(factor)
        factor = self.source.timing.pace
        self._vetting.needs_rows = factor is not None
        for lane in self._lanes.values():
            lane.change_source(self.source)
        if self._cuts is not None:
            self._cuts.change_pace(paced=factor is not None)
        self._pacing.wish(factor)

    def pause(self, now_us: int) -> None:
        """Take note that nothing is polled for a while, which a pace does not make up for."""
        self._pacing.hold(now_us, self._reached_us())
        for lane in self._lanes.values():
            lane.change_source(self.source)

    def _change_pace(self, now_us: int) -> None:
        if self._pacing.is_new:
            self._pacing.change(now_us, self._reached_us())

    def _reached_us(self) -> int | None:
        return reached(self._lanes.values(), self._queue, self._column, self._latest_us)

    def _has_due(self, now_us: int) -> bool:
        """Return whether there are rows to give out now."""
        allowed = self._pacing.allowed_us(now_us)
        if allowed is None or not self._column:
            return bool(self._queue)
        return any(piece.due(self._column, allowed) for piece in self._queue)

    # -- following another reader --------------------------------------------------------------------------------

    def _follow(self, now_us: int) -> list[Message] | None:
        """Do what another reader did next, if everything for it is there; None when that is not known any more."""
        trail, self._trail = self._trail, None
        cut = None if trail is None else trail.next(self._rows_given)
        if trail is None or cut is None:
            return None
        takes = planned(cut, self._lanes, self._queue, lambda need: self._batch_rows if trail.paced else need, now_us)
        if takes is None:
            return None
        self._trail = trail
        if isinstance(takes, Waiting) or not self._is_time(takes, now_us):
            self._look_again_us = now_us + _LOOK_US
            return []
        trail.advance()
        out = self._give(now_us, takes, cut.finished)
        self._note(cut.idle)
        for name in cut.idle:
            self._watermarks.on_idle(name, deferred=True)
        return out + self._said(self._watermarks.emit())

    def _rows_given(self, split: str) -> int:
        lane = self._lanes.get(split)
        done = self._finished.get(split)
        return lane.rows_given if lane is not None else 0 if done is None else done.rows

    def _is_time(self, takes: Sequence[tuple[Piece, int]], now_us: int) -> bool:
        """Return whether a pace allows all of these rows."""
        if self._pacing.factor is not None and self._column and self._pacing.begins_us is None:
            self._pacing.begins_us = earliest(takes, self._column)
        self._change_pace(now_us)
        return all_due(takes, self._column or "", self._pacing.allowed_us(now_us))

    # -- giving out ----------------------------------------------------------------------------------------------

    def _due_pieces(
        self, allowed_us: int | None, only: Lane | None = None, most: int | None = None
    ) -> list[tuple[Piece, int]]:
        """Return what is due, of one split only and at most so many rows if told so: pieces, how many of their rows."""
        takes: list[tuple[Piece, int]] = []
        blocked: set[str] = set()
        rooms: dict[str, int] = {}
        for piece in self._queue:
            name = piece.lane.split.id
            if name in blocked or (only is not None and piece.lane is not only) or most == 0:
                continue
            due = piece.left if allowed_us is None else piece.due(self._column or "", allowed_us)
            if piece.lane.room is not None:
                room = rooms.setdefault(name, piece.lane.room)
                due = min(due, room)
                rooms[name] = room - due
                if not room:
                    blocked.add(name)
                    continue
            if most is not None:
                due = min(due, most)
                most -= due
            takes.append((piece, due))
            if due < piece.left:
                blocked.add(name)
        return takes

    def _give(
        self, now_us: int, takes: Sequence[tuple[Piece, int]], finished: Collection[str] | None = None
    ) -> list[Message]:
        """Give out rows, then the watermark that they allow; only splits that are `finished` end, if that is given."""
        frames: list[pl.DataFrame | pl.LazyFrame] = []
        refused: list[pl.DataFrame] = []
        self._last = []
        for piece, due in takes:
            lane = piece.lane
            if due:
                frame, (earliest, latest) = piece.take(due, self._column)
                frames.append(frame)
                self._last.append((lane.split.id, frame, due))
                self.rows_read += due
                self._observe(lane, latest)
                lane.given_at_us = now_us
                if self._column is not None:
                    note_rows(self.notes, lane, frame, due, column=self._column, earliest_us=earliest, latest_us=latest)
            if not piece.left and piece.letters is not None:
                refused.append(piece.letters)
                self.rows_read += piece.letters.height
            if due or not piece.left:
                lane.given(piece, due)
            if due:
                self._parts.append((lane.split.id, lane.rows_given))
        gone = {id(piece) for piece, _ in takes if not piece.left}
        self._queue = deque(piece for piece in self._queue if id(piece) not in gone)
        if not any(isinstance(frame, pl.LazyFrame) for frame in frames):
            self._last = []
        if frames or refused:
            self._given_us = now_us
        return self._batches(frames, refused, now_us) + self._after_rows(finished)

    def _note(self, idle: Collection[str] = ()) -> None:
        """Write down what was done since the last time."""
        if self._cuts is not None and (self._parts or self._ends or idle):
            self._cuts.note(Cut(tuple(self._parts), tuple(self._ends), tuple(idle)))
        self._parts, self._ends = [], []

    def _batches(
        self, frames: list[pl.DataFrame | pl.LazyFrame], refused: list[pl.DataFrame], now_us: int
    ) -> list[Message]:
        out: list[Message] = []
        if refused:
            together = pl.concat(refused)
            if self._fails:
                raise refuse(together)
            out.append(Batch(together, DEAD_LETTERS, now_us))
        if len(frames) == 1:
            out.insert(0, Batch(frames[0], ingested_us=now_us))
        elif frames and any(isinstance(frame, pl.LazyFrame) for frame in frames):
            out.insert(0, Batch(pl.concat([frame.lazy() for frame in frames]), ingested_us=now_us))
        elif frames:
            eager = [frame for frame in frames if isinstance(frame, pl.DataFrame)]
            out.insert(0, Batch(pl.concat(eager), ingested_us=now_us))
        return out

    def _observe(self, lane: Lane, latest_us: int | None) -> None:
        if lane.clock is not None:
            lane.clock.activity()
        if latest_us is not None:
            self._latest_us = max(latest_us, self._latest_us if self._latest_us is not None else latest_us)
        name = lane.split.id
        if latest_us is None or self._delay_us is None:
            self._watermarks.on_active(name, deferred=True)
            return
        if not lane.begun:
            # From now on the split's rows say where it is, not what was known of it before.
            self._watermarks.remove(name)
            self._watermarks.add(name)
        self._watermarks.on_watermark(name, max(latest_us - self._behind_us, MIN_TIME_US), deferred=True)

    def _after_rows(self, finished: Collection[str] | None) -> list[Message]:
        ended = [name for name, lane in self._lanes.items() if lane.finished and (finished is None or name in finished)]
        self._ends += ended
        for name in ended:
            lane = self._lanes.pop(name)
            watermark = self._watermarks.watermark_of(name)
            self._watermarks.remove(name)
            self._finished[name] = SplitProgress(
                lane.position, lane.skip, watermark, finished=True, rows=lane.rows_given
            )
            if self._folder_clock is not None:
                self._folder_clock.activity()
            if self.source.discovers:
                self._watermarks.on_watermark(_FINISHED, watermark, deferred=True)
                if self._lanes:
                    self._watermarks.on_idle(_FINISHED, deferred=True)
        said = self._said(self._watermarks.emit())
        self.notes.watermark_us = self._watermarks.current
        return said

    def _idleness(self, now_us: int) -> list[Message]:
        idle: set[str] = set()
        for name, lane in self._lanes.items():
            if lane.clock is None:
                continue
            if not lane.dry or lane.queued:
                lane.clock.activity()
            if lane.clock.is_idle(now_us):
                self._watermarks.on_idle(name, deferred=True)
                idle.add(name)
        if self.source.discovers and not self._lanes:
            never = not self._finished and self._parallelism > 1
            if never or (self._folder_clock is not None and self._folder_clock.is_idle(now_us)):
                self._watermarks.on_idle(_FINISHED, deferred=True)
        elif self._folder_clock is not None:
            self._folder_clock.activity()
        new, self._idle = idle - self._idle, idle
        self._note(sorted(new))
        return self._said(self._watermarks.emit())

    def _said(self, signals: Iterable[Signal]) -> list[Message]:
        """Return the signals that are messages: activity shows in the rows that follow."""
        return [signal for signal in signals if isinstance(signal, Watermark | Idle)]

    def _end(self) -> list[Message]:
        self._ended = True
        self.close()
        return [Watermark(MAX_TIME_US), End()]

    @property
    def _behind_us(self) -> int:
        """How far the watermark stays behind the latest row."""
        return (self._delay_us or 0) + self._tick_us
