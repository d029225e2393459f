"""``POST /v1/events`` and ``/v1/events/batch`` as bare ASGI: a framework would cost more than all else (100 of 117 µs)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from time import perf_counter
from typing import TYPE_CHECKING

from ingest.accept import NotAccepted
from ingest.batches import Batches
from ingest.body import Disconnected
from ingest.intake import Answer, Intake
from ingest.single import Singles
from ops import log, web
from ops.limits import Visit
from schemas.problems import IdempotencyConflict, InternalError, Problem

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

_LOG = log.get(__name__)
_Handler = Callable[["Scope", "Receive", str, Visit], Awaitable[Answer]]
_SERVER_ERROR = 500
_GIVEN_BACK: Mapping[str, tuple[type[Problem], ...]] = {
    "/v1/events": (NotAccepted, IdempotencyConflict),
    # All other keys of a batch were claimed for its conflict, and given back: were it free, so would be that work.
    "/v1/events/batch": (NotAccepted,),
}
"""After which refusals a request's events don't count."""


class Endpoint:
    """What both routes share: the answer's shape, refusals, metrics."""

    def __init__(self, intake: Intake) -> None:
        self._door = intake.entrance.door
        self._limits = intake.entrance.limits
        self._single = Singles(intake).handle
        self._batch = Batches(intake).handle
        metrics = intake.metrics
        self._refused = metrics.refused
        self._seconds = {
            (route, status): metrics.request_seconds.labels("POST", route, status).observe
            for route, statuses in (("/v1/events", (200, 201, 202)), ("/v1/events/batch", (202,)))
            for status in statuses
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
        if isinstance(problem, _GIVEN_BACK[route]):
            self._limits.return_events(visit)
        self._refused.labels(problem.code.value).inc()
        self._other_seconds.labels("POST", route, problem.status).observe(seconds)
        note = _LOG.warning if problem.status >= _SERVER_ERROR else _LOG.info
        note("refused", route=route, status=problem.status, code=problem.code.value, trace_id=trace, milliseconds=round(seconds * 1000, 2))
        await web.send_problem(send, problem, trace, self._limits.headers(visit))
