"""One request to an endpoint: what is sent, and what its answer means for the delivery."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import NamedTuple

from ops import log, tracing
from ops.clock import Clock
from ops.egress import Cut, Egress, OutOfResources, TimedOut, Unreachable
from ops.sealing import Sealer
from ops.settings import Settings
from ops.tracing import SpanContext, Tracer
from schemas.webhooks import Failure, Kind, Secrets, State, event_body, next_delay, parse_retry_after, signed_headers, test_body
from sinks.webhooks.gauge import WebhookMetrics
from sinks.webhooks.model import MAX_ATTEMPTS, Delivery, Endpoint, Result

_LOG = log.get(__name__)
GONE = 410
_REMEMBERED = 4096
"""Endpoints whose secrets are kept open: opening one takes as long as signing with it."""
_FAILURES = {Unreachable: Failure.DESTINATION_UNREACHABLE, TimedOut: Failure.TIMEOUT, Cut: Failure.CONNECTION_LOST}


class _Answered(NamedTuple):
    """What came of a request."""

    status: int | None
    error: Failure | None = None
    retry_after: float | None = None
    body_hash: bytes | None = None

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300


class Sender:
    """Makes attempts."""

    def __init__(self, settings: Settings, egress: Egress, *, clock: Clock, tracer: Tracer | None, metrics: WebhookMetrics) -> None:
        self.is_keyless = False
        """Whether the last secret that was needed could not be opened: the key may be wrong."""
        self._tracer = tracer
        self._metrics = metrics
        self._steps = settings.webhook_retry_seconds
        self._timeout = settings.webhook_timeout_seconds
        self._egress = egress
        self._clock = clock
        self._sealer = Sealer.of(settings)
        self._secrets = lru_cache(_REMEMBERED)(self._open)

    async def attempt(self, endpoint: Endpoint, delivery: Delivery) -> Result | None:
        """Send the delivery once; ``None``: this machine could not, nothing was sent. Cancelled, it may or may not have been sent."""
        began = self._clock.monotonic()
        if not endpoint.takes(delivery.kind):
            return Result(delivery, State.FAILED, began, began, delivery.failures, sent=False, error=Failure.ENDPOINT_DISABLED)
        if delivery.event is None and delivery.kind is not Kind.TEST:
            return Result(delivery, State.FAILED, began, began, delivery.failures, sent=False, error=Failure.EVENT_GONE)
        try:
            secrets = self._open_secrets(endpoint)
        except ValueError as error:  # Unsealable, or not a secret's text
            return self._keyless(endpoint, delivery, error, began)
        try:
            answered = await self._ask(endpoint, delivery, secrets)
        except OutOfResources as error:
            self._metrics.retried(error)
            return None
        return self._judge(delivery, answered, began)._replace(endpoint=endpoint)

    def _open_secrets(self, endpoint: Endpoint) -> Secrets:
        self.is_keyless = True
        secrets = self._secrets(endpoint.id, endpoint.secret, endpoint.previous_secret)
        self.is_keyless = False
        return secrets

    def _keyless(self, endpoint: Endpoint, delivery: Delivery, error: ValueError, began: float) -> Result:
        """Not the endpoint's fault, so no failure; the pauses grow with the attempts, so that they last for days."""
        self._metrics.retried(error)
        _LOG.critical("a secret can't be opened: is the key right?", webhook=endpoint.id, delivery=delivery.id)
        step = min(delivery.attempt, len(self._steps))
        pause = next_delay(step, self._steps, None, _jitter(delivery)) if step and delivery.attempt < MAX_ATTEMPTS else None
        state = State.FAILED if pause is None else State.RETRYING
        return Result(delivery, state, began, began, delivery.failures, pause, sent=False, error=Failure.INTERRUPTED)

    async def _ask(self, endpoint: Endpoint, delivery: Delivery, secrets: Secrets) -> _Answered:
        try:
            return await self._post(endpoint, delivery, secrets)
        except OutOfResources:
            raise
        except Exception as error:  # noqa: BLE001 - whatever one endpoint or event brings about, the others are told
            # No traceback: its text may hold what the event or the secret holds.
            _LOG.error("an attempt could not be made", webhook=endpoint.id, delivery=delivery.id, error=type(error).__name__)
            return _Answered(None, Failure.INTERRUPTED)

    async def _post(self, endpoint: Endpoint, delivery: Delivery, secrets: Secrets) -> _Answered:
        now = self._clock.micros()
        body = test_body(endpoint.id, now) if delivery.event is None else event_body(delivery.event)
        body_hash = hashlib.sha256(body).digest()
        headers = signed_headers(secrets, delivery_id=delivery.id, timestamp=now // 1_000_000, body=body)
        with tracing.call(self._tracer, "deliver", _context(delivery)) as context:
            headers |= _told(delivery, context)
            try:
                answer = await self._egress.post(endpoint.url, body, headers, self._timeout)
            except (Unreachable, TimedOut, Cut) as error:
                return _Answered(None, _FAILURES[type(error)], body_hash=body_hash)
        retry_after = parse_retry_after(answer.retry_after, self._clock.micros())
        return _Answered(answer.status, retry_after=retry_after, body_hash=body_hash)

    def _judge(self, delivery: Delivery, answered: _Answered, began: float) -> Result:
        ended = self._clock.monotonic()
        failures = delivery.failures + (not answered.is_success)
        pause = None if answered.is_success else self._pause(delivery, answered, failures)
        state = State.SUCCEEDED if answered.is_success else State.FAILED if pause is None else State.RETRYING
        return Result(delivery, state, began, ended, failures, pause, True, answered.status, answered.error, answered.body_hash)

    def _pause(self, delivery: Delivery, answered: _Answered, failures: int) -> float | None:
        """Seconds to the next attempt. Who is gone for good wants none."""
        if answered.status == GONE or delivery.attempt >= MAX_ATTEMPTS:
            return None
        return next_delay(failures, self._steps, answered.retry_after, _jitter(delivery))

    def _open(self, webhook_id: str, secret: bytes, previous: bytes | None) -> Secrets:
        current = self._sealer.open(secret, webhook_id).decode()
        return Secrets(current, None if previous is None else self._sealer.open(previous, webhook_id).decode())


def interrupted(delivery: Delivery, began: float, now: float) -> Result:
    """An attempt that this process can't await the end of."""
    state, pause = (State.FAILED, None) if delivery.attempt >= MAX_ATTEMPTS else (State.RETRYING, 0.0)
    return Result(delivery, state, began, now, delivery.failures, pause, sent=False, error=Failure.INTERRUPTED)


def _context(delivery: Delivery) -> SpanContext:
    """The event's trace; of a test, one of its own. The span is as good as any."""
    digits = delivery.id.replace("-", "")
    return SpanContext(digits if delivery.event is None else delivery.event.trace_id, digits[16:], sampled=False)


def _told(delivery: Delivery, context: SpanContext) -> dict[str, str]:
    headers = {
        "content-type": "application/json",
        "x-hyrelog-attempt": str(delivery.attempt),
        "traceparent": context.traceparent.decode(),
        "x-trace-id": context.trace_id,
    }
    return headers | {"x-hyrelog-replay": "true"} if delivery.kind is Kind.REPLAY else headers


def _jitter(delivery: Delivery) -> float:
    """In 0 … 1, as random as the delivery's id."""
    return int(delivery.id[-6:], 16) / 0xFFFFFF
