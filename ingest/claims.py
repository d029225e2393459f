"""Claims of idempotency keys: which id a keyed event is published under, and whether its key was used before (contract §2).

A claim only proposes; the chain worker decides (ops/docs/idempotency.md). So whatever goes wrong here costs an alias, never
an event: what can't be claimed in time is published without. Concurrent requests share a statement: while one is under way,
or has only just begun, the next ones gather, so that load makes statements larger instead of more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from enum import Enum
from time import perf_counter
from typing import NamedTuple, Protocol

from ingest.store import Claim, Holder
from ops import log
from ops.db import is_unavailable
from ops.metrics import Metrics
from schemas.idempotency import is_same_content
from schemas.topics import Region

_LOG = log.get(__name__)
_PATIENCE_SECONDS = 0.25
_BREAK_SECONDS = 1.0
_MAX_GATHERED = 5_000
_PACE_SECONDS = 0.004
"""From one statement to the next: alone in one, a claim takes 130 µs of this process, among sixteen 15."""


class Table(Protocol):
    """Where claims are kept: one region's Postgres, or a fake."""

    async def claim(self, claims: Sequence[Claim]) -> dict[str, Holder | None]:
        """Who had the keys before, by the id proposed; ``None`` for one who gave it back just now. Who is not in it has its key."""
        ...

    async def release(self, claims: Sequence[Claim]) -> None:
        """Give claims back."""
        ...


class Standing(Enum):
    """What a claim met."""

    FRESH = "fresh"
    """The key is new: the event is published under the proposed id."""
    CLAIMED = "claimed"
    """Its content was sent before and may not be on its way: it is published again under that id, and once is dropped."""
    SETTLED = "settled"
    """Its event is stored."""
    CONFLICT = "conflict"
    """It was sent before with other content."""
    AWAY = "away"
    """Nobody could say in time: it is published under the proposed id, and the worker settles it."""


class Verdict(NamedTuple):
    """What a claim met, and the event that the key leads to: its id, and when that was received (microseconds)."""

    standing: Standing
    event_id: str
    received_at: int


class _Ticket(NamedTuple):
    """A request's claims, and who waits for their verdicts."""

    claims: Sequence[Claim]
    done: asyncio.Future[list[Verdict]]


class _Round:
    """The claims that share a statement. They wait together, no longer than the first of them may."""

    def __init__(self) -> None:
        self.tickets: list[_Ticket] = []
        self.size = 0

    def add(self, ticket: _Ticket) -> None:
        self.tickets.append(ticket)
        self.size += len(ticket.claims)

    def claims(self) -> list[Claim]:
        return [claim for ticket in self.tickets for claim in ticket.claims]

    def settle(self, met: dict[str, Holder | None]) -> None:
        """Tell everybody who still waits."""
        for claims, done in self._leaving():
            done.set_result([_verdict(claim, met[claim.event_id]) if claim.event_id in met else _fresh(claim) for claim in claims])

    def give_up(self) -> int:
        """Let everybody who still waits go on without an answer. Returns how many claims that were."""
        leaving = self._leaving()
        for claims, done in leaving:
            done.set_result([_away(claim) for claim in claims])
        return sum(len(claims) for claims, _ in leaving)

    def _leaving(self) -> list[_Ticket]:
        leaving = [ticket for ticket in self.tickets if not ticket.done.done()]
        self.tickets, self.size = [], 0
        return leaving


