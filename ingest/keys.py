"""Events with idempotency keys on their way in: what is claimed for them, and which of them are replays (contract §2)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from ingest.accept import Acceptor, Keyed
from ingest.claims import Claims, Kinds, Standing, Verdict
from ingest.store import Claim
from ops.metrics import Metrics
from schemas.envelope import Receipt
from schemas.idempotency import content_hashes
from schemas.incoming import IncomingEvent
from schemas.problems import Detail, IdempotencyConflict
from schemas.topics import Region

_EVENTS_PER_TURN = 100
_MAX_DETAILS = 20
_USED = "was used before, for an event with other content"
_TWICE = "stands in this batch before, with other content"


class Judged(NamedTuple):
    """The claims of a request, each with its verdict, and where their events stand in it."""

    claims: list[Claim]
    verdicts: list[Verdict]
    indexes: list[int]
    by: Claims
    """Who claimed them, and takes them back."""

    def under(self, at: int) -> Keyed:
        """What the event of that claim is published under."""
        claim, verdict = self.claims[at], self.verdicts[at]
        if verdict.standing is Standing.SETTLED:
            return Keyed(claim.event_id, claim.received_at, claim.content)
        return Keyed(verdict.event_id, verdict.received_at, claim.content)


class Keys:
    """Claims the keys of a process's requests."""

    def __init__(self, kinds: Mapping[Region, Kinds], acceptor: Acceptor, secrets: Sequence[bytes], metrics: Metrics) -> None:
        """``secrets`` are those that contents are compared under, at least one."""
        self._kinds = kinds
        self._propose = acceptor.propose
        self._secrets = secrets
        self._conflicts = metrics.idempotency_conflicts
        self._replayed = metrics.replayed

    async def judge(self, events: Sequence[IncomingEvent], receipt: Receipt, *, batch: bool) -> Judged:
        """Claim the keys of these events, each once. Raises ``IdempotencyConflict``, of which no claim is left behind.

        Whatever else can refuse the request must have had its say: a refused one leaves no claim.
        """
        indexes = self._firsts(events, receipt)
        claims = await self._proposals(events, indexes, receipt)
        kinds = self._kinds[receipt.data_region]
        by = kinds.batches if batch else kinds.singles
        judged = Judged(claims, await by.claim(claims), indexes, by)
        wrong = [at for at, verdict in enumerate(judged.verdicts) if verdict.standing is Standing.CONFLICT]
        if wrong:
            await self.release(judged)
            self._refuse(receipt, _USED, (indexes[at] if batch else None for at in wrong))
        return judged

    async def release(self, judged: Judged) -> None:
        """Give back what was claimed for a request of which nothing is published."""
        await judged.by.release(judged.claims, judged.verdicts)

    def count_replays(self, count: int, receipt: Receipt) -> None:
        """Note events that were not published since their key's event is stored, or stands in the same batch."""
        self._replayed.labels(receipt.data_region.value).inc(count)

    def _firsts(self, events: Sequence[IncomingEvent], receipt: Receipt) -> list[int]:
        """Where each key stands first. Raises ``IdempotencyConflict`` when one comes again with other content."""
        firsts: dict[str, int] = {}
        wrong = []
        for index, event in enumerate(events):
            key = event.idempotency_key
            if key is not None and events[firsts.setdefault(key, index)].content != event.content:
                wrong.append(index)
        if wrong:
            self._refuse(receipt, _TWICE, wrong)
        return list(firsts.values())

    async def _proposals(self, events: Sequence[IncomingEvent], indexes: Sequence[int], receipt: Receipt) -> list[Claim]:
        claims = []
        for turn, index in enumerate(indexes):
            if turn % _EVENTS_PER_TURN == _EVENTS_PER_TURN - 1:
                await asyncio.sleep(0)  # a large batch must not keep all others waiting
            event = events[index]
            content = content_hashes(self._secrets, event.content)
            event_id = self._propose(receipt.received_at)
            key = event.idempotency_key or ""
            claims.append(Claim(receipt.workspace_id, key, receipt.company_id, event_id, content, receipt.received_at))
        return claims

    def _refuse(self, receipt: Receipt, message: str, indexes: Iterable[int | None]) -> None:
        details = [Detail(message, "idempotencyKey", index) for index in indexes]
        self._conflicts.labels(receipt.data_region.value).inc(len(details))
        raise IdempotencyConflict(details=tuple(details[:_MAX_DETAILS]))
