"""What every HTTP process of ours answers alike: trace ids, the error shape, access logs, request metrics (contract §2).

Pure ASGI, so that the ingest hot path can use the same functions without a framework in between.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterable, Mapping, MutableMapping
from time import perf_counter
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ops import log
from ops.dashboard_door import Doors
from ops.door import Door
from ops.limits import RateHeaders
from ops.metrics import Metrics
from schemas.problems import Detail, InternalError, MethodNotAllowed, NotFound, Problem, RateLimited, ValidationFailed

RawHeaders = Iterable[tuple[bytes, bytes]]

# W3C Trace Context §3.2.2: version ff is invalid, ids of zeros are; later versions may say more behind a dash.
_TRACEPARENT = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}").match
_TRACE_ID = re.compile(rb"(?!0{32})[0-9a-f]{32}").fullmatch
_TRACEPARENT_LENGTH = 55
_NO_ROUTE = "unmatched"
_OPEN_PATHS = frozenset(("/", "/health", "/ready"))
_METHODS = frozenset(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
_LOG = log.get(__name__)


def trace_id(headers: RawHeaders) -> str:
    """The request's trace id, 32 lower-case hex digits: of a valid ``traceparent``, else a valid ``X-Trace-Id``, else made."""
    found: bytes | None = None
    for name, value in headers:
        if name == b"traceparent":
            match = _TRACEPARENT(value)
            if match and (len(value) == _TRACEPARENT_LENGTH or (value[:2] != b"00" and value[_TRACEPARENT_LENGTH] == ord("-"))):
                return match[1].decode()
        elif name == b"x-trace-id" and found is None and _TRACE_ID(value):
            found = value
    return found.decode() if found else f"{random.getrandbits(128) or 1:032x}"


async def send_problem(send: Send, problem: Problem, trace: str, more: RawHeaders = ()) -> None:
    """Answer with a problem, trace id and ``more`` headers included, on a bare ASGI connection."""
    body = problem.body(trace)
    headers = [*problem.headers(), (b"content-length", b"%d" % len(body)), (b"x-trace-id", trace.encode()), *more]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def install(app: FastAPI, metrics: Metrics) -> None:
    """Give an app the error shape, trace ids, access log and metrics."""
    for kind in (Problem, RequestValidationError, HTTPException):
        app.add_exception_handler(kind, _refuse)
    app.add_middleware(Edge, metrics=metrics)


class Edge:
    """The outermost layer of an app: knows each request's trace id, and sees every answer."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = _Exchange(scope, receive, send)
        state = scope.setdefault("state", {})
        state["trace_id"] = exchange.trace
        log.bind_trace(exchange.trace)
        try:
            if not await _turned_away(scope, state, exchange):
                await self._app(scope, exchange.receive, exchange.send)
        except Exception:  # noqa: BLE001 - the last one: whatever it is, the client gets a 500 and we a log line
            _LOG.exception("unhandled error", route=route_of(scope))
            if not exchange.status:
                await send_problem(exchange.send, InternalError(), exchange.trace)
        finally:
            self._note(scope, exchange)

    def _note(self, scope: Scope, exchange: _Exchange) -> None:
        route, seconds = route_of(scope), perf_counter() - exchange.started
        method = method_of(scope)
        self._metrics.request_seconds.labels(method, route, exchange.status).observe(seconds)
        self._metrics.request_bytes.labels(route).observe(exchange.received)
        _LOG.info(
            "request", method=method, route=route, status=exchange.status,
            milliseconds=round(seconds * 1000, 2), received=exchange.received, sent=exchange.sent,
        )  # fmt: skip


def is_open(path: str) -> bool:
    """Whether a path has no limits: what stands at the root, health, and what the internal token guards."""
    return path in _OPEN_PATHS or path.startswith("/internal/")


async def _turned_away(scope: Scope, state: MutableMapping[str, Any], exchange: _Exchange) -> bool:
    """Judge the visit, for the handlers to see, and answer it when it is one too many. Without a door in the state all may pass."""
    door: Door | Doors | None = state.get("door")
    if door is None or is_open(scope["path"]):
        return False
    visit, problem = await door.enter(scope)
    state.update(visit=visit, problem=problem, client_address=visit.address)
    exchange.rate_headers = lambda: door.headers(visit)
    if not isinstance(problem, RateLimited):
        return False
    await send_problem(exchange.send, problem, exchange.trace)
    return True


class _Exchange:
    """One request and its answer, with the trace id and the limits put on the answer and the bytes counted."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.trace = trace_id(scope["headers"])
        self.rate_headers: Callable[[], RateHeaders] = list
        self.started = perf_counter()
        self.status = 0
        self.received = 0
        self.sent = 0
        self._receive = receive
        self._send = send

    async def receive(self) -> Message:
        """The request's next piece."""
        message = await self._receive()
        self.received += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        """The answer's next piece."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            kept = [pair for pair in message.get("headers", ()) if pair[0].lower() != b"x-trace-id"]
            message["headers"] = [*kept, (b"x-trace-id", self.trace.encode()), *self.rate_headers()]
        self.sent += len(message.get("body", b""))
        await self._send(message)


def route_of(scope: Mapping[str, Any]) -> str:
    """The template of the route that matched, never the path itself: paths hold ids."""
    return getattr(scope.get("route"), "path", _NO_ROUTE)


def method_of(scope: Mapping[str, Any]) -> str:
    """The request's method, ``OTHER`` for what is none: clients may send any word, and labels must stay few."""
    method: str = scope["method"]
    return method if method in _METHODS else "OTHER"


def respond(request: Request, problem: Problem) -> Response:
    """A problem as FastAPI's kind of answer."""
    headers = {name.decode(): value.decode() for name, value in problem.headers()}
    return Response(problem.body(request.state.trace_id), problem.status, headers)


async def _refuse(request: Request, error: Exception) -> Response:
    return respond(request, problem_of(error))


def problem_of(error: Exception) -> Problem:
    """The problem behind what a handler, or the framework itself, raised."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        found = ((item["msg"], ".".join(str(step) for step in item["loc"][1:])) for item in error.errors())
        return ValidationFailed(details=tuple(Detail(message, field or None) for message, field in found))
    if isinstance(error, HTTPException) and error.status_code == MethodNotAllowed.code.status:
        return MethodNotAllowed((error.headers or {}).get("Allow", ""))
    if isinstance(error, HTTPException) and error.status_code == NotFound.code.status:
        return NotFound()
    return ValidationFailed()
