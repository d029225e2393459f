"""One client's stream: from Postgres until it has caught up, then along its channel."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable, Iterator
from enum import StrEnum

from api.tail import frames
from api.tail.catchup import CatchUp, Gap, Page, Seen
from api.tail.channel import NOWHERE, Channel, Wanted
from api.tail.frames import Told, joined
from api.tail.hub import Hub
from api.tail.position import Positions
from schemas.problems import Unavailable

_SPREAD_SECONDS = (1.0, 5.0)
_SILENT_SECONDS = 15.0
"""So long a connection may be silent: what lies in between might think that it is dead."""

SendBytes = Callable[[bytes], Awaitable[None]]


class Ended(StrEnum):
    """Why a stream ended."""

    GONE = "gone"
    LIFETIME = "lifetime"
    SLOW = "slow"
    KEY = "key"
    SHUTDOWN = "shutdown"


class Client:
    """Tells one client, until ``end``."""

    def __init__(self, hub: Hub, catch_up: CatchUp, wanted: Wanted, positions: Positions, *, poll_seconds: Callable[[], float]) -> None:
        """``poll_seconds`` is how often Postgres may be asked while the topic can't be read."""
        self.at = NOWHERE
        self.ended: Ended | None = None
        self.channel: Channel | None = None
        self.is_following = False
        self.sent = self.pages = 0
        """Events that it was told and pages read for it, since somebody counted."""
        self._hub = hub
        self._catch_up = catch_up
        self._progress = catch_up.progress
        self._wanted = wanted
        self._positions = positions
        self._poll_seconds = poll_seconds
        self._is_ahead = False
        self._told_at = 0.0
        """On the loop's clock."""
        self._woken: asyncio.Future[None] | None = None

    def end(self, reason: Ended) -> None:
        """Tell no more than what is being told."""
        self.ended = self.ended or reason
        self.wake()

    def wake(self) -> None:
        """There is something new."""
        if self._woken is not None and not self._woken.done():
            self._woken.set_result(None)

    async def run(self, send: SendBytes) -> None:
        """Tell everything until it is ended."""

        async def tell(told: bytes) -> None:
            await send(told)
            self._told_at = asyncio.get_running_loop().time()

        await tell(frames.FIRST)
        try:
            while self.ended is None:
                channel = await self._reach(tell)
                if channel is not None:
                    await self._follow(channel, tell)
        finally:
            self._leave()
        if self.ended is Ended.SHUTDOWN:  # not all clients at once to those that remain
            await tell(frames.retry(random.uniform(*_SPREAD_SECONDS)))  # noqa: S311 - no secret

    def _subscribe(self) -> Channel:
        self._leave()
        self.channel = self._hub.subscribe(self._wanted, self)
        return self.channel

    def _leave(self) -> None:
        self.at, self.is_following = NOWHERE, False
        if self.channel is not None:
            self._hub.leave(self.channel, self)
            self.channel = None

    async def _reach(self, send: SendBytes) -> Channel | None:
        """Catch up until a channel is reached."""
        channel = self._subscribe()
        while self.ended is None:
            if channel.is_over:
                channel = self._subscribe()
            is_live = self._hub.is_live
            mark = channel.mark()
            self.at = mark.number
            page = await self._page(send)
            if page is None:
                await self._pause(self._poll_seconds(), send, is_firm=True)
                continue
            self.pages += 1
            await self._hub.words.read(self._with_unread_words(page))
            if not await self._tell(self._paged(page), send):
                break
            if page.is_last and is_live and (missed := channel.join(mark, self._progress)) is not None:
                await self._step_in(channel, missed, send)
                return channel
            if page.is_last and not self._hub.is_live:
                await self._pause(self._poll_seconds(), send, is_firm=False)
        return None

    async def _page(self, send: SendBytes) -> Page | None:
        """The next page; ``None`` when there is none to be had now."""
        reading = asyncio.ensure_future(self._catch_up.page())
        try:
            while not reading.done():
                await asyncio.wait((reading,), timeout=self._may_be_silent())
                if not reading.done():
                    await send(frames.COMMENT)
            return reading.result()
        except Unavailable:
            return None
        finally:
            reading.cancel()

    def _may_be_silent(self) -> float:
        """Seconds."""
        return max(0.0, self._told_at + _SILENT_SECONDS - asyncio.get_running_loop().time())

    def _with_unread_words(self, page: Page) -> list[Told]:
        found = [step.told for step in page.steps if isinstance(step, Seen) and step.told is not None]
        return [told for told in found if self._wanted.matches.need_words(told)]

    async def _tell(self, told: Iterable[bytes], send: SendBytes) -> bool:
        """Whether all of it could be told."""
        for piece in joined(told):
            if self.ended is not None:
                return False
            await send(piece)
        return True

    def _paged(self, page: Page) -> Iterator[bytes]:
        """The page as frames; behind the last one the position stands behind all that was looked at."""
        progress = self._progress
        for step in page.steps:
            if isinstance(step, Gap):
                progress.seqs[step.workspace_id] = step.last
                if step.is_missed:
                    yield frames.gap(progress.written(self._positions), step.workspace_id, step.first, step.last)
                continue
            key = step.key
            progress.move(key.workspace_id, key.seq, key.partition, key.place, key.received_at)
            if step.told is not None and self._wanted.matches(step.told):
                yield step.told.frame(progress.written(self._positions))
                self.sent += 1
        progress.start_at(page.ends)
        yield frames.here(progress.written(self._positions))

    async def _step_in(self, channel: Channel, missed: list[Told], send: SendBytes) -> None:
        """Be at the channel's end, or ahead of it: Postgres knows of events before they are announced."""
        # Some may be there twice. All are rendered before the first wait: the channel goes on meanwhile.
        told = [self._own_frame(each) for each in missed if self._progress.is_new(each.event)]
        self._progress.merge(channel.progress)
        self.at, self.is_following = channel.end, True
        self._is_ahead = self._progress.is_ahead(channel.progress)
        await self._tell(told, send)

    async def _follow(self, channel: Channel, send: SendBytes) -> None:
        """Tell what the channel tells, until it is over."""
        while self.ended is None:
            if self.at < channel.start:
                self.end(Ended.SLOW)
            elif self.at < channel.end:
                await send(self._next(channel, self.at))
            elif channel.is_over:
                break
            else:
                await self._wait()
        if not self._is_ahead:
            self._progress.seqs.clear()
        self._progress.merge(channel.progress)

    def _next(self, channel: Channel, at: int) -> bytes:
        if not self._is_ahead:
            count, events, told = channel.frames(at)
            self.sent += events
        else:
            entries = channel.next_entries(at)
            count = len(entries)
            new = [entry.told for entry in entries if entry.told is not None and self._progress.is_new(entry.told.event)]
            told = b"".join(map(self._own_frame, new)) or frames.COMMENT
        self.at = at + count
        if self._is_ahead and self.at == channel.end:
            self._is_ahead = self._progress.is_ahead(channel.progress)
        return told

    def _own_frame(self, told: Told) -> bytes:
        """With a position of this client's: it is not where the others of its channel are."""
        self._progress.seen(told.event, told.partition)
        self.sent += 1
        return told.frame(self._progress.written(self._positions))

    async def _wait(self) -> None:
        if self.ended is not None:
            return
        self._woken = asyncio.get_running_loop().create_future()
        try:
            await self._woken
        finally:
            self._woken = None

    async def _pause(self, seconds: float, send: SendBytes, *, is_firm: bool) -> None:
        """Wait; until there is something new, unless it ``is_firm``."""
        now = asyncio.get_running_loop().time
        until = now() + seconds
        while self.ended is None and (left := until - now()) > 0:
            if await self._is_woken(min(left, self._may_be_silent())) and not is_firm:
                return
            if not self._may_be_silent():
                await send(frames.COMMENT)

    async def _is_woken(self, seconds: float) -> bool:
        try:
            await asyncio.wait_for(self._wait(), seconds)
        except TimeoutError:
            return False
        return True
