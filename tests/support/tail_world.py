"""A world in which tails can be tried step by step: what is stored, what of it is announced, and clients that come and go."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import orjson
from prometheus_client import CollectorRegistry

from api.tail.catchup import CatchUp, Gap, Page, Seen
from api.tail.channel import Wanted
from api.tail.client import Client
from api.tail.frames import Told
from api.tail.hub import Hub
from api.tail.logs import Logs
from api.tail.matching import Matches
from api.tail.merging import Key, merged
from api.tail.position import Audience, Position, Positions
from api.tail.progress import Progress
from ops.metrics import Metrics
from ops.tail.parser import Parser
from schemas.codec import encode_stored
from schemas.event import StoredEvent
from schemas.topics import Region
from tests.support.chains import Chain
from tests.support.keys import FakeClock

COMPANY = "0190a000-0000-7000-8000-00000000000c"
PARTITIONS = {f"0190a000-0000-7000-8000-0000000000{number:02d}": partition for number, partition in enumerate((0, 0, 1, 2))}
WORKSPACES = tuple(PARTITIONS)
POSITIONS = Positions((b"s" * 32,))
_PAGE = 3


@dataclass
class World:
    """``topic`` holds, by partition, what was announced; ``untold`` what was stored and not yet."""

    chains: dict[str, Chain] = field(default_factory=lambda: {name: Chain(COMPANY, name, Region.US) for name in WORKSPACES})
    stored: list[StoredEvent] = field(default_factory=list)
    topic: dict[int, list[StoredEvent]] = field(default_factory=lambda: defaultdict(list))
    untold: dict[int, list[StoredEvent]] = field(default_factory=lambda: defaultdict(list))

    def store(self, workspace: str) -> None:
        """An event is committed."""
        event = replace(self.chains[workspace].event(), source_offset=len(self.stored) // 2, source_index=len(self.stored) % 2)
        self.stored.append(event)
        self.untold[PARTITIONS[workspace]].append(event)

    def announce(self, partition: int, count: int) -> None:
        """The partition's next events are announced."""
        events = self.untold[partition]
        self.topic[partition] += events[:count]
        del events[:count]

    def repeat(self, partition: int, count: int) -> None:
        """The last ones are announced again."""
        self.topic[partition] += self.topic[partition][-count:]

    def lose(self, partition: int) -> None:
        """One is never announced."""
        del self.untold[partition][:1]

    def seqs(self, audience: Audience) -> dict[str, list[int]]:
        """What is stored of the audience's."""
        found: dict[str, list[int]] = defaultdict(list)
        for event in self.of(audience):
            found[event.workspace_id].append(event.seq)
        return found

    def of(self, audience: Audience) -> list[StoredEvent]:
        """The audience's events."""
        return [event for event in self.stored if audience.workspace_id in (None, event.workspace_id)]

    def hub(self) -> Hub:
        """One that reads the topic."""
        return Hub(Region.US, lambda: TopicOf(self), Logs(POSITIONS, 16, 1 << 20), FakeClock(), Metrics(CollectorRegistry()))


class TopicOf:
    """The world's topic, from its ends on."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._at: dict[int, int] = {}

    async def start(self) -> None:
        await asyncio.sleep(0)
        self._at = {partition: len(self._world.topic[partition]) for partition in PARTITIONS.values()}

    async def fetch(self, seconds: float) -> Sequence[Any]:
        await asyncio.sleep(0)
        return list(self._next())

    def _next(self) -> Iterator[Any]:
        for partition, at in self._at.items():
            for event in self._world.topic[partition][at:]:
                key, value = event.workspace_id.encode(), encode_stored(event)
                yield SimpleNamespace(key=key, value=value, partition=partition, offset=at, timestamp=0)
            self._at[partition] = len(self._world.topic[partition])

    async def topic_id(self) -> UUID | None:
        return None

    async def stop(self) -> None:
        """Nothing to stop."""


class WorldCatchUp(CatchUp):
    """Pages as from Postgres: of one snapshot, which is old by the time it is there."""

    def __init__(self, world: World, audience: Audience, begin: Position | None) -> None:
        self.progress = Progress(audience)
        self._world = world
        self._from: Position | None = begin
        self._has_begun = False

    async def page(self) -> Page:
        await asyncio.sleep(0)
        events = self._world.of(self.progress.audience)
        if not self._has_begun:
            self._go_to(events)
        keys = [_key(event) for event in events if event.seq > self.progress.seqs.get(event.workspace_id, 0)]
        few = [key for name in WORKSPACES for key in [each for each in keys if each.workspace_id == name][:_PAGE]]
        found, is_all = merged(few, _PAGE)
        page, is_last = found[:_PAGE], is_all and len(found) <= _PAGE
        by_key = {(event.workspace_id, event.seq): event for event in events}
        steps: list[Seen | Gap] = [Seen(key, Told(by_key[key.workspace_id, key.seq], key.partition)) for key in page]
        end = divmod(len(self._world.stored) - 1, 2)
        ends = {PARTITIONS[event.workspace_id]: end for event in events} if is_last else {}
        for _ in range(3):
            await asyncio.sleep(0)
        return Page(steps, is_last, ends)

    def _go_to(self, events: list[StoredEvent]) -> None:
        self._has_begun = True
        begin = self._from
        if begin is not None:
            self.progress.places = dict(begin.places)
        for event in events:
            place = (-1, 0) if begin is None else begin.places.get(PARTITIONS[event.workspace_id], (-1, 0))
            if begin is not None and (event.source_offset, event.source_index) <= place:
                self.progress.seqs[event.workspace_id] = event.seq


def _key(event: StoredEvent) -> Key:
    place = (event.source_offset, event.source_index)
    return Key(event.workspace_id, event.seq, PARTITIONS[event.workspace_id], place, event.received_at, is_asked=True)


class Follower:
    """A client that is cut and comes back behind the last message it saw."""

    def __init__(self, world: World, audience: Audience) -> None:
        self.audience = audience
        self.told: dict[str, list[int]] = defaultdict(list)
        self._world = world
        self._position = ""
        self._task: asyncio.Task[None] | None = None

    def connect(self, hub: Hub) -> None:
        """Begin, or go on; again whenever the stream ends by itself."""
        self._task = asyncio.get_running_loop().create_task(self._stay(hub))

    async def _stay(self, hub: Hub) -> None:
        while True:
            begin = POSITIONS.read(self.audience, self._position) if self._position else None
            wanted = Wanted(self.audience, (), Matches())
            client = Client(hub, WorldCatchUp(self._world, self.audience, begin), wanted, POSITIONS, poll_seconds=lambda: 0.0)
            await client.run(self._taker(Parser(self._position)))

    def _taker(self, parser: Parser) -> Callable[[bytes], Awaitable[None]]:
        async def take(piece: bytes) -> None:
            for message in parser.feed(piece):
                event = orjson.loads(message.data)
                self.told[event["workspaceId"]].append(event["seq"])
            self._position = parser.last_event_id
            await asyncio.sleep(0)

        return take

    async def cut(self) -> None:
        """Lose the connection, wherever it is."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
