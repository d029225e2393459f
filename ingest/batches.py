"""``POST /v1/events/batch``: up to a thousand events, all or none, as one record."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import orjson

from ingest import body, parse
from ingest.accept import Keyed, NotAccepted, Sealed
from ingest.body import JSON, NDJSON, BodyRules
from ingest.claims import Standing
from ingest.intake import Answer, Intake, receipt_of, traceparent
from ingest.keys import Judged
from ops.auth import Principal
from ops.limits import Visit
from schemas.envelope import Receipt
from schemas.incoming import MAX_BATCH_BYTES, IncomingEvent
from schemas.problems import PayloadTooLarge, Unavailable, invalid

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

_RULES = BodyRules(MAX_BATCH_BYTES, (JSON, NDJSON))
_AT_A_TIME = 1


class _Made(NamedTuple):
    """A batch as its record, unless all of it are replays; for each event the id that it repeats, or ``None`` for one of the record."""

    sealed: Sealed | None
    replays: list[str | None]
    judged: Judged | None

    def answer(self) -> bytes:
        made = iter(() if self.sealed is None else self.sealed.ids)
        events = [_entry(next(made), "ACCEPTED") if first is None else _entry(first, "REPLAYED") for first in self.replays]
        return orjson.dumps({"accepted": len(events), "events": events})


class Room:
    """How many bytes of batches may lie as objects outside of the workshop. One at a time may wait for it."""

    def __init__(self, size: int) -> None:
        self._left = size
        self._freed = asyncio.Event()

    async def take(self, size: int) -> None:
        """Wait until there is room; no more may be asked for than there is at all."""
        while self._left < size:
            self._freed.clear()
            await self._freed.wait()
        self._left -= size

    def give(self, size: int) -> None:
        """Make room."""
        self._left += size
        self._freed.set()


class Batches:
    """Takes batches."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._limits = intake.entrance.limits
        self._waiting_bytes = 0
        self._workshop = asyncio.Semaphore(_AT_A_TIME)
        self._room = Room(MAX_BATCH_BYTES)

    async def handle(self, scope: Scope, receive: Receive, trace: str, visit: Visit) -> Answer:
        """The answer to one request. Raises ``Problem``, ``Disconnected``."""
        intake = self._intake
        headers: dict[bytes, bytes] = dict(scope["headers"])
        caller = await intake.caller(headers, visit)
        kind = body.media_type(headers.get(b"content-type"), _RULES)
        if b"idempotency-key" in headers:
            raise invalid("Idempotency-Key", "a batch takes the keys in its events (idempotencyKey), not as a header")
        text = await body.read(receive, headers, _RULES, intake.body_timeout)
        receipt = receipt_of(visit, headers, caller, intake.clock.micros(), trace)
        made = await self._make(kind, text, visit, caller, receipt, traceparent(headers, trace))
        del text  # it may be long until Kafka answers
        await self._publish(made, receipt)
        intake.metrics.batch_events.observe(len(made.replays))
        return 202, made.answer(), ()

    async def _publish(self, made: _Made, receipt: Receipt) -> None:
        if made.sealed is not None:
            try:
                await self._intake.acceptor.publish(made.sealed)
            except (NotAccepted, PayloadTooLarge):  # surely not sent; of all else the outcome is unknown
                if made.judged is not None:
                    await self._intake.keys.release(made.judged)
                raise
        if replayed := sum(first is not None for first in made.replays):
            self._intake.keys.count_replays(replayed, receipt)

    async def _make(self, kind: str, text: bytes, visit: Visit, caller: Principal, receipt: Receipt, parent: bytes) -> _Made:
        """Parse and seal, one batch after another: as objects a batch may be thirty times its size, and there is one core anyway.

        What waits for another process does so outside of the workshop, where it keeps nobody else out.
        """
        intake = self._intake
        if self._waiting_bytes + len(text) > intake.max_waiting_bytes:
            raise Unavailable("Nothing was accepted: too many batches are being taken in")
        self._waiting_bytes += len(text)
        try:
            while True:
                async with self._workshop:
                    events = await (parse.lines if kind == NDJSON else parse.batch)(text, receipt.received_at)
                    projects = intake.rules.unjudged(events, caller)
                    if not projects:
                        intake.rules.check(events, caller, batch=True)
                        self._limits.take_events(visit, len(events))
                        if all(event.idempotency_key is None for event in events):
                            return _Made(await intake.acceptor.seal(events, receipt, parent), [None] * len(events), None)
                        await self._room.take(len(text))
                        break
                    del events
                await intake.rules.learn(projects, caller)
            try:
                return await self._seal_keyed(events, receipt, parent)
            finally:
                self._room.give(len(text))
        finally:
            self._waiting_bytes -= len(text)

    async def _seal_keyed(self, events: list[IncomingEvent], receipt: Receipt, parent: bytes) -> _Made:
        acceptor = self._intake.acceptor
        acceptor.check(receipt)
        judged = await self._intake.keys.judge(events, receipt, batch=True)
        fates = list(_fates(events, judged))
        news = [(event, fate) for event, fate in zip(events, fates, strict=True) if not isinstance(fate, str)]
        replays = [fate if isinstance(fate, str) else None for fate in fates]
        if not news:
            return _Made(None, replays, judged)
        try:
            sealed = await acceptor.seal([event for event, _ in news], receipt, parent, [keyed for _, keyed in news])
        except NotAccepted:  # its partition was closed meanwhile
            await self._intake.keys.release(judged)
            raise
        return _Made(sealed, replays, judged)


def _fates(events: Sequence[IncomingEvent], judged: Judged) -> Iterator[Keyed | str | None]:
    """For each event what it is published under, or the id of the event that it repeats; ``None`` for one without a key."""
    claimed = {index: at for at, index in enumerate(judged.indexes)}
    firsts: dict[str, str] = {}
    for index, event in enumerate(events):
        if event.idempotency_key is None:
            yield None
        elif (at := claimed.get(index)) is None:
            yield firsts[event.idempotency_key]
        elif judged.verdicts[at].standing is Standing.SETTLED:
            firsts[event.idempotency_key] = judged.verdicts[at].event_id
            yield judged.verdicts[at].event_id
        else:
            firsts[event.idempotency_key] = judged.under(at).id
            yield judged.under(at)


def _entry(event_id: str, status: str) -> dict[str, str]:
    return {"id": event_id, "status": status}
