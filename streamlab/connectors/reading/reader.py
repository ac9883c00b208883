"""What drives the splits of one source subtask: reads them, gives out batches and dead letters, knows its positions.

Rules
-----
- Which split is read next is decided in :mod:`.read_ahead`. A split that is still to be read holds the watermark below
  its earliest time (at the minimum when that is unknown), so the order of reading never makes a row late.
- A watermark follows each batch (see :mod:`.split_watermarks`). When all splits have ended, the watermark is the
  maximum and the stream ends.
- Rows that are read at full speed are gathered up to `batch_rows`; rows that trickle in for up to `batch_ms`.
- With a pace, rows wait until their event time has come, measured from the earliest time of all splits (`pacing`).
- Positions in a snapshot are those of rows that were given out, not of rows that were read.
- What was given out is noted (see :mod:`.cuts`); a replay gives out the same batches as long as there are notes.
- A reader that is to read up to an event time stops behind the batch with which its watermark has reached that. When
  the last rows of all are in that batch, it ends as ever.
- The reader is pure with respect to time: the clock is an argument.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from typing import Literal

import polars as pl

from streamlab.connectors.contracts.dead_letters import refuse
from streamlab.connectors.contracts.source import Source, Split
from streamlab.connectors.reading.discovery import Discovery
from streamlab.connectors.reading.ended_splits import EndedSplits
from streamlab.connectors.reading.event_time_check import Vetting
from streamlab.connectors.reading.finished_splits import FinishedIds
from streamlab.connectors.reading.given_rows import batches_of, read_now
from streamlab.connectors.reading.pacing import Pacing
from streamlab.connectors.reading.progress import ReaderSnapshot, assigned, owner_of, rows_of
from streamlab.connectors.reading.read_ahead import ReadAhead
from streamlab.connectors.reading.replays.batch_log import END_OF_NOTES, Cut, CutLog, CutTrail
from streamlab.connectors.reading.replays.batch_replay import Waiting, all_due, earliest, planned
from streamlab.connectors.reading.split_cursor import ReadChunk, SplitCursor
from streamlab.connectors.reading.split_figures import note_rows, source_clocks, split_statuses
from streamlab.connectors.reading.split_watermarks import SplitWatermarks
from streamlab.core.event_time.row_watermarks import is_marked
from streamlab.core.event_time.time import MAX_TIME_US, MIN_TIME_US
from streamlab.core.failpoints import reach
from streamlab.core.messages import End, Message, Watermark
from streamlab.observe.status import TimeStatus
from streamlab.observe.time_notes import TimeNotes

_LOOK_US = 5_000
"""How often it is looked whether what another reader gave out next is there, and due."""


class SourceReader:
    """Reads a source's splits for one subtask.

    Parameters
    ----------
    source
        What is read.
    splits
        *All* splits of the source; the reader takes its own share. Of a source that discovers splits those that the
        snapshot knows count instead, if it knows any; all others are found in time.
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
    until_us
        The watermark at which no more rows are given out; None: to the end.
    cuts
        Takes note of what is given out.
    trail
        What another reader noted from this snapshot on: the same batches are given out.
    discovery
        How a source that discovers splits is asked for them.
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
        batch_ms: int = 200,
        on_error: Literal["fail", "dead_letter"] = "dead_letter",
        until: ReaderSnapshot | None = None,
        until_us: int | None = None,
        cuts: CutLog | None = None,
        trail: CutTrail | None = None,
        discovery: type[Discovery] = Discovery,
    ) -> None:
        self.source = self._given_source = source
        self._cuts = cuts
        self._trail = trail
        self._found: list[str] = []
        self._parts: list[tuple[str, int]] = []
        self._ends: list[str] = []
        self._spoke = False
        self._look_again_us = MIN_TIME_US
        self._halts = False
        self._until, self._until_us = until, until_us
        self._until_finished = FinishedIds(None if until is None else until.finished)
        self._is_there = False
        """Whether the watermark has reached the one that is read to."""
        self.rows_read = 0
        """Rows that were given out, dead letters included."""
        self.bytes_read = 0
        """Bytes of files that were given out, of splits known beforehand also those before a restart."""
        self.notes = TimeNotes()
        """What was noted of the event times of rows that were given out."""
        self._subtask, self._parallelism = subtask, parallelism
        self._batch_rows, self._batch_us = max(1, batch_rows), batch_ms * 1000
        self._fails = (source.on_error or on_error) == "fail"
        self._column = source.timing.event_time
        self._vetting = Vetting(source)
        self._restored = restored = snapshot or ReaderSnapshot()
        self._cursors: dict[str, SplitCursor] = {}
        self._ended_splits = EndedSplits(restored.finished, keeps=subtask == 0)
        self._discovery: Discovery | None = None
        self._discovery_type = discovery
        self._last: list[tuple[str, pl.DataFrame | pl.LazyFrame, int]] = []
        self._watermarks = SplitWatermarks(source, restored)
        starts = [split.first_time_us for split in splits if split.first_time_us is not None]
        begins_us = min(starts, default=None) if restored.latest_us is None else restored.latest_us
        self._pacing = Pacing(source.timing.pace, begins_us)
        self._ahead = ReadAhead(
            self._cursors,
            self._watermarks,
            self._pacing,
            self._column,
            batch_rows=self._batch_rows,
            keeps_batches=source.keeps_batches,
        )
        self._given_us: int | None = None
        self._ended = False
        if source.discovers:
            splits = restored.splits_found(splits)
        self._adopt(assigned(splits, subtask, parallelism, discovers=source.discovers))
        has_begun = bool(self._ended_splits.last) or any(cursor.begun for cursor in self._cursors.values())
        if until_us is not None and has_begun and self._watermarks.restored_us(self._cursors) >= until_us:
            self._stop_here()

    # -- what the task calls -------------------------------------------------------------------------------------

    def poll(self, now_us: int) -> list[Message]:
        """Read on and return what there is: batches, dead letters, the watermark, idleness, at last the end.

        Raises
        ------
        SourceError
            If input cannot be understood and that is to fail, or a split cannot be read at all.
        """
        if self._ended or self._waits_for_ever:
            return [] if self._ended else self._say()
        reach("source.read")
        self._pacing.start(now_us)
        if self._trail is not None and 0 < self._look_again_us - now_us <= _LOOK_US:
            return []
        followed = self._follow(now_us)
        if followed is not None:
            return followed if self._cursors or self.source.discovers else followed + self._end()
        self._discover(now_us)
        if self._must_wait(now_us):
            self._change_pace(now_us)
            return []
        self._ahead.joins_batches = self.source.joins_batches
        self._ahead.fill(now_us)
        self._change_pace(now_us)
        out = self._give(now_us, self._ahead.due(self._pacing.allowed_us(now_us)))
        if not self._cursors and not self.source.discovers:
            self._note()
            return out + self._end()
        return out + self._idleness(now_us)

    def reread(self) -> list[Message]:
        """Return the rows given out last, of which some were lazy, collected; what cannot be read is a dead letter."""
        return self._batches(*self._read_last(), self._given_us or 0)

    def _read_last(self) -> tuple[list[pl.DataFrame], list[pl.DataFrame]]:
        """Collect the rows given out last; what cannot be read is a dead letter."""
        refused: list[pl.DataFrame] = []
        frames = [self._read_now(split, frame, rows, refused) for split, frame, rows in self._last]
        return [frame for frame in frames if frame.height], refused

    def _read_now(
        self, split: str, frame: pl.DataFrame | pl.LazyFrame, rows: int, refused: list[pl.DataFrame]
    ) -> pl.DataFrame:
        """Collect rows; of what cannot be read nothing is left but a dead letter among the refused."""
        collected, letter = read_now(self.source, split, frame, rows)
        if letter is not None:
            refused.append(letter)
            self.rows_read += letter.height - rows
        return collected

    def stop(self, now_us: int) -> list[Message]:
        """Stop reading: give out what was read and is due, then the last watermark and the end.

        What a pace holds back stays unread.
        """
        if self._ended:
            return []
        if self._must_wait(now_us):
            self._ahead.fill(now_us)  # what has trickled in since the last batch
        out = self._give(now_us, self._ahead.due(self._pacing.allowed_us(now_us)))
        self._note()
        return out + self._end()

    def wakeup_us(self, now_us: int) -> int | None:
        """Return when the next poll is worth making (now or earlier: at once), or None: soon, nobody can tell."""
        if self._ended:
            return None
        if self._trail is not None and not self._waits_for_ever:
            return max(now_us, self._look_again_us)
        if self._halts or self._waits_for_ever:
            return now_us + _LOOK_US
        gathered_us = now_us if self._given_us is None else self._given_us + self._batch_us
        if self._must_wait(now_us) and self._ahead.pieces:
            return gathered_us
        wishes, unsure = self._ahead.wakeups_us(now_us)
        if self.source.discovers:
            wishes.append(self._finder().next_look_us)
        earliest = min(wishes, default=None)
        if unsure and (earliest is None or earliest > now_us):
            return None
        return max(earliest, gathered_us) if earliest is not None and self._must_wait(now_us) else earliest

    @property
    def watermark_us(self) -> int:
        """What was last given out; `MIN_TIME_US` before the first watermark."""
        return self._watermarks.current_us

    @property
    def reached(self) -> bool:
        """Whether everything was given out that is to be, and there is more: the reader waits for ever then."""
        if self._until is None:
            return self._waits_for_ever
        return bool(self._cursors) and all(cursor.room == 0 for cursor in self._cursors.values())

    def snapshot(self) -> ReaderSnapshot:
        """Return positions and watermarks as of what was given out, once they can be opened after a power failure.

        Raises
        ------
        SourceError
            If what was recorded cannot be made durable.
        """
        reach("source.position")
        for cursor in self._cursors.values():
            cursor.make_durable()
        running = {n: cursor.progress(self._watermarks.of(n)) for n, cursor in self._cursors.items() if cursor.begun}
        watermark_us, latest_us = self._watermarks.current_us, self._watermarks.latest_us
        found = tuple(cursor.split for cursor in self._cursors.values()) if self.source.discovers else None
        splits = {**self._ended_splits.last, **running}
        return ReaderSnapshot(splits, watermark_us, latest_us, self._ended_splits.stored(), found)

    def time_status(self, most_splits: int) -> TimeStatus:
        """Return the clock that the source is, and what is known of its splits."""
        finished = {name: (one.rows, one.watermark_us) for name, one in self._ended_splits.last.items()}
        splits = split_statuses(self.source.name, self._cursors, finished, self._watermarks.combined, most_splits)
        return TimeStatus(
            clocks=source_clocks(self.source), splits=splits, split_count=len(self._cursors) + self._ended_splits.count
        )

    def passed(self, checkpoint_id: int) -> None:
        """Take note that a barrier was sent after what was given out."""
        if self._cuts is not None:
            self._cuts.passed(checkpoint_id)
            self._note(self._watermarks.idle(self._cursors))

    def forget_before(self, checkpoint_id: int) -> None:
        """Take note that no checkpoint before this one is kept, so that nobody replays from there."""
        if self._cuts is not None:
            self._cuts.forget_before(checkpoint_id)

    def release(self, oldest: ReaderSnapshot) -> None:
        """Take note that no snapshot older than this one is kept, so that nothing before it is read again."""
        for name, cursor in self._cursors.items():
            if name in oldest.splits:
                cursor.release(oldest.splits[name].position)

    def close(self) -> None:
        """Release what is open."""
        for cursor in self._cursors.values():
            cursor.close()
        if self._discovery is not None:
            self._discovery.close()
        if self._cuts is not None:
            self._cuts.close()

    # -- splits --------------------------------------------------------------------------------------------------

    def _discover(self, now_us: int) -> None:
        if self.source.discovers:
            self._take_in(self._finder().found(now_us))

    def _take_in(self, found: Sequence[Split]) -> None:
        """Begin to count splits that were found, those that are new."""
        new = [split for split in found if not self._is_known(split.id)]
        self._found += [split.id for split in new]
        self._adopt(new)

    def _finder(self) -> Discovery:
        """Return what finds the splits of this subtask that are not known at the first call."""
        if self._discovery is None:
            subtask, parallelism = self._subtask, self._parallelism
            open_now, ended = set(self._cursors), copy.deepcopy(self._ended_splits)

            def wanted(split: str) -> bool:
                return owner_of(split, parallelism) == subtask and split not in open_now and split not in ended

            self._discovery = self._discovery_type(self._given_source.finder(wanted, open_now))
        return self._discovery

    def _is_known(self, split: str) -> bool:
        return split in self._cursors or split in self._ended_splits

    def _adopt(self, splits: Sequence[Split]) -> None:
        for split in splits:
            progress = self._restored.splits.get(split.id)
            if progress is not None and progress.finished:
                self._ended_splits.add(split.id, progress)
            if split.id in self._ended_splits:
                self.bytes_read += split.bytes or 0
                continue
            reached_us = None if progress is None else self._watermarks.latest_before(progress)
            cursor = SplitCursor(self.source, split, self._vetting, progress, reached_us=reached_us)
            cursor.limit = self._limit_of(split.id)
            self._watermarks.add(cursor, split, progress)
            self._cursors[split.id] = cursor
            self.bytes_read += cursor.bytes_given
            self._ahead.order.add(cursor)

    def _limit_of(self, split: str) -> int | None:
        """Return how many rows of a split are given out at most."""
        if self._is_there:
            return self._rows_given(split)
        return None if self._until is None else rows_of(self._until, split, self._until_finished)

    def _must_wait(self, now_us: int) -> bool:
        """Return whether rows that trickle in are to be gathered a little longer, and not even read one by one."""
        if self._given_us is None or not 0 <= now_us - self._given_us < self._batch_us:
            return False
        dry = not self.source.keeps_batches and bool(self._ahead.order.dry)
        if self._pacing.factor is None and not dry:
            return False
        return self._ahead.rows < self._batch_rows and not self._ahead.order.has_ready(now_us)

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
        for cursor in self._cursors.values():
            cursor.change_source(self.source)
        if self._cuts is not None:
            self._cuts.change_pace(paced=factor is not None)
        self._pacing.wish(factor)

    def pause(self, now_us: int) -> None:
        """Take note that nothing is polled for a while, which a pace does not make up for."""
        self._pacing.hold(now_us, self._ahead.reached_us())
        for cursor in self._cursors.values():
            cursor.change_source(self.source)

    def _change_pace(self, now_us: int) -> None:
        if self._pacing.is_new:
            self._pacing.change(now_us, self._ahead.reached_us())

    # -- following another reader --------------------------------------------------------------------------------

    def halt(self, at: int | None) -> None:
        """Give out nothing behind a checkpoint of the job that is followed, or the first one after it; None: go on.

        `END_OF_NOTES` stands for the place where nothing more is known of that job.
        """
        self._look_again_us = MIN_TIME_US
        self._halts = at is not None
        if self._trail is not None:
            self._trail.stop = at

    @property
    def next_checkpoint(self) -> int:
        """The next checkpoint of the job that is followed, or `END_OF_NOTES`."""
        return END_OF_NOTES if self._trail is None else self._trail.next_checkpoint(self._rows_given)

    @property
    def last_checkpoint(self) -> int:
        """The checkpoint of the job that is followed behind which the reader is, or `END_OF_NOTES`."""
        return END_OF_NOTES if self._trail is None else self._trail.section

    @property
    def halted_at(self) -> int | None:
        """The checkpoint where it stands since it was told to halt, or `END_OF_NOTES`; None while it goes on."""
        if not self._halts:
            return None
        if self._trail is None:
            return END_OF_NOTES
        return self._trail.stop if self._waits_for_ever else self._trail.stopped

    def _follow(self, now_us: int) -> list[Message] | None:
        """Do what another reader did next, if everything for it is there; None when that is not known any more."""
        trail, self._trail = self._trail, None
        if trail is None:
            return [] if self._halts else None
        cut = trail.next(self._rows_given)
        if trail.stopped is not None:
            return self._look_again(trail, now_us)
        takes = None
        if cut is not None and self._find([*trail.found, *cut.found]):
            takes = planned(
                cut, self._cursors, self._ahead.pieces, lambda need: self._batch_rows if trail.paced else need, now_us
            )
        if cut is None or takes is None:
            return self._leave_trail()
        if isinstance(takes, Waiting) or not self._is_time(takes, now_us):
            return self._look_again(trail, now_us)
        self._trail = trail
        trail.advance()
        out = self._give(now_us, takes, cut.finished)
        if self._is_there:
            self._note()
            return out
        self._note(cut.idle)
        self._watermarks.leave_out(cut.idle)
        return out + self._say()

    def _leave_trail(self) -> list[Message] | None:
        """Follow the other reader no more: from here on it is decided here what is read next, if anything is."""
        for cursor in self._cursors.values():
            if cursor.opened:
                self._ahead.order.was_read(cursor, goes_on=False)
        return [] if self._halts else None

    def _look_again(self, trail: CutTrail, now_us: int) -> list[Message]:
        self._trail, self._look_again_us = trail, now_us + _LOOK_US
        return []

    def _find(self, names: Collection[str]) -> bool:
        """Take in these splits, and return whether they are there."""
        missing = [name for name in names if not self._is_known(name)]
        if missing:
            self._take_in(self.source.find(missing))
        return all(self._is_known(name) for name in missing)

    def _rows_given(self, split: str) -> int:
        cursor = self._cursors.get(split)
        return cursor.rows_given if cursor is not None else self._ended_splits.rows_given(split)

    def _is_time(self, takes: Sequence[tuple[ReadChunk, int]], now_us: int) -> bool:
        """Return whether a pace allows all of these rows."""
        if self._pacing.factor is not None and self._column and self._pacing.begins_us is None:
            self._pacing.begins_us = earliest(takes, self._column)
        self._change_pace(now_us)
        return all_due(takes, self._column or "", self._pacing.allowed_us(now_us))

    # -- giving out ----------------------------------------------------------------------------------------------

    def _give(
        self, now_us: int, takes: Sequence[tuple[ReadChunk, int]], finished: Collection[str] | None = None
    ) -> list[Message]:
        """Give out rows, then the watermark that they allow; only splits that are `finished` end, if that is given."""
        frames: list[pl.DataFrame | pl.LazyFrame] = []
        refused: list[pl.DataFrame] = []
        self._last = []
        for piece, due in takes:
            cursor = piece.cursor
            if due:
                frame, (earliest_us, latest_us) = piece.take(due, self._column)
                if isinstance(frame, pl.LazyFrame) and self._watermarks.is_behind(cursor.split.id):
                    frame = self._read_now(cursor.split.id, frame, due, refused)
                if isinstance(frame, pl.DataFrame):
                    frame = self._watermarks.judged(cursor.split.id, frame)
                frames.append(frame)
                self._last.append((cursor.split.id, frame, due))
                self.rows_read += due
                self._watermarks.observe(cursor, latest_us)
                cursor.given_at_us = now_us
                if self._column is not None:
                    note_rows(
                        self.notes,
                        self._watermarks,
                        cursor,
                        frame,
                        due,
                        column=self._column,
                        earliest_us=earliest_us,
                        latest_us=latest_us,
                    )
            if not piece.left and piece.letters is not None:
                refused.append(piece.letters)
                self.rows_read += piece.letters.height
            if due or not piece.left:
                self.bytes_read += cursor.given(piece, due)
            if due:
                self._parts.append((cursor.split.id, cursor.rows_given))
        self._ahead.drop_empty([piece for piece, _ in takes])
        is_lazy = any(isinstance(frame, pl.LazyFrame) for frame in frames)
        if is_lazy and any(map(is_marked, frames)):
            frames[:], unreadable = self._read_last()
            refused += unreadable
            is_lazy = False
        if not is_lazy:
            self._last = []
        if frames or refused:
            self._given_us = now_us
        return self._batches(frames, refused, now_us) + self._after_rows(finished)

    def _note(self, idle: Collection[str] = ()) -> None:
        """Write down what was done since the last time."""
        if self._cuts is not None and (self._parts or self._ends or idle or self._found or self._spoke):
            self._cuts.note(Cut(tuple(self._parts), tuple(self._ends), tuple(idle), tuple(self._found)))
        self._parts, self._ends, self._found, self._spoke = [], [], [], False

    def _batches(
        self, frames: Sequence[pl.DataFrame | pl.LazyFrame], refused: list[pl.DataFrame], now_us: int
    ) -> list[Message]:
        if refused and self._fails:
            raise refuse(pl.concat(refused))
        return batches_of(frames, refused, now_us)

    def _after_rows(self, finished: Collection[str] | None) -> list[Message]:
        if finished is None:
            ended = self._ahead.order.finished()
        else:
            ended = [self._cursors[name] for name in finished if name in self._cursors and self._cursors[name].finished]
        for cursor in ended:
            name = cursor.split.id
            self._ends.append(name)
            self.bytes_read += cursor.bytes_left
            del self._cursors[name]
            self._ahead.order.remove(cursor)
            watermark_us = self._watermarks.end(name, is_last=not self._cursors)
            self._ended_splits.add(name, cursor.progress(watermark_us, finished=True))
        said = self._say()
        self._spoke = bool(said)
        self.notes.watermark_us = self._watermarks.current_us
        return said

    def _idleness(self, now_us: int) -> list[Message]:
        if self._is_there:
            self._note()
            return []
        awaits_none = self._parallelism > 1 and not self._ended_splits.last
        opened, is_empty = self._ahead.order.opened, not self._cursors
        self._note(self._watermarks.find_idle(opened, now_us, awaits_none=awaits_none, is_empty=is_empty))
        return self._say()

    # -- up to an event time -------------------------------------------------------------------------------------

    def _say(self) -> list[Message]:
        """Say what the watermark is, and give out no more once it is the one that is read to."""
        said = self._watermarks.emit()
        self._stop_if_there()
        return said

    def _stop_if_there(self) -> None:
        if self._until_us is not None and self._watermarks.current_us >= self._until_us:
            self._stop_here()

    def _stop_here(self) -> None:
        self._is_there = True
        self._set_limits()

    def _set_limits(self) -> None:
        for name, cursor in self._cursors.items():
            cursor.limit = self._limit_of(name)
        self._ahead.order.limits_changed()

    @property
    def _waits_for_ever(self) -> bool:
        """Whether it has read to the time that is read to, and has not come to its end with that."""
        return self._is_there and (bool(self._cursors) or self.source.discovers)

    def _end(self) -> list[Message]:
        self._ended = True
        self.close()
        return [Watermark(MAX_TIME_US), End()]
