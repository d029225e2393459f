"""An app with a span around each request: of the caller's trace, and seen by all that reads the request's headers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from ops import web
from ops.clock import SystemClock
from ops.serve import Message, Receive, Scope, Send
from ops.traced import TracedApp
from ops.tracing import Span, Tracer

TRACE, CALLER = "ab" * 16, "cd" * 8
TRACEPARENT = f"00-{TRACE}-{CALLER}-01".encode()


class Watched:
    """A traced app that answers with a status, and what became of it."""

    def __init__(self, status: int = 200) -> None:
        self.status = status
        self.spans: list[Span] = []
        self.seen: list[list[tuple[bytes, bytes]]] = []
        self.events: list[str] = []
        self.app = TracedApp(self._app, self._opened(), {"/v1/events"})

    @asynccontextmanager
    async def _opened(self) -> AsyncIterator[Tracer]:
        yield Tracer(self.spans.append, ratio=1.0, clock=SystemClock())
        self.events.append("closed")

    async def _app(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        self.seen.append(list(scope["headers"]))
        if self.status == 0:
            raise RuntimeError("broken")
        await send({"type": "http.response.start", "status": self.status, "headers": []})

    async def ask(self, path: str = "/v1/events", **headers: bytes) -> None:
        """One request, within a lifespan that ends behind it."""
        await self.app({"type": "lifespan"}, self._request(path, headers), self._note)

    def _request(self, path: str, headers: dict[str, bytes]) -> Receive:
        async def receive() -> Message:
            sent = [(name.replace("_", "-").encode(), value) for name, value in headers.items()]
            await self.app({"type": "http", "method": "GET", "path": path, "headers": sent}, receive, self._note)
            return {"type": "lifespan.shutdown"}

        return receive

    async def _note(self, message: Message) -> None:
        self.events.append(message["type"])


async def test_the_request_goes_on_under_the_spans_own_context() -> None:
    watched = Watched()
    await watched.ask(traceparent=TRACEPARENT, user_agent=b"x")
    (span,) = watched.spans
    assert (span.context.trace_id, span.parent_id) == (TRACE, CALLER)
    assert watched.seen == [[(b"user-agent", b"x"), (b"traceparent", span.context.traceparent)]]
    assert web.trace_id(watched.seen[0]) == TRACE


@pytest.mark.parametrize(
    "headers",
    [
        {"x_trace_id": TRACE.encode()},
        {"x_trace_id": TRACE.encode(), "traceparent": b"junk"},
        {"traceparent": b"01" + TRACEPARENT[2:] + b"-more"},
    ],
)
async def test_the_trace_is_the_one_that_the_answer_names(headers: dict[str, bytes]) -> None:
    """Whatever was sent: spans, logs and ``X-Trace-Id`` must say the same."""
    watched = Watched()
    await watched.ask("/v1/events", **headers)
    assert (
        watched.spans[0].context.trace_id
        == web.trace_id((name.replace("_", "-").encode(), value) for name, value in headers.items())
        == TRACE
    )
    assert watched.spans[0].parent_id == (CALLER if headers.get("traceparent", b"").startswith(b"01") else None)


@pytest.mark.parametrize(("status", "failed"), [(200, False), (404, False), (500, True)])
async def test_only_our_own_faults_fail(status: int, failed: bool) -> None:
    watched = Watched(status)
    await watched.ask()
    assert [(span.name, span.failed, span.attributes["http.response.status_code"]) for span in watched.spans] == [
        ("GET /v1/events", failed, status)
    ]


async def test_a_path_that_is_no_route_is_not_told() -> None:
    watched = Watched(404)
    await watched.ask("/jane.doe@example.org")
    assert watched.spans[0].name == "GET unmatched"


@pytest.mark.parametrize("path", ["/health", "/ready", "/internal/metrics"])
async def test_looking_after_a_process_makes_no_spans(path: str) -> None:
    watched = Watched()
    await watched.ask(path)
    assert watched.spans == []
    assert len(watched.seen) == 1


async def test_what_is_raised_goes_on_and_ends_the_span() -> None:
    watched = Watched(0)
    with pytest.raises(RuntimeError):
        await watched.ask()
    assert len(watched.spans) == 1


async def test_spans_are_sent_before_the_server_hears_of_the_end() -> None:
    watched = Watched()
    await watched.ask()
    assert watched.events[-2:] == ["closed", "lifespan.shutdown.complete"]
