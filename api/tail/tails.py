"""All tails of a process: who may open one, what they read from, and when they have to end."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from api.asked import EventFilter
from api.tail.catchup import Begin, CatchUp, Stored
from api.tail.channel import Wanted
from api.tail.client import Client, Ended
from api.tail.hub import Hub
from api.tail.matching import matcher
from api.tail.position import Audience, Positions
from api.tail.progress import Progress
from api.tail.stream import LAST_SECONDS, Stream
from api.tail.watch import Holder, KeyWatch
from ops import log
from ops.auth import Principal
from ops.clock import Clock
from ops.metrics import Metrics
from schemas.problems import RateLimited, Unavailable
from schemas.topics import Region

_LOG = log.get(__name__)
_TICK_SECONDS = 1.0
_KEEP_ALIVE_TICKS = 15
_WATCH_SECONDS = 4.0
_MOST_BLOCKED_SECONDS = 20.0
_RETRY_SECONDS = 10
_POLLS_PER_SECOND = 200


@dataclass(frozen=True, slots=True)
class TailLimits:
    """How many there may be, of a key and in all; ``lifetime`` is in seconds."""

    per_key: int
    clients: int
    lifetime: float


@dataclass(frozen=True, slots=True)
class Asked:
    """A tail that is asked for: which events, from where on, for whom. ``question`` is what it was asked as."""

    caller: Principal
    wanted: EventFilter
    question: Mapping[str, str | None]
    begin: Begin
    holder: Holder


class Tails:
    """Opens tails and looks after them. ``run`` it beside."""

    def __init__(
        self,
        stored: Stored,
        hubs: Mapping[Region, Hub],
        watches: Mapping[Region, KeyWatch],
        positions: Positions,
        limits: TailLimits,
        *,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self.positions = positions
        self._stored = stored
        self._hubs = hubs
        self._watches = watches
        self._limits = limits
        self._clock = clock
        self._metrics = metrics
        self._open: dict[Stream, tuple[Region, Holder]] = {}
        self._of_key: Counter[str] = Counter()
        self._is_stopping = False

    async def open(self, asked: Asked) -> Stream:
        """A new tail that has begun: what is stored from now on is told. It counts until it ends.

        Raises ``RateLimited``, ``Unavailable``.
        """
        self._admit(asked.caller)
        caller = asked.caller
        audience = Audience(caller.company_id, caller.workspace_id)
        wanted = Wanted(audience, tuple(sorted(asked.question.items())), matcher(caller.company_id, asked.wanted))
        catch_up = CatchUp(self._stored, caller, asked.wanted, asked.begin, Progress(audience))
        client = Client(self._hubs[caller.region], catch_up, wanted, self.positions, poll_seconds=self._poll_seconds)
        lifetime = self._limits.lifetime * random.uniform(0.9, 1.1)  # noqa: S311 - no secret: it spreads reconnects
        stream = Stream(client, lifetime, self._over)
        self._open[stream] = (caller.region, asked.holder)
        self._of_key[caller.key_id] += 1
        self._metrics.tail_clients.labels(caller.region).inc()
        try:
            await catch_up.begin()
        except BaseException:
            self._close(stream)
            raise
        return stream

    def notices(self) -> list[str]:
        """What an operator should know."""
        return [f"tail: the events topic of {hub.region} can't be read, tails ask Postgres" for hub in self._hubs.values() if hub.is_away]

    async def run(self) -> None:
        """Look after them until cancelled."""
        tick = 0
        while True:
            await asyncio.sleep(_TICK_SECONDS)
            tick += 1
            self._look_after(tick % _KEEP_ALIVE_TICKS == 0)

    async def watch(self, region: Region) -> None:
        """End those of a region whose keys are spent, until cancelled. By itself: a database that hangs holds nobody else up."""
        while True:
            await asyncio.sleep(_WATCH_SECONDS)
            await self._end_spent(region)

    async def stop_when(self, stopping: asyncio.Event) -> None:
        """End all of them politely once that is set, and let nobody in any more."""
        await stopping.wait()
        self._is_stopping = True
        for stream in self._open:
            stream.client.end(Ended.SHUTDOWN)

    async def close(self) -> None:
        """Stop reading."""
        await asyncio.gather(*(hub.stop() for hub in self._hubs.values()))

    def _admit(self, caller: Principal) -> None:
        if self._of_key[caller.key_id] >= self._limits.per_key:
            raise RateLimited(f"This key may have {self._limits.per_key} tails open.", retry_after=_RETRY_SECONDS)
        if self._is_stopping or len(self._open) >= self._limits.clients:
            raise Unavailable("No more tails can be opened here now: try again.")

    def _close(self, stream: Stream) -> Region:
        """It counts no more."""
        region, holder = self._open.pop(stream)
        self._of_key[holder.key_id] -= 1
        if not self._of_key[holder.key_id]:
            del self._of_key[holder.key_id]
        self._metrics.tail_clients.labels(region).dec()
        return region

    def _over(self, stream: Stream) -> None:
        region = self._close(stream)
        self._metrics.tail_ended.labels(region, stream.client.ended or Ended.GONE).inc()
        self._count(region, stream.client)

    def _count(self, region: Region, client: Client) -> None:
        """Tell what the client was told since this was done last."""
        self._metrics.tail_sent.labels(region).inc(client.sent)
        self._metrics.tail_pages.labels(region).inc(client.pages)
        client.sent = client.pages = 0

    def _poll_seconds(self) -> float:
        """All of them together ask Postgres no more than so often."""
        return max(1.0, len(self._open) / _POLLS_PER_SECOND)

    def _look_after(self, keep_alive: bool) -> None:
        for hub in self._hubs.values():
            self._metrics.tail_away.labels(hub.region).set(hub.is_away)
            for channel in hub.channels:
                channel.trim()
                if keep_alive:
                    channel.keep_alive(hub.heard_at)
                    channel.wake()
        now = asyncio.get_running_loop().time()
        for stream, (region, _) in tuple(self._open.items()):
            self._count(region, stream.client)
            self._cut_if_stuck(stream, now)

    def _cut_if_stuck(self, stream: Stream, now: float) -> None:
        if stream.blocked_since is None:
            return
        client, blocked = stream.client, now - stream.blocked_since
        is_behind = client.is_following and client.channel is not None and client.at < client.channel.start
        if is_behind or blocked > (_MOST_BLOCKED_SECONDS if client.ended is None else LAST_SECONDS):
            stream.cut(Ended.SLOW)

    async def _end_spent(self, region: Region) -> None:
        holders = {holder for of, holder in self._open.values() if of is region}
        try:
            spent = await self._watches[region].spent(holders)
        except Exception:  # noqa: BLE001 - the tails of all regions are looked after here
            _LOG.exception("keys of tails are not checked", region=region)
            return
        for stream, (_, holder) in self._open.items():
            if holder in spent:
                stream.client.end(Ended.KEY)
