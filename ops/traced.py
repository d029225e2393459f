"""An HTTP app with a span around each request, as its outermost layer.

The request goes on with the span's own ``traceparent`` in place of the caller's. It is of the same trace, so all that
reads it (trace ids in answers and logs, the header of a Kafka record) leads back to this span without knowing of spans.
"""

from __future__ import annotations

from collections.abc import Collection
from contextlib import AbstractAsyncContextManager, AsyncExitStack

from ops import tracing, web
from ops.serve import App, Message, Receive, Scope, Send
from ops.settings import Settings
from ops.tracing import Kind, Span, Tracer

_SERVER_ERROR = 500


def traced(app: App, settings: Settings, service: str, *, literal: Collection[str] = ()) -> App:
    """The app with spans when a collector is set, else the app itself. Paths in ``literal`` are their own route templates."""
    if settings.otel_exporter_otlp_endpoint is None:
        return app
    return TracedApp(app, tracing.opened(settings, service), literal)


class TracedApp:
    """Lives as long as the app's lifespan."""

    def __init__(self, app: App, opened: AbstractAsyncContextManager[Tracer | None], literal: Collection[str]) -> None:
        self._app = app
        self._opened = opened
        self._literal = literal
        self._tracer: Tracer | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The ASGI application."""
        if scope["type"] == "lifespan":
            await self._live(scope, receive, send)
        elif scope["type"] != "http" or self._tracer is None or web.is_open(scope["path"]):
            await self._app(scope, receive, send)
        else:
            await self._serve(self._tracer, scope, receive, send)

    async def _live(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with AsyncExitStack() as exits:
            self._tracer = await exits.enter_async_context(self._opened)

            async def closing(message: Message) -> None:
                if message["type"].startswith("lifespan.shutdown."):  # behind it, the server may end the loop at once
                    await exits.aclose()
                await send(message)

            await self._app(scope, receive, closing)

    async def _serve(self, tracer: Tracer, scope: Scope, receive: Receive, send: Send) -> None:
        span = _begin(tracer, scope)
        scope = {**scope, "headers": _with(scope["headers"], span)}
        status = 0

        async def noting(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            with tracer.current(span):
                await self._app(scope, receive, noting)
        finally:
            route = scope["path"] if scope["path"] in self._literal else web.route_of(scope)
            span.name = f"{span.attributes['http.request.method']} {route}"
            span.attributes |= {"http.route": route, "http.response.status_code": status}
            tracer.end(span, failed=status >= _SERVER_ERROR)


def _begin(tracer: Tracer, scope: Scope) -> Span:
    trace_id = web.trace_id(scope["headers"])
    sent = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
    parent = tracing.parse(b"00" + sent[2:55]) if trace_id.encode() == sent[3:35] else None
    attributes = {"http.request.method": web.method_of(scope)}
    return tracer.start("request", Kind.SERVER, trace_id=trace_id, parent=parent, attributes=attributes)


def _with(headers: web.RawHeaders, span: Span) -> list[tuple[bytes, bytes]]:
    kept = [pair for pair in headers if pair[0] not in {b"traceparent", b"x-trace-id"}]
    return [*kept, (b"traceparent", span.context.traceparent)]
