"""``POST /v1/events`` and ``/v1/events/batch`` as bare ASGI: a framework would cost more than all else (100 of 117 µs)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING

import orjson

from ingest import body, parse
from ingest.accept import Acceptor, NotAccepted, Sealed
from ingest.body import JSON, NDJSON, BodyRules, Disconnected
from ingest.rules import Rules
from ingest.wait import MAX_WAIT_SECONDS, Rejected, Waiters
from ops import log, web
from ops.auth import Principal
from ops.clock import Clock
from ops.entrance import Entrance
from ops.limits import Visit
from ops.metrics import Metrics
from schemas import view
from schemas.context import request_context
from schemas.envelope import Receipt
from schemas.event import format_time
from schemas.incoming import KEY_RULE, MAX_BATCH_BYTES, MAX_BODY_BYTES, IncomingEvent, is_idempotency_key
from schemas.keys import Scope as KeyScope
from schemas.problems import Forbidden, InternalError, Problem, Unavailable, WorkspaceArchived, invalid
from schemas.topics import Region

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

_LOG = log.get(__name__)
_Answer = tuple[int, bytes, Iterable[tuple[bytes, bytes]]]
_Handler = Callable[["Scope", "Receive", str, Visit], Awaitable[_Answer]]
_SINGLE = BodyRules(MAX_BODY_BYTES, (JSON,))
_BATCH = BodyRules(MAX_BATCH_BYTES, (JSON, NDJSON))
_WAIT = re.compile(rb"(?:^|[,;\s])wait\s*=\s*\"?(\d{1,4})\"?(?:$|[,;\s])", re.ASCII | re.IGNORECASE).search
_SERVER_ERROR = 500
_TRACEPARENT_BYTES = 55
_BATCHES_AT_A_TIME = 1


class Endpoint:
    """What both routes share: who calls, the answer's shape, refusals, metrics."""

    def __init__(
        self,
        entrance: Entrance,
        rules: Rules,
        acceptor: Acceptor,
        waiters: Mapping[Region, Waiters],
        *,
        clock: Clock,
        metrics: Metrics,
        body_timeout: float,
        max_waiting_bytes: int,
    ) -> None:
        self._door = entrance.door
        self._limits = entrance.limits
        self._rules = rules
        self._acceptor = acceptor
        self._waiters = waiters
        self._clock = clock
        self._body_timeout = body_timeout
        self._max_waiting_bytes = max_waiting_bytes
        self._waiting_bytes = 0
        self._workshop = asyncio.Semaphore(_BATCHES_AT_A_TIME)
        self._refused = metrics.refused
        self._batch_events = metrics.batch_events
        self._seconds = {
            (route, status): metrics.request_seconds.labels("POST", route, status).observe
            for route in ("/v1/events", "/v1/events/batch")
            for status in (201, 202)
        }
        self._other_seconds = metrics.request_seconds

    async def single(self, scope: Scope, receive: Receive, send: Send) -> None:
        """``POST /v1/events``."""
        await self._serve("/v1/events", self._single, scope, receive, send)

    async def batch(self, scope: Scope, receive: Receive, send: Send) -> None:
        """``POST /v1/events/batch``."""
        await self._serve("/v1/events/batch", self._batch, scope, receive, send)

    async def _serve(self, route: str, handle: _Handler, scope: Scope, receive: Receive, send: Send) -> None:
        began = perf_counter()
        trace = web.trace_id(scope["headers"])
        visit = self._door.visit(scope)
        try:
            status, text, extra = await handle(scope, receive, trace, visit)
        except Problem as problem:
            await self._refuse(route, problem, trace, visit, began, send)
            return
        except Disconnected:
            return
        except Exception:  # noqa: BLE001 - logged, and answered 500 without its text
            _LOG.exception("unhandled error", route=route, trace_id=trace)
            await self._refuse(route, InternalError(), trace, visit, began, send)
            return
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(text)),
            (b"x-trace-id", trace.encode()),
            *self._limits.headers(visit),
            *extra,
        ]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": text})
        self._seconds[route, status](perf_counter() - began)

    async def _refuse(self, route: str, problem: Problem, trace: str, visit: Visit, began: float, send: Send) -> None:
        seconds = perf_counter() - began
        if isinstance(problem, NotAccepted):
            self._limits.return_events(visit)
        self._refused.labels(problem.code.value).inc()
        self._other_seconds.labels("POST", route, problem.status).observe(seconds)
        note = _LOG.warning if problem.status >= _SERVER_ERROR else _LOG.info
        note("refused", route=route, status=problem.status, code=problem.code.value, trace_id=trace, milliseconds=round(seconds * 1000, 2))
        await web.send_problem(send, problem, trace, self._limits.headers(visit))

    async def _single(self, scope: Scope, receive: Receive, trace: str, visit: Visit) -> _Answer:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        caller = await self._caller(headers, visit)
        body.media_type(headers.get(b"content-type"), _SINGLE)
        text = await body.read(receive, headers, _SINGLE, self._body_timeout)
        now = self._clock.micros()
        event = parse.single(text, now)
        _merge_key(event, headers.get(b"idempotency-key"))
        if event.project_id is not None or not caller.limits.custom_categories:
            if projects := self._rules.unjudged([event], caller):
                await self._rules.learn(projects, caller)
            self._rules.check([event], caller, batch=False)
        self._limits.take_events(visit, 1)
        receipt = _receipt(visit, headers, caller, now, trace)
        wait = headers.get(b"prefer") and _wait_seconds(headers[b"prefer"])
        sealed = await self._acceptor.seal([event], receipt, _traceparent(headers, trace))
        await self._acceptor.publish(sealed)
        event_id = sealed.ids[0]
        if wait and not self._waiters[caller.region].full and (stored := await self._stored(caller, event_id, wait)):
            return 201, stored, [(b"preference-applied", b"wait=%d" % wait)]
        return 202, b'{"id":"%b","status":"ACCEPTED","receivedAt":"%b"}' % (event_id.encode(), format_time(now).encode()), ()

    async def _stored(self, caller: Principal, event_id: str, seconds: int) -> bytes | None:
        try:
            event = await self._waiters[caller.region].wait(event_id, caller.company_id, seconds)
        except Rejected:  # it was accepted, and its id leads to the reason
            return None
        return None if event is None else view.render(event, verification=False)

    async def _batch(self, scope: Scope, receive: Receive, trace: str, visit: Visit) -> _Answer:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        caller = await self._caller(headers, visit)
        kind = body.media_type(headers.get(b"content-type"), _BATCH)
        if b"idempotency-key" in headers:
            raise invalid("Idempotency-Key", "a batch takes the keys in its events (idempotencyKey), not as a header")
        text = await body.read(receive, headers, _BATCH, self._body_timeout)
        receipt = _receipt(visit, headers, caller, self._clock.micros(), trace)
        sealed = await self._seal_batch(kind, text, visit, caller, receipt, _traceparent(headers, trace))
        del text  # it may be long until Kafka answers
        await self._acceptor.publish(sealed)
        self._batch_events.observe(len(sealed.ids))
        answer = {"accepted": len(sealed.ids), "events": [{"id": event_id, "status": "ACCEPTED"} for event_id in sealed.ids]}
        return 202, orjson.dumps(answer), ()

    async def _seal_batch(self, kind: str, text: bytes, visit: Visit, caller: Principal, receipt: Receipt, traceparent: bytes) -> Sealed:
        """Parse and seal, one batch after another: as objects a batch may be thirty times its size, and there is one core anyway."""
        if self._waiting_bytes + len(text) > self._max_waiting_bytes:
            raise Unavailable("Nothing was accepted: too many batches are being taken in")
        self._waiting_bytes += len(text)
        try:
            while True:
                async with self._workshop:
                    events = await (parse.lines if kind == NDJSON else parse.batch)(text, receipt.received_at)
                    projects = self._rules.unjudged(events, caller)
                    if not projects:
                        self._rules.check(events, caller, batch=True)
                        self._limits.take_events(visit, len(events))
                        return await self._acceptor.seal(events, receipt, traceparent)
                    del events
                # Not in the workshop: while Postgres is away, one tenant's new projects would keep all others' batches out.
                await self._rules.learn(projects, caller)
        finally:
            self._waiting_bytes -= len(text)

    async def _caller(self, headers: dict[bytes, bytes], visit: Visit) -> Principal:
        header = headers.get(b"authorization")
        caller = self._door.known(header, visit) or await self._door.ask(header, visit)
        if caller.scope is not KeyScope.WORKSPACE:
            raise Forbidden("A company key can't write events: use a workspace key")
        self._limits.watch_events(visit, caller)
        if caller.archived:
            raise WorkspaceArchived
        return caller


def _receipt(visit: Visit, headers: dict[bytes, bytes], caller: Principal, now: int, trace: str) -> Receipt:
    context = request_context(visit.address, headers.get(b"user-agent"))
    return Receipt(caller.company_id, caller.workspace_id or "", caller.region, now, trace, context)


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


def _traceparent(headers: dict[bytes, bytes], trace: str) -> bytes:
    """The caller's ``traceparent`` when it is the one the trace id came from, else one that begins here."""
    sent = headers.get(b"traceparent", b"")
    if len(sent) == _TRACEPARENT_BYTES and sent[3:35] == trace.encode() and web.trace_id([(b"traceparent", sent)]) == trace:
        return sent
    return b"00-%b-%b-01" % (trace.encode(), trace[:16].encode())
