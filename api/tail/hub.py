"""One consumer of a region's announced events for all tails of a process. It reads while anybody listens, from the topic's end on."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol
from uuid import UUID

from api.tail.channel import Channel, Reader, Wanted
from api.tail.frames import Told
from api.tail.logs import Logs
from api.tail.words import Words
from ops import failures, log
from ops.clock import Clock
from ops.kafka import KafkaError, TopicMismatch
from ops.metrics import Metrics
from schemas.announced import open_event
from schemas.codec import Undecodable
from schemas.event import StoredEvent
from schemas.topics import Region

_LOG = log.get(__name__)
_FETCH_SECONDS = 1.0
_CHECK_SECONDS, _CHECK_PATIENCE, _MOST_FAILED_CHECKS = 10.0, 5.0, 3
_LINGER_SECONDS = 60.0
"""So long it goes on reading for nobody: clients come back."""
_FIRST_PAUSE, _LAST_PAUSE = 0.5, 5.0
_MAX_COMPANIES = 100_000
_STRETCH_RECORDS = 200
_STRETCH_SECONDS, _STRETCH_BYTES = 0.01, 1 << 20
"""So long it keeps the loop to itself, and so much it takes, before it wakes who has something to read."""


class Announced(Protocol):
    """Reads the events topic, all partitions from their ends on. Its methods raise ``KafkaError``."""

    async def start(self) -> None:
        """Connect; what is announced from now on is read. Raises ``TopicMismatch`` when there is no topic."""

    async def fetch(self, seconds: float) -> Sequence[Any]:
        """The next records; none when none come for so long."""

    async def topic_id(self) -> UUID | None:
        """Of the topic as it is now."""

    async def stop(self) -> None:
        """Disconnect."""


class Hub:
    """Takes each announced event to the channels that it belongs to."""

    def __init__(self, region: Region, reader: Callable[[], Announced], logs: Logs, clock: Clock, metrics: Metrics) -> None:
        """``logs`` are those of all hubs of the process."""
        self.region = region
        self.is_live = False
        """Whether all that is announced from now on comes to the channels."""
        self._new_reader = reader
        self._logs = logs
        self._clock = clock
        self._metrics = metrics
        self.words = Words()
        """For pages of what is stored. What is announced does not stand in line behind them."""
        self._words = Words()
        self._channels: dict[Wanted, Channel] = {}
        self._by_workspace: dict[str, list[Channel]] = defaultdict(list)
        self._by_company: dict[str, list[Channel]] = defaultdict(list)
        self._company_of: dict[str, str] = {}
        self._task: asyncio.Task[None] | None = None
        self._is_away = False
        self._failed_checks = 0
        self.heard_at = 0
        """Microseconds: when the topic was last known to be within reach. What was announced up to then comes."""

    @property
    def is_away(self) -> bool:
        """Whether somebody listens, and the topic can't be read."""
        return self._is_away and bool(self._channels)

    @property
    def channels(self) -> tuple[Channel, ...]:
        """Those that somebody reads."""
        return tuple(self._channels.values())

    def subscribe(self, wanted: Wanted, reader: Reader) -> Channel:
        """The channel of what is wanted, with the reader among its readers."""
        channel = self._channels.get(wanted)
        if channel is not None and channel.is_over:  # it found a hole as it began
            self._close((channel,), "hole")
            channel = None
        if channel is None:
            channel = self._channels[wanted] = Channel(wanted, self._logs)
            self._logs.add(channel)
            self._among(channel).append(channel)
        channel.readers.add(reader)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._keep_reading())
        return channel

    def leave(self, channel: Channel, reader: Reader) -> None:
        """The reader wants no more of it."""
        channel.readers.discard(reader)
        if not channel.readers and self._channels.get(channel.wanted) is channel:
            self._drop(channel)

    async def stop(self) -> None:
        """Read no more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def _among(self, channel: Channel) -> list[Channel]:
        company_id, workspace_id = channel.wanted.audience
        return self._by_company[company_id] if workspace_id is None else self._by_workspace[workspace_id]

    def _drop(self, channel: Channel) -> None:
        del self._channels[channel.wanted]
        self._logs.drop(channel)
        self._among(channel).remove(channel)
        company_id, workspace_id = channel.wanted.audience
        if not self._by_company[company_id]:
            del self._by_company[company_id]
        if workspace_id is not None and not self._by_workspace[workspace_id]:
            del self._by_workspace[workspace_id]

    def _close(self, channels: Iterable[Channel], reason: str) -> None:
        """Send their readers back to Postgres."""
        for channel in channels:
            if self._channels.get(channel.wanted) is not channel:  # its last reader has gone meanwhile
                continue
            self._drop(channel)
            channel.close()
            self._metrics.tail_restarts.labels(self.region, reason).inc()

    async def _keep_reading(self) -> None:
        pause = _FIRST_PAUSE
        while self._channels:
            try:
                await self._read()
                pause = _FIRST_PAUSE
            except Exception as error:  # noqa: BLE001 - whatever it is, tails go on from Postgres until the topic can be read again
                self._is_away = True
                _LOG.warning("the events topic can't be read", region=self.region, error=failures.summary(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, _LAST_PAUSE)

    async def _read(self) -> None:
        """Read until nobody has listened for a while. Raises when something may have been missed."""
        reader = self._new_reader()
        try:
            await reader.start()
            topic = await reader.topic_id()
            self.is_live, self._is_away, self._failed_checks = True, False, 0
            self.heard_at = self._clock.micros()
            for channel in self.channels:
                channel.wake()
            await self._follow(reader, topic)
        finally:
            if self.is_live:
                self.is_live = False
                self._close(self.channels, "consumer")
            await reader.stop()

    async def _follow(self, reader: Announced, topic: UUID | None) -> None:
        monotonic = self._clock.monotonic
        wanted_at = checked_at = monotonic()
        while self._channels or monotonic() - wanted_at < _LINGER_SECONDS:
            await self._take(await reader.fetch(_FETCH_SECONDS))
            now = monotonic()
            if self._channels:
                wanted_at = now
            if now - checked_at > _CHECK_SECONDS:
                checked_at = now
                await self._check(reader, topic)

    async def _check(self, reader: Announced, topic: UUID | None) -> None:
        """Raises ``TopicMismatch`` when the topic was made anew: the offsets that are read then mean nothing.

        Raises ``KafkaError``, ``OSError`` when the broker was away too often in a row: it may be so for this process alone.
        """
        try:
            async with asyncio.timeout(_CHECK_PATIENCE):
                found = await reader.topic_id()
        except (KafkaError, OSError):  # the consumer goes on by itself if the broker is back soon
            self._is_away = True
            self._failed_checks += 1
            if self._failed_checks >= _MOST_FAILED_CHECKS:
                raise
            return
        self._is_away, self._failed_checks = False, 0
        self.heard_at = self._clock.micros()
        if found != topic:
            raise TopicMismatch("the events topic was made anew")

    async def _take(self, records: Sequence[Any]) -> None:
        for at in range(0, len(records), _STRETCH_RECORDS):
            routed = [pair for record in records[at : at + _STRETCH_RECORDS] for pair in self._routed(record)]
            await self._words.read({told: None for told, channel in routed if channel.wanted.matches.need_words(told)})
            await self._hand_out(routed)
        if records:
            lag = self._clock.micros() / 1e6 - min(record.timestamp for record in records) / 1e3
            self._metrics.tail_lag_seconds.labels(self.region).observe(max(0.0, lag))

    async def _hand_out(self, routed: Sequence[tuple[Told, Channel]]) -> None:
        monotonic = self._clock.monotonic
        touched, begun, size = set[Channel](), monotonic(), 0
        for told, channel in routed:
            channel.take(told)
            touched.add(channel)
            if channel.is_over:
                self._close((channel,), "hole")
            size += told.size
            if size > _STRETCH_BYTES or monotonic() - begun > _STRETCH_SECONDS:
                await _woken(touched)
                begun, size = monotonic(), 0
        await _woken(touched)

    def _routed(self, record: Any) -> Iterator[tuple[Told, Channel]]:
        """A record and each of its channels; those of nobody's are not even decoded."""
        workspace_id = None if record.key is None else record.key.decode(errors="replace")
        told: Told | None = None
        if workspace_id is None or (self._by_company and workspace_id not in self._company_of):
            if (told := self._told(record)) is None:
                return
            workspace_id = told.event.workspace_id
            self._remember(told.event)
        company_id = self._company_of.get(workspace_id, "")
        channels = [*self._by_workspace.get(workspace_id, ()), *self._by_company.get(company_id, ())]
        if channels and (told := told or self._told(record)) is not None:
            for channel in channels:
                yield told, channel

    def _remember(self, event: StoredEvent) -> None:
        if len(self._company_of) >= _MAX_COMPANIES:
            del self._company_of[next(iter(self._company_of))]
        self._company_of[event.workspace_id] = event.company_id

    def _told(self, record: Any) -> Told | None:
        try:
            return Told(open_event(record.value), record.partition)
        except Undecodable as error:
            # The key tells whose it was, if anything does: the event itself is in Postgres.
            _LOG.error("undecodable event", region=self.region, partition=record.partition, offset=record.offset, error=str(error))
            self._close(self._perhaps_of(record), "undecodable")
            return None

    def _perhaps_of(self, record: Any) -> list[Channel]:
        """The channels of whoever's record it may be."""
        return [
            channel
            for channel in self.channels
            if record.key is None or channel.wanted.audience.workspace_id in (None, record.key.decode(errors="replace"))
        ]


async def _woken(channels: set[Channel]) -> None:
    """Have the channels' readers told, and forget them."""
    for channel in channels:
        channel.wake()
    channels.clear()
    await asyncio.sleep(0)
