"""What is told to all clients that ask for the same: a short log of frames, and how far it has come.

A channel begins at the first of its clients that has caught up from Postgres, and ends for good at anything that might
have made it lose an event. Its clients then catch up from Postgres again, and meet at a new one.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from itertools import accumulate
from typing import NamedTuple, Protocol

from api.tail import frames
from api.tail.frames import Told
from api.tail.logs import Logs
from api.tail.matching import Matches
from api.tail.position import Audience
from api.tail.progress import Progress

NOWHERE = sys.maxsize
_MAX_LOG_BYTES = 16 << 20


class Reader(Protocol):
    """Who follows a channel."""

    at: int
    """The number of the first entry that it has not been told; ``NOWHERE`` while it needs none."""

    def wake(self) -> None:
        """There is something new."""


class Mark(NamedTuple):
    """The number of the first entry behind it, and whether the channel had begun."""

    number: int
    has_begun: bool


class Entry(NamedTuple):
    """What is told next: an event, or where its reader is by now (``None``)."""

    told: Told | None
    frame: bytes
    """As all readers get it that are as far as the channel; empty before it has begun."""
    size: int
    """Bytes that it holds, about."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a client asked for; who asks for the same shares a channel."""

    audience: Audience
    question: tuple[tuple[str, str | None], ...]
    matches: Matches = field(compare=False)


class Channel:
    """Numbers its entries."""

    def __init__(self, wanted: Wanted, logs: Logs) -> None:
        self.wanted = wanted
        self.readers: set[Reader] = set()
        self.is_over = False
        self.start = 0
        """The number of the oldest entry that there still is."""
        self.progress = Progress(wanted.audience)
        """Where the end of the log is, once one reader has told."""
        self._has_begun = False
        self.bytes_held = 0
        self._logs = logs
        self._positions = logs.positions
        self._log: list[Entry] = []
        self._joined: tuple[int, int, int, bytes] = (-1, -1, 0, b"")

    @property
    def end(self) -> int:
        """The number of the next entry."""
        return self.start + len(self._log)

    def close(self) -> None:
        """No more comes here: something may be missing."""
        self.is_over = True
        self.wake()

    def wake(self) -> None:
        """Tell the readers that there is something new."""
        for reader in self.readers:
            reader.wake()

    def take(self, told: Told) -> None:
        """The next event of the audience's, as announced: perhaps again, and perhaps after one that was lost."""
        if not self._has_begun:
            self._append(Entry(told, b"", told.size))
        elif self._go_on(self.progress, told) and self.wanted.matches(told):
            frame = told.frame(self.progress.written(self._positions))
            self._append(Entry(told, frame, len(frame)))

    def mark(self) -> Mark:
        """The end of the log as it is now. What is in front of it is stored, so whoever then reads what is stored has seen it."""
        return Mark(self.end, self._has_begun)

    def join(self, mark: Mark, reader: Progress) -> list[Told] | None:
        """What a reader has to be told of the entries behind its mark, to be as far as the channel, or ahead of it.

        ``None``: what is stored has to be read again, behind another mark. The entries are no longer all there; or the channel began
        meanwhile at another reader's progress, who may have seen what this one has not: here that is a repeat, and not told.
        """
        if mark.number < self.start or self.is_over or self._has_begun != mark.has_begun:
            return None
        told = [entry.told for entry in self._log[mark.number - self.start :] if entry.told is not None]
        if not self._has_begun and not self._begin(reader.copy(), told):
            return None
        return [each for each in told if reader.is_new(each.event) and self.wanted.matches(each)]

    def frames(self, at: int) -> tuple[int, int, bytes]:
        """The entries of one send from number ``at`` on: how many they are, how many of them events, and their frames.

        Made once for all readers that stand at the same place.
        """
        entries = self.next_entries(at)
        if self._joined[:2] != (at, len(entries)):
            events = sum(entry.told is not None for entry in entries)
            self._joined = (at, len(entries), events, b"".join([entry.frame for entry in entries]))
        return self._joined[1:]

    def next_entries(self, at: int) -> list[Entry]:
        """Those of one send."""
        entries = self.entries(at, frames.MOST_JOINED)
        ends = accumulate(len(entry.frame) for entry in entries)
        return entries[: max(1, sum(end <= frames.MOST_BYTES for end in ends))]

    def entries(self, at: int, most: int) -> list[Entry]:
        """Up to ``most`` entries from number ``at`` on."""
        index = at - self.start
        return self._log[index : index + most]

    def keep_alive(self, now: int) -> None:
        """Tell where the channel is, so that connections stay open and positions young. ``now`` is in microseconds."""
        if self._has_begun and not self.is_over:
            self.progress.time = max(self.progress.time, now)
            frame = frames.COMMENT + frames.here(self.progress.written(self._positions))
            self._append(Entry(None, frame, len(frame)))

    def trim(self) -> None:
        """Forget what every reader has been told. One that is behind the start already holds nothing back."""
        told = min((reader.at for reader in self.readers), default=self.end)
        self._forget(max(0, told - self.start))

    def _begin(self, progress: Progress, told: list[Told]) -> bool:
        """Be where the first reader is, and then go on to the end of the log."""
        self.progress, self._has_begun = progress, True
        for each in told:
            self._go_on(progress, each)
        return not self.is_over

    def _go_on(self, progress: Progress, told: Told) -> bool:
        """Go on to behind an event that is new, and the next of its workspace. If one is missing, the channel is over."""
        event = told.event
        last = progress.seqs.get(event.workspace_id, 0)
        if event.seq <= last or self.is_over:
            return False
        if event.seq > last + 1:
            self.close()
            return False
        progress.seen(event, told.partition)
        return True

    def _append(self, entry: Entry) -> None:
        self._log.append(entry)
        self._logs.count(self, entry.size)
        if len(self._log) > self._logs.size * 5 // 4:
            self._forget(len(self._log) - self._logs.size)
        while self.bytes_held > _MAX_LOG_BYTES and len(self._log) > 1:
            self._forget(len(self._log) // 4 or 1)

    def forget_half(self) -> None:
        """Drop the older half of the log."""
        self._forget((len(self._log) + 1) // 2)

    def _forget(self, count: int) -> None:
        """Drop the oldest entries."""
        forgotten = self._log[:count]
        del self._log[:count]
        self.start += len(forgotten)
        self._logs.count(self, -sum(entry.size for entry in forgotten))
