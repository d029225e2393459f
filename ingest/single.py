"""``POST /v1/events``: one event."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from ingest import body, parse
from ingest.accept import Keyed, NotAccepted
from ingest.body import JSON, BodyRules
from ingest.claims import Standing
from ingest.intake import Answer, Headers, Intake, receipt_of, traceparent
from ingest.keys import Judged
from ingest.wait import MAX_WAIT_SECONDS, Rejected
from ops.auth import Principal
from ops.db import is_unavailable
from ops.limits import Visit
from schemas import view
from schemas.envelope import Receipt
from schemas.event import StoredEvent, format_time
from schemas.ids import received_at
from schemas.incoming import KEY_RULE, MAX_BODY_BYTES, IncomingEvent, is_idempotency_key
from schemas.problems import Code, IdempotencyConflict, PayloadTooLarge, invalid

if TYPE_CHECKING:
    from starlette.types import Receive, Scope

_RULES = BodyRules(MAX_BODY_BYTES, (JSON,))
_WAIT = re.compile(rb"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,4})\"?(?:$|[,;\s])", re.ASCII | re.IGNORECASE).search


class _Published(NamedTuple):
    """An event that Kafka has, or Postgres already: its id, its time of receipt in microseconds, and whether it was sent before."""

    id: str
    received_at: int
    again: bool


class Singles:
    """Takes events one by one."""

    def __init__(self, intake: Intake) -> None:
        self._intake = intake
        self._limits = intake.entrance.limits

    async def handle(self, scope: Scope, receive: Receive, trace: str, visit: Visit) -> Answer:
        """The answer to one request. Raises ``Problem``, ``Disconnected``."""
        intake = self._intake
        headers: dict[bytes, bytes] = dict(scope["headers"])
        caller = await intake.caller(headers, visit)
        body.media_type(headers.get(b"content-type"), _RULES)
        text = await body.read(receive, headers, _RULES, intake.body_timeout)
        now = intake.clock.micros()
        event = parse.single(text, now)
        _merge_key(event, headers.get(b"idempotency-key"))
        if event.project_id is not None or not caller.limits.custom_categories:
            await self._check(event, caller)
        self._limits.take_events(visit, 1)
        receipt = receipt_of(visit, headers, caller, now, trace)
        wait = headers.get(b"prefer") and _wait_seconds(headers[b"prefer"])
        if event.idempotency_key is not None:
            return await self._keyed(event, receipt, headers, wait or 0)
        sealed = await intake.acceptor.seal([event], receipt, traceparent(headers, trace))
        await intake.acceptor.publish(sealed)
        return await self._answer(_Published(sealed.ids[0], now, again=False), receipt, wait or 0)

    async def _check(self, event: IncomingEvent, caller: Principal) -> None:
        rules = self._intake.rules
        if projects := rules.unjudged([event], caller):
            await rules.learn(projects, caller)
        rules.check([event], caller, batch=False)

    async def _keyed(self, event: IncomingEvent, receipt: Receipt, headers: Headers, wait: int) -> Answer:
        """An event whose key may have been used before."""
        intake = self._intake
        intake.acceptor.check(receipt)
        judged = await intake.keys.judge([event], receipt, batch=False)
        (verdict,) = judged.verdicts
        if verdict.standing is Standing.SETTLED and (answer := await self._replay(verdict.event_id, receipt, wait)):
            intake.keys.count_replays(1, receipt)
            return answer
        under = judged.under(0)
        await self._publish(event, receipt, headers, under, judged)
        return await self._answer(_Published(under.id, under.received_at, verdict.standing is Standing.CLAIMED), receipt, wait)

    async def _replay(self, event_id: str, receipt: Receipt, wait: int) -> Answer | None:
        """The answer to a replay of that stored event; ``None`` when Postgres says that it has it no more.

        While Postgres can't say, the id is answer enough: to publish it again would turn each read that fails into a write.
        """
        try:
            first = await self._intake.waiters[receipt.data_region].stored(event_id, receipt.company_id)
        except Exception as error:
            if not is_unavailable(error):
                raise
            return await self._answer(_Published(event_id, received_at(event_id), again=True), receipt, wait)
        return None if first is None else (200, _render(first), ())

    async def _publish(self, event: IncomingEvent, receipt: Receipt, headers: Headers, under: Keyed, judged: Judged) -> None:
        acceptor = self._intake.acceptor
        try:
            await acceptor.publish(await acceptor.seal([event], receipt, traceparent(headers, receipt.trace_id), [under]))
        except (NotAccepted, PayloadTooLarge):  # surely not sent; of all else the outcome is unknown
            await self._intake.keys.release(judged)
            raise

    async def _answer(self, published: _Published, receipt: Receipt, wait: int) -> Answer:
        """The stored event, if it is waited for and there in time, else 202. Raises ``IdempotencyConflict``."""
        if wait and (answer := await self._wait(published, receipt, wait)):
            return answer
        return _accepted(published.id, published.received_at)

    async def _wait(self, published: _Published, receipt: Receipt, seconds: int) -> Answer | None:
        """The answer with the stored event, if that is there in time. Raises ``IdempotencyConflict``."""
        waiters = self._intake.waiters[receipt.data_region]
        if waiters.full:
            return None
        try:
            event = await waiters.wait(published.id, receipt.company_id, seconds)
        except Rejected as rejected:
            if rejected.args == (Code.IDEMPOTENCY_CONFLICT,):
                raise IdempotencyConflict from None
            return None  # it was accepted, and its id leads to the reason
        if event is None:
            return None
        status = 200 if published.again or event.id != published.id else 201
        return status, _render(event), [(b"preference-applied", b"wait=%d" % seconds)]


def _render(event: StoredEvent) -> bytes:
    return view.render(event, verification=False)


def _accepted(event_id: str, received_at: int) -> Answer:
    return 202, b'{"id":"%b","status":"ACCEPTED","receivedAt":"%b"}' % (event_id.encode(), format_time(received_at).encode()), ()


def _merge_key(event: IncomingEvent, header: bytes | None) -> None:
    if header is None:
        return
    key = header.decode("latin-1")
    if not is_idempotency_key(key):
        raise invalid("Idempotency-Key", KEY_RULE)
    if event.idempotency_key not in (None, key):
        raise invalid("idempotencyKey", "differs from the header Idempotency-Key")
    event.idempotency_key = key


def _wait_seconds(header: bytes) -> int:
    """``N`` of ``Prefer: wait=N`` (RFC 7240 §4.3), at most 30; 0 when it is not asked for. What is not understood is ignored."""
    match = _WAIT(header)
    return min(int(match[1]), MAX_WAIT_SECONDS) if match else 0