class Claims:
    """The claims of one region's requests of a kind."""

    def __init__(self, region: Region, table: Table, metrics: Metrics) -> None:
        self._table = table
        self._region = region
        self._gathering = _Round()
        self._pump: asyncio.Task[None] | None = None
        self._releases: set[asyncio.Task[None]] = set()
        self._closed_until = 0.0
        self._next = 0.0
        self._seconds = metrics.claim_seconds.labels(region.value).observe
        self._unclaimed = metrics.unclaimed.labels(region.value).inc

    async def claim(self, claims: Sequence[Claim]) -> list[Verdict]:
        """A verdict for each, within a quarter of a second. No key may stand in it twice."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._closed_until or self._gathering.size + len(claims) > _MAX_GATHERED:
            self._unclaimed(len(claims))
            return [_away(claim) for claim in claims]
        return await self._join(loop, claims)

    async def release(self, claims: Sequence[Claim], verdicts: Sequence[Verdict]) -> None:
        """Give back those that are fresh, as nothing was published under them; what can't be given back in time stays."""
        fresh = [claim for claim, verdict in zip(claims, verdicts, strict=True) if verdict.standing is Standing.FRESH]
        if not fresh or asyncio.get_running_loop().time() < self._closed_until:
            return
        release = asyncio.create_task(self._give_back(fresh))
        self._releases.add(release)
        release.add_done_callback(self._releases.discard)
        await asyncio.wait((release,), timeout=_PATIENCE_SECONDS)

    async def stop(self) -> None:
        """Stop asking; who still waits is told that nobody could say."""
        tasks = [*self._releases, *([] if self._pump is None else [self._pump])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._gathering.give_up()

    def _join(self, loop: asyncio.AbstractEventLoop, claims: Sequence[Claim]) -> asyncio.Future[list[Verdict]]:
        """Take part in the next statement."""
        gathering = self._gathering
        if not gathering.tickets:
            loop.call_later(_PATIENCE_SECONDS, self._expire, gathering)
        ticket = _Ticket(claims, loop.create_future())
        gathering.add(ticket)
        if self._pump is None:
            self._pump = loop.create_task(self._run())
        return ticket.done

    def _expire(self, late: _Round) -> None:
        """Once the patience of a round is over: its requests go on without an answer, and the next ones don't even ask for a while."""
        if late.tickets:
            self._give_up(late)

    def _give_up(self, late: _Round) -> None:
        self._unclaimed(late.give_up())
        self._closed_until = asyncio.get_running_loop().time() + _BREAK_SECONDS

    async def _run(self) -> None:
        try:
            while self._gathering.tickets:
                await self._pace()
                full, self._gathering = self._gathering, _Round()
                if full.tickets:
                    await self._ask(full)
        finally:
            self._pump = None

    async def _pace(self) -> None:
        """Wait until it is time for the next statement: not at all when few come."""
        loop = asyncio.get_running_loop()
        if (pause := self._next - loop.time()) > 0:
            await asyncio.sleep(pause)
        self._next = loop.time() + _PACE_SECONDS

    async def _ask(self, full: _Round) -> None:
        """One statement. Should its answer come after all have gone, then what it claimed is on its way already."""
        began = perf_counter()
        try:
            full.settle(await self._table.claim(full.claims()))
        except Exception as error:  # noqa: BLE001 - nothing that goes wrong here may keep an event out
            self._note(error)
        finally:
            if full.tickets:
                self._give_up(full)
            self._seconds(perf_counter() - began)

    async def _give_back(self, claims: Sequence[Claim]) -> None:
        try:
            await self._table.release(claims)
        except Exception as error:  # noqa: BLE001 - they are proposals: the next one with such a key takes them over
            self._note(error)

    def _note(self, error: Exception) -> None:
        if not is_unavailable(error):
            _LOG.error("claims", region=self._region, error=type(error).__name__)


class Kinds(NamedTuple):
    """One region's claims. A batch may hold a thousand: with statements, limits and a breaker of their own they turn no single one away."""

    singles: Claims
    batches: Claims


def _fresh(claim: Claim) -> Verdict:
    return Verdict(Standing.FRESH, claim.event_id, claim.received_at)


def _away(claim: Claim) -> Verdict:
    return Verdict(Standing.AWAY, claim.event_id, claim.received_at)


def _verdict(claim: Claim, holder: Holder | None) -> Verdict:
    """What a claim met that is not fresh."""
    if holder is None:
        return _away(claim)
    if not is_same_content(claim.content, holder.content):
        return Verdict(Standing.CONFLICT, holder.event_id, claim.received_at)
    if holder.received_at is None:
        return Verdict(Standing.SETTLED, holder.event_id, claim.received_at)
    return Verdict(Standing.CLAIMED, holder.event_id, holder.received_at)
